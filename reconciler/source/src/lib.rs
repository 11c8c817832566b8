//! Git: mirrors, snapshots, signed commits, push.

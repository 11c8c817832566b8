//! Client of the render worker: a folder of a Git snapshot in, Kubernetes objects out.
//!
//! Rendering runs other people's input through large libraries, so it happens in child processes
//! that confine themselves (see `worker/`) and hold nothing but the files they asked for. This
//! crate hands them files from the snapshot, holds them to limits, and replaces one that hangs,
//! crashes or grows: that fails one render and nothing else. What a worker asked for is the
//! [`Closure`] of the render: as long as nothing in it changes, the result does not change.

mod conversation;
mod error;
mod limits;
mod protocol;
mod renderer;
mod snapshot;
mod worker;

pub use error::{Fault, FaultKind, RenderError};
pub use limits::Limits;
pub use protocol::{Probe, Protections};
pub use renderer::{Kind, Rendered, Renderer};
pub use snapshot::{Closure, Entry, Files};

#[cfg(test)]
mod tests;

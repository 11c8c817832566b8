//! Pipelines, releases and promotions carried out.
//!
//! The shell around the pure crates: it gathers facts from the cluster, Git and
//! registries, asks `policy`, `provenance`, `gates` and `promotion`, carries out
//! their answers and records them. It decides nothing itself.

mod audit;
mod beside;
mod clock;
mod commit;
mod create;
mod discover;
mod ending;
mod engine;
mod error;
mod facts;
mod images;
mod in_use;
mod journal;
mod keys;
mod lane;
mod names;
mod owners;
mod promote;
mod publish;
mod pull;
mod rejudge;
mod render;
mod running;
mod source;
mod summaries;
mod syncs;
mod targets;
mod trust;
mod verified;
mod world;

pub use engine::{Options, run};
pub use error::Error;
pub use trust::{Evidence, Rules, evidence};

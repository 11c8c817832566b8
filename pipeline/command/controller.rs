//! `tidegate controller`: the service.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::session::Connection;

/// Runs the engine: repositories, syncs, pipelines, releases and promotions.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder of mirrors and other caches; it may be emptied while the engine is stopped.
    #[arg(long, default_value = "/var/lib/tidegate")]
    pub work_dir: PathBuf,
    /// The render worker's program.
    #[arg(long, default_value = "tidegate-render")]
    pub worker: PathBuf,
    /// Where webhooks, health and metrics are served.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Look only at these namespaces; at all of them where none is named.
    #[arg(long)]
    pub scope: Vec<String>,
    /// Where the engine's own Secrets and Leases are.
    #[arg(long, default_value = tidegate_schemas::SYSTEM_NAMESPACE)]
    pub system_namespace: String,
    /// Poll registries and repositories no more often than this, whatever objects say.
    #[arg(long, default_value = "30s")]
    pub min_poll: tidegate_ids::Period,
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the engine cannot start.
pub async fn run(_connection: &Connection, _args: Args) -> Result<(), Failure> {
    Err(Failure::from("the engine is not part of this build yet"))
}

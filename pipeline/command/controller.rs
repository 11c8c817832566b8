//! `tidegate controller`: the service. Wiring only: every part is a library.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_cluster::Cluster;
use tidegate_render::Renderer;

use crate::failure::Failure;
use crate::outside::Outside;
use crate::session::Connection;

/// How many Syncs may work at the same time.
const SYNCS_AT_ONCE: usize = 32;

/// Runs the engine: repositories, syncs, pipelines, releases and promotions.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder of mirrors and other caches; it may be emptied while the engine is stopped.
    #[arg(long, default_value = "/var/lib/tidegate")]
    pub work_dir: PathBuf,
    /// The render worker's program.
    #[arg(long, default_value = "tidegate-render")]
    pub worker: PathBuf,
    /// Where webhooks and health are served.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The namespace of signing keys and of the keys that trust policies name.
    #[arg(long, default_value = tidegate_schemas::SYSTEM_NAMESPACE)]
    pub system_namespace: String,
    /// The PKCS #11 library of the tokens that signing keys are in; see docs/keys.md.
    #[arg(long, value_name = "LIBRARY")]
    pub pkcs11_module: Option<PathBuf>,
    /// How often registries are looked at.
    #[arg(long, default_value = "1m")]
    pub image_interval: tidegate_ids::Period,
    #[command(flatten)]
    pub outside: Outside,
    /// Write logs as JSON, one object a line.
    #[arg(long)]
    pub log_json: bool,
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the engine cannot start, or a part of it ends.
pub async fn run(connection: &Connection, args: Args) -> Result<(), Failure> {
    log(args.log_json);
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |error: String| Failure::from(format!("{doing}: {error}"))
    };
    let cluster = Cluster::infer(connection.kubeconfig.as_deref())
        .await
        .map_err(|e| failed("connecting to the cluster")(e.to_string()))?;
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let renderer = Arc::new(Renderer::new(args.worker, workers));
    let registry = args.outside.registry()?;
    let kept = registry.clone();
    let repositories = tidegate_sync::SourceOptions {
        folder: args.work_dir.join("mirrors"),
        limits: tidegate_source::Limits::default(),
        scope: Vec::new(),
        min_interval: std::time::Duration::from_secs(1),
    };
    let sources = tidegate_sync::Sources::new(cluster.clone(), repositories)
        .map_err(|e| failed("starting")(e.to_string()))?;
    let looked = tidegate_sync::Looked::default();
    let syncs = tidegate_sync::Options {
        cluster: cluster.clone(),
        sources: sources.clone(),
        renderer: renderer.clone(),
        scope: Vec::new(),
        concurrency: SYNCS_AT_ONCE,
        looked: looked.clone(),
    };
    let options = tidegate_delivery::Options {
        system_namespace: args.system_namespace,
        pkcs11_module: args.pkcs11_module,
        image_interval: args.image_interval.to_std(),
        looked,
    };
    tokio::select! {
        () = sources.run() => Err(Failure::from("the watch of Repositories ended")),
        ended = tidegate_sync::run(syncs) => {
            ended.map_err(|e| failed("reconciling")(e.to_string()))
        }
        ended = tidegate_delivery::run(cluster.client(), sources.clone(), renderer, registry, options) => {
            ended.map_err(|e| failed("delivering")(e.to_string()))
        }
        ended = tidegate_console::serve(args.listen, sources.clone()) => {
            ended.map_err(|e| failed("serving")(e.to_string()))
        }
        () = args.outside.keep_credentials_fresh(&kept) => Ok(()),
        () = stopped() => Ok(()),
    }
}

fn log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TIDEGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Whoever set a subscriber before keeps it.
    let _set = if json { lines.json().try_init() } else { lines.try_init() };
}

/// Ends on SIGTERM, which Kubernetes sends, and on ^C.
async fn stopped() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

//! Tidegate: the engine, and the command line that people use.
//!
//! Wiring only. What a command decides or says is in pure modules (`document`, `install`,
//! `bootstrap`, `board`, `story`, …); here arguments become calls and failures exit codes.

mod ask;
mod awaited;
mod board;
mod bootstrap;
mod changes;
mod controller;
mod decide;
mod diff;
mod document;
mod explain;
mod failure;
mod get;
mod install;
mod judged;
mod keys;
mod lanes;
mod locate;
mod objects;
mod outside;
mod people;
mod policies;
mod session;
mod setup;
mod story;
mod text;
mod verify;
mod wait;
mod whereabouts;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use tidegate_schemas::SYSTEM_NAMESPACE;

/// Declarative delivery for regulated systems: Git to cluster, gate by gate.
#[derive(Parser, Debug)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(flatten)]
    connection: session::Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Get(get::Args),
    Explain(explain::Args),
    Diff(diff::Args),
    Approve(decide::Approve),
    Reject(decide::Reject),
    Promote(ask::Promote),
    Rollback(ask::Rollback),
    Wait(wait::Args),
    Where(locate::Args),
    Verify(verify::Args),
    Keys(keys::Args),
    Install(install::Args),
    Bootstrap(bootstrap::Args),
    Controller(controller::Args),
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match start(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tidegate: {failure}");
            ExitCode::from(failure.code as u8)
        }
    }
}

fn start(line: CommandLine) -> Result<(), Failure> {
    // More than one provider is compiled in only by mistake, and then nobody chose; we do.
    let _already_chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from(format!("starting: {error}")))?
        .block_on(run(line))
}

async fn run(line: CommandLine) -> Result<(), Failure> {
    let connection = &line.connection;
    #[allow(clippy::disallowed_methods, reason = "the clock of the command line: read once, here")]
    let now = jiff::Timestamp::now();
    match line.command {
        Command::Get(args) => get::run(connection, &args, now).await,
        Command::Explain(args) => explain::run(connection, &args, now).await,
        Command::Diff(args) => diff::run(connection, &args).await,
        Command::Approve(args) => decide::run(connection, args.into()).await,
        Command::Reject(args) => decide::run(connection, args.into()).await,
        Command::Promote(args) => ask::promote(connection, args).await,
        Command::Rollback(args) => ask::rollback(connection, args).await,
        Command::Wait(args) => wait::run(connection, &args).await,
        Command::Where(args) => locate::run(connection, &args, now).await,
        Command::Verify(args) => verify::run(connection, &args, now).await,
        Command::Keys(args) => keys::run(connection, args).await,
        Command::Install(args) => {
            let system = connection.namespace.as_deref().unwrap_or(SYSTEM_NAMESPACE);
            let documents = install::documents(system, &args)
                .map_err(|error| Failure::from(format!("writing the kinds: {error}")))?;
            session::print(&document::stream(&documents))
        }
        Command::Bootstrap(args) => session::print(&bootstrap::run(connection, &args).await?),
        Command::Controller(args) => controller::run(connection, args).await,
    }
}

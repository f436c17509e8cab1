//! The command line: what is asked for, and how results and errors are shown.

mod serve;

use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Records edited offline, merged without a coordinator, answered by SQL.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, arg_required_else_help = true)]
struct Cli {
    /// The form of log lines, which go to standard error.
    #[arg(long, value_enum, global = true, default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server: others sync with it, and its records are tables for Apache Drill.
    Serve(serve::Serve),
}

/// Runs the command that the process was started with. Exits with 1 if it failed, with 2 if it was misused.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_format);
    let outcome = match cli.command {
        Command::Serve(command) => serve::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `HEADWATER_LOG` chooses what is logged, such as `debug` or `headwater=debug,warn`.
fn start_log(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("HEADWATER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// The runtime of commands that sync.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

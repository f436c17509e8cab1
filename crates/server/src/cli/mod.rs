//! The command line: what is asked for, and how results and errors are shown.

mod conflicts;
mod data;
mod drill;
mod import;
mod into;
mod lake;
mod openapi;
mod output;
mod reach;
mod serve;
mod show;
mod sync;
mod token;
mod write;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Records edited offline, merged without a coordinator, answered by SQL.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// The form of log lines, which go to standard error.
    #[arg(long, value_enum, global = true, default_value = "text")]
    log_format: LogFormat,
    /// What is logged, such as `info` or `headwater=debug,warn`; without it, `info` of a server and else `warn`.
    #[arg(long, global = true, value_name = "FILTER", env = "HEADWATER_LOG")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  A server, with its tables in ./lake, and a Drillbit that reads them:
    headwater serve --listen 127.0.0.1:3030 --data data --lake lake
    headwater drill start --lake lake

  Import a file into a new database and bring it to the server:
    headwater import movies.json --create films --key hash --data mine --peer ws://127.0.0.1:3030

  Ask:
    headwater query \"SELECT count(*) FROM headwater.movies\"

Every command explains itself with --help. A command that fails says why and what to do on standard error, and ends with
1; wrong usage ends with 2.";

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
    /// Import a file of JSON, newline-delimited JSON or CSV into a collection.
    Import(import::Import),
    /// Print the records of a collection.
    Cat(show::Cat),
    /// List databases, or the collections of one.
    Ls(show::Ls),
    /// List what lost when people edited the same, and settle it.
    #[command(subcommand)]
    Conflicts(conflicts::Conflicts),
    /// Sync a folder with a server once, both ways.
    Sync(sync::Sync),
    /// Start an Apache Drill, or show it the tables.
    #[command(subcommand)]
    Drill(drill::Drill),
    /// Verify, mend and make anew the tables that a server keeps, and list their earlier states.
    #[command(subcommand)]
    Lake(lake::Lake),
    /// Give, list and revoke the tokens of a server.
    #[command(subcommand)]
    Token(token::Command),
    /// Print the description of the HTTP API, in OpenAPI 3.1.
    Openapi,
    /// Ask Apache Drill with SQL; print the rows, or write them into a collection.
    Query(drill::Query),
}

/// Runs the command that the process was started with. Exits with 1 if it failed, with 2 if it was misused.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = start_log(&cli).and_then(|()| match cli.command {
        Command::Serve(command) => serve::run(command),
        Command::Import(command) => runtime()?.block_on(import::run(command)),
        Command::Cat(command) => runtime()?.block_on(show::cat(command)),
        Command::Ls(command) => runtime()?.block_on(show::ls(command)),
        Command::Conflicts(command) => runtime()?.block_on(conflicts::run(command)),
        Command::Sync(command) => runtime()?.block_on(sync::run(command)),
        Command::Drill(command) => drill::run(command),
        Command::Lake(command) => lake::run(command),
        Command::Token(command) => token::run(command),
        Command::Openapi => openapi::run(),
        Command::Query(command) => drill::query(command),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough, as in `headwater cat movies … | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, leaving out what an outer one has said already.
fn explain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            text if text.contains(&cause) => text.to_owned(),
            text => format!("{text}: {cause}"),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn start_log(cli: &Cli) -> anyhow::Result<()> {
    let usual = match cli.command {
        Command::Serve(_) => "info",
        _ => "warn",
    };
    let filter = cli.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("{filter:?} is not a log filter; give such as `info` or `headwater=debug,warn`")
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match cli.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// The runtime of commands that sync.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

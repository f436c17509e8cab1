//! `headwater drill` and `headwater query`

use super::into::{self, IntoArgs};
use super::output;
use crate::drill::{
    self, DEFAULT_PLUGIN, DEFAULT_URL, DrillOptions, QueryOptions, RunningDrill, SnapshotSchema,
};
use anyhow::{Context as _, bail};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Drill {
    /// Run an Apache Drill on this machine over a lake, until interrupted; the first time it is downloaded
    Start(Start),
    /// Show a lake to an Apache Drill that is running
    Register(Register),
    /// Download Apache Drill into the cache, so that the first start does not have to
    Install(Install),
}

#[derive(Debug, clap::Args)]
pub(super) struct Install {
    /// Where Drill is kept [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It needs Java 17 (a development kit) and, the first time, Maven. It listens on this machine alone.

Examples:
  headwater drill start --lake ./lake
  headwater drill start --lake ./lake --port 8147 --user-port 31110 --bit-port 31111")]
pub(super) struct Start {
    /// The folder of the server's tables; created if needed
    #[arg(long, value_name = "DIR")]
    lake: PathBuf,

    /// The name under which Drill has the tables: NAME.TABLE
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PLUGIN)]
    plugin: String,

    /// The port of the web page and the REST API; 0 for a free one
    #[arg(long, default_value_t = 8047)]
    port: u16,

    /// The port for JDBC and ODBC clients; 0 for a free one
    #[arg(long, default_value_t = 31010)]
    user_port: u16,

    /// The port that Drillbits use among themselves; 0 for a free one
    #[arg(long, default_value_t = 31011)]
    bit_port: u16,

    /// Where Drill keeps its configuration and its log [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where Drill itself is kept once downloaded [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// The most Java heap, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    heap: u32,

    /// The most memory outside the heap, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    direct: u32,

    /// Print the addresses as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater drill register --lake ./lake
  headwater drill register --lake /srv/lake --url http://drill.example:8047 --plugin orders")]
pub(super) struct Register {
    /// The folder of the server's tables, as the machine of the Drill sees it
    #[arg(long, value_name = "DIR")]
    lake: PathBuf,

    /// The Drill
    #[arg(long, default_value = DEFAULT_URL)]
    url: String,

    /// The name under which Drill has the tables: NAME.TABLE
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PLUGIN)]
    plugin: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = into::EXAMPLES)]
pub(super) struct Query {
    /// The statement
    pub sql: String,

    /// The Drill
    #[arg(long, default_value = DEFAULT_URL)]
    pub url: String,

    /// At most so many rows
    #[arg(long, value_name = "N", conflicts_with = "into")]
    limit: Option<u32>,

    /// How long the query may take, and with --into each sync, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,

    /// Print {"columns": […], "rows": [{…}], "truncated": …}; with --into, how many records were written
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub into: IntoArgs,

    /// Ask one state of all tables, by the number that `headwater lake snapshots` gives; name the tables without a schema
    #[arg(
        long,
        value_name = "SNAPSHOT",
        requires = "lake",
        conflicts_with = "into"
    )]
    as_of: Option<u64>,

    /// The folder of the server's tables, on this machine
    #[arg(long, value_name = "DIR", requires = "as_of")]
    lake: Option<PathBuf>,
}

pub(super) fn run(command: Drill) -> anyhow::Result<()> {
    match command {
        Drill::Start(args) => start(args),
        Drill::Install(args) => install(args),
        Drill::Register(args) => {
            drill::register(&args.url, &args.plugin, &args.lake)?;
            let plugin = &args.plugin;
            let example = format!("headwater query \"SHOW TABLES IN {plugin}\"");
            let text = format!("{} has the tables as {plugin}.TABLE: {example}", args.url);
            Ok(output::line(&text)?)
        }
    }
}

fn install(args: Install) -> anyhow::Result<()> {
    let cache = match args.cache {
        Some(cache) => cache,
        None => drill::default_cache()?,
    };
    let spinner = output::spinner();
    let installed = drill::install(&cache, &mut |progress| {
        spinner.set_message(progress.to_string());
    });
    spinner.finish_and_clear();
    Ok(output::line(&format!(
        "Drill is in {}",
        installed?.display()
    ))?)
}

fn start(args: Start) -> anyhow::Result<()> {
    let options = DrillOptions {
        plugin: args.plugin.clone(),
        http_port: args.port,
        user_port: args.user_port,
        bit_port: args.bit_port,
        data: args.data,
        cache: args.cache,
        heap_mib: args.heap,
        direct_mib: args.direct,
        ..DrillOptions::new(&args.lake)
    };
    let spinner = output::spinner();
    let result = drill::start(&options, &mut |progress| {
        spinner.set_message(progress.to_string());
    });
    spinner.finish_and_clear();
    let mut drill = result?;
    let (url, jdbc, log) = (drill.url(), drill.jdbc_url(), drill.log());
    if args.json {
        output::json(&json!({"url": url, "jdbc": jdbc, "log": log, "pid": drill.pid()}))?;
    } else {
        output::line(&format!("Drill is ready at {url} (JDBC: {jdbc})"))?;
        output::line(&format!(
            "headwater query --url {url} \"SHOW TABLES IN {}\"",
            args.plugin
        ))?;
    }
    let ended = super::runtime()?.block_on(until_ended(&mut drill));
    let log = drill.log().display().to_string();
    drill.stop().context("Drill cannot be stopped")?;
    ended.with_context(|| format!("its log was {log}"))
}

async fn until_ended(drill: &mut RunningDrill) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = tick.tick() => {
                if let Some(status) = drill.try_wait()? {
                    bail!("Drill ended by itself: {status}");
                }
            }
        }
    }
}

pub(super) fn query(args: Query) -> anyhow::Result<()> {
    if let Some(collection) = &args.into.into {
        return super::runtime()?.block_on(into::run(&args, collection));
    }
    let snapshot = match (args.as_of, &args.lake) {
        (Some(version), Some(lake)) => Some(SnapshotSchema::open(&args.url, lake, version)?),
        _ => None,
    };
    let options = QueryOptions {
        rows: args.limit,
        timeout: Duration::from_secs(args.timeout),
        // A Drill that does not know the schema would refuse every query.
        schema: snapshot.as_ref().map(|snapshot| snapshot.name().to_owned()),
        ..QueryOptions::default()
    };
    let spinner = output::spinner();
    spinner.set_message(format!("asking {}", args.url));
    let result = drill::query_with(&args.url, &args.sql, &options);
    spinner.finish_and_clear();
    let result = result?;
    if args.json {
        return output::json(&result);
    }
    output::line(&result.table())?;
    if result.is_truncated() {
        eprintln!("there are more rows; raise --limit to see them");
    }
    Ok(())
}

//! `headwater lake`

use super::output;
use crate::serve::{Check, CheckReport};
use anyhow::{Context as _, bail};
use headwater_materialize::snapshots;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_SERVER: &str = "http://127.0.0.1:3030";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Lake {
    /// Compare the tables with the records that they are made of, file by file and row by row; ends with 1 if they differ
    Verify(Server),
    /// Compare, and mend what differs
    Repair(Server),
    /// Make all tables anew out of the records; the change feeds begin anew too
    Rebuild(Server),
    /// List the states of the tables that can still be asked with `headwater query --as-of`
    Snapshots(Snapshots),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The server does it between two publications, while people write on.

Examples:
  headwater lake verify
  headwater lake repair --url http://127.0.0.1:3030 --json")]
pub(super) struct Server {
    /// The running server that keeps the lake
    #[arg(long, value_name = "URL", default_value = DEFAULT_SERVER)]
    url: String,

    /// How long it may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater lake snapshots --lake ./lake
  headwater query \"SELECT count(*) FROM movies\" --as-of 41 --lake ./lake")]
pub(super) struct Snapshots {
    /// The folder of the server's tables
    #[arg(long, value_name = "DIR")]
    lake: PathBuf,

    /// Print a list of {"version": …, "at": milliseconds since 1970, "tables": […]}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Lake) -> anyhow::Result<()> {
    match command {
        Lake::Verify(server) => check(Check::Verify, &server),
        Lake::Repair(server) => check(Check::Repair, &server),
        Lake::Rebuild(server) => check(Check::Rebuild, &server),
        Lake::Snapshots(args) => list(&args),
    }
}

fn check(check: Check, server: &Server) -> anyhow::Result<()> {
    let spinner = output::spinner();
    spinner.set_message(format!("{} at {}", check.name(), server.url));
    let report = ask(check, server);
    spinner.finish_and_clear();
    let report = report?;
    match server.json {
        true => output::json(&report)?,
        false => output::line(&told(&report))?,
    }
    if !report.ok {
        bail!("the lake is not what its records say; `headwater lake repair` mends it");
    }
    Ok(())
}

fn ask(check: Check, server: &Server) -> anyhow::Result<CheckReport> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(server.timeout)))
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("{}/lake/{}", server.url.trim_end_matches('/'), check.name());
    let mut answer = agent.post(&url).send_empty().with_context(|| {
        format!(
            "no Headwater server answers at {}; start one, or name another with --url",
            server.url
        )
    })?;
    let body = answer
        .body_mut()
        .with_config()
        .limit(64 << 20)
        .read_to_string()?;
    if !answer.status().is_success() {
        let said: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        bail!(
            "the server says: {}",
            said["error"]["message"].as_str().unwrap_or(&body)
        );
    }
    serde_json::from_str(&body).context("this is not a Headwater server of this version")
}

fn told(report: &CheckReport) -> String {
    let mut lines: Vec<String> = report
        .mended
        .iter()
        .map(|it| format!("mended: {it}"))
        .collect();
    lines.extend(report.damaged.iter().map(|it| format!("damaged: {it}")));
    for table in report.tables.iter().filter(|table| !table.is_equal()) {
        lines.push(format!(
            "differs: {} of the database {}: {} records, {} rows; {}",
            table.collection,
            table.database,
            table.records,
            table.rows,
            table.differing.join(", ")
        ));
    }
    if report.new_epoch {
        lines.push("the change feeds begin anew: their cursors have expired".to_owned());
    }
    let records: u64 = report.tables.iter().map(|table| table.records).sum();
    let state = if report.ok { "equal" } else { "not equal" };
    lines.push(format!(
        "{state}: {records} records of {} collections, {} files of {} bytes, in {:.1} s",
        report.tables.len(),
        report.files,
        report.bytes,
        report.seconds
    ));
    lines.join("\n")
}

fn list(args: &Snapshots) -> anyhow::Result<()> {
    let all = snapshots(&args.lake)?;
    if args.json {
        return output::json(&all);
    }
    for one in &all {
        let at = jiff::Timestamp::from_millisecond(one.at)?;
        output::line(&format!(
            "{:>8}  {at}  {}",
            one.version,
            one.tables.join(", ")
        ))?;
    }
    Ok(())
}

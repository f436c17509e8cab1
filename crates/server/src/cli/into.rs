//! `headwater query --into`

use super::data::DataArgs;
use super::drill::Query;
use super::import::show;
use super::output;
use super::reach::Reach;
use super::write::Writer;
use crate::drill::{self, QueryOptions};
use crate::import::result::{self, QueryResult, ResultError, ResultOptions, unchanged};
use anyhow::Context as _;
use headwater::{Collection, Database, FieldType, Policy, Record, Written};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// The origin of what is written.
const ORIGIN: &str = "drill";

/// The largest answer, in bytes; it is kept in a temporary file.
const MAX_ANSWER: u64 = 64 << 30;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Writing the rows into a collection")]
#[command(group = clap::ArgGroup::new("place").args(["data", "peer"]).multiple(true))]
pub(super) struct IntoArgs {
    /// Write each row as a record of this collection instead of printing it
    #[arg(long, value_name = "COLLECTION", requires_all = ["key", "target", "place"])]
    pub into: Option<String>,

    /// The column that holds each record's key: text, integers, or anything else with an exact text. It is a field too, but for
    /// the lake's `_key`
    #[arg(long, value_name = "COLUMN", requires = "into")]
    key: Option<String>,

    /// The database, by its id or its name in this folder
    #[arg(long, value_name = "ID|NAME", requires = "into", group = "target")]
    database: Option<String>,

    /// Create a database with this name and write into it
    #[arg(
        long,
        value_name = "NAME",
        requires = "into",
        group = "target",
        conflicts_with = "dry_run"
    )]
    create: Option<String>,

    /// The folder that keeps the data; without one nothing is kept here, and --peer is needed
    #[arg(long, value_name = "DIR", requires = "into")]
    data: Option<PathBuf>,

    /// A server to sync with, before and after writing
    #[arg(long, value_name = "URL", requires = "into")]
    peer: Option<String>,

    #[command(flatten)]
    reach: Reach,

    /// Make each record exactly its row; otherwise its other fields stay as they are
    #[arg(long, requires = "into")]
    replace: bool,

    /// Only say what would be written
    #[arg(long, requires = "into")]
    dry_run: bool,
}

pub(super) const EXAMPLES: &str = "\
With --into each row becomes a record, exactly. Its columns are set and the record's other fields stay (--replace removes
them). All rows are checked first: if the query fails, or a row has no key, the key of another, or a value that does not fit
the field's declared type, all such rows are named and nothing is written. The same result again writes nothing. What people
edit meanwhile, offline too, is merged by each field's policy; what loses is in the ledger, the query's with the origin drill.

  BOOLEAN, BIGINT, DOUBLE, VARCHAR, VARBINARY, TIMESTAMP   bool, int, float, string, bytes, timestamp
  STRUCT, ARRAY                                            map and list of these
  DECIMAL                                                  a string with all its digits
  DATE, TIME                                               strings: 2026-11-22, 10:11:12.123
  null                                                     no field: one that is there is removed

A field that is declared otherwise is given its type if nothing is lost by it; VARCHAR and DECIMAL are read as such. Drill has
no null structs and arrays: a struct of nulls and empty arrays is null, and an array is empty. Where a record has the same as far as Drill can
show it, such as an absent list, a null, or 1 for 1.0, it is left as it is.

Of the lake's own columns `_key` and `_database` are no fields, and those within `_more` are: SELECT * with --key _key gives the
records of a table as they are. To keep one, name it otherwise: SELECT `_database` AS origin_database.

Examples:
  headwater query \"SHOW TABLES IN headwater\"
  headwater query \"SELECT * FROM headwater.movies\" --limit 20
  headwater query \"SELECT count(*) AS n FROM headwater.movies\" --json
  headwater query \"SELECT count(*) FROM movies\" --as-of 41 --lake ./lake
  headwater query \"SELECT city, count(*) AS airports FROM headwater.airports GROUP BY city\" --into cities --key city --database \
    films --data ./mine
  headwater query \"SELECT `_key`, price * 1.1 AS price FROM headwater.orders\" --into orders --key _key --database ID --peer \
    ws://127.0.0.1:3030 --dry-run";

pub(super) async fn run(args: &Query, collection: &str) -> anyhow::Result<()> {
    let into = &args.into;
    let data = DataArgs {
        data: into.data.clone(),
        peer: into.peer.clone(),
        reach: into.reach.clone(),
        timeout: args.timeout,
    };
    let peer = data.open_as(ORIGIN).await?;
    let existing = match &into.database {
        None => None,
        Some(database) => Some(data.open_database(&peer, database).await?),
    };
    let options = ResultOptions {
        url: args.url.clone(),
        sql: args.sql.clone(),
        limits: QueryOptions {
            rows: None,
            bytes: MAX_ANSWER,
            timeout: Duration::from_secs(args.timeout),
            schema: None,
        },
        key: into.key.clone().context("name the key column with --key")?,
        declared: declared(existing.as_ref(), collection),
    };
    let result = tokio::task::spawn_blocking(move || read(&options)).await??;
    // Only now, so that a query that fails leaves no empty database behind.
    let database = match existing {
        Some(database) => database,
        None => data.create(&peer, into.create.as_deref()).await?,
    };
    let written = write(into, &result, database.collection(collection)).await?;
    if !into.dry_run {
        data.sync(&database).await?;
    }
    report(args, &database, collection, &written)?;
    Ok(peer.close().await?)
}

/// The declared types to which values are fitted. A keep-all field takes a value or a list of values, so it is left to the
/// database.
fn declared(database: Option<&Database>, collection: &str) -> BTreeMap<String, FieldType> {
    let known = database.and_then(|database| database.collections().remove(collection));
    let Some(known) = known else {
        return BTreeMap::new();
    };
    let mut fields = known.fields;
    fields.retain(|name, _| known.policies.get(name) != Some(&Policy::KeepAll));
    fields
}

fn read(options: &ResultOptions) -> anyhow::Result<QueryResult> {
    let torn =
        |error: &ResultError| matches!(error, ResultError::Drill(drill) if drill.is_torn_plan());
    Ok(drill::planned(torn, || read_once(options))?)
}

fn read_once(options: &ResultOptions) -> Result<QueryResult, ResultError> {
    let spinner = output::spinner();
    spinner.set_message(format!("asking {}", options.url));
    let answer = result::ask(options);
    spinner.finish_and_clear();
    let bar = output::byte_bar("checking");
    let result = QueryResult::check(answer?, options, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    result
}

async fn write(
    into: &IntoArgs,
    result: &QueryResult,
    target: Collection,
) -> anyhow::Result<Written> {
    let fields: BTreeSet<String> = result.fields().collect();
    let current = target.clone();
    let left_alone = |key: String, row: Record| match current.get(&key) {
        Some(current) => (
            key,
            unchanged(row, &current, |field| fields.contains(field)),
        ),
        None => (key, row),
    };
    let records = result.records()?;
    let records = records.map(|row| row.map(|(key, row)| left_alone(key, row)));
    let writer = Writer {
        target: match into.replace {
            true => target,
            false => target.knowing(fields.iter().cloned()),
        },
        records: result.len(),
        dry_run: into.dry_run,
        again: "run the query",
    };
    writer.write(records).await
}

fn report(
    args: &Query,
    database: &Database,
    collection: &str,
    written: &Written,
) -> anyhow::Result<()> {
    let into = &args.into;
    let synced = into.peer.as_ref().filter(|_| !into.dry_run);
    if args.json {
        return output::json(&json!({
            "database": database.id().to_string(),
            "collection": collection,
            "inserted": written.inserted,
            "updated": written.updated,
            "unchanged": written.unchanged,
            "dry_run": into.dry_run,
            "synced": synced.is_some(),
        }));
    }
    let mut text = format!(
        "{collection}: {} inserted, {} updated, {} unchanged",
        written.inserted, written.updated, written.unchanged
    );
    if into.dry_run {
        text += " if it were not a dry run: nothing was written";
    }
    text += &format!("\ndatabase {}", database.id());
    if let Some(url) = synced {
        text += &format!(", in sync with {url}");
    }
    Ok(output::line(&text)?)
}

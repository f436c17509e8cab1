//! `headwater cat` and `headwater ls`

use super::data::DataArgs;
use super::output;
use anyhow::Context as _;
use headwater::json::{record_to_json, write_string};
use headwater::{Database, Record, Scan};
use serde_json::json;

/// How many records are read at once.
const PAGE: usize = 1000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater cat movies --database films --data ./mine
  headwater cat airports JFK --database films --data ./mine --json
  headwater cat airports --database ID --peer ws://127.0.0.1:3030 --limit 10")]
pub(super) struct Cat {
    /// The collection
    collection: String,

    /// Only the record of this key
    #[arg(conflicts_with_all = ["prefix", "limit"])]
    key: Option<String>,

    /// The database, by its id or its name in this folder
    #[arg(long, value_name = "ID|NAME")]
    database: String,

    /// Only records whose key begins so
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,

    /// At most so many records
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Print {"key": …, "record": {…}} on each line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    data: DataArgs,
}

pub(super) async fn cat(args: Cat) -> anyhow::Result<()> {
    let peer = args.data.open_existing().await?;
    let database = args.data.open_database(&peer, &args.database).await?;
    match &args.key {
        Some(key) => {
            let record = database.collection(&args.collection).get(key);
            let record = record.with_context(|| {
                format!("{:?} has no record with the key {key:?}", args.collection)
            })?;
            print(key, &record, args.json)?;
        }
        None => print_all(&args, &database)?,
    }
    Ok(peer.close().await?)
}

fn print_all(args: &Cat, database: &Database) -> anyhow::Result<()> {
    let known = database.collections();
    if !known.contains_key(&args.collection) {
        let names: Vec<_> = known.keys().map(|name| format!("{name:?}")).collect();
        let names = match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        let wanted = &args.collection;
        anyhow::bail!("the database has no collection {wanted:?}; its collections: {names}");
    }
    let collection = database.collection(&args.collection);
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut after = None;
    while left > 0 {
        let page = collection.scan(&Scan {
            prefix: args.prefix.clone(),
            after,
            limit: Some(left.min(PAGE)),
        });
        let Some((last, _)) = page.last() else {
            break;
        };
        left -= page.len();
        after = Some(last.clone());
        for (key, record) in &page {
            print(key, record, args.json)?;
        }
    }
    Ok(())
}

fn print(key: &str, record: &Record, json: bool) -> anyhow::Result<()> {
    let record = record_to_json(record);
    let mut line = String::new();
    match json {
        true => {
            line += "{\"key\":";
            write_string(&mut line, key);
            line += ",\"record\":";
            line += &record;
            line += "}";
        }
        false => {
            line += &output::printable(key);
            line += "\t";
            line += &record;
        }
    }
    Ok(output::line(&line)?)
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater ls --data ./mine
  headwater ls --data ./mine --database films --json")]
pub(super) struct Ls {
    /// List the collections of this database, by its id or its name, instead of the databases
    #[arg(long, value_name = "ID|NAME", required_unless_present = "data")]
    database: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    data: DataArgs,
}

pub(super) async fn ls(args: Ls) -> anyhow::Result<()> {
    let peer = args.data.open_existing().await?;
    match &args.database {
        Some(database) => {
            let database = args.data.open_database(&peer, database).await?;
            list_collections(&database, args.json)?;
        }
        None => {
            let databases = peer.databases().await?;
            if args.json {
                let all = databases.iter();
                let all: Vec<_> = all
                    .map(|info| json!({"database": info.id.to_string(), "names": info.names}))
                    .collect();
                output::json(&all)?;
            } else {
                let rows = databases.iter();
                let rows = rows.map(|info| [info.id.to_string(), info.names.join(", ")]);
                output::line(&output::table(["database", "names"], rows).to_string())?;
            }
        }
    }
    Ok(peer.close().await?)
}

fn list_collections(database: &Database, json: bool) -> anyhow::Result<()> {
    let collections = database.collections();
    let counted = collections.iter().map(|(name, collection)| {
        let records = database.collection(name).scan(&Scan::default()).len();
        (name, collection, records)
    });
    if json {
        let all: Vec<_> = counted
            .map(|(name, collection, records)| {
                let types = collection.fields.iter();
                let types: serde_json::Map<_, _> = types
                    .map(|(field, kind)| (field.clone(), kind.name().into()))
                    .collect();
                let policies = collection.policies.iter();
                let policies: serde_json::Map<_, _> = policies
                    .map(|(field, policy)| (field.clone(), policy.to_string().into()))
                    .collect();
                json!({
                    "collection": name,
                    "records": records,
                    "types": types,
                    "policies": policies,
                    "delete": collection.delete.name(),
                })
            })
            .collect();
        return output::json(&all);
    }
    let rows = counted.map(|(name, collection, records)| {
        let types = collection.fields.iter();
        let types: Vec<_> = types
            .map(|(field, kind)| format!("{field}={}", kind.name()))
            .collect();
        let policies = collection.policies.iter();
        let policies: Vec<_> = policies
            .map(|(field, policy)| format!("{field}={policy}"))
            .collect();
        [
            name.clone(),
            records.to_string(),
            types.join(", "),
            policies.join(", "),
            collection.delete.name().to_owned(),
        ]
    });
    let header = [
        "collection",
        "records",
        "declared types",
        "declared policies",
        "deletes",
    ];
    let table = output::table(header, rows);
    Ok(output::line(&table.to_string())?)
}

//! `headwater sync`

use super::data;
use super::output;
use super::reach::Reach;
use anyhow::bail;
use headwater::{Database, DatabaseId, Scan};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Everything in the folder:
    headwater sync ws://127.0.0.1:3030 --data ./mine
  Get a database that someone shared, and call it films here:
    headwater sync ws://127.0.0.1:3030 --data ./mine --database ID --name films")]
pub(super) struct Sync {
    /// The server
    url: String,

    /// The folder that keeps the data; created if needed
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Only this database, by its id or its name in this folder
    #[arg(long, value_name = "ID|NAME")]
    database: Option<String>,

    /// Let this name stand for the database in this folder
    #[arg(long, value_name = "NAME", requires = "database")]
    name: Option<String>,

    #[command(flatten)]
    reach: Reach,

    /// How long it may take for each database, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Sync) -> anyhow::Result<()> {
    let peer = data::open_peer(Some(&args.data), data::ORIGIN).await?;
    let databases = match &args.database {
        Some(database) => vec![match database.parse::<DatabaseId>() {
            Ok(id) => peer.open_database(id).await?,
            Err(_) => peer.open_named(database).await?,
        }],
        None => {
            let mut all = Vec::new();
            for info in peer.databases().await? {
                all.push(peer.open_database(info.id).await?);
            }
            all
        }
    };
    if databases.is_empty() {
        bail!(
            "there is no database in {}; name one with --database ID",
            args.data.display()
        );
    }
    let mut results = Vec::new();
    for database in &databases {
        if let Some(name) = &args.name {
            peer.set_name(name, database.id()).await?;
        }
        database.connect(args.reach.server(&args.url)?)?;
        data::synced(database, &args.url, Duration::from_secs(args.timeout)).await?;
        results.push((database.id(), records(database)));
    }
    if args.json {
        let results = results.iter();
        let results: Vec<_> = results
            .map(|(id, records)| json!({"database": id.to_string(), "records": records}))
            .collect();
        output::json(&results)?;
    } else {
        for (id, records) in results {
            output::line(&format!("{id}: in sync, {records} records"))?;
        }
    }
    Ok(peer.close().await?)
}

fn records(database: &Database) -> usize {
    let collections = database.collections();
    let counts = collections
        .keys()
        .map(|name| database.collection(name).scan(&Scan::default()).len());
    counts.sum()
}

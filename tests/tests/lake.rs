//! What the lake of a running server shows, and when.

use anyhow::{Context as _, ensure};
use headwater::{
    CollectionSchema, Database, DeleteRule, Edit, Link, Options, Patch, Peer, Record, Value,
};
use headwater_tests::{ServerProcess, eventually, lake};
use std::path::Path;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

fn record(n: i64) -> Record {
    Record::from([("n".to_owned(), Value::Int(n))])
}

async fn connected(server: &ServerProcess, db: &Database) -> anyhow::Result<Link> {
    let link = db.connect(server.url())?;
    db.synced(LIMIT).await?;
    Ok(link)
}

/// The number in a record's row.
fn published(root: &Path, key: &str) -> anyhow::Result<Option<i64>> {
    let tables = lake::read(root)?;
    let row = tables.get("notes").and_then(|rows| rows.get(key));
    Ok(row.and_then(|row| row["n"].as_i64()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_published_within_a_second() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
    let writer = Peer::open(Options::memory()).await?;
    let db = writer.create(None).await?;
    let notes = db.collection("notes");
    let many = (0..10_000).map(|n| (format!("k{n}"), record(n)));
    notes.put_many(many).await?;
    connected(&server, &db).await?;
    let root = folder.path().join("lake");
    let row = || published(&root, "k9999").ok().flatten();
    eventually("the table is published", LIMIT, row).await?;

    let mut lags = Vec::new();
    for n in 0..9 {
        notes.put("k77", record(-n)).await?;
        let changed = Instant::now();
        let row = || {
            published(&root, "k77")
                .ok()
                .flatten()
                .filter(|found| *found == -n)
        };
        eventually("the change is published", LIMIT, row).await?;
        lags.push(changed.elapsed());
    }
    lags.sort();
    println!("from the write to the table of 10,000 rows: {lags:?}");
    ensure!(lags[lags.len() / 2] < Duration::from_secs(1), "{lags:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_rule_that_changes_shows_and_hides_rows() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
    let (a, b) = (
        Peer::open(Options::memory()).await?,
        Peer::open(Options::memory()).await?,
    );
    let db = a.create(None).await?;
    let copy = b.open_database(db.id()).await?;
    db.collection("notes").put("k", record(1)).await?;
    let link = connected(&server, &db).await?;
    connected(&server, &copy).await?;
    copy.collection("notes")
        .get("k")
        .context("B has no record")?;
    link.close();
    let offline = || (!db.sync_state().connected()).then_some(());
    eventually("A is offline", LIMIT, offline).await?;
    db.collection("notes").delete("k").await?;
    let edit = Patch::from([("n".to_owned(), Edit::Set(Value::Int(2)))]);
    copy.collection("notes").patch("k", edit).await?;
    copy.synced(LIMIT).await?;
    connected(&server, &db).await?;

    let root = folder.path().join("lake");
    let shows = |expected: Option<i64>| {
        let root = root.clone();
        move || {
            published(&root, "k")
                .ok()
                .filter(|found| *found == expected)
        }
    };
    eventually("the edit outlives the delete", LIMIT, shows(Some(2))).await?;
    for (rule, row) in [
        (DeleteRule::DeleteWins, None),
        (DeleteRule::EditWins, Some(2)),
    ] {
        db.declare("notes", CollectionSchema::new().delete(rule))
            .await?;
        eventually("the table follows the rule", LIMIT, shows(row)).await?;
    }
    Ok(())
}

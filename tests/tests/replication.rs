//! Native peers and real server processes.

use headwater::{CollectionSchema, Database, Edit, Options, Patch, Peer, Record, Scan, Value};
use headwater_tests::{ServerProcess, eventually};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn record(n: i64) -> Record {
    Record::from([("n".to_owned(), Value::Int(n))])
}

fn increment(n: i64) -> Patch {
    Patch::from([("count".to_owned(), Edit::Increment(n))])
}

async fn same(a: &Database, b: &Database) -> anyhow::Result<()> {
    eventually("both have the same", LIMIT, || {
        (a.to_json() == b.to_json()).then_some(())
    })
    .await
}

async fn peer() -> anyhow::Result<Peer> {
    Ok(Peer::open(Options::memory()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_peers_edit_offline_is_merged_by_a_server() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (a, b) = (peer().await?, peer().await?);
    let here = a.create(Some("notes")).await?;
    let there = b.open_database(here.id()).await?;
    here.collection("notes").put("a", record(1)).await?;
    there.collection("notes").put("b", record(2)).await?;
    assert!(here.unsynced() > 0);
    let server = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
    here.connect(server.url())?;
    there.connect(server.url())?;
    here.synced(LIMIT).await?;
    there.synced(LIMIT).await?;
    same(&here, &there).await?;
    assert_eq!(here.collection("notes").scan(&Scan::default()).len(), 2);
    assert_eq!((here.unsynced(), there.unsynced()), (0, 0));
    // A third one that has only the id gets everything.
    let c = peer().await?;
    let third = c.open_database(here.id()).await?;
    third.connect(server.url())?;
    third.synced(LIMIT).await?;
    assert_eq!(third.to_json(), here.to_json());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn linked_servers_carry_edits_both_ways_and_over_restarts() -> anyhow::Result<()> {
    let (folder_a, folder_b) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server_a = ServerProcess::start(folder_a.path(), "127.0.0.1:0", &[])?;
    let link = server_a.url();
    let server_b = ServerProcess::start(folder_b.path(), "127.0.0.1:0", &["--peer", &link])?;
    let (a, b) = (peer().await?, peer().await?);
    let here = a.create(None).await?;
    let there = b.open_database(here.id()).await?;
    here.connect(server_a.url())?;
    there.connect(server_b.url())?;
    let counter = Record::from([("count".to_owned(), Value::Counter(0))]);
    here.collection("notes").put("c", counter).await?;
    same(&here, &there).await?;
    // Server A dies; both sides go on, and it comes back at the same address.
    let address = server_a.address.clone();
    server_a.kill()?;
    here.collection("notes").patch("c", increment(2)).await?;
    there.collection("notes").patch("c", increment(3)).await?;
    let _server_a = ServerProcess::start(folder_a.path(), &address, &[])?;
    same(&here, &there).await?;
    let merged = here.collection("notes").get("c");
    let merged = merged.and_then(|record| record.get("count").cloned());
    assert_eq!(merged, Some(Value::Counter(5)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_load_has_every_edit_whose_heads_it_returned() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let writer = peer().await?;
    let db = writer.create(None).await?;
    // In one document edits are acknowledged in their order.
    let schema = CollectionSchema::new().partitions(1);
    db.declare("notes", schema).await?;
    let notes = db.collection("notes");
    let mut address = "127.0.0.1:0".to_owned();
    let mut link = None;
    let mut next = 0;
    for round in 0..30 {
        let server = ServerProcess::start(folder.path(), &address, &[])?;
        address.clone_from(&server.address);
        match &link {
            None => link = Some(db.connect(server.url())?),
            Some(link) => link.retry_now(),
        }
        // The kill meets some edits on their way. A writer that does not wait is faster than any
        // server that stores what it acknowledges.
        let enough = next + 100;
        let acknowledged = loop {
            match db.unsynced() {
                unsynced @ 1..20 if next >= enough => break i64::try_from(unsynced)?,
                0..20 => {
                    notes.put(&format!("k{next}"), record(next)).await?;
                    next += 1;
                }
                _ => tokio::task::yield_now().await,
            }
        };
        server.kill()?;
        // The declaration of the collection is an edit too, but the first that was acknowledged.
        let safe = next - acknowledged;
        let check = Peer::open(Options::folder(folder.path().join("data"))).await?;
        let stored = check.open_database(db.id()).await?;
        let stored_notes = stored.collection("notes");
        for n in 0..safe {
            let found = stored_notes.get(&format!("k{n}"));
            assert_eq!(
                found,
                Some(record(n)),
                "round {round}: edit {n} of {next}, {safe} acknowledged"
            );
        }
        check.close().await?;
    }
    Ok(())
}

/// They were one change for each document, larger than any message may be, and never left.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_put_together_arrive_however_large_they_are() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
    let (a, b) = (peer().await?, peer().await?);
    let here = a.create(None).await?;
    let there = b.open_database(here.id()).await?;
    here.declare("blobs", CollectionSchema::new().partitions(1))
        .await?;
    let mut state = 1_u64;
    let mut blob = |_| {
        // Bytes that do not compress.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let records: Vec<_> = (0..40)
        .map(|n| {
            let bytes = Value::Bytes((0..1 << 19).map(&mut blob).collect());
            (format!("k{n}"), Record::from([("blob".to_owned(), bytes)]))
        })
        .collect();
    here.collection("blobs").put_many(records).await?;
    // A text is an operation for each character, of which a change has a million at most.
    here.declare("texts", CollectionSchema::new().partitions(1))
        .await?;
    let text = Record::from([("text".to_owned(), Value::Text("word ".repeat(600)))]);
    let records = (0..400).map(|n| (format!("k{n}"), text.clone()));
    here.collection("texts").put_many(records).await?;
    here.connect(server.url())?;
    there.connect(server.url())?;
    here.synced(LIMIT).await?;
    same(&here, &there).await
}

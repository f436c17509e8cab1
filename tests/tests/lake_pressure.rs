//! A lake that is slower than the writers.

use anyhow::{Context as _, ensure};
use headwater::{Options, Peer, Record, Value};
use headwater_tests::{ServerProcess, eventually, lake};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Above the 64 MiB that may wait for the lake.
const RECORDS: usize = 1_500;
const BYTES: usize = 64 << 10;

/// What does not compress, and is another for each record.
fn text(n: usize) -> String {
    let mut state = n as u64 | 1 << 40;
    let mut text = String::with_capacity(BYTES);
    while text.len() < BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_lake_is_published_before_its_time_when_it_is_much() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("server.toml");
    std::fs::write(&config, "[lake]\npublish_interval_ms = 3600000\n")?;
    let config = config.to_str().context("a path in Unicode")?;
    let mut server = ServerProcess::start(folder.path(), "127.0.0.1:0", &["--config", config])?;
    let peer = Peer::open(Options::memory()).await?;
    let db = peer.create(None).await?;
    db.connect(server.url())?;
    for n in 0..RECORDS {
        let record = Record::from([("text".to_owned(), Value::from(text(n)))]);
        db.collection("notes").put(&format!("k{n}"), record).await?;
    }
    db.synced(LIMIT).await?;
    let published = || {
        let (_, health) = server.health().ok()?;
        (health["lake_publications"].as_u64()? > 0).then(|| health["lake_pending"].as_u64())?
    };
    let waiting = eventually(
        "some is published before the hour is over",
        LIMIT,
        published,
    )
    .await?;
    ensure!(
        (waiting as usize) < (64 << 20) / BYTES + 100,
        "{waiting} rows wait"
    );

    // The rest follows when the server stops.
    server.signal("TERM")?;
    ensure!(server.ended(LIMIT).await?.success());
    let rows = lake::read(&folder.path().join("lake"))?["notes"].len();
    ensure!(rows == RECORDS, "{rows} rows");
    Ok(())
}

//! A server that is killed again and again while it publishes.

use anyhow::{Context as _, ensure};
use headwater::{CollectionSchema, Database, Options, Peer, Record, Value};
use headwater_tests::{ServerProcess, eventually, lake, post_json};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

/// So many records are written as one change: with their texts they are several parts.
const ROWS: usize = 200;

/// How many rounds, unless `HEADWATER_KILL_ROUNDS` says otherwise.
const ROUNDS: u64 = 20;

/// How far the writer may be ahead of the server, in edits.
const AHEAD: u64 = 8;

type Rows = BTreeMap<String, Json>;

/// Writes the same number into all records at once, again and again, and lets one record come and go.
struct Writer {
    db: Database,
    paused: AtomicBool,
    resting: AtomicBool,
    ended: AtomicBool,
}

impl Writer {
    async fn write(&self, n: i64) -> anyhow::Result<()> {
        let notes = self.db.collection("notes");
        let record = |key: usize| {
            let text = format!("{key:04}").repeat(1_000);
            let fields = [("n", Value::Int(n)), ("text", text.into())];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            (format!("k{key:04}"), Record::from(fields))
        };
        notes.put_many((0..ROWS).map(record)).await?;
        match notes.get("blink") {
            Some(_) => notes.delete("blink").await?,
            None => {
                notes
                    .put("blink", Record::from([("n".to_owned(), n.into())]))
                    .await?
            }
        };
        Ok(())
    }

    async fn run(self: Arc<Self>) -> anyhow::Result<()> {
        let mut n = 0;
        while !self.ended.load(Ordering::SeqCst) {
            let paused = self.paused.load(Ordering::SeqCst);
            self.resting.store(paused, Ordering::SeqCst);
            if paused || self.db.unsynced() > AHEAD {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            n += 1;
            self.write(n).await?;
        }
        Ok(())
    }

    async fn pause(&self) -> anyhow::Result<()> {
        self.resting.store(false, Ordering::SeqCst);
        self.paused.store(true, Ordering::SeqCst);
        let rests = || self.resting.load(Ordering::SeqCst).then_some(());
        eventually("the writer rests", LIMIT, rests).await?;
        Ok(self.db.synced(LIMIT).await?)
    }

    fn go_on(&self) {
        self.paused.store(false, Ordering::SeqCst);
    }

    /// The number of each record.
    fn numbers(&self) -> BTreeMap<String, i64> {
        let all = self.db.collection("notes").scan(&Default::default());
        all.into_iter()
            .filter_map(|(key, record)| Some((key, record.get("n")?.as_int()?)))
            .collect()
    }
}

fn numbers(rows: &Rows) -> BTreeMap<String, i64> {
    rows.iter()
        .filter_map(|(key, row)| Some((key.clone(), row["n"].as_i64()?)))
        .collect()
}

/// The number that all records show: whatever is published is the state after one change.
fn one_state(root: &Path) -> anyhow::Result<i64> {
    let mut numbers = numbers(&lake::read_table(root, "notes")?.context("no table")?);
    numbers.remove("blink");
    let first = *numbers.values().next().context("no rows")?;
    ensure!(numbers.len() == ROWS, "{} rows", numbers.len());
    ensure!(
        numbers.values().all(|n| *n == first),
        "a mixture: {numbers:?}"
    );
    Ok(first)
}

/// What is told of a table, and by whom: also of what was written while the server was down.
fn check_feed(then: &Rows, root: &Path) -> anyhow::Result<()> {
    let tables = lake::read(root)?;
    let events = tables.get("notes_changes").context("no feed")?;
    lake::follow_feed(then, events, &tables["notes"])?;
    for event in events.values() {
        let by = ["_user", "_origin"].map(|column| event[column].as_str());
        ensure!(by == [Some("ada"), Some("kill-test")], "{event}");
        ensure!(
            event["_actor"].is_string() && event["_change"].is_string(),
            "{event}"
        );
    }
    Ok(())
}

/// Waits until the table shows what the writer has.
async fn caught_up(writer: &Writer, root: &Path) -> anyhow::Result<()> {
    let expected = writer.numbers();
    let shows = || {
        let rows = lake::read_table(root, "notes").ok()??;
        (numbers(&rows) == expected).then_some(())
    };
    eventually("the table shows what was written", LIMIT, shows).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_publications_shows_one_state_and_tells_every_change_once()
-> anyhow::Result<()> {
    let rounds = std::env::var("HEADWATER_KILL_ROUNDS").ok();
    let rounds = rounds.map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("server.toml");
    std::fs::write(
        &config,
        // On a busy disk a read of the table took 2.7 s.
        "[lake]\npublish_interval_ms = 1\nkeep_snapshots_s = 10\n",
    )?;
    let config = config.to_str().context("a path in Unicode")?;
    let extra = ["--config", config];
    let root = folder.path().join("lake");
    let mut server = ServerProcess::start(folder.path(), "127.0.0.1:0", &extra)?;
    let address = server.address.clone();

    let options = Options::memory().user("ada").origin("kill-test");
    let peer = Peer::open(options).await?;
    let db = peer.create(None).await?;
    db.declare("notes", CollectionSchema::new().partitions(1))
        .await?;
    let writer = Arc::new(Writer {
        db,
        paused: AtomicBool::new(true),
        resting: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    });
    writer.write(0).await?;
    let link = writer.db.connect(server.url())?;
    writer.db.synced(LIMIT).await?;
    caught_up(&writer, &root).await?;
    let then = lake::read_table(&root, "notes")?.context("no table")?;
    let running = tokio::spawn(Arc::clone(&writer).run());

    for round in 0..rounds {
        writer.go_on();
        let begun = Instant::now();
        let before = one_state(&root)
            .with_context(|| format!("round {round}, after {:?}", begun.elapsed()))?;
        let publishes = || {
            one_state(&root)
                .ok()
                .filter(|n| *n > before + (round % 4) as i64)
        };
        eventually("more is published", LIMIT, publishes).await?;
        // At another moment of a publication each time.
        tokio::time::sleep(Duration::from_micros(round.wrapping_mul(7_919) % 30_000)).await;
        server.kill()?;
        let left = one_state(&root).with_context(|| format!("round {round}"))?;
        ensure!(
            left >= before,
            "round {round}: from {before} back to {left}"
        );

        server = ServerProcess::start(folder.path(), &address, &extra)?;
        link.retry_now();
        writer.pause().await?;
        caught_up(&writer, &root).await?;
        // The feed tells of all rounds, and grows with them.
        if round % 10 == 9 || round + 1 == rounds {
            let told = || check_feed(&then, &root).ok();
            if eventually("the feed tells all", LIMIT, told).await.is_err() {
                check_feed(&then, &root).with_context(|| format!("round {round}"))?;
            }
        }
    }
    writer.ended.store(true, Ordering::SeqCst);
    running.await??;
    let report = post_json(&format!("http://{}/lake/verify", server.address))?;
    ensure!(report["ok"] == true, "{report}");
    Ok(())
}

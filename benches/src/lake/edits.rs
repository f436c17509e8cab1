//! What a changed record costs, and how many edits the lake keeps up with.

use super::fixture::Fixture;
use super::host::Host;
use super::{Random, edited};
use crate::records::COLLECTION;
use crate::server::Programs;
use anyhow::{Context, Result, ensure};
use headwater::{Database, Peer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take to reach the server.
const LIMIT: Duration = Duration::from_secs(120);
/// Edits of one batch.
const BATCH: usize = 10;

/// A peer that has what the server has, and edits it.
pub struct Writer {
    /// Kept open.
    _peer: Peer,
    databases: Vec<Database>,
    /// What is written next, which no record has.
    next: i64,
}

impl Writer {
    /// Connects to all databases of the fixture.
    pub async fn connect(fixture: &Fixture, host: &Host) -> Result<Self> {
        let peer = fixture.peer().await?;
        let mut databases = Vec::new();
        for id in &fixture.ids {
            let database = peer.open_database(*id).await?;
            database.connect(format!("ws://{}", host.server.address()))?;
            database.synced(LIMIT).await?;
            databases.push(database);
        }
        Ok(Self {
            _peer: peer,
            databases,
            next: -1,
        })
    }

    /// Changes records of one database in one step; they are stored here, not on the server yet. Gives what was written.
    pub async fn edit(&mut self, database: usize, keys: &[usize]) -> Result<i64> {
        let value = self.next;
        self.next -= 1;
        let records = keys.iter().map(|n| edited(*n, value));
        let collection = self.databases[database].collection(COLLECTION);
        collection.put_many(records).await?;
        Ok(value)
    }

    /// Waits until the server has told that everything of a database is on its disk.
    pub async fn acknowledged(&self, database: usize) -> Result<()> {
        let mut state = self.databases[database].watch_sync_state();
        let done = state.wait_for(|state| state.unsynced == 0);
        tokio::time::timeout(LIMIT, done).await??;
        Ok(())
    }

    /// Waits so for all databases.
    pub async fn all_acknowledged(&self) -> Result<()> {
        for database in 0..self.databases.len() {
            self.acknowledged(database).await?;
        }
        Ok(())
    }
}

/// What one changed record cost, each time.
#[derive(Debug, Default)]
pub struct OneRecord {
    /// From the server's acknowledgement to the view that shows it, milliseconds.
    pub visible_ms: Vec<f64>,
    /// What the server says that it wrote for the tables, bytes.
    pub files_bytes: Vec<f64>,
    /// What the process had written in that time, bytes: also the document's change, the state, folders and views.
    pub process_bytes: Vec<f64>,
}

/// Changes one record anywhere in the table, again and again.
pub async fn one_record(
    fixture: &Fixture,
    programs: &Programs,
    samples: usize,
) -> Result<OneRecord> {
    let host = Host::start(fixture, programs, 0).await?;
    let mut writer = Writer::connect(fixture, &host).await?;
    let mut random = Random(1);
    let mut found = OneRecord::default();
    for sample in 0..samples + 3 {
        quiet(&host)?;
        let (shown, written) = (host.shown()?, host.written()?);
        let database = random.below(fixture.layout.databases);
        let key = random.below(fixture.layout.each);
        let (visible, acknowledged) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| host.replaced(shown));
            let edit = async {
                writer.edit(database, &[key]).await?;
                writer.acknowledged(database).await?;
                anyhow::Ok(Instant::now())
            };
            let acknowledged =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(edit));
            (watch.join(), acknowledged)
        });
        let visible = visible.ok().context("the watcher ended badly")??;
        quiet(&host)?;
        // The first few meet cold caches, and tables that were never changed.
        if sample >= 3 {
            let waited = visible.saturating_duration_since(acknowledged?);
            found.visible_ms.push(waited.as_secs_f64() * 1e3);
            let files = host.metric("headwater_lake_last_publication_bytes")?;
            found.files_bytes.push(files);
            found.process_bytes.push((host.written()? - written) as f64);
        }
    }
    Ok(found)
}

/// Waits until the server has published everything and the lake's thread is at rest.
fn quiet(host: &Host) -> Result<()> {
    let state = || -> Result<_> {
        Ok((
            host.metric("headwater_lake_publications_total")? as u64,
            host.metric("headwater_lake_lag_seconds")? == 0.0,
            host.shown()?,
        ))
    };
    let mut before = state()?;
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = state()?;
        if now == before && now.1 {
            return Ok(());
        }
        before = now;
    }
}

/// Which records are edited.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// Any, all as often.
    Uniform,
    /// In nine of ten batches those of the first hundredth of the table.
    Hot,
}

/// What became of edits that came at some rate.
#[derive(Debug, Clone, Copy)]
pub struct Sustained {
    /// Edits a second that were written.
    pub written: f64,
    /// The most that the lake was behind, by the server's `/metrics`, seconds.
    pub lag: f64,
    /// How long it took after the last edit until everything was acknowledged and published, seconds.
    pub rest: f64,
    /// Bytes that the server's process had written, for each edit.
    pub bytes: f64,
}

/// The seconds that the lake may be behind.
pub const MOST_LAG: f64 = 2.0;

impl Sustained {
    /// Whether the lake kept up with edits that were to come at this rate.
    pub fn keeps_up(&self, rate: usize) -> bool {
        self.written >= rate as f64 * 0.95 && self.lag < MOST_LAG && self.rest < MOST_LAG
    }
}

/// Writes batches of ten at a rate, each in one database, and looks how far the lake is behind.
pub async fn sustained(
    fixture: &Fixture,
    programs: &Programs,
    keys: Keys,
    rate: usize,
    duration: Duration,
) -> Result<Sustained> {
    let host = Host::start(fixture, programs, 1000).await?;
    let mut writer = Writer::connect(fixture, &host).await?;
    quiet(&host)?;
    let written = host.written()?;
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| most_lag(&host, &ended));
        let done = tokio::task::block_in_place(|| {
            let run = drive(&mut writer, fixture, keys, rate, duration);
            tokio::runtime::Handle::current().block_on(run)
        });
        let settled = done.and_then(|(edits, begun, last)| {
            quiet(&host)?;
            Ok((edits, begun, last, Instant::now()))
        });
        ended.store(true, Ordering::Relaxed);
        let lag = watch.join().ok().context("the watcher ended badly")??;
        let (edits, begun, last, end) = settled?;
        ensure!(edits > 0, "nothing was written");
        Ok(Sustained {
            written: edits as f64 / (last - begun).as_secs_f64(),
            lag,
            // It is quiet only when it was so for a moment.
            rest: ((end - last).as_secs_f64() - 0.1).max(0.0),
            bytes: (host.written()? - written) as f64 / edits as f64,
        })
    })
}

/// Writes, and gives how many edits there were, and when the first and the last was made.
async fn drive(
    writer: &mut Writer,
    fixture: &Fixture,
    keys: Keys,
    rate: usize,
    duration: Duration,
) -> Result<(usize, Instant, Instant)> {
    let mut random = Random(2);
    let begun = Instant::now();
    let every = Duration::from_secs_f64(BATCH as f64 / rate as f64);
    let (mut edits, mut due) = (0, begun);
    while begun.elapsed() < duration {
        tokio::time::sleep_until(due.into()).await;
        due += every;
        let hot = matches!(keys, Keys::Hot) && random.below(10) > 0;
        let database = match hot {
            true => 0,
            false => random.below(fixture.layout.databases),
        };
        let most = match hot {
            true => (fixture.layout.rows() / 100).min(fixture.layout.each),
            false => fixture.layout.each,
        };
        let keys: Vec<_> = (0..BATCH).map(|_| random.below(most)).collect();
        writer.edit(database, &keys).await?;
        edits += BATCH;
    }
    let last = Instant::now();
    writer.all_acknowledged().await?;
    Ok((edits, begun, last))
}

fn most_lag(host: &Host, ended: &AtomicBool) -> Result<f64> {
    let mut most = 0.0;
    while !ended.load(Ordering::Relaxed) {
        most = f64::max(most, host.metric("headwater_lake_lag_seconds")?);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(most)
}

//! A server with a lake, and what can be seen of it from outside.

use super::fixture::Fixture;
use crate::records::COLLECTION;
use crate::server::{CONFIG, Programs, Server, Target};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the lake may take for anything.
const LIMIT: Duration = Duration::from_secs(1800);

/// A running server over a fixture.
pub struct Host {
    /// The process.
    pub server: Server,
}

/// What a rebuild tells.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Rebuilt {
    /// Whether files and records agree.
    pub ok: bool,
    /// Records that were read.
    pub records: u64,
    /// All of it, in seconds.
    pub seconds: f64,
    /// Of these, for reading records out of documents.
    pub resolving_seconds: f64,
    /// Of these, for writing rows.
    pub writing_seconds: f64,
    /// Of these, for comparing the lake with the databases once it is made.
    pub verifying_seconds: f64,
}

impl Host {
    /// Starts a server that publishes after `interval_ms` at the earliest, and waits until its lake has everything.
    pub async fn start(fixture: &Fixture, programs: &Programs, interval_ms: u64) -> Result<Self> {
        let folder = TempDir::with_prefix_in("headwater-bench-", &programs.data)?;
        fixture.store(&folder.path().join("data")).await?;
        // The longest query runs for less than this, and a benchmark must not fill the disk with what it replaced.
        let config =
            format!("[lake]\npublish_interval_ms = {interval_ms}\nkeep_snapshots_s = 30\n");
        fs::write(folder.path().join(CONFIG), config)?;
        let host = Self {
            server: Server::start_in(Target::Headwater, programs, folder)?,
        };
        host.settled()?;
        Ok(host)
    }

    /// Waits until everything is published that the server has.
    pub fn settled(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let waits = self.metric("headwater_lake_pending_rows")?;
            if waits == 0.0 && self.view().exists() {
                return Ok(());
            }
            if begun.elapsed() > LIMIT {
                bail!(
                    "the lake is not done; the server said:\n{}",
                    self.server.log()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A figure of `/metrics`.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let url = format!("http://{}/metrics", self.server.address());
        let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line
            .with_context(|| format!("no {name} in /metrics"))?
            .parse()?)
    }

    /// Makes the lake anew.
    pub fn rebuild(&self) -> Result<Rebuilt> {
        let url = format!("http://{}/lake/rebuild", self.server.address());
        let rebuilt = ureq::post(&url).send_empty()?.body_mut().read_json();
        Ok(rebuilt?)
    }

    /// Where the tables are.
    pub fn lake(&self) -> PathBuf {
        self.server.folder().join("lake")
    }

    /// The view on the collection.
    pub fn view(&self) -> PathBuf {
        self.lake().join(format!("{COLLECTION}.view.drill"))
    }

    /// Which file the view is now: a publication puts another in its place.
    pub fn shown(&self) -> Result<(u64, i64)> {
        let metadata = fs::metadata(self.view())?;
        Ok((metadata.ino(), metadata.ctime_nsec()))
    }

    /// Waits until the view is another than `before`.
    pub fn replaced(&self, before: (u64, i64)) -> Result<Instant> {
        let begun = Instant::now();
        while self.shown()? == before {
            if begun.elapsed() > LIMIT {
                bail!(
                    "nothing is published; the server said:\n{}",
                    self.server.log()
                );
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(Instant::now())
    }

    /// Bytes that the process has had written to the disk so far: everything, also the documents themselves.
    pub fn written(&self) -> Result<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.server.process()))?;
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "));
        Ok(line.context("no write_bytes in /proc")?.parse()?)
    }

    /// Counts the peak of its memory from here.
    pub fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.server.process());
        fs::write(path, "5").context("the peak of the memory cannot be counted anew")
    }
}

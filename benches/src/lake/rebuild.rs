//! What it costs to make the lake anew, on one core.

use super::fixture::Fixture;
use super::host::{Host, Rebuilt};
use crate::server::Programs;
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

/// What a rebuild cost.
#[derive(Debug, Clone, Copy)]
pub struct Rebuild {
    /// Seconds until the server had opened its databases and listened.
    pub loading: f64,
    /// What the server told.
    pub rebuilt: Rebuilt,
    /// Memory with the databases open and nothing to do, MB.
    pub idle_mb: f64,
    /// The most while it rebuilt, MB.
    pub peak_mb: f64,
}

impl Rebuild {
    /// Seconds from starting the process to the whole lake, before it is verified.
    pub fn seconds(&self) -> f64 {
        self.loading + self.rebuilt.seconds - self.rebuilt.verifying_seconds
    }
}

/// Lets a server that has everything start again on one core, and rebuild.
pub async fn run(fixture: &Fixture, programs: &Programs) -> Result<Rebuild> {
    let mut host = Host::start(fixture, programs, 100).await?;
    let begun = Instant::now();
    host.server.restart(Some(0))?;
    let loading = begun.elapsed().as_secs_f64();
    let idle_mb = at_rest(&host)?;
    host.forget_peak()?;
    let rebuilt = host.rebuild()?;
    let peak_mb = host.server.usage().context("the server has ended")?.peak_mb;
    let rows = fixture.layout.rows() as u64;
    ensure!(
        rebuilt.ok && rebuilt.records == rows,
        "{} records were read of {rows}, or they differ from the lake",
        rebuilt.records
    );
    Ok(Rebuild {
        loading,
        rebuilt,
        idle_mb,
        peak_mb,
    })
}

/// Its memory once it has used no time for a second.
fn at_rest(host: &Host) -> Result<f64> {
    let usage = || host.server.usage().context("the server has ended");
    let mut before = usage()?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = usage()?;
        if now.cpu - before.cpu <= Duration::from_millis(20) {
            return Ok(now.resident_mb);
        }
        before = now;
    }
}

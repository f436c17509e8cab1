//! On what the figures were measured.

use anyhow::Result;
use serde::Serialize;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The machine, as far as `/proc` tells.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many cores this process may use. The server and the load generator share them.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The file system under the servers' data folders: device and type.
    pub disk: String,
    /// Median time to append 256 bytes there and make them durable, milliseconds.
    pub fdatasync_ms: f64,
    /// Running and waiting processes over the last minute, before the benchmark began. Above 0.5 the figures are noisy.
    pub load: String,
}

impl Machine {
    /// Describes this machine, with the disk that holds `data`.
    pub fn describe(data: &Path) -> Result<Self> {
        let unknown = || "unknown".to_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo
            .lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").ok();
        Ok(Self {
            processor: processor.map_or_else(unknown, |(_, name)| name.to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            disk: disk(&data.canonicalize()?).unwrap_or_else(unknown),
            fdatasync_ms: fdatasync(data)?.as_secs_f64() * 1000.0,
            load: load
                .and_then(|text| text.split(' ').next().map(str::to_owned))
                .unwrap_or_else(unknown),
        })
    }
}

fn disk(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let holds = |line: &str| {
        let mut fields = line.split(' ');
        let (device, folder, kind) = (fields.next()?, fields.next()?, fields.next()?);
        path.starts_with(folder)
            .then(|| (folder.len(), format!("{device} ({kind})")))
    };
    mounts
        .lines()
        .filter_map(holds)
        .max_by_key(|(length, _)| *length)
        .map(|(_, disk)| disk)
}

fn fdatasync(folder: &Path) -> Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::new();
    for _ in 0..101 {
        let start = Instant::now();
        file.write_all(&[0x5a; 256])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

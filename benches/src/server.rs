//! The servers under test, each a process of its own with an empty data folder.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to open what it holds.
const START: Duration = Duration::from_secs(600);
/// The configuration in a server's folder, if it has one.
pub const CONFIG: &str = "headwater.toml";

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// `headwater serve`, which acknowledges what is on disk.
    Headwater,
    /// samod 0.16 with its file storage, which acknowledges what is in memory.
    Samod,
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The `headwater` binary.
    pub headwater: PathBuf,
    /// The `samod-server` binary of this crate.
    pub samod: PathBuf,
    /// In which folder each server gets its temporary data folder.
    pub data: PathBuf,
}

/// A running server. Dropping it ends the process and removes its folder.
pub struct Server {
    child: Child,
    command: Command,
    address: SocketAddr,
    folder: TempDir,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Resident memory, MB (1,000,000 bytes).
    pub resident_mb: f64,
    /// The most it ever was.
    pub peak_mb: f64,
}

impl Target {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Headwater => "headwater",
            Self::Samod => "samod 0.16",
        }
    }

    fn command(self, programs: &Programs, listen: SocketAddr, folder: &TempDir) -> Command {
        let (program, data) = match self {
            Self::Headwater => (&programs.headwater, folder.path().join("data")),
            Self::Samod => (&programs.samod, folder.path().join("data")),
        };
        let mut command = Command::new(program);
        if self == Self::Headwater {
            command
                .arg("serve")
                .arg("--allow-plain")
                .arg("--lake")
                .arg(folder.path().join("lake"));
            let config = folder.path().join(CONFIG);
            if config.is_file() {
                command.arg("--config").arg(config);
            }
        }
        command
            .arg("--listen")
            .arg(listen.to_string())
            .arg("--data")
            .arg(data);
        command
    }
}

impl Server {
    /// Starts a server on a free port and waits until it accepts connections.
    pub fn start(target: Target, programs: &Programs) -> Result<Self> {
        let folder =
            TempDir::with_prefix_in("headwater-bench-", &programs.data).with_context(|| {
                format!(
                    "{} must be a folder that can be written",
                    programs.data.display()
                )
            })?;
        Self::start_in(target, programs, folder)
    }

    /// As [`Self::start`], in a folder whose `data` may hold a store already.
    pub fn start_in(target: Target, programs: &Programs, folder: TempDir) -> Result<Self> {
        let address = free_address()?;
        let command = target.command(programs, address, &folder);
        let mut server = Self {
            child: spawn(&command, None, &folder)?,
            command,
            address,
            folder,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Kills the process and starts another in its place, on one core if `core` names one; waits until it accepts connections.
    pub fn restart(&mut self, core: Option<usize>) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(&self.command, core, &self.folder)?;
        self.wait_until_ready()
    }

    /// The process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its folder, which holds `data` and `lake`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where stock automerge-repo clients connect.
    pub fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the process has used so far; nothing once it has ended, or where there is no `/proc`.
    pub fn usage(&self) -> Option<Usage> {
        usage_of(self.child.id())
    }

    /// What the server wrote to its log, its last lines.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let limit = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended with {status} before it listened; it said:\n{}",
                    self.log()
                );
            }
            if Instant::now() > limit {
                bail!(
                    "the server does not listen on {} after {} s; it said:\n{}",
                    self.address,
                    START.as_secs(),
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a process; on a core of this number alone, if there is one.
fn spawn(command: &Command, core: Option<usize>, folder: &TempDir) -> Result<Child> {
    let mut pinned = Command::new("taskset");
    let mut started = match core {
        Some(core) => {
            pinned
                .args(["--cpu-list", &core.to_string()])
                .arg(command.get_program());
            pinned
        }
        None => Command::new(command.get_program()),
    };
    let log = File::create(folder.path().join("log"))?;
    started
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {started:?}; build it first, or say where it is"))
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn usage_of(process: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold spaces, so the fields are counted from the parenthesis that ends it; they are the 14th and 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let megabytes = |name: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0 / 1e6)
    };
    Some(Usage {
        // Linux counts them in hundredths of a second for every program, whatever its own tick is.
        cpu: Duration::from_millis(ticks * 10),
        resident_mb: megabytes("VmRSS:")?,
        peak_mb: megabytes("VmHWM:")?,
    })
}

//! What the whole-system tests share: real servers as processes, and waiting for what they do.

use anyhow::{Context as _, bail};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A `headwater serve` process. It is killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    /// Where it listens, as `HOST:PORT`.
    pub address: String,
}

/// The `headwater` binary that was built with the tests.
pub fn binary() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let deps = test.parent().context("the test is in no folder")?;
    let binary = deps.parent().unwrap_or(deps).join("headwater");
    if !binary.exists() {
        bail!(
            "{} is not there: run `cargo build -p headwater-server`",
            binary.display()
        );
    }
    Ok(binary)
}

impl ServerProcess {
    /// Starts a server on folders below `folder`; `listen` may have port 0.
    pub fn start(folder: &Path, listen: &str, extra: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(binary()?)
            .args(["serve", "--listen", listen, "--data"])
            .arg(folder.join("data"))
            .arg("--lake")
            .arg(folder.join("lake"))
            .args(extra)
            .env("HEADWATER_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let started: serde_json::Value =
            serde_json::from_str(&line).context("the server did not start")?;
        let address = started["listening"].as_str().context("no address")?;
        Ok(Self {
            child,
            address: address.to_owned(),
        })
    }

    /// Where clients sync.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Kills it with SIGKILL, as a crash would.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done` gives something, and fails if that takes longer than `limit`.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = done() {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("not within {} s: {what}", limit.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

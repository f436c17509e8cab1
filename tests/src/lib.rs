//! What the whole-system tests share: real servers as processes, and waiting for what they do.

pub mod gate;
pub mod lake;
pub mod mount;
pub mod socket;

use anyhow::{Context as _, bail};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
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
        Self::start_in(&folder.join("data"), &folder.join("lake"), listen, extra)
    }

    /// Starts a server on these folders.
    pub fn start_in(
        data: &Path,
        lake: &Path,
        listen: &str,
        extra: &[&str],
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(binary()?)
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .arg("--lake")
            .arg(lake)
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

    /// What `GET /healthz` answers: the status code and the JSON.
    pub fn health(&self) -> anyhow::Result<(u16, serde_json::Value)> {
        get_json(&format!("http://{}/healthz", self.address))
    }

    /// How many bytes of memory it uses.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        let kilobytes: u64 = kilobytes.context("no VmRSS: the process ended")?.parse()?;
        Ok(kilobytes << 10)
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status()?;
        if !sent.success() {
            bail!("SIG{name} could not be sent to process {pid}: {sent}");
        }
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        eventually("the server has ended", limit, || {
            self.child.try_wait().ok()?
        })
        .await
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait()?)
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

/// The status code and the JSON that a server answers to a GET, whatever the code.
pub fn get_json(url: &str) -> anyhow::Result<(u16, serde_json::Value)> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .new_agent();
    let mut answer = agent.get(url).call()?;
    let code = answer.status().as_u16();
    Ok((code, answer.body_mut().read_json()?))
}

/// The JSON that a server answers to a POST without a body.
pub fn post_json(url: &str) -> anyhow::Result<serde_json::Value> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(300)))
        .build()
        .new_agent();
    Ok(agent.post(url).send_empty()?.body_mut().read_json()?)
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

//! `headwater drill start` as a process, and its end.

use crate::command::{HEADWATER, ok, words};
use crate::source::RawRow;
use serde::Deserialize;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything but a start may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A `headwater drill start`. It is killed at the end of the test, which must end the Drillbit too.
pub struct Drill {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// What `headwater query --json` prints.
#[derive(Deserialize)]
pub struct Answer {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each value as Drill sent it.
    pub rows: Vec<RawRow>,
    /// Whether there are more.
    pub truncated: bool,
}

/// A column of an [`Answer`].
#[derive(Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Drill's type.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Drill {
    /// Begins to start one over `lake` in `folder`, on free ports. Its temporary files are in `temporary` there.
    pub fn start(folder: &Path, extra: &str) -> Self {
        let temporary = folder.join("temporary");
        fs::create_dir_all(&temporary).expect("a folder");
        let line = format!("drill start --lake lake --port 0 --user-port 0 --bit-port 0 {extra}");
        let mut child = Command::new(HEADWATER)
            .current_dir(folder)
            .args(words(&line))
            .env_remove("HEADWATER_LOG")
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdout }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "it ended after {line:?}");
        line
    }

    /// The Java process that it started, as soon as there is one.
    pub fn java(&self) -> u32 {
        let id = self.child.id();
        let children = format!("/proc/{id}/task/{id}/children");
        until("it starts Java", || {
            let children = fs::read_to_string(&children).expect("a running process");
            let mut children = children.split_whitespace();
            children.find_map(|id| {
                let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
                // Before, it asks Java for its version.
                let drillbit = String::from_utf8_lossy(&line).contains("EmbeddedDrillbit");
                drillbit.then(|| id.parse().expect("a number"))
            })
        })
    }

    /// Sends a signal, such as `TERM`, to it alone; it and the Java process `java` must end.
    pub fn end(mut self, signal: &str, java: u32) -> ExitStatus {
        send(signal, self.child.id());
        let status = until("it ends", || self.child.try_wait().expect("a child"));
        if !within(LIMIT, || !runs(java)) {
            send("KILL", java);
            panic!("after {signal}, Java {java} was still there {LIMIT:?} later");
        }
        status
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a Drillbit answers, by way of `headwater query`.
pub fn query(folder: &Path, url: &str, sql: &str) -> Answer {
    let printed = ok(folder, &format!("query \"{sql}\" --url {url} --json"));
    serde_json::from_str(&printed).expect("an answer")
}

fn send(signal: &str, process: u32) {
    let sent = Command::new("kill")
        .args(["-s", signal, &process.to_string()])
        .status();
    assert!(sent.expect("a `kill` program").success());
}

/// Whether a process runs. One that has ended may stay in the list until its parent, whoever that is, takes note.
fn runs(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// Waits until `done` gives something.
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let mut value = None;
    let mut look = || {
        value = done();
        value.is_some()
    };
    assert!(within(LIMIT, &mut look), "not within {LIMIT:?}: {what}");
    value.expect("it was just there")
}

/// Whether something holds before `limit` is over.
fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

/// The addresses that `drill start --json` prints.
#[derive(Deserialize)]
pub struct Started {
    /// Where it answers.
    pub url: String,
    /// For JDBC clients.
    pub jdbc: String,
    /// Its log.
    pub log: PathBuf,
    /// The Java process.
    pub pid: u32,
}

//! The `headwater` command, run as its users run it.

use serde_json::Value as Json;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The program.
pub const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater");

/// The words of a command line; what is in double quotes is one word.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').enumerate().flat_map(|(n, piece)| {
        let quoted = (n % 2 == 1).then_some(piece);
        let bare = if n % 2 == 0 { piece } else { "" };
        quoted.into_iter().chain(bare.split_whitespace())
    })
}

/// Runs `headwater` in `folder` with the words of `line`.
pub fn run(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(HEADWATER);
    command.current_dir(folder).args(words(line));
    command
        .env_remove("HEADWATER_LOG")
        .output()
        .expect("started")
}

fn text(output: Vec<u8>) -> String {
    String::from_utf8(output).expect("UTF-8")
}

/// What `headwater` prints, run in `folder` with the words of `line`.
#[track_caller]
pub fn ok(folder: &Path, line: &str) -> String {
    let output = run(folder, line);
    assert!(output.status.success(), "{line}: {}", text(output.stderr));
    text(output.stdout)
}

/// The same of a command that prints JSON.
#[track_caller]
pub fn ok_json(folder: &Path, line: &str) -> Json {
    serde_json::from_str(&ok(folder, line)).expect("one line of JSON")
}

/// What is said on standard error by a command that fails with `code`.
#[track_caller]
pub fn fails(folder: &Path, code: i32, line: &str) -> String {
    let output = run(folder, line);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(text(output.stdout), "", "{line}");
    text(output.stderr)
}

/// A server on the folders `server` and `lake`. It is killed at the end of the test.
pub struct Server {
    child: Child,
    /// Where clients sync.
    pub url: String,
}

impl Server {
    /// Starts one on folders in `folder`, on a free port.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, "")
    }

    /// The same with more words on its command line.
    pub fn start_with(folder: &Path, more: &str) -> Self {
        let mut child = Command::new(HEADWATER)
            .current_dir(folder)
            .args(words(
                "serve --listen 127.0.0.1:0 --data server --lake lake",
            ))
            .args(words(more))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("a line");
        let listening: Json = serde_json::from_str(&line).expect("JSON");
        let address = listening["listening"].as_str().expect("an address");
        let url = format!("ws://{address}");
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

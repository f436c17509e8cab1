//! A person in a real browser, who edits what the server's tables show.

use super::fixture::Fixture;
use super::host::Host;
use crate::records::{COLLECTION, key};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const EDITOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/editor.mjs");

/// A page that has the first database of a fixture in its IndexedDB. Dropped, it is closed.
pub struct Editor {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What is written next, which no record has.
    next: i64,
}

impl Editor {
    /// Opens the page, and waits until it has what the server has.
    pub fn open(fixture: &Fixture, host: &Host) -> Result<Self> {
        let database = fixture.ids.first().context("no database")?;
        let mut process = Command::new("node")
            .arg(EDITOR)
            .arg(format!("ws://{}", host.server.address()))
            .args([&database.to_string(), COLLECTION, "best"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("`node` cannot be run")?;
        let input = process.stdin.take();
        let output = process.stdout.take().context("no output")?;
        let mut editor = Self {
            process,
            input,
            output: BufReader::new(output),
            next: -1,
        };
        editor.says("ready")?;
        Ok(editor)
    }

    /// Has the page change the record `n`, and does not wait for it. Gives what it writes.
    pub fn edit(&mut self, n: usize) -> Result<i64> {
        let value = self.next;
        self.next -= 1;
        let input = self.input.as_mut().context("the page is closed")?;
        writeln!(input, "{}", json!({"key": key(n), "value": value}))?;
        Ok(value)
    }

    /// Waits until the page has the edit in its IndexedDB.
    pub fn stored(&mut self) -> Result<()> {
        self.says("edited")
    }

    fn says(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(
            line.trim_end() == word,
            "the browser's page ended; see above"
        );
        Ok(())
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // The end of its input is the end of the page.
        self.input = None;
        let _ = self.process.wait();
    }
}

//! What commands print: tables and sentences for people, JSON for programs, progress on standard error.

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, Write as _};
use std::time::Duration;

/// One line of text.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// One line of JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(&serde_json::to_string(value)?)?)
}

/// What others chose, such as a key, may hold control characters; a terminal must not obey them.
pub(super) fn printable(text: &str) -> String {
    let escaped = text.chars().map(|c| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    escaped.collect()
}

pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table
}

/// A bar of bytes, shown where standard error is a terminal.
pub(super) fn byte_bar(what: &'static str) -> ProgressBar {
    let style = "{msg:10} {bar:40} {binary_bytes}/{binary_total_bytes}, {eta} left";
    let bar = ProgressBar::new(0).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// A bar of records, shown where standard error is a terminal.
pub(super) fn record_bar(what: &'static str, records: u64) -> ProgressBar {
    let style = "{msg:10} {bar:40} {human_pos}/{human_len} records, {eta} left";
    let bar = ProgressBar::new(records).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// A line that shows that something goes on, and what, where standard error is a terminal.
pub(super) fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

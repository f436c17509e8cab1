//! The same rows written by serde_json and fsynced, with nothing else to do.

use anyhow::Result;
use serde::Serialize;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

/// A row as the lake's files have it.
#[derive(Serialize)]
struct Row {
    _key: String,
    _database: &'static str,
    at: i64,
    best: i64,
    city: String,
    least: f64,
    open: bool,
    title: String,
}

fn row(n: usize) -> Row {
    Row {
        _key: crate::records::key(n),
        _database: "01010101010101010101010101010101",
        at: n as i64,
        best: n as i64,
        city: format!("city number {n}"),
        least: n as f64 / 8.0,
        open: n.is_multiple_of(2),
        title: format!("title number {n}"),
    }
}

/// Bytes of one row.
pub fn row_bytes() -> Result<usize> {
    Ok(serde_json::to_vec(&row(500_000))?.len() + 1)
}

/// Milliseconds to write a file of about so many bytes.
pub fn file_ms(folder: &Path, bytes: usize) -> Result<f64> {
    let rows = bytes / row_bytes()?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let begun = Instant::now();
        write(folder, 0..rows)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(super::median(&times).unwrap_or_default())
}

/// Rows a second, when so many are written into 64 files.
pub fn rows_per_second(folder: &Path, rows: usize) -> Result<f64> {
    let begun = Instant::now();
    for file in 0..64 {
        write(folder, rows * file / 64..rows * (file + 1) / 64)?;
    }
    Ok(rows as f64 / begun.elapsed().as_secs_f64())
}

/// Rows a second, when ten at a time are appended to a file and fsynced.
pub fn appended_per_second(folder: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let begun = Instant::now();
    let mut rows = 0;
    while begun.elapsed().as_secs_f64() < 2.0 {
        file.write_all(&lines(rows..rows + 10)?)?;
        file.sync_all()?;
        rows += 10;
    }
    Ok(rows as f64 / begun.elapsed().as_secs_f64())
}

fn lines(rows: std::ops::Range<usize>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for n in rows {
        serde_json::to_writer(&mut text, &row(n))?;
        text.push(b'\n');
    }
    Ok(text)
}

fn write(folder: &Path, rows: std::ops::Range<usize>) -> Result<()> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    file.write_all(&lines(rows)?)?;
    Ok(file.sync_all()?)
}

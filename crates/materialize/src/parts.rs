//! The rows of one table in key order, cut into parts of bounded size.
//!
//! Where a part ends is a pure function of the rows: after a row whose hash says so (once the part has [`MIN_BYTES`]), or
//! after [`MAX_BYTES`]. So parts split and merge by themselves, the same rows always make the same files, and a change
//! moves at most the ends that follow it until the next one that both cuts share.

use headwater_core::DatabaseId;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A part has at least so many bytes, unless it is the table's last.
const MIN_BYTES: usize = 128 << 10;
/// How many bytes follow after that until a row ends the part, on average.
const MORE_BYTES: u64 = 64 << 10;
/// A part ends with the row that brings it to this size.
const MAX_BYTES: usize = 512 << 10;
/// What a row counts beside its key and its record.
const ROW_BYTES: usize = 64;

/// What orders the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    pub database: DatabaseId,
    pub key: Box<str>,
}

/// Rows that are one file.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Canonical JSON of each key's record; in a table of conflicts its rows, one a line.
    pub rows: BTreeMap<RowKey, Box<str>>,
    /// The file that holds exactly these rows; none when it must be written.
    pub file: Option<String>,
}

/// All parts of a table, each under a key that is at most its first and above the last of the one before.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    parts: BTreeMap<RowKey, Part>,
    dirty: BTreeSet<RowKey>,
}

impl Parts {
    /// Puts or, without a record, removes a row. Returns whether that changed anything.
    pub(crate) fn set(&mut self, key: RowKey, record: Option<Box<str>>) -> bool {
        let at = self
            .parts
            .range(..=&key)
            .next_back()
            .or_else(|| self.parts.first_key_value())
            .map(|(at, _)| at.clone());
        let at = match (at, &record) {
            (Some(at), _) => at,
            (None, None) => return false,
            (None, Some(_)) => key.clone(),
        };
        let part = self.parts.entry(at.clone()).or_default();
        let changed = match record {
            Some(record) => {
                part.rows.get(&key) != Some(&record) && {
                    part.rows.insert(key, record);
                    true
                }
            }
            None => part.rows.remove(&key).is_some(),
        };
        if changed {
            part.file = None;
            self.dirty.insert(at);
        }
        changed
    }

    /// Cuts changed parts where they now end.
    pub(crate) fn recut(&mut self) {
        while let Some(at) = self.dirty.pop_first() {
            let Some(part) = self.parts.remove(&at) else {
                continue;
            };
            let mut cutter = Cutter::default();
            cutter.push(part.rows);
            // What is left over has no end yet: it goes on into the part that follows.
            while !cutter.open.rows.is_empty() {
                let Some(next) = self.parts.range(&at..).next().map(|(next, _)| next.clone())
                else {
                    break;
                };
                self.dirty.remove(&next);
                if let Some(part) = self.parts.remove(&next) {
                    cutter.push(part.rows);
                }
            }
            for part in cutter.finish() {
                if let Some((first, _)) = part.rows.first_key_value() {
                    self.parts.insert(first.clone(), part);
                }
            }
        }
    }

    /// Makes every part be written anew.
    pub(crate) fn forget_files(&mut self) {
        for part in self.parts.values_mut() {
            part.file = None;
        }
    }

    /// The parts in key order. Call [`Self::recut`] before.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Part> {
        self.parts.values()
    }

    /// The parts in key order, to note their files.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.parts.values_mut()
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.parts.values().map(|part| part.rows.len()).sum()
    }
}

#[derive(Default)]
struct Cutter {
    done: Vec<Part>,
    open: Part,
    bytes: usize,
}

impl Cutter {
    fn push(&mut self, rows: BTreeMap<RowKey, Box<str>>) {
        for (key, record) in rows {
            let bytes = ROW_BYTES + key.key.len() + record.len();
            self.bytes += bytes;
            let ends = self.bytes >= MAX_BYTES || (self.bytes >= MIN_BYTES && is_end(&key, bytes));
            self.open.rows.insert(key, record);
            if ends {
                self.bytes = 0;
                self.done.push(std::mem::take(&mut self.open));
            }
        }
    }

    fn finish(mut self) -> Vec<Part> {
        if !self.open.rows.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

/// Whether a part may end after this row: likelier the larger the row, so that the size of parts does not depend on it.
fn is_end(key: &RowKey, bytes: usize) -> bool {
    let digest = Sha256::new()
        .chain_update(key.database.as_bytes())
        .chain_update(key.key.as_bytes())
        .finalize();
    let mut draw = [0; 8];
    draw.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(draw) / (u64::MAX / MORE_BYTES) < bytes as u64
}

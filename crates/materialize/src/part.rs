//! The files of a part: rows as they are kept, and the same rows as Drill reads them.

use crate::disk::Disk;
use crate::error::LakeError;
use crate::rows::{RowRef, Rows};
use crate::tree::{Part, cuts};
use std::ops::Range;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, LakeError>;

/// The files of one table.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// The table's folder.
    pub folder: PathBuf,
}

impl Files {
    pub(crate) fn parts(&self) -> PathBuf {
        self.folder.join("parts")
    }

    /// The file that Drill reads.
    pub(crate) fn text(&self, part: u64) -> PathBuf {
        self.parts().join(text_name(part))
    }

    /// The file of the rows themselves.
    pub(crate) fn rows(&self, part: u64) -> PathBuf {
        self.parts().join(format!("{part}.rows"))
    }

    pub(crate) fn group(&self, group: u64) -> PathBuf {
        self.folder.join(group_name(group))
    }

    pub(crate) fn version(&self, version: u64) -> PathBuf {
        self.folder.join(format!("v{version}"))
    }

    pub(crate) fn load(&self, disk: &Disk, part: &Part) -> Result<Rows> {
        let path = self.rows(part.id);
        let damaged = |path: &Path, reason: String| LakeError::DamagedPart {
            path: path.to_owned(),
            reason,
        };
        let Some(bytes) = disk.read(&path)? else {
            return Err(damaged(&path, "it is not there".to_owned()));
        };
        let rows = Rows::unpack(&bytes).map_err(|error| damaged(&path, error.to_string()))?;
        if rows.count() != part.rows {
            let reason = format!("it has {} rows instead of {}", rows.count(), part.rows);
            return Err(damaged(&path, reason));
        }
        Ok(rows)
    }
}

/// The name of a part's file in its group's folder.
pub(crate) fn text_name(part: u64) -> String {
    format!("{part}.json")
}

pub(crate) fn group_name(group: u64) -> String {
    format!("g{group}")
}

/// Rows that are to be one part or several: each with its text.
#[derive(Debug, Default)]
pub(crate) struct Open {
    rows: Rows,
    text: String,
    /// Where each row ends in `text`.
    ends: Vec<usize>,
    /// The commit time of the last event among them.
    pub at: i64,
}

impl Open {
    pub(crate) fn push(
        &mut self,
        row: RowRef<'_>,
        text: impl FnOnce(&mut String) -> Result<()>,
    ) -> Result<()> {
        self.rows.push(row);
        text(&mut self.text)?;
        self.ends.push(self.text.len());
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Takes over the rows of another, which follow.
    pub(crate) fn append(&mut self, other: &Self) {
        other.rows.iter().for_each(|row| self.rows.push(row));
        let before = self.text.len();
        self.text.push_str(&other.text);
        self.ends.extend(other.ends.iter().map(|end| before + end));
        self.at = self.at.max(other.at);
    }

    /// The rows of each part to be written, with their text.
    pub(crate) fn cut(&self) -> Vec<(Vec<RowRef<'_>>, &str)> {
        let all: Vec<_> = self.rows.iter().collect();
        let ranges = self.ranges();
        let piece = |range: Range<usize>| {
            let start = range.start.checked_sub(1).map_or(0, |last| self.ends[last]);
            let end = self.ends[range.end - 1];
            (all[range].to_vec(), &self.text[start..end])
        };
        ranges.into_iter().map(piece).collect()
    }

    /// About equal shares of the text, none of them empty.
    fn ranges(&self) -> Vec<Range<usize>> {
        let cuts = cuts(self.text.len()).clamp(usize::from(!self.ends.is_empty()), self.ends.len());
        let mut ranges = Vec::with_capacity(cuts);
        let mut from = 0;
        for cut in 1..=cuts {
            let share = self.text.len() / cuts * cut;
            let to = match cut == cuts {
                true => self.ends.len(),
                false => self.ends.partition_point(|end| *end <= share),
            };
            if to > from {
                ranges.push(from..to);
                from = to;
            }
        }
        ranges
    }
}

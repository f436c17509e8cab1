//! Where the rows of a table are: files of bounded size in key order, gathered in groups.
//!
//! Both are never changed, only replaced, and a version of a table is a list of groups. So a change of one row costs one part,
//! one group of links to parts and a list of groups, however large the table is.

use crate::rows::RowKey;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A part has at least so many bytes, unless it is the only one of its group or was appended. Smaller ones make a change cheaper,
/// larger ones a query: Drill takes about a third of a millisecond for each file.
pub(crate) const MIN_PART: usize = 256 << 10;
/// What parts have when they are cut anew.
const CUT_PART: usize = 352 << 10;
/// A part that grows beyond is cut.
pub(crate) const MAX_PART: usize = 576 << 10;
/// A group that has more parts is split,
const MAX_GROUP: usize = 48;
/// into groups of so many.
const CUT_GROUP: usize = 32;

/// One file of rows, and its twin that Drill reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Names its files. No two parts of a table ever have the same.
    pub id: u64,
    /// Its first key.
    pub first: RowKey,
    /// How many keys it holds.
    pub rows: u32,
    /// The size of the file that Drill reads.
    pub bytes: u64,
    /// In a change feed, the commit time of its last event, in milliseconds since 1970.
    #[serde(default)]
    pub at: i64,
}

/// A folder with links to consecutive parts.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Names its folder. No two groups of a table ever have the same.
    pub id: u64,
    /// At least one.
    pub parts: Vec<Part>,
}

/// All parts of a table in key order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    groups: Vec<Arc<Group>>,
}

impl Tree {
    /// From its groups in any order; those without parts are left out.
    pub(crate) fn new(mut groups: Vec<Arc<Group>>) -> Self {
        groups.retain(|group| !group.parts.is_empty());
        groups.sort_by(|a, b| a.first().cmp(&b.first()));
        Self { groups }
    }

    pub(crate) fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    pub(crate) fn parts(&self) -> impl DoubleEndedIterator<Item = &Part> {
        self.groups.iter().flat_map(|group| &group.parts)
    }

    /// The part that holds `key`, if the table holds it at all.
    pub(crate) fn part_of(&self, key: &RowKey) -> Option<&Part> {
        let after = |first: Option<&RowKey>| first.is_some_and(|first| first <= key);
        let group = self.groups.partition_point(|group| after(group.first()));
        let group = self.groups.get(group.checked_sub(1)?)?;
        let part = group.parts.partition_point(|part| after(Some(&part.first)));
        group.parts.get(part.checked_sub(1)?)
    }

    /// How many keys there are.
    pub(crate) fn rows(&self) -> u64 {
        self.parts().map(|part| u64::from(part.rows)).sum()
    }
}

impl Group {
    pub(crate) fn first(&self) -> Option<&RowKey> {
        self.parts.first().map(|part| &part.first)
    }
}

/// Into how many parts rows are cut whose rendered text has `bytes`.
pub(crate) fn cuts(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=MAX_PART => 1,
        _ => (bytes / CUT_PART).max(2),
    }
}

/// Parts of one group, or of several if they are too many for one.
pub(crate) fn grouped(parts: Vec<Part>) -> Vec<Vec<Part>> {
    if parts.is_empty() {
        return Vec::new();
    }
    if parts.len() <= MAX_GROUP {
        return vec![parts];
    }
    let groups = parts.len().div_ceil(CUT_GROUP);
    let size = parts.len().div_ceil(groups);
    parts.chunks(size).map(<[Part]>::to_vec).collect()
}

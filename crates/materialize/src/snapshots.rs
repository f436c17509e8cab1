//! Earlier states of a lake, as long as they are kept. Reading them needs no lock: nothing in them ever changes.

use crate::disk::Disk;
use crate::error::LakeError;
use crate::lake::HIDDEN;
use crate::shown::{Views, read_views};
use crate::table::Kind;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Result<T> = std::result::Result<T, LakeError>;

/// One state of all tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its number. A change feed goes on from it after all events of this `_commit_version` and below.
    pub version: u64,
    /// When it was published, in milliseconds since 1970.
    pub at: i64,
    /// The tables that were not the same in the one before.
    pub tables: Vec<String>,
}

/// The versions of one table that are kept.
type Versions = BTreeMap<u64, Views>;

/// The snapshots of the lake at `root` that are kept, the oldest first.
///
/// # Errors
/// [`LakeError`] if the folder cannot be read.
pub fn snapshots(root: &Path) -> Result<Vec<Snapshot>> {
    let mut all: BTreeMap<u64, Snapshot> = BTreeMap::new();
    let tables = versions(root)?;
    for (version, views) in tables.iter().flatten() {
        let snapshot = all.entry(*version).or_insert_with(|| Snapshot {
            version: *version,
            at: views.at,
            tables: Vec::new(),
        });
        snapshot.tables.extend(views.views.keys().cloned());
    }
    let oldest = oldest(&tables);
    let mut kept: Vec<_> = all
        .into_values()
        .filter(|one| one.version >= oldest)
        .collect();
    kept.iter_mut().for_each(|one| one.tables.sort());
    Ok(kept)
}

/// The views of all tables, by name, as they were in a snapshot.
///
/// # Errors
/// [`LakeError::NoSnapshot`] if it is not kept any more, or never was; else as [`snapshots`].
pub fn views_at(root: &Path, version: u64) -> Result<BTreeMap<String, String>> {
    let tables = versions(root)?;
    let newest = tables
        .iter()
        .filter_map(|table| table.keys().next_back())
        .max();
    let (oldest, newest) = (oldest(&tables), newest.copied().unwrap_or(0));
    if !(oldest..=newest).contains(&version) {
        return Err(LakeError::NoSnapshot {
            version,
            oldest,
            newest,
        });
    }
    let mut views = BTreeMap::new();
    for table in tables {
        if let Some((_, found)) = table.into_iter().rfind(|(number, _)| *number <= version) {
            views.extend(found.views);
        }
    }
    Ok(views)
}

/// The first snapshot of which every table's version is kept.
fn oldest(tables: &[Versions]) -> u64 {
    // Before the first version that is kept there was another, unless the table is new.
    let swept = |table: &Versions| {
        let (first, views) = table.first_key_value()?;
        views.previous.map(|_| *first)
    };
    tables.iter().filter_map(swept).max().unwrap_or(0)
}

fn versions(root: &Path) -> Result<Vec<Versions>> {
    let disk = Disk::default();
    let hidden = root.join(HIDDEN);
    let kinds: BTreeSet<&str> = Kind::ALL.into_iter().map(Kind::folder).collect();
    let mut tables = Vec::new();
    for collection in disk.list(&hidden)? {
        for kind in &kinds {
            let folder = hidden.join(&collection).join(kind);
            let mut found = Versions::new();
            for name in list_folder(&disk, &folder)? {
                let Some(version) = name.strip_prefix('v').and_then(|name| name.parse().ok())
                else {
                    continue;
                };
                // One that is being written or removed has none.
                if let Some(views) = read_views(&disk, &folder.join(&name))? {
                    found.insert(version, views);
                }
            }
            tables.push(found);
        }
    }
    tables.retain(|table| !table.is_empty());
    Ok(tables)
}

/// The names in a folder; none if it is a file.
fn list_folder(disk: &Disk, folder: &Path) -> Result<Vec<String>> {
    match disk.list(folder) {
        Err(LakeError::NotWritable { .. }) => Ok(Vec::new()),
        listed => listed,
    }
}

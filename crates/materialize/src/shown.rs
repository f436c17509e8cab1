//! What of a table a query can see: its visible version, and those before that some query may still be reading.
//!
//! A version is a folder of links to groups, with the views that name it beside them.

use crate::derived;
use crate::disk::Disk;
use crate::error::LakeError;
use crate::part::group_name;
use crate::table::{Kind, Table};
use crate::view::{self, View};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, LakeError>;

/// The file in a version's folder that holds its views. Drill does not read names that begin with a dot.
pub(crate) const VIEWS: &str = ".views.json";
/// A name under which a file is written before it is renamed.
const STAGED: &str = "staged";
/// The file of a version without rows: Drill refuses a folder without a file, and without a row it knows no types.
const EMPTY: &str = "empty.json";

/// Where the lake is and how its views name it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder that Drill knows, which shows the views.
    pub root: PathBuf,
    /// The folder in it that holds the rest.
    pub hidden: &'static str,
    /// Drill's name of the folder.
    pub drill_schema: String,
}

/// The views on one version, and when it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Views {
    /// Milliseconds since 1970.
    pub at: i64,
    /// The version before.
    pub previous: Option<u64>,
    /// The text of each view, by its table's name.
    pub views: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The version that the views name.
    pub visible: Option<u64>,
    /// The views as they stand.
    views: BTreeMap<String, String>,
    /// The groups of each version that may be read.
    versions: BTreeMap<u64, BTreeSet<u64>>,
    /// Versions that were replaced, whose replacement may not have reached the disk yet.
    replaced: Vec<u64>,
    /// Versions that no view names, and since when.
    retired: Vec<(Instant, u64)>,
}

impl Shown {
    /// Takes the views for damaged, so that they are written anew.
    pub(crate) fn forget_views(&mut self) {
        self.views.clear();
    }

    /// Whether a version that may be read has this group.
    pub(crate) fn names(&self, group: u64) -> bool {
        self.versions.values().any(|groups| groups.contains(&group))
    }
}

impl Table {
    /// Reads what is visible and what is left of earlier versions, and removes what nothing names. Gives the highest number of
    /// a part or group that was met.
    pub(crate) fn find_shown(&mut self, disk: &Disk, place: &Place) -> Result<u64> {
        let path = place.root.join(view::file_name(&self.schema.table));
        let text = disk.read(&path)?;
        let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
        let folder = format!("{}/{}", place.hidden, self.folder);
        let visible = text
            .as_deref()
            .and_then(|text| view::version(text, &folder));
        let mut highest = 0;
        let (mut groups, mut versions) = (BTreeSet::new(), BTreeSet::new());
        for name in disk.list(&self.files.folder)? {
            match name.split_at_checked(1) {
                Some(("g", id)) => groups.extend(id.parse::<u64>()),
                Some(("v", id)) => versions.extend(id.parse::<u64>()),
                _ => {}
            }
        }
        for version in versions {
            // A version above the visible one was never seen by a query.
            if visible.is_none_or(|visible| version > visible) {
                disk.remove_dir(&self.files.version(version))?;
                continue;
            }
            let links = disk.list(&self.files.version(version))?;
            let ids = links
                .iter()
                .filter_map(|name| name.strip_prefix('g')?.parse().ok());
            self.shown.versions.insert(version, ids.collect());
            if Some(version) != visible {
                self.shown.retired.push((Instant::now(), version));
            }
        }
        if let Some(visible) = visible.filter(|visible| self.shown.versions.contains_key(visible)) {
            self.shown.visible = Some(visible);
            let views = read_views(disk, &self.files.version(visible))?;
            let views = views.map(|views| views.views).unwrap_or_default();
            // A crash can come between a table's views. Where one does not stand, the table is published anew.
            for (name, text) in views {
                let stands = disk.read(&place.root.join(view::file_name(&name)))?;
                if stands.as_deref() == Some(text.as_bytes()) {
                    self.shown.views.insert(name, text);
                }
            }
        }
        let current: BTreeSet<u64> = self.tree.groups().iter().map(|group| group.id).collect();
        for group in groups {
            highest = highest.max(group);
            if !current.contains(&group) && !self.shown.names(group) {
                disk.remove_dir(&self.files.group(group))?;
            }
        }
        let parts: BTreeSet<u64> = self.tree.parts().map(|part| part.id).collect();
        for name in disk.list(&self.files.parts())? {
            let Some(id) = name.split('.').next().and_then(|id| id.parse().ok()) else {
                continue;
            };
            highest = highest.max(id);
            if !parts.contains(&id) {
                disk.remove_file(&self.files.parts().join(&name))?;
            }
        }
        Ok(highest)
    }

    /// Whether what is visible is not what was committed.
    pub(crate) fn is_behind(&self) -> bool {
        self.changed > 0
            && self
                .shown
                .visible
                .is_none_or(|visible| visible < self.changed)
    }

    /// Whether the views are those of what was committed.
    pub(crate) fn is_shown(&self, place: &Place) -> bool {
        let visible = self.shown.visible.unwrap_or(0);
        !self.is_behind() && self.shown.views == self.views(place, visible)
    }

    /// Makes the table visible as it was committed; `version` is the last commit. Gives whether that changed anything. On an
    /// error what was visible stays so.
    pub(crate) fn publish(
        &mut self,
        disk: &Disk,
        place: &Place,
        version: u64,
        at: i64,
    ) -> Result<bool> {
        if self.is_shown(place) {
            return Ok(false);
        }
        let folder = self.files.version(version);
        let views = self.views(place, version);
        let written = Views {
            at,
            previous: self.shown.visible.filter(|before| *before != version),
            views: views.clone(),
        };
        let written = self.write_version(disk, &folder, &written);
        if let Err(error) = written {
            // What cannot be removed now is removed when the lake is opened.
            let _ = disk.remove_dir(&folder);
            return Err(error);
        }
        let groups = self.tree.groups().iter().map(|group| group.id).collect();
        self.shown.versions.insert(version, groups);
        let mut before = self.shown.visible.filter(|before| *before != version);
        for (name, text) in &views {
            let staged = self.files.folder.join(STAGED);
            disk.write(&staged, text.as_bytes())?;
            // From here on a query sees the new version.
            disk.rename(&staged, &place.root.join(view::file_name(name)))?;
            self.shown.visible = Some(version);
            self.shown.replaced.extend(before.take());
        }
        for name in self
            .shown
            .views
            .keys()
            .filter(|name| !views.contains_key(*name))
        {
            disk.remove_file(&place.root.join(view::file_name(name)))?;
        }
        self.shown.views = views;
        Ok(true)
    }

    fn write_version(&self, disk: &Disk, folder: &Path, views: &Views) -> Result<()> {
        disk.remove_dir(folder)?;
        disk.create_dir(folder)?;
        for group in self.tree.groups() {
            let name = group_name(group.id);
            disk.symlink(&format!("../{name}"), &folder.join(&name))?;
        }
        if self.tree.groups().is_empty() {
            disk.write(&folder.join(EMPTY), self.typing_row().as_bytes())?;
        }
        // Strings and numbers: nothing that serde_json could refuse.
        let views = serde_json::to_vec(views).unwrap_or_default();
        disk.write(&folder.join(VIEWS), &views)?;
        disk.sync_dir(folder)?;
        disk.sync_dir(&self.files.folder)
    }

    /// The views on a version, by the names of their tables.
    fn views(&self, place: &Place, version: u64) -> BTreeMap<String, String> {
        let folder = format!("{}/{}/v{version}", place.hidden, self.folder);
        let filter = !self.header().is_empty() || self.tree.groups().is_empty();
        let view = View::of(&place.drill_schema, &folder, &self.schema, filter);
        let mut views = Vec::new();
        if let (Kind::Changes, Some(records)) = (self.kind, self.records_table()) {
            views.push(derived::history(records, &view, self));
            views.push(derived::debezium(records, &view, &self.schema));
        }
        views.push(view);
        views.into_iter().map(View::into_text).collect()
    }

    /// Notes that the views have reached the disk: now no failure of power brings back the versions before.
    pub(crate) fn settled(&mut self) {
        let now = Instant::now();
        let replaced = self.shown.replaced.drain(..);
        self.shown
            .retired
            .extend(replaced.map(|version| (now, version)));
    }

    /// Removes versions whose grace is over, and the groups that only they named.
    pub(crate) fn sweep(&mut self, disk: &Disk, grace: Duration) {
        let (over, retired): (Vec<_>, Vec<_>) = self
            .shown
            .retired
            .drain(..)
            .partition(|(since, _)| since.elapsed() >= grace);
        self.shown.retired = retired;
        for (since, version) in over {
            if let Err(error) = disk.remove_dir(&self.files.version(version)) {
                tracing::warn!(%error, "a replaced version of a table stays in the lake");
                self.shown.retired.push((since, version));
                continue;
            }
            let groups = self.shown.versions.remove(&version).unwrap_or_default();
            let current = |id: &u64| self.tree.groups().iter().any(|group| group.id == *id);
            for group in groups.into_iter().filter(|id| !current(id)) {
                if !self.shown.names(group) {
                    let _ = disk.remove_dir(&self.files.group(group));
                }
            }
        }
    }
}

/// The views of a version's folder, if they are there and readable.
pub(crate) fn read_views(disk: &Disk, folder: &Path) -> Result<Option<Views>> {
    let bytes = disk.read(&folder.join(VIEWS))?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).ok())
}

//! How what was staged is committed: all of it in one step, which is known to be made, or not to be, before the next begins.

use super::{Absorbed, Lake, Result};
use crate::collection::Pending;
use crate::state::{Commit, Heads};
use crate::table::Staged;
use headwater_core::DatabaseId;
use std::collections::BTreeMap;

/// A commit on its way.
#[derive(Debug)]
pub(super) struct Staging {
    pub version: u64,
    pub tables: Vec<(String, Vec<Staged>, Pending)>,
    pub heads: BTreeMap<DatabaseId, Heads>,
    /// The epoch that begins with it, if one does.
    pub epoch: Option<u64>,
}

impl Lake {
    /// Commits what was staged.
    pub(super) fn make(&mut self, staging: Staging) -> Result<Absorbed> {
        let mut commit = Commit {
            version: staging.version,
            tables: Vec::new(),
            heads: staging.heads.clone(),
            epoch: staging.epoch,
        };
        let mut absorbed = Absorbed::default();
        for (name, staged, _) in &staging.tables {
            let Some(collection) = self.collections.get_mut(name) else {
                continue;
            };
            for one in staged {
                absorbed.parts_written += one.parts();
                absorbed.bytes_written += one.bytes();
                let folder = &collection.table_mut(one.kind()).folder;
                commit.tables.push(one.commit(folder));
            }
        }
        if let Err(error) = self.sync_folders(&commit) {
            self.undone(staging);
            return Err(error);
        }
        match self.state.commit(&commit) {
            Ok(()) => self.committed(staging),
            Err(error) => {
                self.unsure = Some(staging);
                self.make_sure().map_err(|_| error)?;
            }
        }
        Ok(absorbed)
    }

    /// Waits until the folders of what is committed are on the disk.
    fn sync_folders(&self, commit: &Commit) -> Result<()> {
        let hidden = self.hidden();
        for table in &commit.tables {
            let folder = hidden.join(&table.folder);
            self.disk.create_dir(&folder)?;
            self.disk.sync_dir(&folder)?;
            // A schema comes with a table that is new, and seldom after.
            if let (Some(parent), true) = (folder.parent(), table.schema.is_some()) {
                self.disk.sync_dir(parent)?;
                self.disk.sync_dir(&hidden)?;
            }
        }
        #[cfg(test)]
        self.disk.burn(&hidden.join(super::STATE))?;
        Ok(())
    }

    /// Finds out whether the commit that failed was made.
    pub(super) fn make_sure(&mut self) -> Result<()> {
        let Some(staging) = &self.unsure else {
            return Ok(());
        };
        let is_made = self.state.version()? == staging.version;
        if let Some(staging) = self.unsure.take() {
            match is_made {
                true => self.committed(staging),
                false => self.undone(staging),
            }
        }
        Ok(())
    }

    pub(super) fn committed(&mut self, staging: Staging) {
        self.version = staging.version;
        self.logged &= staging.epoch.is_none();
        for (name, staged, _) in staging.tables {
            let Some(collection) = self.collections.get_mut(&name) else {
                continue;
            };
            collection.declared = false;
            for one in staged {
                let table = collection.table_mut(one.kind());
                table.committed(&self.disk, one, staging.version);
            }
        }
    }

    fn undone(&mut self, staging: Staging) {
        for (name, staged, pending) in staging.tables {
            if let Some(collection) = self.collections.get_mut(&name) {
                collection.discard(&self.disk, &staged);
                collection.pending.restore(pending);
            }
        }
        for (database, heads) in staging.heads {
            let newer = self.heads.remove(&database).unwrap_or_default();
            let all = heads.into_iter().chain(newer).collect();
            self.heads.insert(database, all);
        }
    }
}

//! A collection's tables, which change together.

use crate::changes::{Cursor, NewEvent};
use crate::disk::Disk;
use crate::edit::Changes;
use crate::error::LakeError;
use crate::part::Files;
use crate::rows::RowKey;
use crate::schema::Schema;
use crate::table::{Kind, Rejects, Staged, Table};
use headwater_core::Attribution;
use std::collections::BTreeMap;
use std::path::Path;

type Result<T> = std::result::Result<T, LakeError>;

/// What is to change in a collection's tables.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub records: Changes,
    pub conflicts: Changes,
    /// The latest change of each record, where it is known.
    pub by: BTreeMap<RowKey, Attribution>,
    /// Bytes of keys and contents, about.
    pub bytes: usize,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.conflicts.is_empty()
    }

    /// Takes back what could not be committed; what came meanwhile is newer.
    pub(crate) fn restore(&mut self, mut older: Self) {
        older.records.append(&mut self.records);
        older.conflicts.append(&mut self.conflicts);
        older.by.append(&mut self.by);
        older.bytes += self.bytes;
        *self = older;
    }
}

#[derive(Debug)]
pub(crate) struct Collection {
    pub records: Table,
    pub changes: Table,
    pub conflicts: Table,
    pub rejected: Table,
    pub pending: Pending,
    /// Whether what is recorded of its columns may have to change.
    pub declared: bool,
}

/// The commit that is being made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub epoch: u64,
    pub version: u64,
    /// Now, in milliseconds since 1970.
    pub at: i64,
    /// Whether changes go into the log.
    pub logged: bool,
    /// Events before this time leave the log.
    pub keep_from: i64,
}

impl Collection {
    /// One of which nothing is recorded. `folder` is below the lake's hidden one, `hidden`.
    pub(crate) fn new(name: &str, hidden: &Path, folder: &str) -> Self {
        let table = |kind: Kind| {
            let folder = format!("{folder}/{}", kind.folder());
            let files = Files {
                folder: hidden.join(&folder),
            };
            Table::new(kind, files, folder, Schema::new(name, String::new()))
        };
        Self {
            records: table(Kind::Records),
            changes: table(Kind::Changes),
            conflicts: table(Kind::Conflicts),
            rejected: table(Kind::Rejected),
            pending: Pending::default(),
            declared: true,
        }
    }

    pub(crate) fn tables(&self) -> [&Table; 4] {
        [
            &self.records,
            &self.changes,
            &self.conflicts,
            &self.rejected,
        ]
    }

    pub(crate) fn tables_mut(&mut self) -> [&mut Table; 4] {
        [
            &mut self.records,
            &mut self.changes,
            &mut self.conflicts,
            &mut self.rejected,
        ]
    }

    pub(crate) fn table_mut(&mut self, kind: Kind) -> &mut Table {
        match kind {
            Kind::Records => &mut self.records,
            Kind::Changes => &mut self.changes,
            Kind::Conflicts => &mut self.conflicts,
            Kind::Rejected => &mut self.rejected,
        }
    }

    /// Names its tables, given that of the records.
    pub(crate) fn name(&mut self, table: &str) {
        for one in self.tables_mut() {
            one.schema.table = one.kind.table(table);
        }
        self.declared = true;
    }

    /// Whether there is something to commit.
    pub(crate) fn is_pending(&self, step: Option<&Step>) -> bool {
        let expired = |step: &Step| {
            let first = self.changes.tree.parts().next();
            first.is_some_and(|part| part.at < step.keep_from)
        };
        self.declared || !self.pending.is_empty() || step.is_some_and(expired)
    }

    /// Writes all that changes, beside what stands. On an error nothing of it stays.
    pub(crate) fn stage(
        &mut self,
        disk: &Disk,
        ids: &mut u64,
        step: Step,
        pending: &Pending,
    ) -> Result<Vec<Staged>> {
        let mut staged = Vec::new();
        let done = self.stage_all(disk, ids, step, pending, &mut staged);
        if let Err(error) = done {
            self.discard(disk, &staged);
            return Err(error);
        }
        Ok(staged)
    }

    fn stage_all(
        &mut self,
        disk: &Disk,
        ids: &mut u64,
        step: Step,
        pending: &Pending,
        staged: &mut Vec<Staged>,
    ) -> Result<()> {
        let mut log = Log {
            step,
            collection: self.records.schema.collection.clone(),
            pending,
            events: Changes::new(),
            failed: None,
        };
        let mut watch = |key: &RowKey, before: Option<&str>, after: Option<&str>| {
            log.note(key, before, after);
        };
        let rejected = &self.rejected.tree;
        let (records, Rejects { mut rows, .. }) =
            self.records
                .stage(disk, ids, &pending.records, rejected, &mut watch)?;
        staged.extend(records);
        if let Some(error) = log.failed {
            return Err(error);
        }
        if rejected.rows() > 0 {
            let gone = |content: &&Option<Box<str>>| content.is_none();
            for (key, _) in pending.records.iter().filter(|(_, content)| gone(content)) {
                rows.insert(key.clone(), None);
            }
        }
        self.changes.follow(&self.records.schema);
        let changes = self.changes.stage_log(disk, ids, &log.events, step)?;
        staged.extend(changes);
        let mut stage = |table: &mut Table, changes: &Changes| {
            let none = crate::tree::Tree::default();
            let (done, _) = table.stage(disk, ids, changes, &none, &mut |_, _, _| {})?;
            staged.extend(done);
            Ok(())
        };
        stage(&mut self.conflicts, &pending.conflicts)?;
        stage(&mut self.rejected, &rows)
    }

    pub(crate) fn discard(&mut self, disk: &Disk, staged: &[Staged]) {
        for one in staged {
            one.discard(disk, &self.table_mut(one.kind()).files.clone());
        }
    }
}

/// Makes events of what changes.
struct Log<'a> {
    step: Step,
    collection: String,
    pending: &'a Pending,
    events: Changes,
    failed: Option<LakeError>,
}

impl Log<'_> {
    fn note(&mut self, key: &RowKey, before: Option<&str>, after: Option<&str>) {
        if !self.step.logged || self.failed.is_some() {
            return;
        }
        let cursor = Cursor {
            epoch: self.step.epoch,
            version: self.step.version,
            // A commit is bounded by memory far below 2^32 rows.
            event: self.events.len() as u32,
        };
        let event = NewEvent {
            cursor,
            at: self.step.at,
            collection: &self.collection,
            key,
            before,
            after,
            by: self.pending.by.get(key),
        };
        match event.content() {
            Ok(content) => drop(self.events.insert(cursor.row_key(), Some(content.into()))),
            Err(error) => self.failed = Some(error),
        }
    }
}

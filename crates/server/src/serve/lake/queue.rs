//! What waits for the lake: the latest of each row, and which records have to be read.

use super::super::plain::Mapping;
use super::news::Changed;
use headwater::{Conflict, Database, DatabaseId, DocumentId, Event, Flow, Record};
use headwater_core::{Attribution, ReadRules};
use headwater_materialize::Heads;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A database, a collection and a key.
pub(super) type Row = (DatabaseId, String, String);

/// About how many bytes may wait before databases are made to wait.
const MAX_BYTES: usize = 64 << 20;

/// A record as it is now, and the latest change of it.
#[derive(Debug, Default)]
pub(super) struct Latest {
    pub record: Option<Record>,
    pub by: Option<Attribution>,
}

/// What the lake's thread takes over at once.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The latest of each row, so that what waits is bounded by the number of rows too.
    pub rows: BTreeMap<Row, Latest>,
    /// What is open in each record in which something lost or was settled.
    pub conflicts: BTreeMap<Row, Vec<Conflict>>,
    /// Databases of which a catalog entry changed.
    pub declared: BTreeSet<DatabaseId>,
    /// Up to which heads databases are taken in with the rows here.
    pub heads: BTreeMap<DatabaseId, Heads>,
    /// Plain documents that changed.
    pub plain: BTreeSet<DocumentId>,
    /// Of whose changes of what it is.
    pub changed: Changed,
    /// When the oldest of it came.
    pub since: Option<Instant>,
    bytes: usize,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        let no_rows = self.rows.is_empty() && self.conflicts.is_empty();
        no_rows && self.declared.is_empty() && self.heads.is_empty() && self.plain.is_empty()
    }

    /// Rows, and ledgers of records.
    pub fn len(&self) -> usize {
        self.rows.len() + self.conflicts.len()
    }

    pub fn put(&mut self, row: Row, record: Option<Record>, by: Option<Attribution>) {
        let size = |record: &Record| {
            record
                .values()
                .map(|value| 64 + value.size())
                .sum::<usize>()
        };
        self.bytes += 256 + record.as_ref().map_or(0, size);
        self.changed.note(row.0, &row.1, by.as_ref());
        self.rows.insert(row, Latest { record, by });
        self.touch();
    }

    pub fn put_conflicts(&mut self, row: Row, open: Vec<Conflict>) {
        self.bytes += 256 + 512 * open.len();
        self.conflicts.insert(row, open);
        self.touch();
    }

    pub fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }
}

/// Everything that the listeners and the lake's thread share.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub waiting: Waiting,
    pub databases: BTreeMap<DatabaseId, Database>,
    /// Databases that have to be read whole, and those of which some collections have.
    pub unread: BTreeMap<DatabaseId, Unread>,
    /// The rules by which each collection was read.
    rules: BTreeMap<(DatabaseId, String), ReadRules>,
    /// Databases that were made to wait.
    pub held: BTreeSet<DatabaseId>,
    pub mapping: Option<Mapping>,
    pub stopping: bool,
}

/// What of a database has to be read before it is taken in up to any heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// All that changed since it was last taken in, if that can be told, else all.
    SinceTakenIn,
    /// Every record of every collection.
    All,
    /// Every record of these collections.
    Collections(BTreeSet<String>),
}

impl Queue {
    /// Takes in what became durable in a database; `core` has it and nothing beyond.
    pub fn take_events(&mut self, core: &headwater_core::Database, events: &[Event]) -> Flow {
        let id = core.id();
        for event in events {
            match event {
                Event::Record(event) => {
                    let row = (id, event.collection.clone(), event.key.clone());
                    let by = event.by.clone();
                    let by = by.or_else(|| latest(core, &event.collection, &event.key));
                    self.waiting.put(row, event.after.clone(), by);
                }
                Event::Conflicts(event) => {
                    let row = (id, event.collection.clone(), event.key.clone());
                    self.waiting.put_conflicts(row, event.open.clone());
                }
                Event::Catalog { collection } => self.catalog_changed(core, collection),
            }
        }
        self.waiting.heads.insert(id, core.heads());
        self.waiting.touch();
        if self.waiting.bytes < MAX_BYTES {
            return Flow::GoOn;
        }
        self.held.insert(id);
        Flow::Hold
    }

    /// If other rules decide now, other values may be shown and other records deleted, without an event of their own.
    fn catalog_changed(&mut self, core: &headwater_core::Database, collection: &str) {
        self.waiting.declared.insert(core.id());
        let Some(declared) = core.collections().get(collection) else {
            return;
        };
        let rules = ReadRules::of(declared);
        let known = self
            .rules
            .insert((core.id(), collection.to_owned()), rules.clone());
        if known.unwrap_or_default() != rules {
            let unread = self.unread.entry(core.id());
            let unread = unread.or_insert_with(|| Unread::Collections(BTreeSet::new()));
            if let Unread::Collections(collections) = unread {
                collections.insert(collection.to_owned());
            }
        }
    }

    /// Follows a database from now on. All of it, or what was missed, is to be read.
    pub fn follow(&mut self, core: &headwater_core::Database, database: Database) {
        let id = core.id();
        for (collection, declared) in core.collections() {
            let rules = ReadRules::of(declared);
            self.rules.insert((id, collection.clone()), rules);
        }
        self.databases.insert(id, database);
        self.unread.insert(id, Unread::SinceTakenIn);
        self.waiting.declared.insert(id);
        self.waiting.touch();
    }
}

/// Where a whole document came at once, or a database is read, no event says who wrote: the change of what a record shows that claims to be the latest.
pub(super) fn latest(
    core: &headwater_core::Database,
    collection: &str,
    key: &str,
) -> Option<Attribution> {
    let writers = core.provenance(collection, key);
    writers
        .into_values()
        .max_by_key(|by| (by.provenance.at, by.hash))
}

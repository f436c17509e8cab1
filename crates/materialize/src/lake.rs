//! The folder of tables.

use crate::conflicts;
use crate::declared::Declarations;
use crate::disk::Disk;
use crate::error::LakeError;
use crate::names::{Place as Naming, Taken, of_conflicts, of_rejected};
use crate::parts::RowKey;
use crate::schema::{Column, Schema};
use crate::table::{Kind, Place, Table};
use headwater_core::json::{record_to_json, value_to_json};
use headwater_core::{Conflict, DatabaseId, Record, Value};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, LakeError>;

/// Drill's listings leave out names that begin with a dot.
const HIDDEN: &str = ".headwater";
const LOCK: &str = "lock";

/// How deep lists and maps may nest in one field; a deeper one is JSON text. A little below what records may have, since in
/// memory a record is JSON itself.
pub const MAX_NESTING: usize = headwater_core::value::MAX_DEPTH - 4;

/// How a lake is kept.
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// Drill's name of the folder, which the views contain: a storage plugin, or a plugin and a workspace with a dot between.
    /// Letters, digits, `_` and `-`.
    pub drill_schema: String,
    /// How long a version stays after it was replaced, so that running queries can finish.
    pub grace: Duration,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            drill_schema: "headwater".to_owned(),
            grace: Duration::from_secs(60),
        }
    }
}

/// One record as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The database that holds it.
    pub database: DatabaseId,
    /// Its collection.
    pub collection: String,
    /// Its key.
    pub key: String,
    /// Its fields; nothing if it was deleted.
    pub record: Option<Record>,
}

/// What [`Lake::publish`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The tables of which a new version became visible, by name.
    pub tables: Vec<String>,
    /// How many files were written for them.
    pub parts_written: usize,
    /// How many files they took over from the version before.
    pub parts_kept: usize,
    /// The size of the files written.
    pub bytes_written: u64,
}

/// The tables of one folder, which this process alone publishes.
///
/// After [`Lake::open`], [`Lake::declare`] every collection and [`Lake::apply`] every record before the first
/// [`Lake::publish`]: what is visible then is what was applied, and nothing else.
#[derive(Debug)]
pub struct Lake {
    place: Place,
    disk: Disk,
    grace: Duration,
    /// The records, by collection.
    tables: BTreeMap<String, Table>,
    /// What lost in them, by collection.
    ledgers: BTreeMap<String, Table>,
    /// What does not fit its declared type in them, by collection.
    rejects: BTreeMap<String, Table>,
    /// The highest version's number of any table.
    version: u64,
    /// Versions that a view named until it was replaced, which may not have reached the disk yet.
    replaced: Vec<PathBuf>,
    /// Versions that no view names, and since when.
    retired: Vec<(Instant, PathBuf)>,
    _lock: File,
}

impl Lake {
    /// Takes the folder `root` for this process, making it if there is none. Reads the recorded schemas and removes what a
    /// crash left behind. The tables stay as they were published until the first publication.
    pub fn open(root: &Path, options: LakeOptions) -> Result<Self> {
        let disk = Disk::default();
        let hidden = root.join(HIDDEN);
        disk.create_dir(&hidden)?;
        let lock = lock(root, &hidden.join(LOCK))?;
        let mut lake = Self {
            place: Place {
                root: root.to_owned(),
                hidden: HIDDEN,
                drill_schema: options.drill_schema,
            },
            disk,
            grace: options.grace,
            tables: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            rejects: BTreeMap::new(),
            version: 0,
            replaced: Vec::new(),
            retired: Vec::new(),
            _lock: lock,
        };
        for name in lake.disk.list(&hidden)? {
            let Some(kind) = Kind::of_folder(&name) else {
                continue;
            };
            let opened = Table::open(&lake.disk, &lake.place, &name, kind)?;
            let Some((table, version, orphans)) = opened else {
                // A crash came before anything was recorded, so nothing of it was ever visible.
                lake.disk.remove_dir(&hidden.join(name))?;
                continue;
            };
            lake.version = lake.version.max(version);
            for orphan in orphans {
                if orphan.seen {
                    lake.retired.push((Instant::now(), orphan.path));
                } else {
                    lake.disk.remove_dir(&orphan.path)?;
                }
            }
            let tables = match kind {
                Kind::Records => &mut lake.tables,
                Kind::Conflicts => &mut lake.ledgers,
                Kind::Rejected => &mut lake.rejects,
            };
            tables.insert(table.schema.collection.clone(), table);
        }
        // The views that were read are those that a power failure leaves, before anything they do not name may go.
        lake.disk.sync_dir(&lake.place.root)?;
        Ok(lake)
    }

    /// Says that a collection exists: it gets a table even if it has no rows.
    pub fn declare(&mut self, collection: &str) {
        self.table(collection);
    }

    /// Takes in what the catalog of a database declares of a collection's fields now, instead of what it did before. If types
    /// are declared, the collection gets a table of rejected values.
    pub fn declare_fields(
        &mut self,
        database: DatabaseId,
        collection: &str,
        declared: Declarations,
    ) {
        if declared.values().any(|field| field.kind.is_some()) {
            let rejects = self.rejects.entry(collection.to_owned());
            rejects.or_insert_with(|| {
                Table::new(Schema::new(collection, String::new()), Kind::Rejected)
            });
        }
        let table = self.table(collection);
        if let Some(merged) = table.catalogs.set(database, declared) {
            table.pending |= table.schema.declare(merged);
        }
    }

    /// Takes in a record as it is now. Only memory changes; repeating it changes nothing.
    pub fn apply(&mut self, change: RowChange) {
        let table = self.table(&change.collection);
        let record = change.record.map(flattened);
        if let Some(record) = &record {
            table.schema.observe(record);
        }
        let key = RowKey {
            database: change.database,
            key: change.key.into(),
        };
        if record.is_none()
            && let Some(rejects) = self.rejects.get_mut(&change.collection)
        {
            rejects.pending |= rejects.parts.set(key.clone(), None);
        }
        let table = self.table(&change.collection);
        let json = record.map(|record| record_to_json(&record).into());
        table.pending |= table.parts.set(key, json);
    }

    /// Says that a collection has a ledger: it gets a table of conflicts even if there are none.
    pub fn declare_conflicts(&mut self, collection: &str) {
        self.ledger(collection);
    }

    /// Takes in what lost in a record and is open now. Only memory changes; repeating it changes nothing.
    pub fn apply_conflicts(
        &mut self,
        database: DatabaseId,
        collection: &str,
        key: &str,
        open: &[Conflict],
    ) {
        let rows: Vec<String> = conflicts::rows(open)
            .map(|row| record_to_json(&row))
            .collect();
        let table = self.ledger(collection);
        let key = RowKey {
            database,
            key: key.into(),
        };
        let rows = (!rows.is_empty()).then(|| rows.join("\n").into());
        table.pending |= table.parts.set(key, rows);
    }

    /// Whether something was applied or declared that is not published yet.
    pub fn is_pending(&self) -> bool {
        let records = self.tables.values();
        let mut all = records
            .chain(self.ledgers.values())
            .chain(self.rejects.values());
        all.any(|table| table.pending)
    }

    /// Writes what changed since the last publication and makes it visible, each table atomically. Also removes versions whose
    /// grace is over.
    ///
    /// After an error the tables that could not be written stay visible as they were, all changes are kept, and the next call
    /// tries again.
    pub fn publish(&mut self) -> Result<Published> {
        self.sweep();
        let mut published = Published::default();
        let mut first_error = None;
        if self.is_pending() {
            self.name_tables();
            // A number that failed is not used again: some of its files may not have reached the disk.
            self.version += 1;
        }
        let Self {
            tables,
            ledgers,
            rejects,
            ..
        } = self;
        let mut publish =
            |table: &mut Table| match table.publish(&self.disk, &self.place, self.version) {
                Ok(Some(written)) => {
                    published.tables.push(table.schema.table.clone());
                    published.parts_written += written.parts;
                    published.parts_kept += written.kept;
                    published.bytes_written += written.bytes;
                    self.replaced.extend(written.replaced);
                }
                Ok(None) => {}
                Err(error) => first_error = first_error.take().or(Some(error)),
            };
        for (collection, table) in tables.iter_mut().filter(|(_, table)| table.pending) {
            publish(table);
            if let Some(rejects) = rejects.get_mut(collection) {
                rejects.pending |= take_rejected(table, rejects);
            }
        }
        let others = ledgers.values_mut().chain(rejects.values_mut());
        others.filter(|table| table.pending).for_each(publish);
        if !published.tables.is_empty() || !self.replaced.is_empty() {
            // A version may go only when no power failure can bring back the view that names it.
            match self.disk.sync_dir(&self.place.root) {
                Ok(()) => {
                    let now = Instant::now();
                    let replaced = std::mem::take(&mut self.replaced);
                    self.retired
                        .extend(replaced.into_iter().map(|path| (now, path)));
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(published), Err)
    }

    /// Removes versions whose grace is over. [`Lake::publish`] does so too; a timer may call this where nothing changes for long.
    pub fn sweep(&mut self) {
        let (disk, grace) = (&self.disk, self.grace);
        self.retired.retain(|(since, path)| {
            if since.elapsed() < grace {
                return true;
            }
            match disk.remove_dir(path) {
                Ok(()) => false,
                Err(error) => {
                    tracing::warn!(%error, "a replaced version of a table stays in the lake");
                    true
                }
            }
        });
    }

    /// The table of a collection and the columns that it shows, after `_key` and `_database`; nothing before the collection is
    /// published.
    pub fn schema(&self, collection: &str) -> Option<(&str, Vec<&Column>)> {
        let schema = &self.tables.get(collection)?.schema;
        (!schema.table.is_empty()).then(|| (schema.table.as_str(), schema.shown().collect()))
    }

    /// How many rows a collection has, over all databases.
    pub fn rows(&self, collection: &str) -> usize {
        self.tables
            .get(collection)
            .map_or(0, |table| table.parts.rows())
    }

    #[cfg(test)]
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    fn table(&mut self, collection: &str) -> &mut Table {
        self.tables
            .entry(collection.to_owned())
            .or_insert_with(|| Table::new(Schema::new(collection, String::new()), Kind::Records))
    }

    /// The table of a collection's conflicts, which is never without that of its records.
    fn ledger(&mut self, collection: &str) -> &mut Table {
        self.table(collection);
        let ledger = self.ledgers.entry(collection.to_owned());
        ledger
            .or_insert_with(|| Table::new(Schema::new(collection, String::new()), Kind::Conflicts))
    }

    /// Gives new tables their names, in byte order of their collections.
    fn name_tables(&mut self) {
        let mut taken = Taken::default();
        for table in self
            .tables
            .values()
            .filter(|table| !table.schema.table.is_empty())
        {
            taken.insert(&table.schema.table);
        }
        for (collection, table) in self
            .tables
            .iter_mut()
            .filter(|(_, table)| table.schema.table.is_empty())
        {
            table.schema.table = taken.assign(collection, collection, Naming::Table);
        }
        for (collection, ledger) in &mut self.ledgers {
            if let Some(table) = self.tables.get(collection)
                && ledger.schema.table.is_empty()
            {
                ledger.schema.table = of_conflicts(&table.schema.table);
            }
        }
        for (collection, rejects) in &mut self.rejects {
            if let Some(table) = self.tables.get(collection)
                && rejects.schema.table.is_empty()
            {
                rejects.schema.table = of_rejected(&table.schema.table);
            }
        }
    }
}

/// Puts what a publication found in the rows of `table` into the table of rejected values. Returns whether that changes it.
fn take_rejected(table: &mut Table, rejects: &mut Table) -> bool {
    let mut changed = false;
    for (key, rejected) in table.rejected.drain(..) {
        let rows: Vec<_> = rejected
            .into_iter()
            .map(|rejected| record_to_json(&rejected.row()))
            .collect();
        let rows = (!rows.is_empty()).then(|| rows.join("\n").into());
        changed |= rejects.parts.set(key, rows);
    }
    changed
}

/// Makes fields that nest too deep JSON text.
fn flattened(mut record: Record) -> Record {
    for value in record
        .values_mut()
        .filter(|value| value.depth() > MAX_NESTING)
    {
        *value = Value::String(value_to_json(value));
    }
    record
}

fn lock(root: &Path, path: &Path) -> Result<File> {
    let failed = |error| LakeError::io("open", path, error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LakeError::InUse {
            folder: root.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

//! The folder of tables.

mod commit;
mod feed;

use crate::changes::{ChangeEvent, Cursor, event_of};
use crate::collection::{Collection, Pending, Step};
use crate::conflicts;
use crate::declared::Declarations;
use crate::disk::Disk;
use crate::error::LakeError;
use crate::names::{Place as Naming, Taken};
use crate::rows::RowKey;
use crate::schema::{Column, Schema, SchemaError};
use crate::shown::Place;
use crate::state::{Heads, Recorded, State};
use crate::table::{Kind, Staged, Table};
use crate::tree::Tree;
use commit::Staging;
use headwater_core::json::{record_to_json, value_to_json};
use headwater_core::{Attribution, Conflict, DatabaseId, Record, Value};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, SystemTime};

pub use feed::{FeedPage, FeedQuery, Place as FeedPlace};

type Result<T> = std::result::Result<T, LakeError>;

/// Drill's listings leave out names that begin with a dot.
pub(crate) const HIDDEN: &str = ".headwater";
const LOCK: &str = "lock";
const STATE: &str = "state.redb";

/// How deep lists and maps may nest in one field; a deeper one is JSON text. A little below what records may have, since in
/// memory a record is JSON itself.
pub const MAX_NESTING: usize = headwater_core::value::MAX_DEPTH - 4;

/// How a lake is kept.
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// Drill's name of the folder, which the views contain: a storage plugin, or a plugin and a workspace with a dot between.
    /// Letters, digits, `_` and `-`.
    pub drill_schema: String,
    /// How long a version stays after it was replaced: for queries that are running, and for those that name a snapshot.
    pub keep_snapshots: Duration,
    /// How long events stay in the change feeds.
    pub keep_changes: Duration,
}

impl Default for LakeOptions {
    /// A minute of snapshots, a week of changes.
    fn default() -> Self {
        Self {
            drill_schema: "headwater".to_owned(),
            keep_snapshots: Duration::from_secs(60),
            keep_changes: Duration::from_secs(7 * 24 * 3600),
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
    /// The latest change that led to it, if it is known.
    pub by: Option<Attribution>,
}

/// What [`Lake::absorb`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Absorbed {
    /// How many files of rows were written.
    pub parts_written: usize,
    /// The size of all files written for rows.
    pub bytes_written: u64,
}

/// What [`Lake::publish`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The snapshot: all tables as they are after this commit.
    pub version: u64,
    /// The tables of which a new version became visible, by name.
    pub tables: Vec<String>,
    /// What was written for them in this call.
    pub absorbed: Absorbed,
}

/// The tables of one folder, which this process alone publishes.
///
/// What goes in with [`Lake::apply`] changes memory alone, until [`Lake::absorb`] makes it durable, with the events that tell
/// of it, and [`Lake::publish`] makes it visible too.
#[derive(Debug)]
pub struct Lake {
    pub(crate) place: Place,
    pub(crate) disk: Disk,
    options: LakeOptions,
    state: State,
    collections: BTreeMap<String, Collection>,
    /// Heads up to which databases are taken in with what is pending.
    heads: BTreeMap<DatabaseId, Heads>,
    /// The last commit.
    version: u64,
    /// The last number of a part or group.
    ids: u64,
    /// Whether all that was there at first has been published, so that what changes from then on is told.
    logged: bool,
    /// A commit of which it is not known whether it was made.
    unsure: Option<Staging>,
    _lock: File,
}

impl Lake {
    /// Takes the folder `root` for this process, making it if there is none, and removes what a crash left behind. The tables
    /// stay as they were published until the first publication.
    pub fn open(root: &Path, options: LakeOptions) -> Result<Self> {
        let disk = Disk::default();
        let hidden = root.join(HIDDEN);
        disk.create_dir(&hidden)?;
        let lock = lock(root, &hidden.join(LOCK))?;
        let mut state = State::open(&hidden.join(STATE), now() as u64)?;
        let mut lake = Self {
            place: Place {
                root: root.to_owned(),
                hidden: HIDDEN,
                drill_schema: options.drill_schema.clone(),
            },
            disk,
            options,
            collections: BTreeMap::new(),
            heads: BTreeMap::new(),
            version: state.version()?,
            ids: 0,
            logged: state.is_logged()?,
            unsure: None,
            state,
            _lock: lock,
        };
        lake.restore()?;
        // The views that were read are those that a power failure leaves, before anything they do not name may go.
        lake.disk.sync_dir(&lake.place.root)?;
        Ok(lake)
    }

    fn restore(&mut self) -> Result<()> {
        let mut known = BTreeSet::new();
        for (folder, recorded) in self.state.tables()? {
            let Some((hash, kind)) = folder.split_once('/') else {
                continue;
            };
            known.insert(hash.to_owned());
            let kind = Kind::ALL.into_iter().find(|one| one.folder() == kind);
            let Some(kind) = kind else { continue };
            let schema = self.schema_of(&recorded)?;
            let name = schema.collection.clone();
            let hidden = self.hidden();
            let collection = self.collections.entry(name.clone());
            let collection = collection.or_insert_with(|| Collection::new(&name, &hidden, hash));
            let table = collection.table_mut(kind);
            table.schema = schema;
            table.schema.mark_rendered();
            table.recorded = recorded.schema;
            table.changed = recorded.changed;
            table.trimmed = recorded.trimmed;
            table.tree = Tree::new(recorded.groups);
            self.ids = self.ids.max(table.find_shown(&self.disk, &self.place)?);
            collection.declared = collection.tables().iter().any(|table| table.is_new());
        }
        for collection in self.collections.values_mut() {
            collection.changes.follow(&collection.records.schema);
        }
        for name in self.disk.list(&self.hidden())? {
            if is_hash(&name) && !known.contains(&name) {
                // A crash came before anything was recorded, so nothing of it was ever visible.
                self.disk.remove_dir(&self.hidden().join(name))?;
            }
        }
        Ok(())
    }

    fn schema_of(&self, recorded: &Recorded) -> Result<Schema> {
        let path = self.hidden().join(STATE);
        Schema::from_json(&recorded.schema).map_err(|error| match error {
            SchemaError::Damaged(reason) => LakeError::DamagedState { path, reason },
            SchemaError::Newer(format) => LakeError::Newer { path, format },
        })
    }

    fn hidden(&self) -> std::path::PathBuf {
        self.place.root.join(HIDDEN)
    }

    /// Names the log: a lake that was begun anew has another.
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// Whether changes are told in the feeds: all that was there at first has been published.
    pub fn is_logged(&self) -> bool {
        self.logged
    }

    /// The last commit.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Up to which heads a database was taken in; empty if it never was.
    pub fn heads(&mut self, database: DatabaseId) -> Result<Heads> {
        self.state.heads(database)
    }

    /// The databases that were taken in.
    pub fn databases(&mut self) -> Result<Vec<DatabaseId>> {
        self.state.databases()
    }

    /// The collections that have tables, or will.
    pub fn collections(&self) -> impl Iterator<Item = &str> {
        self.collections.keys().map(String::as_str)
    }

    /// Says that a collection exists: it gets tables even if it has no rows.
    pub fn declare(&mut self, collection: &str) {
        self.collection(collection);
    }

    /// Takes in what the catalog of a database declares of a collection's fields now, instead of what it did before. After
    /// [`Lake::open`] every database says so before the first [`Lake::absorb`], as they have to agree.
    pub fn declare_fields(
        &mut self,
        database: DatabaseId,
        collection: &str,
        declared: Declarations,
    ) {
        let collection = self.collection(collection);
        if let Some(merged) = collection.records.catalogs.set(database, declared) {
            collection.declared |= collection.records.schema.declare(merged);
        }
    }

    /// Takes in a record as it is now. Only memory changes; repeating it changes nothing.
    pub fn apply(&mut self, change: RowChange) {
        let collection = self.collection(&change.collection);
        let record = change.record.map(flattened);
        if let Some(record) = &record {
            collection.records.schema.observe(record);
        }
        let key = RowKey {
            database: change.database,
            key: change.key.into(),
        };
        let content: Option<Box<str>> = record.map(|record| record_to_json(&record).into());
        let pending = &mut collection.pending;
        pending.bytes += key.key.len() + content.as_ref().map_or(0, |content| content.len());
        if let Some(by) = change.by {
            pending.by.insert(key.clone(), by);
        }
        pending.records.insert(key, content);
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
        let pending = &mut self.collection(collection).pending;
        let content: Option<Box<str>> = (!rows.is_empty()).then(|| rows.join("\n").into());
        pending.bytes += key.len() + content.as_ref().map_or(0, |content| content.len());
        let key = RowKey {
            database,
            key: key.into(),
        };
        pending.conflicts.insert(key, content);
    }

    /// Says that with what was applied, a database is taken in up to these heads of its documents. They are recorded with it.
    pub fn taken_in(&mut self, database: DatabaseId, heads: Heads) {
        self.heads.entry(database).or_default().extend(heads);
    }

    /// About how many bytes of memory wait for [`Lake::absorb`].
    pub fn pending_bytes(&self) -> usize {
        self.collections.values().map(|one| one.pending.bytes).sum()
    }

    /// Whether something was applied or declared that is not published yet.
    pub fn is_pending(&self) -> bool {
        let behind = |collection: &Collection| {
            collection.is_pending(None) || collection.tables().iter().any(|table| table.is_behind())
        };
        !self.heads.is_empty() || self.unsure.is_some() || self.collections.values().any(behind)
    }

    /// Makes durable what was applied, with its events, as one step. Nothing becomes visible.
    ///
    /// After an error all changes are kept, and the next call tries again. A collection that cannot be written does not keep
    /// others from it.
    pub fn absorb(&mut self) -> Result<Absorbed> {
        self.make_sure()?;
        self.name_tables();
        let at = now();
        let step = Step {
            epoch: self.state.epoch,
            version: self.version + 1,
            at,
            logged: self.logged,
            keep_from: at.saturating_sub_unsigned(self.options.keep_changes.as_millis() as u64),
        };
        let mut staging = Staging {
            version: step.version,
            tables: Vec::new(),
            heads: BTreeMap::new(),
            epoch: None,
        };
        let mut first_error = None;
        for (name, collection) in &mut self.collections {
            if !collection.is_pending(Some(&step)) {
                continue;
            }
            let pending = std::mem::take(&mut collection.pending);
            match collection.stage(&self.disk, &mut self.ids, step, &pending) {
                Ok(staged) => staging.tables.push((name.clone(), staged, pending)),
                Err(error) => {
                    collection.pending.restore(pending);
                    first_error = first_error.or(Some(error));
                }
            }
        }
        if first_error.is_none() {
            staging.heads = std::mem::take(&mut self.heads);
        }
        let changes = |(_, staged, _): &(_, Vec<Staged>, _)| !staged.is_empty();
        let absorbed = match staging.heads.is_empty() && !staging.tables.iter().any(changes) {
            true => {
                self.committed(Staging {
                    version: self.version,
                    ..staging
                });
                Absorbed::default()
            }
            false => self.make(staging)?,
        };
        first_error.map_or(Ok(absorbed), Err)
    }

    /// Whether a table has to be published that shows the last commit already.
    fn needs_number(&self) -> bool {
        let shows_last = |table: &&Table| table.shown.visible == Some(self.version);
        let mut shown = self.tables().filter(shows_last);
        shown.any(|table| !table.is_shown(&self.place))
    }

    /// Makes durable what was applied and then visible, each table atomically. Also removes versions whose time is over.
    ///
    /// After an error the tables that could not be written stay visible as they were, all changes are kept, and the next call
    /// tries again.
    pub fn publish(&mut self) -> Result<Published> {
        self.sweep();
        let absorbed = self.absorb();
        let mut published = Published {
            version: self.version,
            ..Published::default()
        };
        let mut failed = match absorbed {
            Ok(absorbed) => {
                published.absorbed = absorbed;
                None
            }
            Err(error) => Some(error),
        };
        if self.needs_number() {
            // A visible version's folder is not written again.
            let next = Staging {
                version: self.version + 1,
                tables: Vec::new(),
                heads: BTreeMap::new(),
                epoch: None,
            };
            self.make(next)?;
        }
        published.version = self.version;
        let at = now();
        let tables = self
            .collections
            .values_mut()
            .flat_map(Collection::tables_mut);
        for table in tables {
            match table.publish(&self.disk, &self.place, self.version, at) {
                Ok(true) => published.tables.push(table.schema.table.clone()),
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // A version may go only when no power failure can bring back the view that names it.
        if !published.tables.is_empty() {
            match self.disk.sync_dir(&self.place.root) {
                Ok(()) => self.tables_mut().for_each(Table::settled),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if failed.is_none() && !self.logged {
            self.state.begin_log()?;
            self.logged = true;
        }
        failed.map_or(Ok(published), Err)
    }

    /// Forgets all rows and all events, which begins another epoch. The tables stay visible as they are, and what is recorded of
    /// their columns stays; what is then applied until the next publication is what they show from then on.
    pub fn begin_anew(&mut self) -> Result<()> {
        self.make_sure()?;
        self.heads.clear();
        let tables = self.collections.iter_mut().map(|(name, collection)| {
            collection.pending = Pending::default();
            let staged = collection.tables().map(|table| table.stage_anew());
            (name.clone(), staged.into(), Pending::default())
        });
        let staging = Staging {
            version: self.version + 1,
            tables: tables.collect(),
            heads: BTreeMap::new(),
            epoch: Some((now() as u64).max(self.state.epoch + 1)),
        };
        self.make(staging).map(drop)
    }

    /// Removes versions whose time is over. [`Lake::publish`] does so too; a timer may call this where nothing changes for long.
    pub fn sweep(&mut self) {
        let tables = self
            .collections
            .values_mut()
            .flat_map(Collection::tables_mut);
        tables.for_each(|table| table.sweep(&self.disk, self.options.keep_snapshots));
    }

    /// The table of a collection and the columns that it shows, after `_key` and `_database`; nothing before the collection is
    /// published.
    pub fn schema(&self, collection: &str) -> Option<(&str, Vec<&Column>)> {
        let schema = &self.collections.get(collection)?.records.schema;
        (!schema.table.is_empty()).then(|| (schema.table.as_str(), schema.shown().collect()))
    }

    /// How many records a collection has, over all databases.
    pub fn rows(&self, collection: &str) -> u64 {
        let collection = self.collections.get(collection);
        collection.map_or(0, |collection| collection.records.tree.rows())
    }

    /// A record as it was absorbed.
    pub fn get(&self, database: DatabaseId, collection: &str, key: &str) -> Result<Option<String>> {
        let key = RowKey {
            database,
            key: key.into(),
        };
        let collection = self.collections.get(collection);
        collection.map_or(Ok(None), |collection| {
            collection.records.get(&self.disk, &key)
        })
    }

    /// Events of a collection after `after`, or the first that are still there; at most `limit`.
    pub fn feed(
        &self,
        collection: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<ChangeEvent>> {
        let Some(collection) = self.collections.get(collection) else {
            return Ok(Vec::new());
        };
        let table = &collection.changes;
        let after = match after {
            Some(after) => {
                let trimmed = (table.trimmed, Cursor::END);
                if after.epoch != self.state.epoch || (after.version, after.event) < trimmed {
                    return Err(LakeError::ExpiredCursor { cursor: after });
                }
                Some(after.row_key())
            }
            None => None,
        };
        let from = after
            .as_ref()
            .and_then(|key| table.tree.part_of(key))
            .map(|part| part.id);
        let mut events = Vec::new();
        let parts = table
            .tree
            .parts()
            .skip_while(|part| from.is_some_and(|from| part.id != from));
        for part in parts {
            let rows = table.files.load(&self.disk, part)?;
            for row in rows.iter() {
                if after
                    .as_ref()
                    .is_some_and(|after| row.compare(after).is_le())
                {
                    continue;
                }
                if events.len() == limit {
                    return Ok(events);
                }
                let event = event_of(row.content).map_err(|reason| LakeError::Row {
                    collection: table.schema.collection.clone(),
                    key: row.key.to_owned(),
                    reason,
                })?;
                events.push(event);
            }
        }
        Ok(events)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.collections.values().flat_map(Collection::tables)
    }

    pub(crate) fn tables_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.collections
            .values_mut()
            .flat_map(Collection::tables_mut)
    }

    /// Makes the next step look at every collection.
    pub(crate) fn declare_all(&mut self) {
        for collection in self.collections.values_mut() {
            collection.declared = true;
        }
    }

    #[cfg(test)]
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    fn collection(&mut self, name: &str) -> &mut Collection {
        let hidden = self.hidden();
        self.collections
            .entry(name.to_owned())
            .or_insert_with(|| Collection::new(name, &hidden, &hash(name)))
    }

    /// Gives new tables their names, in byte order of their collections.
    fn name_tables(&mut self) {
        let is_named = |collection: &&mut Collection| !collection.records.schema.table.is_empty();
        let mut taken = Taken::default();
        for collection in self.collections.values_mut().filter(is_named) {
            taken.insert(&collection.records.schema.table);
        }
        for (name, collection) in &mut self.collections {
            if collection.records.schema.table.is_empty() {
                collection.name(&taken.assign(name, name, Naming::Table));
            }
        }
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// The folder of a collection: a hash, since the name is whatever a user chose and Drill reads patterns in paths.
fn hash(text: &str) -> String {
    let mut name = String::with_capacity(32);
    for byte in &Sha256::digest(text.as_bytes())[..16] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn is_hash(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What the lake keeps of a record: canonical JSON.
pub fn canonical(record: Record) -> String {
    record_to_json(&flattened(record))
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

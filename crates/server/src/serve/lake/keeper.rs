//! The lake's thread: it takes over what waits, reads what has to be read, and publishes.

use super::news::{Changed, News};
use super::queue::{Row, Unread, Waiting, latest};
use super::{LakeFeed, lock};
use futures::executor::block_on;
use headwater::{Database, DatabaseId, DocumentId};
use headwater_core::{Attribution, Standing};
use headwater_materialize::{Lake, LakeError, RowChange, declarations};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait after a failed publication.
const RETRY: Duration = Duration::from_secs(1);
/// How often replaced versions are looked for that can go.
const SWEEP: Duration = Duration::from_secs(10);
/// How many records are read at once, with their database locked.
pub(super) const CHUNK: usize = 1_000;
/// How many bytes of rows are gathered in memory before they are written.
const GATHERED: usize = 16 << 20;

/// What keeps the lake from being what the databases hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// It cannot be read or written.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A database was closed before it was read. It is read when the server starts again.
    #[error("the server is stopping")]
    Stopping,
}

type Result<T> = std::result::Result<T, KeepError>;

/// What was read and written anew.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rebuilt {
    /// How many records were read.
    pub records: u64,
    /// Time spent on reading records out of documents, by policy.
    pub resolving: Duration,
    /// Time spent on writing rows.
    pub writing: Duration,
}

pub(super) struct Keeper {
    pub feed: Arc<LakeFeed>,
    pub lake: Lake,
    /// What changed since the last publication.
    changed: Changed,
    /// Whether rows of what is not to be in the lake any more are deleted.
    tidied: bool,
}

impl Keeper {
    pub fn new(feed: Arc<LakeFeed>, lake: Lake) -> Self {
        Self {
            feed,
            lake,
            changed: Changed::default(),
            tidied: false,
        }
    }

    pub fn run(mut self) {
        // First what is there already, so that the change feeds begin before anything else comes.
        let mut stopping = false;
        loop {
            let retry_at = match self.publish_all() {
                Ok(()) | Err(KeepError::Stopping) => None,
                Err(KeepError::Lake(error)) => {
                    self.failed(&error);
                    if matches!(error, LakeError::DamagedPart { .. }) {
                        self.start_over();
                    }
                    Some(Instant::now() + RETRY)
                }
            };
            self.answer_asked();
            self.lake.sweep();
            if stopping {
                return;
            }
            stopping = self.wait_for_work(retry_at);
        }
    }

    /// Waits until there is something to do and a little longer, so that what comes together is published together. Whoever
    /// reads the lake is served meanwhile.
    fn wait_for_work(&self, retry_at: Option<Instant>) -> bool {
        let idle_until = retry_at.unwrap_or_else(|| Instant::now() + SWEEP);
        let asked = || !lock(&self.feed.asked).is_empty();
        let no_readers = || lock(&self.feed.readers).is_empty();
        let idle = |queue: &super::Queue| {
            queue.waiting.is_empty() && queue.unread.is_empty() && !queue.stopping && !asked()
        };
        let go_on = |queue: &super::Queue| !queue.stopping && !asked() && queue.held.is_empty();
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let changed = &self.feed.changed;
        loop {
            self.serve_readers();
            let queue = lock(&self.feed.queue);
            let wait = |queue: &mut super::Queue| idle(queue) && no_readers();
            let waited = changed.wait_timeout_while(queue, left(idle_until), wait);
            let (queue, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            if timed_out.timed_out() {
                return queue.stopping;
            }
            if idle(&queue) {
                continue;
            }
            // The oldest change waits for the interval, not for it and the publication before as well.
            let since = queue.waiting.since.unwrap_or_else(Instant::now);
            let wait = |queue: &mut super::Queue| go_on(queue) && no_readers();
            let gathered =
                changed.wait_timeout_while(queue, left(since + self.feed.interval), wait);
            let (queue, timed_out) = gathered.unwrap_or_else(PoisonError::into_inner);
            if timed_out.timed_out() || !go_on(&queue) {
                return queue.stopping;
            }
        }
    }

    /// Serves those who read the lake.
    fn serve_readers(&self) {
        let readers = std::mem::take(&mut *lock(&self.feed.readers));
        readers.into_iter().for_each(|read| read(&self.lake));
    }

    /// Takes over all that waits, reads what has to be read, and publishes.
    pub fn publish_all(&mut self) -> Result<()> {
        if !self.tidied {
            self.delete_unmapped()?;
            self.tidied = true;
        }
        self.take_over();
        self.read_unread()?;
        let started = Instant::now();
        let published = self.lake.publish()?;
        let changed = std::mem::take(&mut self.changed);
        if let Some(airflow) = self.feed.airflow.get()
            && !published.tables.is_empty()
        {
            let version = published.version;
            airflow.published(&News { version, changed });
        }
        let mut status = lock(&self.feed.status);
        status.version = published.version;
        status.since = None;
        status.pending = 0;
        self.feed.head.send_if_modified(|head| {
            let place = Some(self.lake.feed_head());
            let moved = *head != place;
            *head = place;
            moved
        });
        if !published.tables.is_empty() {
            status.publications += 1;
            status.bytes = published.absorbed.bytes_written;
            status.took = started.elapsed();
            tracing::debug!(version = published.version, tables = ?published.tables,
                parts = published.absorbed.parts_written, bytes = status.bytes, "published");
        }
        if status.error.take().is_some() {
            tracing::info!("the lake can be written again");
        }
        Ok(())
    }

    /// Deletes the rows of plain documents that an earlier configuration mapped to collections.
    fn delete_unmapped(&mut self) -> Result<()> {
        let taken_in = self.lake.databases()?;
        let mut unmapped = Vec::new();
        {
            let queue = lock(&self.feed.queue);
            for id in taken_in {
                let document = DocumentId::from_bytes(*id.as_bytes());
                let is_mapped = |collection: &&str| {
                    let mapping = queue.mapping.as_ref();
                    mapping.is_some_and(|mapping| mapping.maps(document, collection))
                };
                if !queue.databases.contains_key(&id) {
                    let others = self.lake.collections().filter(|name| !is_mapped(name));
                    unmapped.extend(others.map(|collection| (id, collection.to_owned())));
                }
            }
        }
        for (database, collection) in unmapped {
            let rows = self.lake.rows_of(database, &collection, None, usize::MAX)?;
            for (key, _) in rows {
                self.lake.apply(RowChange {
                    database,
                    collection: collection.clone(),
                    key,
                    record: None,
                    by: None,
                });
            }
        }
        Ok(())
    }

    /// Rows are lost, as when someone removed the folder: all of them are made anew with the next try.
    fn start_over(&mut self) {
        tracing::error!(
            "rows of the lake are lost: it is made anew, and its change feeds begin another epoch"
        );
        match self.lake.begin_anew() {
            Ok(()) => self.forget_read(),
            Err(error) => self.failed(&error),
        }
    }

    /// Takes nothing for read any more.
    pub fn forget_read(&mut self) {
        let mut queue = lock(&self.feed.queue);
        let all: Vec<_> = queue.databases.keys().copied().collect();
        queue
            .unread
            .extend(all.into_iter().map(|id| (id, Unread::All)));
        let plain: Vec<_> = queue
            .mapping
            .iter()
            .flat_map(|mapping| mapping.documents())
            .collect();
        queue.waiting.plain.extend(plain);
    }

    pub fn failed(&self, error: &LakeError) {
        let message = error.to_string();
        let mut status = lock(&self.feed.status);
        if status.error.as_ref() != Some(&message) {
            tracing::error!(error = message, "tables not published; trying again");
        }
        status.error = Some(message);
    }

    /// Takes over what waits into the lake's memory.
    pub fn take_over(&mut self) {
        let (mut waiting, resumed, databases) = {
            let mut queue = lock(&self.feed.queue);
            let waiting = std::mem::take(&mut queue.waiting);
            let held = std::mem::take(&mut queue.held);
            let of = |id: &DatabaseId| queue.databases.get(id).cloned();
            let resumed: Vec<Database> = held.iter().filter_map(of).collect();
            let declared: Vec<Database> = waiting.declared.iter().filter_map(of).collect();
            (waiting, resumed, declared)
        };
        resumed.iter().for_each(Database::resume);
        {
            let mut status = lock(&self.feed.status);
            status.since = status.since.or(waiting.since);
            status.pending += waiting.len();
        }
        for database in databases {
            for (collection, declared) in database.collections() {
                self.lake.declare(&collection);
                let declared = declarations(&declared);
                self.lake
                    .declare_fields(database.id(), &collection, declared);
            }
        }
        self.changed.extend(std::mem::take(&mut waiting.changed));
        self.apply(waiting);
    }

    fn apply(&mut self, waiting: Waiting) {
        for ((database, collection, key), latest) in waiting.rows {
            self.lake.apply(RowChange {
                database,
                collection,
                key,
                record: latest.record,
                by: latest.by,
            });
        }
        for ((database, collection, key), open) in waiting.conflicts {
            self.lake
                .apply_conflicts(database, &collection, &key, &open);
        }
        for (database, heads) in waiting.heads {
            // One that is still to be read is taken in up to no heads yet.
            if !lock(&self.feed.queue).unread.contains_key(&database) {
                self.lake.taken_in(database, heads);
            }
        }
        let mapping = lock(&self.feed.queue).mapping.take();
        // The mapping is used without the lock: plain documents are read under theirs, which comes first.
        if let Some(mapping) = mapping {
            mapping
                .collections()
                .for_each(|name| self.lake.declare(name));
            for document in waiting.plain {
                let heads = mapping.heads(document);
                match mapping.rows(document, &self.lake) {
                    Ok(rows) => {
                        let collections = rows.iter().map(|row| row.collection.clone());
                        self.changed.note_plain(document, collections);
                        rows.into_iter().for_each(|row| self.lake.apply(row));
                        let database = DatabaseId::from_bytes(*document.as_bytes());
                        self.lake.taken_in(database, heads);
                    }
                    Err(error) => {
                        self.failed(&error);
                        lock(&self.feed.queue).waiting.plain.insert(document);
                    }
                }
            }
            lock(&self.feed.queue).mapping = Some(mapping);
        }
    }

    /// Reads what has to be read of each database. Only then may anything be published.
    pub fn read_unread(&mut self) -> Result<Rebuilt> {
        let mut rebuilt = Rebuilt::default();
        loop {
            let next = {
                let queue = lock(&self.feed.queue);
                let first = queue.unread.iter().next();
                first.map(|(id, unread)| (*id, unread.clone(), queue.databases.get(id).cloned()))
            };
            let Some((id, unread, database)) = next else {
                return Ok(rebuilt);
            };
            if let Some(database) = database {
                self.read_database(&database, &unread, &mut rebuilt)?;
            }
            let mut queue = lock(&self.feed.queue);
            // Other rules may have come meanwhile, by which the same is to be read again.
            if queue.unread.get(&id) == Some(&unread) {
                queue.unread.remove(&id);
            }
        }
    }

    fn read_database(
        &mut self,
        database: &Database,
        unread: &Unread,
        rebuilt: &mut Rebuilt,
    ) -> Result<()> {
        let id = database.id();
        if *unread == Unread::SinceTakenIn {
            let heads = self.lake.heads(id)?;
            if let Some(missed) = at_rest(database, move |core| core.missed_since(&heads))? {
                let rows: Vec<_> = missed.into_iter().collect();
                for chunk in rows.chunks(CHUNK) {
                    self.read_rows(database, chunk.to_vec(), rebuilt)?;
                }
                return self.all_read(database);
            }
        }
        let collections = match unread {
            Unread::Collections(collections) => collections.clone(),
            _ => database.collections().into_keys().collect(),
        };
        for collection in collections {
            self.read_collection(database, &collection, rebuilt)?;
        }
        self.all_read(database)
    }

    /// Notes that all of a database was read: up to the heads that it has now.
    fn all_read(&mut self, database: &Database) -> Result<()> {
        let feed = Arc::clone(&self.feed);
        at_rest(database, move |core| {
            lock(&feed.queue)
                .waiting
                .heads
                .insert(core.id(), core.heads());
        })
    }

    /// Reads every key that the collection or its table has, in their order and some at a time.
    fn read_collection(
        &mut self,
        database: &Database,
        collection: &str,
        rebuilt: &mut Rebuilt,
    ) -> Result<()> {
        let name = collection.to_owned();
        let mut keys = at_rest(database, move |core| core.keys(&name))?;
        let mut after: Option<String> = None;
        loop {
            let rows = self
                .lake
                .rows_of(database.id(), collection, after.as_deref(), CHUNK)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            keys.extend(rows.into_iter().map(|(key, _)| key));
        }
        while !keys.is_empty() {
            let rest = keys.iter().nth(CHUNK).cloned();
            let rest = rest.map_or_else(BTreeSet::new, |key| keys.split_off(&key));
            let chunk = std::mem::replace(&mut keys, rest).into_iter();
            let chunk = chunk
                .map(|key| ((collection.to_owned(), key), None))
                .collect();
            self.read_rows_by(database, chunk, rebuilt)?;
        }
        Ok(())
    }

    fn read_rows(
        &mut self,
        database: &Database,
        rows: Vec<((String, String), Attribution)>,
        rebuilt: &mut Rebuilt,
    ) -> Result<()> {
        let rows = rows.into_iter().map(|(row, by)| (row, Some(by))).collect();
        self.read_rows_by(database, rows, rebuilt)
    }

    /// Reads records as they are durable now, each with the latest change of it if that is known, in the order of what else
    /// waits for the lake.
    fn read_rows_by(
        &mut self,
        database: &Database,
        rows: BTreeMap<(String, String), Option<Attribution>>,
        rebuilt: &mut Rebuilt,
    ) -> Result<()> {
        rebuilt.records += rows.len() as u64;
        let feed = Arc::clone(&self.feed);
        // Nothing is told of what is there at first, so who wrote it need not be known.
        let told = self.lake.is_logged();
        let spent = at_rest(database, move |core| {
            let started = Instant::now();
            let read = |((collection, key), by): ((String, String), Option<Attribution>)| {
                let standing = core.standing_of(&collection, &key);
                let unknown = || told.then(|| latest(core, &collection, &key)).flatten();
                let by = by.or_else(unknown);
                (collection, by, standing)
            };
            let read: Vec<_> = rows.into_iter().map(read).collect();
            let mut queue = lock(&feed.queue);
            for (
                collection,
                by,
                Standing {
                    key,
                    record,
                    conflicts,
                },
            ) in read
            {
                let row: Row = (core.id(), collection, key);
                queue.waiting.put_conflicts(row.clone(), conflicts);
                queue.waiting.put(row, record, by);
            }
            started.elapsed()
        })?;
        rebuilt.resolving += spent;
        self.take_over();
        if self.lake.pending_bytes() >= GATHERED {
            let started = Instant::now();
            self.lake.absorb()?;
            rebuilt.writing += started.elapsed();
        }
        Ok(())
    }
}

/// Reads a database when all that it has is durable and told.
pub(super) fn at_rest<T: Send + 'static>(
    database: &Database,
    read: impl FnOnce(&headwater_core::Database) -> T + Send + 'static,
) -> Result<T> {
    block_on(database.inspect_durable(read)).map_err(|_| KeepError::Stopping)
}

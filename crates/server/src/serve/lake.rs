//! Carries durable changes into the lake, on a thread of its own.

use super::error::ServeError;
use super::plain::Mapping;
use headwater::{Conflict, Database, DatabaseId, DeleteRule, DocumentId, Event, Record};
use headwater_core::Standing;
use headwater_core::policy::Policies;
use headwater_materialize::{Lake, RowChange, declarations};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long changes are gathered before they are published together.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait after a failed publication.
const RETRY: Duration = Duration::from_secs(1);
/// How often replaced versions are looked for that can go.
const SWEEP: Duration = Duration::from_secs(10);

/// What is to go into the lake, and how it goes.
#[derive(Debug, Default)]
pub(super) struct LakeFeed {
    state: Mutex<State>,
    changed: Condvar,
}

/// A database, a collection and a key.
type Row = (DatabaseId, String, String);

#[derive(Debug, Default)]
struct State {
    /// The latest of each row, so that what waits is bounded by the number of rows.
    rows: BTreeMap<Row, Option<Record>>,
    /// What is open in each record in which something lost or was settled.
    conflicts: BTreeMap<Row, Vec<Conflict>>,
    /// Collections whose catalog entry changed.
    declared: BTreeSet<(DatabaseId, String)>,
    /// The rules by which each collection was read.
    rules: BTreeMap<(DatabaseId, String), Rules>,
    plain: BTreeSet<DocumentId>,
    databases: BTreeMap<DatabaseId, Database>,
    mapping: Option<Mapping>,
    status: Status,
    stopping: bool,
    thread: Option<JoinHandle<()>>,
}

/// How it goes with the lake.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    pub error: Option<String>,
    pub publications: u64,
    /// Rows and ledgers of records that wait.
    pub pending: usize,
}

/// What decides in a collection what its records show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rules {
    policies: Policies,
    delete: DeleteRule,
}

impl Rules {
    fn of(core: &headwater_core::Database, collection: &str) -> Self {
        let declared = core.collections().get(collection);
        declared.map_or_else(Self::default, |declared| Self {
            policies: declared.policies.clone(),
            delete: declared.delete,
        })
    }
}

/// What the thread takes over at once.
struct Work {
    rows: BTreeMap<Row, Option<Record>>,
    conflicts: BTreeMap<Row, Vec<Conflict>>,
    declared: Vec<(Database, String)>,
    stopping: bool,
}

impl LakeFeed {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is done under the lock leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in all records of a database, and whatever changes from then on.
    pub fn follow(self: &Arc<Self>, database: &Database) {
        let id = database.id();
        let feed = Arc::clone(self);
        let listener = Box::new(move |events: &[Event]| feed.take_events(id, events));
        self.lock().databases.insert(id, database.clone());
        let start = |core: &headwater_core::Database| {
            for collection in core.collections().keys() {
                self.lock().declared.insert((id, collection.clone()));
                self.take_all(core, collection, false);
            }
        };
        database.follow(start, listener);
        self.changed.notify_one();
    }

    /// Takes in a collection as it stands under its present rules; `again` if the lake may have rows of it that must go.
    fn take_all(&self, core: &headwater_core::Database, collection: &str, again: bool) {
        let id = core.id();
        let rules = Rules::of(core, collection);
        let standings = core.standings(collection);
        let mut state = self.lock();
        state.rules.insert((id, collection.to_owned()), rules);
        for Standing {
            key,
            record,
            conflicts,
        } in standings
        {
            let row = (id, collection.to_owned(), key);
            if again || !conflicts.is_empty() {
                state.conflicts.insert(row.clone(), conflicts);
            }
            if again || record.is_some() {
                state.rows.insert(row, record);
            }
        }
    }

    /// Reads a collection again if its rules are others than those by which it was read: other values may be shown and
    /// other records deleted, without an event of their own.
    fn read_again(&self, database: &Database, collection: &str) {
        database.inspect(|core| {
            let known = (core.id(), collection.to_owned());
            let read_by = self.lock().rules.get(&known).cloned().unwrap_or_default();
            if read_by != Rules::of(core, collection) {
                self.take_all(core, collection, true);
            }
        });
    }

    fn take_events(&self, id: DatabaseId, events: &[Event]) {
        let mut state = self.lock();
        for event in events {
            match event {
                Event::Record(event) => {
                    let row = (id, event.collection.clone(), event.key.clone());
                    state.rows.insert(row, event.after.clone());
                }
                Event::Conflicts(event) => {
                    let row = (id, event.collection.clone(), event.key.clone());
                    state.conflicts.insert(row, event.open.clone());
                }
                Event::Catalog { collection } => {
                    state.declared.insert((id, collection.clone()));
                }
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// A plain document changed.
    pub fn plain_changed(&self, document: DocumentId) {
        self.lock().plain.insert(document);
        self.changed.notify_one();
    }

    /// Which plain documents are in the lake.
    pub fn map_plain(&self, mapping: Mapping) {
        let mut state = self.lock();
        state.plain.extend(mapping.documents());
        state.mapping = Some(mapping);
    }

    pub fn status(&self) -> Status {
        let state = self.lock();
        let ended = state.thread.as_ref().is_some_and(JoinHandle::is_finished);
        let defect = || "publishing has ended: restart the server, and please report it".to_owned();
        Status {
            error: state.status.error.clone().or_else(|| ended.then(defect)),
            pending: state.rows.len() + state.conflicts.len(),
            ..state.status.clone()
        }
    }

    /// Begins to publish.
    pub fn start(self: &Arc<Self>, lake: Lake) -> Result<(), ServeError> {
        let feed = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("lake".to_owned())
            .spawn(move || feed.run(lake))
            .map_err(|error| ServeError::Internal(error.to_string()))?;
        self.lock().thread = Some(thread);
        Ok(())
    }

    /// Publishes what there is, and ends.
    pub fn stop(&self) {
        let thread = {
            let mut state = self.lock();
            state.stopping = true;
            state.thread.take()
        };
        self.changed.notify_one();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the lake's thread ended badly");
        }
        // The last publication needed their declarations; each of them leads back here.
        self.lock().databases.clear();
    }

    fn run(&self, mut lake: Lake) {
        let mut retry_at = None;
        loop {
            let declared = self.wait_for_work(retry_at);
            let work = self.take_work(declared);
            let stopping = work.stopping;
            self.apply(&mut lake, work);
            lake.sweep();
            retry_at = match lake.publish() {
                Ok(published) => {
                    let mut state = self.lock();
                    if !published.tables.is_empty() {
                        state.status.publications += 1;
                        tracing::debug!(tables = ?published.tables, parts = published.parts_written,
                            bytes = published.bytes_written, "published");
                    }
                    if state.status.error.take().is_some() {
                        tracing::info!("the lake can be written again");
                    }
                    None
                }
                Err(error) => {
                    let message = error.to_string();
                    let mut state = self.lock();
                    if state.status.error.as_ref() != Some(&message) {
                        tracing::error!(error = message, "tables not published; trying again");
                    }
                    state.status.error = Some(message);
                    Some(Instant::now() + RETRY)
                }
            };
            if stopping {
                return;
            }
        }
    }

    /// Waits until there is something to publish and a little longer, so that what comes together is published together.
    /// Gives the collections whose catalog entry changed.
    fn wait_for_work(&self, retry_at: Option<Instant>) -> Vec<(Database, String)> {
        let limit = retry_at.map_or(SWEEP, |at| at.saturating_duration_since(Instant::now()));
        let idle = |state: &mut State| {
            let no_rows = state.rows.is_empty() && state.conflicts.is_empty();
            let nothing = no_rows && state.declared.is_empty() && state.plain.is_empty();
            nothing && !state.stopping
        };
        let waited = self.changed.wait_timeout_while(self.lock(), limit, idle);
        let (state, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        let stopping = |state: &mut State| !state.stopping;
        let gather = if timed_out.timed_out() {
            Duration::ZERO
        } else {
            GATHER
        };
        let gathered = self.changed.wait_timeout_while(state, gather, stopping);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let declared = std::mem::take(&mut state.declared);
        declared
            .into_iter()
            .filter_map(|(id, collection)| Some((state.databases.get(&id)?.clone(), collection)))
            .collect()
    }

    fn take_work(&self, declared: Vec<(Database, String)>) -> Work {
        // Before the rows are taken over, so that none that was read by the old rules comes after. The database's lock
        // comes before ours.
        for (database, collection) in &declared {
            self.read_again(database, collection);
        }
        let mut state = self.lock();
        Work {
            declared,
            rows: std::mem::take(&mut state.rows),
            conflicts: std::mem::take(&mut state.conflicts),
            // What the catalog said meanwhile is not left undone.
            stopping: state.stopping && state.declared.is_empty(),
        }
    }

    fn apply(&self, lake: &mut Lake, work: Work) {
        for (database, collection) in work.declared {
            declare(lake, &database, &collection);
        }
        for ((database, collection, key), record) in work.rows {
            lake.apply(RowChange {
                database,
                collection,
                key,
                record,
            });
        }
        for ((database, collection, key), open) in work.conflicts {
            lake.apply_conflicts(database, &collection, &key, &open);
        }
        let (documents, mapping) = {
            let mut state = self.lock();
            (std::mem::take(&mut state.plain), state.mapping.take())
        };
        // The mapping is used without the lock: plain documents are read under theirs, which comes first.
        if let Some(mut mapping) = mapping {
            mapping.collections().for_each(|name| lake.declare(name));
            for document in documents {
                mapping
                    .rows(document)
                    .into_iter()
                    .for_each(|row| lake.apply(row));
            }
            self.lock().mapping = Some(mapping);
        }
    }
}

fn declare(lake: &mut Lake, database: &Database, collection: &str) {
    lake.declare_conflicts(collection);
    let Some(declared) = database.collections().remove(collection) else {
        return;
    };
    lake.declare_fields(database.id(), collection, declarations(&declared));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lake_whose_thread_has_ended_is_not_well() {
        let feed = LakeFeed::new();
        assert_eq!(feed.status().error, None);
        let thread = std::thread::spawn(|| {});
        while !thread.is_finished() {
            std::thread::yield_now();
        }
        feed.lock().thread = Some(thread);
        let error = feed.status().error.unwrap();
        assert!(error.contains("restart the server"), "{error}");
    }
}

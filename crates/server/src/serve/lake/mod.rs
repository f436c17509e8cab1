//! Carries durable changes into the lake, on a thread of its own.

mod check;
mod keeper;
mod news;
mod queue;

pub use check::{Check, CheckReport, TableReport};

use super::error::ServeError;
use super::plain::Mapping;
use crate::airflow::Airflow;
use headwater::{Database, DocumentId, Event};
use headwater_materialize::{FeedPlace, Lake, LakeError};
use keeper::Keeper;
pub(crate) use news::News;
use queue::Queue;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// What is read of the lake between two publications.
type Reader = Box<dyn FnOnce(&Lake) + Send>;

/// What is to go into the lake, and how it goes.
pub(super) struct LakeFeed {
    queue: Mutex<Queue>,
    changed: Condvar,
    status: Mutex<Status>,
    asked: Mutex<Vec<Asked>>,
    readers: Mutex<Vec<Reader>>,
    /// The end of the change feed, as of the last publication.
    head: watch::Sender<Option<FeedPlace>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How long changes are gathered before they are published together.
    interval: Duration,
    /// Who is told of each publication.
    airflow: OnceLock<Arc<Airflow>>,
}

impl std::fmt::Debug for LakeFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeFeed")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// How it goes with the lake.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    pub error: Option<String>,
    pub publications: u64,
    /// Rows and ledgers of records that wait.
    pub pending: usize,
    /// When the oldest change came that was taken over and is not published.
    pub since: Option<Instant>,
    /// How long the oldest change waits that is not published yet.
    pub lag: Duration,
    /// The last snapshot's number.
    pub version: u64,
    /// What the last publication wrote, in bytes, and how long it took.
    pub bytes: u64,
    pub took: Duration,
}

/// Something to do between two publications.
#[derive(Debug)]
enum Asked {
    Check(Check, mpsc::Sender<Result<CheckReport, String>>),
    Publish(oneshot::Sender<Result<u64, String>>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is done under these locks leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LakeFeed {
    pub fn new(interval: Duration) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            status: Mutex::default(),
            asked: Mutex::default(),
            readers: Mutex::default(),
            head: watch::Sender::new(None),
            thread: Mutex::default(),
            interval,
            airflow: OnceLock::new(),
        })
    }

    /// Takes in what a database has that the lake does not, and whatever changes from then on.
    pub fn follow(self: &Arc<Self>, database: &Database) {
        let feed = Arc::clone(self);
        let listener = Box::new(move |core: &headwater_core::Database, events: &[Event]| {
            let flow = lock(&feed.queue).take_events(core, events);
            feed.changed.notify_one();
            flow
        });
        let start = |core: &headwater_core::Database| {
            lock(&self.queue).follow(core, database.clone());
        };
        database.follow(start, listener);
        self.changed.notify_one();
    }

    /// A plain document changed.
    pub fn plain_changed(&self, document: DocumentId) {
        let mut queue = lock(&self.queue);
        queue.waiting.plain.insert(document);
        queue.waiting.touch();
        drop(queue);
        self.changed.notify_one();
    }

    /// Which plain documents are in the lake.
    pub fn map_plain(&self, mapping: Mapping) {
        let mut queue = lock(&self.queue);
        queue.waiting.plain.extend(mapping.documents());
        queue.mapping = Some(mapping);
    }

    /// Tells of each publication from now on.
    pub fn tell(&self, airflow: Arc<Airflow>) {
        // It is set once, before anything is published.
        let _ = self.airflow.set(airflow);
    }

    pub fn status(&self) -> Status {
        let ended = lock(&self.thread)
            .as_ref()
            .is_some_and(JoinHandle::is_finished);
        let defect = || "publishing has ended: restart the server, and please report it".to_owned();
        let status = lock(&self.status).clone();
        let queue = lock(&self.queue);
        let oldest = status.since.into_iter().chain(queue.waiting.since).min();
        Status {
            error: status.error.clone().or_else(|| ended.then(defect)),
            pending: status.pending + queue.waiting.len(),
            lag: oldest.map_or(Duration::ZERO, |since| since.elapsed()),
            ..status
        }
    }

    /// Begins to publish.
    pub fn start(self: &Arc<Self>, mut lake: Lake) -> Result<(), ServeError> {
        self.begin_feeds(&mut lake).map_err(ServeError::Lake)?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| ServeError::Internal(error.to_string()))?;
        let keeper = Keeper::new(Arc::clone(self), lake);
        let thread = std::thread::Builder::new()
            .name("lake".to_owned())
            .spawn(move || {
                // Databases that go on from here store what they take in with it.
                let _runtime = runtime.enter();
                keeper.run();
            })
            .map_err(|error| ServeError::Internal(error.to_string()))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// While there is nothing yet, the change feeds begin at once, so that all that comes once the server listens is told. Else
    /// they begin with the first publication, which takes in what is there.
    fn begin_feeds(&self, lake: &mut Lake) -> Result<(), LakeError> {
        let queue = lock(&self.queue);
        let is_empty = queue.databases.is_empty() && queue.waiting.plain.is_empty();
        if is_empty && !lake.is_logged() {
            lake.publish()?;
        }
        Ok(())
    }

    /// Publishes what there is, and ends.
    pub fn stop(&self) {
        lock(&self.queue).stopping = true;
        let thread = lock(&self.thread).take();
        self.changed.notify_one();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the lake's thread ended badly");
        }
        // The last publication needed their declarations; each of them leads back here.
        lock(&self.queue).databases.clear();
        lock(&self.readers).clear();
    }

    /// Compares the lake with the databases, or makes it anew, between two publications. Blocks until that is done.
    ///
    /// # Errors
    /// What kept it from being done.
    pub fn check(&self, check: Check) -> Result<CheckReport, String> {
        let (answer, answered) = mpsc::channel();
        lock(&self.asked).push(Asked::Check(check, answer));
        self.wake();
        let ended = || Err("the lake's thread has ended: restart the server".to_owned());
        answered.recv().unwrap_or_else(|_| ended())
    }
}

impl LakeFeed {
    /// Wakes the lake's thread, also if it has just seen that there is nothing to do and is about to wait.
    fn wake(&self) {
        drop(lock(&self.queue));
        self.changed.notify_one();
    }

    /// Publishes what was told before; gives the snapshot's number.
    ///
    /// # Errors
    /// What kept it from being done.
    pub async fn publish(&self) -> Result<u64, String> {
        let (answer, answered) = oneshot::channel();
        lock(&self.asked).push(Asked::Publish(answer));
        self.wake();
        let ended = || Err("the lake's thread has ended: restart the server".to_owned());
        answered.await.unwrap_or_else(|_| ended())
    }

    /// Reads the lake between two publications; nothing if its thread has ended.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Lake) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let reader: Reader = Box::new(move |lake| {
            // Whoever asked may not wait any more.
            let _ = answer.send(read(lake));
        });
        lock(&self.readers).push(reader);
        self.wake();
        answered.await.ok()
    }

    /// The end of the change feed as of the last publication, as it moves on.
    pub fn head(&self) -> watch::Receiver<Option<FeedPlace>> {
        self.head.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_materialize::LakeOptions;

    #[test]
    fn a_new_server_tells_of_all_that_comes_once_it_listens() {
        let folder = tempfile::tempdir().unwrap();
        let mut lake = Lake::open(folder.path(), LakeOptions::default()).unwrap();
        let feed = LakeFeed::new(Duration::ZERO);
        assert!(!lake.is_logged());
        feed.begin_feeds(&mut lake).unwrap();
        assert!(lake.is_logged());
    }

    #[test]
    fn a_lake_whose_thread_has_ended_is_not_well() {
        let feed = LakeFeed::new(Duration::ZERO);
        assert_eq!(feed.status().error, None);
        let thread = std::thread::spawn(|| {});
        while !thread.is_finished() {
            std::thread::yield_now();
        }
        *lock(&feed.thread) = Some(thread);
        let error = feed.status().error.unwrap();
        assert!(error.contains("restart the server"), "{error}");
    }
}

//! Tells an Airflow that records changed, by events of its assets: at least once for each piece of news, and once for many that
//! came while it could not be told.

mod client;
mod config;
mod queue;

pub use config::{AirflowConfig, AssetConfig};

use crate::serve::News;
use client::{Client, PostError};
use headwater_sync::backoff::Backoff;
use queue::Queue;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait after the first failure, at most, and after many.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// The least wait, so that an Airflow that fails at once is not asked without pause.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// How long nothing can be to do before it is looked again.
const IDLE: Duration = Duration::from_secs(60);

/// Posts events, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Airflow {
    assets: Vec<AssetConfig>,
    shared: Mutex<Shared>,
    changed: Condvar,
    posted: AtomicU64,
    failures: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    queue: Queue,
    /// Why the last event of an asset could not be posted.
    failing: HashMap<String, String>,
    stopping: bool,
}

/// How it goes with Airflow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Assets with news that Airflow was not told of.
    pub waiting: usize,
    /// Why not, if that failed.
    pub error: Option<String>,
    /// How long the oldest news waits.
    pub oldest: Duration,
    pub posted: u64,
    pub failures: u64,
}

/// When an asset is tried again.
struct Retry {
    at: Instant,
    backoff: Backoff,
}

impl Airflow {
    /// Begins to post. The queue is at `path`; `version` is the lake's.
    pub fn start(
        config: &AirflowConfig,
        path: PathBuf,
        version: u64,
    ) -> std::io::Result<Arc<Self>> {
        let uris = config.assets.iter().map(|asset| asset.uri.clone());
        let airflow = Arc::new(Self {
            assets: config.assets.clone(),
            shared: Mutex::new(Shared {
                queue: Queue::open(path, uris, version),
                failing: HashMap::new(),
                stopping: false,
            }),
            changed: Condvar::new(),
            posted: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        let (poster, config) = (Arc::clone(&airflow), config.clone());
        std::thread::Builder::new()
            .name("airflow".to_owned())
            .spawn(move || poster.run(&config))?;
        Ok(airflow)
    }

    /// The lake has published. What is news is on disk when this returns, unless the disk fails.
    pub fn published(&self, news: &News) {
        let wants = |asset: &&AssetConfig| {
            let mut all = news.changes();
            all.any(|(database, collection, origin)| asset.wants(database, collection, origin))
        };
        let uris = self
            .assets
            .iter()
            .filter(wants)
            .map(|asset| asset.uri.clone());
        let mut shared = self.lock();
        shared.queue.published(news.version, uris);
        save(&mut shared.queue);
        drop(shared);
        self.changed.notify_one();
    }

    pub fn status(&self) -> Status {
        let shared = self.lock();
        Status {
            waiting: shared.queue.waiting().count(),
            error: shared.failing.values().next().cloned(),
            oldest: shared.queue.oldest(),
            posted: self.posted.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// Ends. What is left is posted when the server starts again.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // What is done under this lock leaves nothing half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, config: &AirflowConfig) {
        let mut client = None;
        let mut retries: HashMap<String, Retry> = HashMap::new();
        while let Some((uri, version)) = self.next(&retries) {
            let outcome = post(&mut client, config, &uri, version);
            let mut shared = self.lock();
            match outcome {
                Ok(()) => {
                    retries.remove(&uri);
                    self.posted.fetch_add(1, Ordering::Relaxed);
                    shared.queue.told(&uri, version);
                    save(&mut shared.queue);
                    if shared.failing.remove(&uri).is_some() {
                        tracing::info!(asset = uri, "Airflow takes events again");
                    }
                }
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    let text = error.to_string();
                    if shared.failing.get(&uri) != Some(&text) {
                        tracing::error!(
                            asset = uri,
                            error = text,
                            "Airflow is not told; trying again"
                        );
                        shared.failing.insert(uri.clone(), text);
                    }
                    let retry = retries.entry(uri).or_insert_with(|| Retry {
                        at: Instant::now(),
                        backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
                    });
                    let mut random = [0; 8];
                    // Without random numbers the longest wait will do.
                    let drawn = getrandom::fill(&mut random).map(|()| u64::from_le_bytes(random));
                    let wait = retry.backoff.next_wait(drawn.unwrap_or(u64::MAX));
                    let wait = wait.max(LEAST_WAIT);
                    retry.at = Instant::now() + error.retry_after().unwrap_or(wait);
                }
            }
        }
    }

    /// Waits for an asset whose turn it is. None if it is over.
    fn next(&self, retries: &HashMap<String, Retry>) -> Option<(String, u64)> {
        let mut shared = self.lock();
        loop {
            if shared.stopping {
                return None;
            }
            save(&mut shared.queue);
            let now = Instant::now();
            let mut wait = IDLE;
            let mut due = None;
            for (uri, version) in shared.queue.waiting() {
                let left = retries
                    .get(uri)
                    .map(|retry| retry.at.saturating_duration_since(now));
                match left.filter(|left| !left.is_zero()) {
                    None => due = Some((uri.to_owned(), version)),
                    Some(left) => wait = wait.min(left),
                }
            }
            if due.is_some() {
                return due;
            }
            let waited = self.changed.wait_timeout(shared, wait);
            shared = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn post(
    client: &mut Option<Client>,
    config: &AirflowConfig,
    uri: &str,
    version: u64,
) -> Result<(), PostError> {
    let ready = match client {
        Some(client) => client,
        None => client.insert(Client::new(config.clone())?),
    };
    ready.post(uri, &json!({ "headwater_version": version }))
}

/// If it cannot be saved it is tried again; after a crash until then, all assets get an event.
fn save(queue: &mut Queue) {
    if let Err(error) = queue.save() {
        tracing::error!(%error, "the queue for Airflow cannot be written");
    }
}

//! A store in memory, with faults that tests can ask for.

use super::{Batch, Durability, Entry, Storage, StorageError, StorageFuture};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

const PLACE: &str = "the store in memory";

/// What a [`MemoryStorage`] writes to. It outlives the store, as a disk does: a test opens it again after a crash. Its
/// clones are the same disk.
///
/// It can be told to fail, so that whoever embeds Headwater can test what their program does then:
///
/// ```
/// use headwater::storage::{Batch, Fault, MemoryDisk, Storage, StorageError};
/// # futures::executor::block_on(async {
/// let disk = MemoryDisk::default();
/// let storage = disk.open();
/// disk.fail_commit(1, Fault::Full);
/// storage.commit(Batch::default().put("a", "1")).await?;
/// let error = storage.commit(Batch::default().put("b", "2")).await.unwrap_err();
/// assert!(matches!(error, StorageError::Full { .. }));
/// // As with a real disk, the store must be opened again, and has what was acknowledged.
/// assert!(storage.get(b"a").await.is_err());
/// assert_eq!(disk.open().scan(b"").await?, [(b"a".to_vec(), b"1".to_vec())]);
/// # Ok::<(), StorageError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    commits: u64,
    fail_at: BTreeMap<u64, Fault>,
    fail_all: Option<Fault>,
}

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// As a full disk does, with [`StorageError::Full`].
    Full,
    /// As a broken disk does, with [`StorageError::Io`].
    Broken,
}

impl MemoryDisk {
    /// Opens a store on it, with all that was committed.
    pub fn open(&self) -> MemoryStorage {
        MemoryStorage {
            disk: self.clone(),
            poisoned: OnceLock::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Lets a later commit fail: 0 is the next one. What is in its batch is not written.
    pub fn fail_commit(&self, nth: u64, fault: Fault) {
        let mut disk = self.lock();
        let number = disk.commits + nth;
        disk.fail_at.insert(number, fault);
    }

    /// Lets every commit fail until it is called with `None`.
    pub fn fail_all(&self, fault: Option<Fault>) {
        self.lock().fail_all = fault;
    }

    /// How many commits there were, the failed ones among them.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn commit(&mut self, batch: Batch) -> Result<(), StorageError> {
        let fault = self.fail_at.remove(&self.commits).or(self.fail_all);
        self.commits += 1;
        let place = PLACE.to_owned();
        match fault {
            Some(Fault::Full) => return Err(StorageError::Full { place }),
            Some(Fault::Broken) => {
                let source = Arc::new(std::io::Error::other("a fault that a test asked for"));
                return Err(StorageError::Io { place, source });
            }
            None => {}
        }
        for key in &batch.deletes {
            self.entries.remove(key);
        }
        self.entries.extend(batch.puts);
        Ok(())
    }
}

/// A store that keeps everything in memory and loses it with the process.
#[derive(Debug)]
pub struct MemoryStorage {
    disk: MemoryDisk,
    poisoned: OnceLock<String>,
    closed: AtomicBool,
}

impl Default for MemoryStorage {
    /// An empty store on a disk of its own.
    fn default() -> Self {
        MemoryDisk::default().open()
    }
}

impl MemoryStorage {
    fn check(&self) -> Result<MutexGuard<'_, Disk>, StorageError> {
        let place = PLACE.to_owned();
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed { place });
        }
        match self.poisoned.get() {
            Some(cause) => Err(StorageError::Poisoned {
                place,
                cause: cause.clone(),
            }),
            None => Ok(self.disk.lock()),
        }
    }
}

impl Storage for MemoryStorage {
    fn get<'a>(&'a self, key: &'a [u8]) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.check()?.entries.get(key).cloned()) })
    }

    fn scan<'a>(&'a self, prefix: &'a [u8]) -> StorageFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            let disk = self.check()?;
            let from_prefix = disk.entries.range(prefix.to_vec()..);
            Ok(from_prefix
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect())
        })
    }

    fn commit(&self, batch: Batch) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            self.check()?.commit(batch).inspect_err(|error| {
                // The first failure is the cause; there is no second, since nothing is committed after it.
                self.poisoned.get_or_init(|| error.to_string());
            })
        })
    }

    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn close(&self) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            Ok(())
        })
    }
}

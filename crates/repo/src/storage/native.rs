//! The store of servers and native peers: redb in a folder, written by one thread in groups.
//!
//! Commits queue for a writer thread. It takes all that wait, writes them in one transaction, which ends with one
//! `fdatasync`, and only then answers them: the more commit at once, the fewer flushes each of them pays for. Reads run on
//! a second thread and see the last commit. After a failed commit the store is poisoned: nobody knows then what a
//! further flush would say of the pages that the failed one left, so only opening the folder again tells what is on disk.
//!
//! In the folder are `chunks.redb` and `lock`, which holds the id of the process that has it open.

use super::{Batch, Durability, Entry, Storage, StorageError, StorageFuture};
use futures::channel::oneshot;
use redb::{Database, ReadableDatabase, TableDefinition, TableError};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("chunks");
const DATABASE_FILE: &str = "chunks.redb";
const LOCK_FILE: &str = "lock";

/// The most bytes that wait for the writer thread; further commits wait before they queue.
const QUEUE_BYTES: usize = 16 << 20;

/// redb's page cache. Chunks are read once, when a document is loaded, so little is gained from more.
const CACHE_BYTES: usize = 32 << 20;

/// A durable store in a folder, which one process at a time can have open.
///
/// Dropping it lets the queued commits finish and then releases the folder, a moment later; [`Storage::close`] waits for
/// that.
#[derive(Debug)]
pub struct NativeStorage {
    place: Place,
    room: Arc<Semaphore>,
    writes: mpsc::Sender<WriteJob>,
    reads: mpsc::Sender<ReadJob>,
}

type Answer<T> = oneshot::Sender<Result<T, StorageError>>;

enum WriteJob {
    Commit {
        batch: Batch,
        done: Answer<()>,
        /// The batch's part of the queue, free again when the job is dropped.
        _room: OwnedSemaphorePermit,
    },
    Close(Answer<()>),
}

enum ReadJob {
    Get(Vec<u8>, Answer<Option<Vec<u8>>>),
    Scan(Vec<u8>, Answer<Vec<Entry>>),
    Close,
}

impl NativeStorage {
    /// Opens the store in a folder, which is made if it does not exist. Blocks for as long as that takes, which after a
    /// crash includes checking everything stored, about 3 s for each GB.
    ///
    /// # Errors
    /// [`StorageError::Locked`] if another process, or this one, has the folder open; [`StorageError::Corrupt`] if
    /// what is in it is damaged; [`StorageError::Full`] and [`StorageError::Io`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StorageError> {
        let folder = folder.as_ref();
        let place = Place {
            folder: folder.to_owned(),
            failure: Arc::default(),
        };
        let lock = take_lock(folder).map_err(|error| match error {
            LockError::Held { owner } => StorageError::Locked {
                folder: folder.to_owned(),
                owner,
            },
            LockError::Io(error) => place.io(error),
        })?;
        let database = place.attempt(|| open_database(folder))?;
        sync_folder(folder).map_err(|error| place.io(error))?;
        start(place.clone(), Arc::new(database), lock).map_err(|error| place.io(error))
    }

    async fn ask<T>(
        &self,
        answer: oneshot::Receiver<Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        // The threads answer everything they take; what they no longer take is dropped with its sender.
        answer.await.unwrap_or_else(|_| Err(self.place.closed()))
    }
}

impl Storage for NativeStorage {
    fn get<'a>(&'a self, key: &'a [u8]) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            // A failed send drops `done`, and the answer is then that the store is closed.
            let _ = self.reads.send(ReadJob::Get(key.to_vec(), done));
            self.ask(answer).await
        })
    }

    fn scan<'a>(&'a self, prefix: &'a [u8]) -> StorageFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            let _ = self.reads.send(ReadJob::Scan(prefix.to_vec(), done));
            self.ask(answer).await
        })
    }

    fn commit(&self, batch: Batch) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            // A batch that is larger than the queue waits until it has the queue to itself.
            let size = batch.size().clamp(1, QUEUE_BYTES) as u32;
            let room = self.room.clone().acquire_many_owned(size);
            let _room = room.await.map_err(|_| self.place.closed())?;
            let (done, answer) = oneshot::channel();
            let _ = self.writes.send(WriteJob::Commit { batch, done, _room });
            self.ask(answer).await
        })
    }

    fn durability(&self) -> Durability {
        Durability::Strict
    }

    fn close(&self) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            if self.writes.send(WriteJob::Close(done)).is_err() {
                return Ok(());
            }
            // Whoever closed it at the same time may have been first.
            answer.await.unwrap_or(Ok(()))
        })
    }
}

/// The folder, for errors, and the failure that poisoned the store, once there is one.
#[derive(Debug, Clone)]
struct Place {
    folder: PathBuf,
    failure: Arc<OnceLock<String>>,
}

impl Place {
    fn name(&self) -> String {
        format!("the folder {}", self.folder.display())
    }

    fn closed(&self) -> StorageError {
        StorageError::Closed { place: self.name() }
    }

    fn check(&self) -> Result<(), StorageError> {
        let Some(cause) = self.failure.get() else {
            return Ok(());
        };
        Err(StorageError::Poisoned {
            place: self.name(),
            cause: cause.clone(),
        })
    }

    /// Runs what redb does with its file, in which it can come upon damage that it answers with a panic.
    fn attempt<T>(&self, run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StorageError> {
        let result = catch_unwind(AssertUnwindSafe(run));
        let result = result.map_err(|_| StorageError::Corrupt {
            place: self.name(),
            message: "redb panicked while it used its file".to_owned(),
        })?;
        result.map_err(|error| self.error(error))
    }

    fn error(&self, error: redb::Error) -> StorageError {
        let place = self.name();
        match error {
            redb::Error::Io(error) => self.io(error),
            redb::Error::Corrupted(message) => StorageError::Corrupt { place, message },
            redb::Error::DatabaseAlreadyOpen => StorageError::Locked {
                folder: self.folder.clone(),
                owner: None,
            },
            other => StorageError::Io {
                place,
                source: Arc::new(io::Error::other(other.to_string())),
            },
        }
    }

    fn io(&self, error: io::Error) -> StorageError {
        let place = self.name();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StorageError::Full { place }
            }
            // What redb says of a file that is not, or no longer, one of its own.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StorageError::Corrupt {
                place,
                message: error.to_string(),
            },
            _ => StorageError::Io {
                place,
                source: Arc::new(error),
            },
        }
    }
}

enum LockError {
    Held { owner: Option<u32> },
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes the folder and locks it. The lock is the operating system's, so it ends with the process, however that ends.
fn take_lock(folder: &Path) -> Result<File, LockError> {
    std::fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Who holds it is only for the message, and may not be readable on every system.
            let _ = (&file).take(20).read_to_string(&mut text);
            let owner = text.trim().parse().ok();
            return Err(LockError::Held { owner });
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

fn open_database(folder: &Path) -> Result<Database, redb::Error> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(folder.join(DATABASE_FILE))?;
    // Readers expect the table to exist.
    match database.begin_read()?.open_table(TABLE) {
        Err(TableError::TableDoesNotExist(_)) => {
            let transaction = database.begin_write()?;
            transaction.open_table(TABLE)?;
            transaction.commit()?;
        }
        other => drop(other?),
    }
    Ok(database)
}

/// A file that was just made survives a power cut only once its folder is flushed, and so does the folder.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
        File::open(folder.join(".."))?.sync_all()?;
    }
    Ok(())
}

fn start(place: Place, database: Arc<Database>, lock: File) -> io::Result<NativeStorage> {
    let (reads, read_jobs) = mpsc::channel();
    let (writes, write_jobs) = mpsc::channel();
    let reader = Reader {
        place: place.clone(),
        database: database.clone(),
    };
    let writer = Writer {
        reader: thread("storage-reader", move || reader.run(&read_jobs))?,
        reads: reads.clone(),
        place: place.clone(),
        database,
        lock,
    };
    thread("storage-writer", move || writer.run(&write_jobs))?;
    Ok(NativeStorage {
        place,
        room: Arc::new(Semaphore::new(QUEUE_BYTES)),
        writes,
        reads,
    })
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

struct Writer {
    reader: JoinHandle<()>,
    reads: mpsc::Sender<ReadJob>,
    place: Place,
    database: Arc<Database>,
    lock: File,
}

impl Writer {
    /// Writes groups until the store is closed or dropped.
    fn run(self, jobs: &mpsc::Receiver<WriteJob>) {
        let mut closing = None;
        while closing.is_none()
            && let Ok(first) = jobs.recv()
        {
            let mut batches = Vec::new();
            let mut waiting = Vec::new();
            for job in std::iter::once(first).chain(jobs.try_iter()) {
                match job {
                    WriteJob::Commit { batch, done, _room } => {
                        batches.push(batch);
                        waiting.push((done, _room));
                    }
                    WriteJob::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
            }
            let result = self.commit(&batches);
            for (done, _room) in waiting {
                // Whoever dropped the future does not want to know.
                let _ = done.send(result.clone());
            }
        }
        self.finish();
        if let Some(done) = closing {
            let _ = done.send(Ok(()));
        }
    }

    fn commit(&self, batches: &[Batch]) -> Result<(), StorageError> {
        if batches.is_empty() {
            return Ok(());
        }
        self.place.check()?;
        let written = self.place.attempt(|| write_group(&self.database, batches));
        written.inspect_err(|error| {
            tracing::error!(%error, "a commit failed; the store is poisoned until it is opened again");
            self.place.failure.get_or_init(|| error.to_string());
        })
    }

    /// Releases the folder: first the reader's share of the database, then the database, then the lock.
    fn finish(self) {
        // If the reader is gone already there is nothing to wait for.
        let _ = self.reads.send(ReadJob::Close);
        let _ = self.reader.join();
        drop(self.database);
        drop(self.lock);
    }
}

/// One transaction. redb's default durability flushes the file (`fdatasync`) before `commit` returns.
fn write_group(database: &Database, batches: &[Batch]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(TABLE)?;
    for batch in batches {
        for key in &batch.deletes {
            table.remove(key.as_slice())?;
        }
        for (key, value) in &batch.puts {
            table.insert(key.as_slice(), value.as_slice())?;
        }
    }
    drop(table);
    Ok(transaction.commit()?)
}

struct Reader {
    place: Place,
    database: Arc<Database>,
}

impl Reader {
    fn run(self, jobs: &mpsc::Receiver<ReadJob>) {
        while let Ok(job) = jobs.recv() {
            match job {
                ReadJob::Get(key, done) => {
                    let _ = done.send(self.read(|database| get(database, &key)));
                }
                ReadJob::Scan(prefix, done) => {
                    let _ = done.send(self.read(|database| scan(database, &prefix)));
                }
                ReadJob::Close => break,
            }
        }
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StorageError> {
        self.place.check()?;
        self.place.attempt(|| read(&self.database))
    }
}

fn get(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = database.begin_read()?.open_table(TABLE)?;
    Ok(table.get(key)?.map(|value| value.value().to_vec()))
}

fn scan(database: &Database, prefix: &[u8]) -> Result<Vec<Entry>, redb::Error> {
    let table = database.begin_read()?.open_table(TABLE)?;
    let mut entries = Vec::new();
    for entry in table.range(prefix..)? {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        entries.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(entries)
}

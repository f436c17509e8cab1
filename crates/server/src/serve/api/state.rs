//! What the API keeps on the disk beside the databases: requests that may come again, and consumers.

use super::super::problem::Problem;
use headwater::DatabaseId;
use redb::{Database as Store, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// By what names them: a database, a token and the sender's key.
pub(super) const REQUESTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("requests");
/// The same by when they came, in milliseconds since 1970.
pub(super) const REQUEST_AGES: TableDefinition<'_, (i64, &str), ()> =
    TableDefinition::new("request_ages");
/// By database and name.
pub(super) const CONSUMERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("consumers");

/// Why it cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}: {reason}. It keeps consumers and requests of the HTTP API: see whether another process uses it", path.display())]
pub struct StateError {
    path: PathBuf,
    reason: String,
}

/// Locks by name, each for as long as someone holds it.
type Locks = Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>;

/// What the API keeps.
#[derive(Debug)]
pub(in super::super) struct State {
    file: Arc<File>,
    locks: Locks,
}

/// The file, which is opened again after a failure: redb does nothing more with one that failed it once, such as on a full disk.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// None from a failure until it is needed again.
    store: Mutex<Option<Arc<Store>>>,
}

impl File {
    fn work<T>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let store = self.open()?;
        let done = work(&store);
        if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = &done {
            let mut current = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            // Another request may have opened it again already.
            if current
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, &store))
            {
                *current = None;
            }
        }
        done
    }

    /// The store; while requests of before still hold the one that failed, this fails too.
    fn open(&self) -> Result<Arc<Store>, redb::Error> {
        let mut current = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(store) => Ok(Arc::clone(store)),
            None => {
                let store = Arc::new(Store::create(&self.path)?);
                *current = Some(Arc::clone(&store));
                Ok(store)
            }
        }
    }
}

impl State {
    /// Opens the file in the data folder, making it if there is none.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join("api.redb");
        let failed = |reason: String| StateError {
            path: path.clone(),
            reason,
        };
        let store = Store::create(&path).map_err(|error| failed(error.to_string()))?;
        let make = || -> Result<(), redb::Error> {
            let transaction = store.begin_write()?;
            transaction.open_table(REQUESTS)?;
            transaction.open_table(REQUEST_AGES)?;
            transaction.open_table(CONSUMERS)?;
            transaction.commit()?;
            Ok(())
        };
        make().map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            file: Arc::new(File {
                path,
                store: Mutex::new(Some(Arc::new(store))),
            }),
            locks: Mutex::default(),
        })
    }

    /// Lets one at a time work on what goes by this name.
    pub(super) async fn lock(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let one = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            match locks.get(name).and_then(Weak::upgrade) {
                Some(one) => one,
                None => {
                    locks.retain(|_, one| one.strong_count() > 0);
                    let one = Arc::default();
                    locks.insert(name.to_owned(), Arc::downgrade(&one));
                    one
                }
            }
        };
        one.lock_owned().await
    }

    /// Works on the file, off the threads that serve.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || file.work(work)).await;
        let done = done.map_err(Problem::internal)?;
        done.map_err(|error| {
            Problem::storage(format!("the server's data folder: {error}; try again"))
        })
    }

    /// One value of a table.
    pub(super) async fn get(
        &self,
        table: TableDefinition<'static, &'static str, &'static [u8]>,
        key: String,
    ) -> Result<Option<Vec<u8>>, Problem> {
        let read = move |store: &Store| {
            let table = store.begin_read()?.open_table(table)?;
            Ok(table.get(&*key)?.map(|value| value.value().to_vec()))
        };
        self.with(read).await
    }

    /// All that is in a table.
    pub(super) async fn all(
        &self,
        table: TableDefinition<'static, &'static str, &'static [u8]>,
    ) -> Result<Vec<(String, Vec<u8>)>, Problem> {
        let read = move |store: &Store| {
            let table = store.begin_read()?.open_table(table)?;
            let mut found = Vec::new();
            for one in table.iter()? {
                let (key, value) = one?;
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(found)
        };
        self.with(read).await
    }

    /// All that a database has in a table, by what follows it in the key.
    pub(super) async fn of_database(
        &self,
        table: TableDefinition<'static, &'static str, &'static [u8]>,
        database: DatabaseId,
    ) -> Result<Vec<Vec<u8>>, Problem> {
        let first = format!("{database}\0");
        let end = format!("{database}\u{1}");
        let read = move |store: &Store| {
            let table = store.begin_read()?.open_table(table)?;
            let mut found = Vec::new();
            for one in table.range(&*first..&*end)? {
                found.push(one?.1.value().to_vec());
            }
            Ok(found)
        };
        self.with(read).await
    }
}

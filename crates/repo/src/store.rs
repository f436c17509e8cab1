//! What a peer keeps in its storage: the chunks of its documents, which document is in which database, and what it knows
//! of itself.

use crate::runtime;
use crate::storage::framing::{self, Kind};
use crate::storage::{Batch, Durability, Storage, StorageError, StorageFuture, keys};
use crate::{DatabaseId, DocumentId, Error};
use automerge::ChangeHash;
use headwater_sync::engine::{PersistChunk, Stored};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// Opens the storage, also again after a failure.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type Opener =
    Arc<dyn Fn() -> StorageFuture<'static, Arc<dyn Storage>> + Send + Sync + 'static>;

/// Opens the storage, also again after a failure.
#[cfg(target_arch = "wasm32")]
pub(crate) type Opener = Arc<dyn Fn() -> StorageFuture<'static, Arc<dyn Storage>> + 'static>;

/// A damaged value that was left where it is.
#[derive(Debug, Clone)]
pub(crate) struct Damaged {
    pub what: String,
    pub reason: String,
}

/// The documents of one database, or the plain ones, as stored.
pub(crate) struct Loaded {
    pub documents: BTreeMap<DocumentId, Vec<Vec<u8>>>,
    /// The keys of each document's chunks.
    pub chunk_keys: HashMap<DocumentId, Vec<Vec<u8>>>,
    pub damaged: Vec<Damaged>,
}

pub(crate) struct Store {
    current: RwLock<Arc<dyn Storage>>,
    opener: Opener,
    /// Held while it is opened again; why that failed last, if it did.
    reopening: Mutex<Option<StorageError>>,
    closed: AtomicBool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.storage()).finish()
    }
}

impl Store {
    pub async fn open(opener: Opener) -> Result<Self, StorageError> {
        let storage = opener().await?;
        Ok(Self {
            current: RwLock::new(storage),
            opener,
            reopening: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The storage, once it is not being opened again.
    async fn opened(&self) -> Result<Arc<dyn Storage>, StorageError> {
        match &*self.reopening.lock().await {
            Some(failed) => Err(failed.clone()),
            None => Ok(self.storage()),
        }
    }

    pub fn durable(&self) -> bool {
        self.storage().durability() == Durability::Strict
    }

    /// Lets go of the storage for good.
    pub async fn close(&self) -> Result<(), StorageError> {
        self.closed.store(true, Ordering::Release);
        let _guard = self.reopening.lock().await;
        self.storage().close().await
    }

    /// Whether it was closed by whoever opened it, rather than by a failure.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether storage can be written to, opening it again if a failed commit has left it unusable.
    pub async fn probe(&self) -> Result<(), StorageError> {
        let mut failed = self.reopening.lock().await;
        if self.is_closed() {
            return self.write_probe().await;
        }
        if self.write_probe().await.is_ok() {
            return Ok(());
        }
        let reopened = self.reopen().await;
        *failed = reopened.clone().err();
        reopened?;
        self.write_probe().await
    }

    async fn write_probe(&self) -> Result<(), StorageError> {
        let probe = framing::encode(Kind::Metadata, &[]);
        let batch = Batch::default().put(keys::metadata("probe"), probe);
        self.storage().commit(batch).await
    }

    async fn reopen(&self) -> Result<(), StorageError> {
        // A store that failed may fail to close as well; what counts is that it lets go of its folder.
        let _ = self.storage().close().await;
        let storage = (self.opener)().await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = storage;
        Ok(())
    }

    /// The first half of every actor id of this store's sessions, drawn once.
    pub async fn replica_id(&self) -> Result<[u8; 8], Error> {
        if let Some(payload) = self.metadata(&keys::replica_id()).await?
            && let Ok(id) = payload.try_into()
        {
            return Ok(id);
        }
        let id = runtime::random::<8>()?;
        self.put_metadata(keys::replica_id(), &id).await?;
        Ok(id)
    }

    /// The local names of databases.
    pub async fn aliases(&self) -> Result<BTreeMap<String, DatabaseId>, Error> {
        let prefix = keys::alias("");
        let entries = self.opened().await?.scan(&prefix).await?;
        Ok(entries
            .into_iter()
            .filter_map(|(key, value)| {
                let name = std::str::from_utf8(key.strip_prefix(prefix.as_slice())?).ok()?;
                let id = framing::decode(Kind::Metadata, &value).ok()?;
                Some((name.to_owned(), DatabaseId::from_bytes(id.try_into().ok()?)))
            })
            .collect())
    }

    pub async fn set_alias(&self, name: &str, database: DatabaseId) -> Result<(), Error> {
        self.put_metadata(keys::alias(name), database.as_bytes())
            .await
    }

    /// The databases of which anything is stored.
    pub async fn databases(&self) -> Result<BTreeSet<DatabaseId>, Error> {
        let entries = self.opened().await?.scan(&keys::members(None)).await?;
        Ok(entries
            .iter()
            .filter_map(|(key, _)| keys::parse_member(key))
            .map(|(database, _)| database)
            .collect())
    }

    /// Notes that there is a database, also while nothing is stored of it.
    pub async fn remember(&self, database: DatabaseId) -> Result<(), Error> {
        let key = keys::member(database, database.root());
        self.put_metadata(key, &[]).await
    }

    /// Those documents that are stored as parts of `database` and that are `wanted`.
    pub async fn load(
        &self,
        database: DatabaseId,
        wanted: impl Fn(&DocumentId) -> bool,
    ) -> Result<Loaded, Error> {
        let members = self
            .opened()
            .await?
            .scan(&keys::members(Some(database)))
            .await?;
        let mut loaded = Loaded {
            documents: BTreeMap::new(),
            chunk_keys: HashMap::new(),
            damaged: Vec::new(),
        };
        for (key, _) in members {
            if let Some((_, document)) = keys::parse_member(&key)
                && wanted(&document)
            {
                self.load_document(document, &mut loaded).await?;
            }
        }
        Ok(loaded)
    }

    async fn load_document(&self, id: DocumentId, loaded: &mut Loaded) -> Result<(), Error> {
        let entries = self.opened().await?.scan(&keys::document(&id)).await?;
        let (chunks, quarantined) = framing::chunks(entries);
        loaded
            .damaged
            .extend(quarantined.into_iter().map(|chunk| Damaged {
                what: format!("a chunk of document {id}"),
                reason: chunk.reason.to_string(),
            }));
        // A document of which nothing is readable is left to the peers to send again.
        if !chunks.is_empty() {
            let keys = chunks.iter().map(|chunk| chunk.key.to_bytes());
            loaded.chunk_keys.insert(id, keys.collect());
            let chunks = chunks.into_iter().map(|chunk| chunk.bytes).collect();
            loaded.documents.insert(id, chunks);
        }
        Ok(())
    }

    /// Stores changes, and that their documents belong to `database`. They are durable when this resolves.
    pub async fn save(
        &self,
        database: DatabaseId,
        chunks: Vec<PersistChunk>,
    ) -> Result<(), StorageError> {
        let documents: BTreeSet<DocumentId> = chunks.iter().map(|chunk| chunk.document).collect();
        let mut batch = Batch::default();
        for document in documents {
            let member = framing::encode(Kind::Metadata, &[]);
            batch = batch.put(keys::member(database, document), member);
        }
        for chunk in chunks {
            let kind = match chunk.content {
                Stored::Changes(_) => Kind::Incremental,
                Stored::Whole(_) => Kind::Snapshot,
            };
            batch = batch.put(keys::stored(&chunk), framing::encode(kind, &chunk.bytes));
        }
        self.opened().await?.commit(batch).await
    }

    /// Replaces a document's chunks by one snapshot. The old ones go only once the new one has been read back and is what
    /// was written.
    pub async fn compact(
        &self,
        document: DocumentId,
        heads: &[ChangeHash],
        saved: &[u8],
        superseded: Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        let storage = self.opened().await?;
        let key = keys::snapshot(&document, heads);
        let frame = framing::encode(Kind::Snapshot, saved);
        let batch = Batch::default().put(key.clone(), frame);
        storage.commit(batch).await?;
        let written = storage.get(&key).await?.unwrap_or_default();
        let intact = framing::decode(Kind::Snapshot, &written).is_ok_and(|read| read == saved);
        if !intact {
            let reason = format!("the snapshot of {document} did not read back as written");
            return Err(Error::NotSaved { reason });
        }
        let batch = Batch {
            deletes: superseded.into_iter().filter(|old| *old != key).collect(),
            ..Batch::default()
        };
        storage.commit(batch).await?;
        Ok(())
    }

    /// The heads of `document` that each durable server has returned.
    pub async fn acknowledged(
        &self,
        document: DocumentId,
    ) -> Result<BTreeMap<String, Vec<ChangeHash>>, Error> {
        let prefix = keys::acknowledged(&document, "");
        let entries = self.opened().await?.scan(&prefix).await?;
        Ok(entries
            .into_iter()
            .filter_map(|(key, value)| {
                let server = std::str::from_utf8(key.strip_prefix(prefix.as_slice())?).ok()?;
                let heads = framing::decode(Kind::Metadata, &value).ok()?;
                let heads = heads.chunks_exact(32).filter_map(|h| h.try_into().ok());
                Some((server.to_owned(), heads.map(ChangeHash).collect()))
            })
            .collect())
    }

    pub async fn set_acknowledged(
        &self,
        document: DocumentId,
        server: &str,
        heads: &[ChangeHash],
    ) -> Result<(), Error> {
        let payload: Vec<u8> = heads.iter().flat_map(|head| head.0).collect();
        self.put_metadata(keys::acknowledged(&document, server), &payload)
            .await
    }

    async fn metadata(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let frame = self.opened().await?.get(key).await?;
        Ok(frame.and_then(|frame| {
            framing::decode(Kind::Metadata, &frame)
                .ok()
                .map(<[u8]>::to_vec)
        }))
    }

    async fn put_metadata(&self, key: Vec<u8>, payload: &[u8]) -> Result<(), Error> {
        let batch = Batch::default().put(key, framing::encode(Kind::Metadata, payload));
        Ok(self.opened().await?.commit(batch).await?)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::Options;

    #[tokio::test]
    async fn a_whole_document_and_what_followed_it_are_read_back() {
        let store = Store::open(Options::memory().opener).await.unwrap();
        let (database, document) = (
            DatabaseId::from_bytes([1; 16]),
            DocumentId::from_bytes([2; 16]),
        );
        let chunk = |content, bytes: &'static [u8]| PersistChunk {
            document,
            content,
            bytes: bytes::Bytes::from_static(bytes),
        };
        let hash = ChangeHash([3; 32]);
        let chunks = vec![
            chunk(Stored::Whole(vec![hash]), b"whole"),
            chunk(Stored::Changes(hash), b"later"),
        ];
        store.save(database, chunks).await.unwrap();
        let loaded = store.load(database, |_| true).await.unwrap();
        assert_eq!(loaded.damaged.len(), 0);
        let mut read = loaded.documents[&document].clone();
        read.sort();
        assert_eq!(read, [b"later", b"whole"]);
    }
}

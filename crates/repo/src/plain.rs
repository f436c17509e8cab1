//! Documents of stock automerge-repo clients, which a server can keep beside its databases.

use crate::DocumentId;
use crate::error::Error;
use crate::node::{Flow, Node, Restored, Watcher};
use crate::peer::{Inner, Peer};
use crate::scope::{PLAIN, PlainScope, shard};
use crate::session::SessionError;
use crate::store::Store;
use crate::transport::Transport;
use automerge::Automerge;
use futures::future;
use headwater_core::bounds;
use headwater_sync::engine::{EngineConfig, Replica as _};
use headwater_sync::plain::{DocumentChanged, PlainDocuments};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Over how many engines the documents are spread, so that several threads can work at once.
const SHARDS: usize = 8;

/// Is told of documents that changed, once that is durable. Called with the documents locked: it must be quick, and must
/// not call back.
#[cfg(not(target_arch = "wasm32"))]
pub type PlainListener = Box<dyn FnMut(DocumentId) + Send>;
/// Is told of documents that changed, once that is durable. Called with the documents locked: it must be quick, and must
/// not call back.
#[cfg(target_arch = "wasm32")]
pub type PlainListener = Box<dyn FnMut(DocumentId)>;

/// The plain documents of a peer's store.
#[derive(Debug, Clone)]
pub struct PlainStore {
    inner: Arc<Inner>,
    nodes: Arc<[Arc<Node<PlainDocuments>>]>,
}

impl PlainStore {
    /// Loads the documents. `listener` is told of what changes from then on.
    pub async fn open(peer: &Peer, listener: PlainListener) -> Result<Self, Error> {
        let inner = Arc::clone(&peer.inner);
        let listener = Arc::new(Mutex::new(listener));
        let starting = (0..SHARDS).map(|index| {
            let store = Arc::clone(&inner.store);
            let loader = Arc::new(move || {
                let store = Arc::clone(&store);
                Box::pin(async move { restore(&store, index).await }) as _
            });
            let config = EngineConfig::new(inner.peer_id.clone());
            let watcher = Arc::new(Changes(Arc::clone(&listener)));
            Node::start(PLAIN, Arc::clone(&inner.store), config, loader, watcher)
        });
        let nodes = future::try_join_all(starting).await?.into();
        Ok(Self { inner, nodes })
    }

    /// Serves a stock client until the connection ends.
    pub async fn serve(&self, transport: impl Transport) -> SessionError {
        let scope = Arc::new(PlainScope(Arc::clone(&self.nodes)));
        self.inner.serve(transport, scope).await
    }

    /// Why storage is failing, if it is. It is tried again until it works.
    pub fn storage_failure(&self) -> Option<String> {
        self.nodes.iter().find_map(|node| node.failure())
    }

    /// Reads a document, if it is there.
    pub fn read<T>(&self, id: &DocumentId, read: impl FnOnce(&Automerge) -> T) -> Option<T> {
        let node = self.nodes.get(shard(id, self.nodes.len()))?;
        node.read(|documents| documents.document(id).map(read))
    }
}

struct Changes(Arc<Mutex<PlainListener>>);

impl Watcher<PlainDocuments> for Changes {
    fn events(&self, _: &PlainDocuments, events: Vec<DocumentChanged>) -> Flow {
        let mut listener = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            listener(event.document);
        }
        Flow::GoOn
    }
}

async fn restore(store: &Store, index: usize) -> Result<Restored<PlainDocuments>, Error> {
    let loaded = store.load(PLAIN, |id| shard(id, SHARDS) == index).await?;
    for damaged in &loaded.damaged {
        tracing::error!(
            what = damaged.what,
            reason = damaged.reason,
            "damaged data is left aside; peers send again what it held"
        );
    }
    let mut replica = PlainDocuments::new();
    let mut kept = HashMap::new();
    let mut chunk_keys = loaded.chunk_keys;
    for (id, chunks) in loaded.documents {
        let limits = bounds::Limits::stored();
        let mut split = Vec::new();
        let checked = chunks.iter().try_for_each(|chunk| {
            let summary = bounds::check_chunks(chunk, &limits)?;
            split.extend(summary.chunks.into_iter().map(|chunk| chunk.bytes));
            Ok::<_, bounds::BoundsError>(())
        });
        let result = checked
            .map_err(|error| error.to_string())
            .and_then(|()| replica.load(id, &split).map_err(|error| error.to_string()));
        match result {
            Ok(()) => {
                kept.insert(id, chunk_keys.remove(&id).unwrap_or_default());
            }
            Err(error) => tracing::error!(document = %id, error,
                "document is left aside; the others are not affected"),
        }
    }
    Ok(Restored {
        replica,
        chunks: kept,
    })
}

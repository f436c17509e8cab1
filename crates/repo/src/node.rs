//! Drives one engine: carries its outputs to connections, storage and subscribers, and recovers when storage fails.

use crate::error::Error;
use crate::runtime;
use crate::session::Outgoing;
use crate::storage::{MaybeSendSync, keys};
use crate::store::Store;
use crate::transport::MaybeSend;
use crate::{DatabaseId, DocumentId};
use automerge::{Automerge, ChangeHash};
use futures::channel::oneshot;
use headwater_sync::backoff::Backoff;
use headwater_sync::engine::{
    BatchId, ConnectionId, Engine, EngineConfig, Output, Peer, PersistChunk, RefusedBy, Replica,
    WriteError, WriteId,
};
use headwater_sync::frame::Frame;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// After how many stored chunks a document is saved as a whole and they are deleted.
const COMPACT_AFTER: usize = 4096;
/// The same when a document is loaded: fewer, as every open pays for them.
const COMPACT_ON_LOAD: usize = 256;

/// A replica that can be driven on this platform.
pub(crate) trait Driven:
    Replica<
        Write: MaybeSend,
        Written: MaybeSend + 'static,
        Error: MaybeSend + fmt::Display + 'static,
        Event: MaybeSend + 'static,
    > + MaybeSend
    + fmt::Debug
    + 'static
{
}

impl<R> Driven for R where
    R: Replica<
            Write: MaybeSend,
            Written: MaybeSend + 'static,
            Error: MaybeSend + fmt::Display + 'static,
            Event: MaybeSend + 'static,
        > + MaybeSend
        + fmt::Debug
        + 'static
{
}

/// What happens besides in an engine's set of documents, for whoever keeps count of it. Called with the engine locked:
/// must not call back, and must be quick.
pub(crate) trait Watcher<R: Replica>: MaybeSendSync {
    /// Changes that are durable, with the replica that has them and nothing beyond. Gives whether more may be applied.
    fn events(&self, _replica: &R, _events: Vec<R::Event>) -> Flow {
        Flow::GoOn
    }
    /// A durable peer has returned these heads.
    fn acknowledged(&self, _replica: &R, _ack: Acknowledgement<'_>) {}
    /// A local write is durable.
    fn written(&self, _written: &R::Written) {}
    /// A document is left alone on a connection.
    fn refused(&self, _document: DocumentId, _by: RefusedBy, _message: &str) {}
}

/// Whether a database may go on to take in changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It may.
    GoOn,
    /// Not before [`Database::resume`](crate::Database::resume): whoever follows it cannot keep up. Peers are made to wait.
    Hold,
}

/// Reads the replica.
#[cfg(not(target_arch = "wasm32"))]
type Read<R> = Box<dyn FnOnce(&R) + Send>;
#[cfg(target_arch = "wasm32")]
type Read<R> = Box<dyn FnOnce(&R)>;

/// Heads that a durable peer has returned.
pub(crate) struct Acknowledgement<'a> {
    pub connection: ConnectionId,
    pub document: DocumentId,
    pub heads: &'a [ChangeHash],
}

/// What storage holds of a replica.
pub(crate) struct Restored<R> {
    pub replica: R,
    /// The keys of each document's chunks.
    pub chunks: HashMap<DocumentId, Vec<Vec<u8>>>,
}

#[cfg(not(target_arch = "wasm32"))]
type Loader<R> =
    Arc<dyn Fn() -> futures::future::BoxFuture<'static, Result<Restored<R>, Error>> + Send + Sync>;
#[cfg(target_arch = "wasm32")]
type Loader<R> =
    Arc<dyn Fn() -> futures::future::LocalBoxFuture<'static, Result<Restored<R>, Error>>>;

type Waiter<R> =
    oneshot::Sender<Result<<R as Replica>::Written, WriteError<<R as Replica>::Error>>>;

/// One engine and what drives it.
pub(crate) struct Node<R: Driven> {
    /// Under which the documents are stored.
    scope: DatabaseId,
    store: Arc<Store>,
    loader: Loader<R>,
    watcher: Arc<dyn Watcher<R>>,
    state: Mutex<State<R>>,
    /// Why storage fails, while it does.
    failure: Mutex<Option<String>>,
}

struct State<R: Driven> {
    engine: Engine<R>,
    connections: BTreeMap<ConnectionId, Outgoing>,
    waiters: HashMap<WriteId, Waiter<R>>,
    chunks: HashMap<DocumentId, Vec<Vec<u8>>>,
    /// Who wants to read what storage holds.
    readers: Vec<Read<R>>,
    /// Whether nothing is to be written any more, and who waits for it.
    ending: Ending,
    /// The keys of the chunks of batches that are being stored.
    saving: HashMap<BatchId, Vec<(DocumentId, Vec<u8>)>>,
}

/// How far a node is from its end.
enum Ending {
    /// It is at work.
    No,
    /// What is being stored is the last.
    AfterThis(Vec<oneshot::Sender<()>>),
    /// Nothing is written any more.
    Ended,
}

impl<R: Driven> State<R> {
    /// Takes nothing in from now on, if that is wanted. What was not stored is not acknowledged.
    fn end_if_due(&mut self) {
        let Ending::AfterThis(waiting) = &mut self.ending else {
            return;
        };
        for told in std::mem::take(waiting) {
            // Whoever asked may not wait any more.
            let _ = told.send(());
        }
        self.ending = Ending::Ended;
        self.engine.hold(true);
        self.waiters.clear();
    }

    /// A replica that is to end, and of which storage does not have all, will never be at rest.
    fn give_up_if_failed(&mut self) {
        if self.engine.is_failed() && !matches!(self.ending, Ending::No) {
            self.readers.clear();
            self.end_if_due();
        }
    }
}

impl<R: Driven> fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("scope", &self.scope).finish()
    }
}

/// A document to be saved as a whole.
struct Compaction {
    document: DocumentId,
    heads: Vec<ChangeHash>,
    saved: Vec<u8>,
    superseded: Vec<Vec<u8>>,
}

impl<R: Driven> Node<R> {
    /// Loads the replica and starts its engine.
    pub async fn start(
        scope: DatabaseId,
        store: Arc<Store>,
        config: EngineConfig,
        loader: Loader<R>,
        watcher: Arc<dyn Watcher<R>>,
    ) -> Result<Arc<Self>, Error> {
        let restored = loader().await?;
        let node = Arc::new(Self {
            scope,
            store,
            loader,
            watcher,
            state: Mutex::new(State {
                engine: Engine::new(config, restored.replica),
                connections: BTreeMap::new(),
                waiters: HashMap::new(),
                chunks: restored.chunks,
                saving: HashMap::new(),
                readers: Vec::new(),
                ending: Ending::No,
            }),
            failure: Mutex::default(),
        });
        let compactions = {
            let state = node.lock();
            let documents: Vec<_> = state.chunks.keys().copied().collect();
            drop(state);
            node.compactions(documents, COMPACT_ON_LOAD)
        };
        node.compact(compactions);
        Ok(node)
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        // A panic elsewhere leaves the engine between two calls, where it is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the replica.
    pub fn read<T>(&self, read: impl FnOnce(&R) -> T) -> T {
        read(self.lock().engine.replica())
    }

    /// Reads the replica when it is what storage holds and all that led to it was told to whoever follows it.
    pub fn read_at_rest(self: &Arc<Self>, read: Read<R>) {
        let mut state = self.lock();
        if matches!(state.ending, Ending::Ended) && state.engine.is_failed() {
            // It will never be what storage holds.
            return;
        }
        state.readers.push(read);
        state.engine.want_rest();
        self.run_outputs(&mut state);
    }

    /// Lets what is being stored be the last: the replica stays what storage holds, and can be read. Storage is closed after.
    pub async fn end(self: &Arc<Self>) {
        let (sender, ended) = oneshot::channel();
        {
            let mut state = self.lock();
            match &mut state.ending {
                Ending::No => state.ending = Ending::AfterThis(vec![sender]),
                Ending::AfterThis(waiting) => waiting.push(sender),
                Ending::Ended => return,
            }
            state.give_up_if_failed();
            state.engine.want_rest();
            self.run_outputs(&mut state);
        }
        // It is dropped only with the node, whose end that is too.
        let _ = ended.await;
    }

    /// Lets the replica take in what waits.
    pub fn resume(self: &Arc<Self>) {
        let mut state = self.lock();
        if matches!(state.ending, Ending::No) {
            state.engine.hold(false);
            self.run_outputs(&mut state);
        }
    }

    /// Why storage failed, while it is being opened again.
    pub fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }

    fn set_failure(&self, why: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Writes; resolves once the write is durable.
    pub async fn write(
        self: &Arc<Self>,
        write: R::Write,
    ) -> Result<R::Written, WriteError<R::Error>> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.lock();
            match state.ending {
                Ending::No => {
                    let id = state.engine.write(write);
                    state.waiters.insert(id, sender);
                    self.run_outputs(&mut state);
                }
                Ending::AfterThis(_) | Ending::Ended => drop(sender),
            }
        }
        receiver.await.unwrap_or_else(|_| {
            let reason = "the peer was closed before it was stored".to_owned();
            Err(WriteError::NotDurable(reason))
        })
    }

    /// Takes a connection in, whose frames then come to [`Self::receive`].
    pub fn connect(self: &Arc<Self>, connection: ConnectionId, peer: Peer, outgoing: Outgoing) {
        let mut state = self.lock();
        state.connections.insert(connection, outgoing);
        state.engine.connect(connection, peer);
        self.run_outputs(&mut state);
    }

    pub fn disconnect(self: &Arc<Self>, connection: ConnectionId) {
        let mut state = self.lock();
        state.connections.remove(&connection);
        state.engine.disconnect(connection);
        self.run_outputs(&mut state);
    }

    pub fn receive(self: &Arc<Self>, connection: ConnectionId, frame: Frame) {
        let mut state = self.lock();
        state.engine.receive(connection, frame);
        self.run_outputs(&mut state);
    }

    /// Runs `call` on the engine and carries out what it gives.
    pub fn with_engine<T>(self: &Arc<Self>, call: impl FnOnce(&mut Engine<R>) -> T) -> T {
        let mut state = self.lock();
        let result = call(&mut state.engine);
        self.run_outputs(&mut state);
        result
    }

    /// Everything here happens with the engine locked, so that frames leave in the order in which they were made.
    fn run_outputs(self: &Arc<Self>, state: &mut State<R>) {
        while let Some(output) = state.engine.poll_output() {
            match output {
                Output::Send { connection, frame } => {
                    if let Some(outgoing) = state.connections.get(&connection)
                        && outgoing.send(frame)
                    {
                        state.engine.congested(connection);
                    }
                }
                Output::Congested { connection } => {
                    if let Some(outgoing) = state.connections.get(&connection) {
                        let (node, drained) = (Arc::clone(self), outgoing.drained());
                        runtime::spawn(async move {
                            drained.await;
                            node.with_engine(|engine| engine.drained(connection));
                        });
                    }
                }
                Output::Persist { batch, chunks } => self.persist(state, batch, chunks),
                Output::Written { write, result } => {
                    if let Ok(written) = &result {
                        self.watcher.written(written);
                    }
                    if let Some(waiter) = state.waiters.remove(&write) {
                        // Whoever wrote may not wait any more.
                        let _ = waiter.send(result);
                    }
                }
                Output::Events(events) => {
                    let flow = self.watcher.events(state.engine.replica(), events);
                    if flow == Flow::Hold {
                        state.engine.hold(true);
                    }
                }
                Output::AtRest => {
                    for read in std::mem::take(&mut state.readers) {
                        read(state.engine.replica());
                    }
                    state.end_if_due();
                }
                Output::Refused {
                    document,
                    by,
                    message,
                    ..
                } => {
                    tracing::warn!(%document, ?by, message, "document refused");
                    self.watcher.refused(document, by, &message);
                }
                Output::Acknowledged {
                    connection,
                    document,
                    heads,
                } => self.watcher.acknowledged(
                    state.engine.replica(),
                    Acknowledgement {
                        connection,
                        document,
                        heads: &heads,
                    },
                ),
                Output::Pause { connection } => {
                    if let Some(outgoing) = state.connections.get(&connection) {
                        outgoing.pause();
                    }
                }
                Output::Resume { connection } => {
                    if let Some(outgoing) = state.connections.get(&connection) {
                        outgoing.resume();
                    }
                }
                Output::Close {
                    connection,
                    message,
                } => {
                    if let Some(outgoing) = state.connections.remove(&connection) {
                        outgoing.close(message);
                    }
                }
            }
        }
    }

    fn persist(self: &Arc<Self>, state: &mut State<R>, batch: BatchId, chunks: Vec<PersistChunk>) {
        let saving = chunks
            .iter()
            .map(|c| (c.document, keys::stored(c)))
            .collect();
        state.saving.insert(batch, saving);
        let node = Arc::clone(self);
        runtime::spawn(async move {
            let result = node.store.save(node.scope, chunks).await;
            node.persisted(batch, result.map_err(|error| error.to_string()));
        });
    }

    fn persisted(self: &Arc<Self>, batch: BatchId, result: Result<(), String>) {
        let mut compactions = Vec::new();
        {
            let mut state = self.lock();
            let saved = state.saving.remove(&batch).unwrap_or_default();
            if let Err(message) = &result {
                self.set_failure(Some(message.clone()));
                if !self.store.is_closed() {
                    tracing::error!(scope = %self.scope, message, "storage failed");
                    let node = Arc::clone(self);
                    runtime::spawn(async move { node.recover().await });
                }
            } else {
                // Nothing has been applied since this batch, so what is saved now is what is stored.
                let documents: Vec<_> = saved.iter().map(|(document, _)| *document).collect();
                for (document, key) in saved {
                    state.chunks.entry(document).or_default().push(key);
                }
                compactions = Self::due(&mut state, documents, COMPACT_AFTER);
            }
            state.engine.persisted(batch, result);
            state.give_up_if_failed();
            self.run_outputs(&mut state);
        }
        self.compact(compactions);
    }

    fn compactions(&self, documents: Vec<DocumentId>, threshold: usize) -> Vec<Compaction> {
        Self::due(&mut self.lock(), documents, threshold)
    }

    fn due(
        state: &mut State<R>,
        mut documents: Vec<DocumentId>,
        threshold: usize,
    ) -> Vec<Compaction> {
        documents.retain(|id| {
            let chunks = state.chunks.get(id);
            chunks.is_some_and(|chunks| chunks.len() >= threshold)
        });
        documents
            .into_iter()
            .filter_map(|document| {
                let doc = state.engine.replica().document(&document)?;
                let (heads, saved) = (doc.get_heads(), doc.save());
                let snapshot = keys::snapshot(&document, &heads);
                let superseded = state.chunks.insert(document, vec![snapshot]);
                Some(Compaction {
                    document,
                    heads,
                    saved,
                    superseded: superseded.unwrap_or_default(),
                })
            })
            .collect()
    }

    fn compact(self: &Arc<Self>, compactions: Vec<Compaction>) {
        for compaction in compactions {
            let node = Arc::clone(self);
            runtime::spawn(async move {
                let document = compaction.document;
                if let Err(error) = node.replace_chunks(compaction).await {
                    // The chunks are still there, and the next open tries again.
                    tracing::warn!(%document, %error, "document not compacted");
                }
            });
        }
    }

    async fn replace_chunks(&self, compaction: Compaction) -> Result<(), Error> {
        let Compaction {
            document,
            heads,
            saved,
            superseded,
        } = compaction;
        let readable = Automerge::load(&saved).is_ok_and(|doc| doc.get_heads() == heads);
        if !readable {
            let reason = format!("a snapshot of {document} does not load with the same heads");
            return Err(Error::Internal(reason));
        }
        self.store
            .compact(document, &heads, &saved, superseded)
            .await
    }

    /// Opens storage again until that works, and goes on from what it holds.
    async fn recover(self: Arc<Self>) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        while !self.store.is_closed() {
            let random = runtime::random::<8>().map_or(u64::MAX, u64::from_le_bytes);
            runtime::sleep(backoff.next_wait(random).max(Duration::from_millis(50))).await;
            match self.reload().await {
                Ok(()) => {
                    tracing::info!(scope = %self.scope, "storage works again");
                    return;
                }
                Err(error) => tracing::warn!(scope = %self.scope, %error, "storage still fails"),
            }
        }
    }

    async fn reload(self: &Arc<Self>) -> Result<(), Error> {
        self.store.probe().await?;
        let restored = (self.loader)().await?;
        let mut state = self.lock();
        state.chunks = restored.chunks;
        state.saving.clear();
        self.set_failure(None);
        state.engine.replace_replica(restored.replica);
        self.run_outputs(&mut state);
        Ok(())
    }
}

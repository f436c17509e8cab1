//! An open database, as an application uses it.

use crate::connect::Connect;
use crate::error::Error;
use crate::link::Link;
use crate::node::Node;
use crate::peer::Peer;
use crate::replica::{Asked, DatabaseReplica, Done};
use crate::runtime;
use crate::session::Joined;
use crate::subscription::{Listener, Subscription};
use crate::sync_state::{SyncState, Tracker};
use crate::transport::MaybeSend;
use crate::{Collection, DatabaseId};
use futures::channel::oneshot;
use headwater_core::{
    CollectionSchema, Conflict, ConflictEvent, Operation, Transaction, Version, Write,
    WriteContext, Written, catalog,
};
use headwater_sync::connection::RemotePeer;
use headwater_sync::engine::{ConnectionId, Peer as EnginePeer, WriteError as NotWritten};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// An open database. Cloning it gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Database {
    peer: Peer,
    pub(crate) node: Arc<DatabaseNode>,
    /// Who writes through this handle: the origin and the user.
    writer: Option<Arc<(Option<String>, Option<String>)>>,
}

#[derive(Debug)]
pub(crate) struct DatabaseNode {
    pub id: DatabaseId,
    pub node: Arc<Node<DatabaseReplica>>,
    pub tracker: Arc<Tracker>,
    links: Mutex<Vec<Link>>,
}

impl DatabaseNode {
    pub fn new(id: DatabaseId, node: Arc<Node<DatabaseReplica>>, tracker: Arc<Tracker>) -> Self {
        Self {
            id,
            node,
            tracker,
            links: Mutex::default(),
        }
    }

    /// Takes a connection in that is about this database alone.
    pub fn connect(&self, connection: ConnectionId, joined: Joined) {
        self.attach(connection, joined, None);
    }

    /// Takes a connection in, whose frames name the `database` if it carries several.
    pub fn attach(&self, connection: ConnectionId, joined: Joined, database: Option<DatabaseId>) {
        self.joined(connection, &joined.peer);
        let peer = EnginePeer {
            id: joined.peer.id,
            headwater: joined.peer.metadata.headwater,
            role: joined.role,
            database,
        };
        self.node.connect(connection, peer, joined.outgoing);
    }

    pub fn joined(&self, connection: ConnectionId, peer: &RemotePeer) {
        if let Some(storage) = &peer.metadata.storage_id {
            self.tracker.joined(connection, storage.clone());
        }
    }

    pub fn left(&self, connection: ConnectionId) {
        self.tracker.closed(connection);
        self.node.disconnect(connection);
    }

    pub fn end_links(&self) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.drain(..).for_each(|link| link.close());
    }
}

impl Database {
    pub(crate) fn new(peer: Peer, node: Arc<DatabaseNode>) -> Self {
        Self {
            peer,
            node,
            writer: None,
        }
    }

    /// A handle for what is written in the name of someone else than the peer's options say.
    pub fn written_by(&self, origin: Option<String>, user: Option<String>) -> Self {
        Self {
            writer: Some(Arc::new((origin, user))),
            ..self.clone()
        }
    }

    /// Its id, by which others open it.
    pub fn id(&self) -> DatabaseId {
        self.node.id
    }

    /// A collection, by its name. It comes into being with its first record.
    pub fn collection(&self, name: impl Into<String>) -> Collection {
        Collection::new(self.clone(), name.into())
    }

    /// The collections, by name.
    pub fn collections(&self) -> BTreeMap<String, catalog::Collection> {
        let read = |replica: &DatabaseReplica| replica.0.collections().clone();
        self.node.node.read(read)
    }

    /// Declares a collection, adding to what was declared of it before, here or elsewhere.
    pub async fn declare(&self, collection: &str, schema: CollectionSchema) -> Result<(), Error> {
        self.write(collection, Operation::Declare(schema))
            .await
            .map(drop)
    }

    /// What was declared of a collection and lost to what others declared. It is settled by declaring again.
    pub fn declaration_conflicts(&self, collection: &str) -> Vec<Conflict> {
        self.inspect(|core| core.declaration_conflicts(collection))
    }

    /// Makes several writes together or not at all, in the name of whoever the transaction says. Resolves once they are stored,
    /// with the version of each record that its writer has seen then.
    ///
    /// # Errors
    /// [`WriteError::OneOf`](crate::WriteError::OneOf) naming the first write that cannot be done.
    pub async fn transact(
        &self,
        transaction: Transaction,
    ) -> Result<(Written, Vec<Version>), Error> {
        let done = self.ask(Asked::Transact(transaction)).await?;
        Ok((done.written, done.versions))
    }

    /// Canonical JSON of all records: equal on all peers that have the same edits.
    pub fn to_json(&self) -> String {
        self.node.node.read(|replica| replica.0.to_json())
    }

    /// Syncs with a server at `ws://HOST:PORT` or `wss://HOST:PORT` from now on, over every interruption.
    pub fn connect(&self, server: impl Into<Connect>) -> Result<Link, Error> {
        let link = Link::start(&self.peer, &self.node, server.into())?;
        let mut links = self
            .node
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        links.push(link.clone());
        Ok(link)
    }

    /// The state of synchronisation now.
    pub fn sync_state(&self) -> SyncState {
        self.node.tracker.watch().borrow().clone()
    }

    /// The state of synchronisation, as it changes.
    pub fn watch_sync_state(&self) -> watch::Receiver<SyncState> {
        self.node.tracker.watch()
    }

    /// How many local edits no durable server is known to have.
    pub fn unsynced(&self) -> u64 {
        self.sync_state().unsynced
    }

    /// Waits until a connected server has everything that is here, and everything that it has is here.
    ///
    /// # Errors
    /// [`Error::NotInSync`] after `timeout`; [`Error::Denied`] as soon as all that is left are servers that do not let this
    /// peer in.
    pub async fn synced(&self, timeout: Duration) -> Result<(), Error> {
        use futures::FutureExt as _;
        let mut limit = std::pin::pin!(runtime::sleep(timeout).fuse());
        loop {
            if self.node.node.with_engine(|engine| engine.in_sync()) && self.unsynced() == 0 {
                return Ok(());
            }
            if let Some(denied) = self.sync_state().denied() {
                return Err(denied);
            }
            let mut pause = std::pin::pin!(runtime::sleep(Duration::from_millis(10)).fuse());
            futures::select_biased! {
                () = limit => {
                    let seconds = timeout.as_secs();
                    let state = format!("{:?}", self.sync_state());
                    return Err(Error::NotInSync { seconds, state });
                }
                () = pause => {}
            }
        }
    }

    /// Every change to any record from now on.
    pub fn subscribe(&self) -> Subscription {
        self.node.tracker.subscribers.records.subscribe(None)
    }

    /// What loses in any record, and is settled, from now on.
    pub fn subscribe_conflicts(&self) -> Subscription<ConflictEvent> {
        self.node.tracker.subscribers.conflicts.subscribe(None)
    }

    /// Reads several things at one moment. `read` is called with the database locked and must be quick.
    pub fn inspect<T>(&self, read: impl FnOnce(&headwater_core::Database) -> T) -> T {
        self.node.node.read(|replica| read(&replica.0))
    }

    /// Calls `listener` with durable changes from now on, and first `start` with the records as they are, with nothing
    /// between the two. Both are called with the database locked and must be quick.
    pub fn follow(&self, start: impl FnOnce(&headwater_core::Database), listener: Listener) {
        self.node.node.read(|replica| {
            start(&replica.0);
            self.node.tracker.subscribers.follow(listener);
        });
    }

    /// Reads several things at one moment at which all that is there is durable, and all of it was told to who follows the
    /// database: as its listeners see it. `read` is called with the database locked and must be quick.
    ///
    /// # Errors
    /// [`Error::Closed`] if the peer is closed before that.
    pub async fn inspect_durable<T: MaybeSend + 'static>(
        &self,
        read: impl FnOnce(&headwater_core::Database) -> T + MaybeSend + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        self.node.node.read_at_rest(Box::new(move |replica| {
            // Whoever asked may not wait any more.
            let _ = sender.send(read(&replica.0));
        }));
        receiver.await.map_err(|_| Error::Closed)
    }

    /// Lets the database take in changes again after a listener gave [`Flow::Hold`](crate::Flow::Hold).
    pub fn resume(&self) {
        self.node.node.resume();
    }

    pub(crate) async fn write(
        &self,
        collection: &str,
        operation: Operation,
    ) -> Result<Written, Error> {
        let write = Asked::Write(self.stated(collection, operation));
        Ok(self.ask(write).await?.written)
    }

    async fn ask(&self, asked: Asked) -> Result<Done, Error> {
        match self.node.node.write(asked).await {
            Ok(done) => Ok(done),
            Err(NotWritten::Rejected(error)) => Err(error.into()),
            Err(NotWritten::NotDurable(reason)) => Err(Error::NotSaved { reason }),
        }
    }

    /// What a write would do, without doing it.
    pub(crate) fn preview(&self, collection: &str, operation: Operation) -> Result<Written, Error> {
        let write = self.stated(collection, operation);
        Ok(self.inspect(|core| core.preview(&write))?)
    }

    /// An operation with what this peer says of itself.
    fn stated(&self, collection: &str, operation: Operation) -> Write {
        Write {
            collection: collection.to_owned(),
            operation,
            context: self.context(),
        }
    }

    /// What a change says of its making if it is written through this handle now.
    pub fn context(&self) -> WriteContext {
        let options = &self.peer.inner.options;
        let (origin, user) = match self.writer.as_deref() {
            Some((origin, user)) => (origin, user),
            None => (&options.origin, &options.user),
        };
        WriteContext {
            origin: origin.clone(),
            user: user.clone(),
            at: runtime::wall_clock(),
        }
    }
}

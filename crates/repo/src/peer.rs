//! A peer: one store, and the databases in it.

use crate::database::{Database, DatabaseNode};
use crate::error::Error;
use crate::node::{Node, Restored};
use crate::options::Options;
use crate::replica::DatabaseReplica;
use crate::runtime;
use crate::session::{self, Joined, Scope, SessionError};
use crate::store::Store;
use crate::sync_state::{Acknowledged, Tracker};
use crate::transport::Transport;
use crate::{DatabaseId, DocumentId};
use automerge::ActorId;
use headwater_core::Observe;
use headwater_sync::connection::{ConnectionConfig, Role};
use headwater_sync::engine::{ConnectionId, EngineConfig};
use headwater_sync::frame::{HEADWATER_VERSION, HeadwaterMetadata, PeerId, PeerMetadata};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// A replica of any number of databases, kept in one store. Cloning it gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Peer {
    pub(crate) inner: Arc<Inner>,
}

/// A database that a peer keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseInfo {
    /// Its id.
    pub id: DatabaseId,
    /// The names that stand for it here.
    pub names: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub store: Arc<Store>,
    pub options: Options,
    pub peer_id: PeerId,
    replica_id: [u8; 8],
    open: Mutex<HashMap<DatabaseId, Arc<DatabaseNode>>>,
    /// Held while a database is being loaded, so that it is loaded once.
    opening: tokio::sync::Mutex<()>,
    /// Connections that carry every database.
    links: Mutex<BTreeMap<ConnectionId, Joined>>,
    acknowledged: mpsc::UnboundedSender<Acknowledged>,
    observe: Mutex<Observe>,
    on_open: Mutex<Option<OnOpen>>,
    /// Whether connections that were accepted are to end. Each holds a receiver for as long as it lasts.
    closing: watch::Sender<bool>,
}

/// Called with each database that is opened, before anything can change in it.
#[cfg(not(target_arch = "wasm32"))]
pub type OnOpenFn = dyn Fn(&Database) + Send + Sync;
/// Called with each database that is opened, before anything can change in it.
#[cfg(target_arch = "wasm32")]
pub type OnOpenFn = dyn Fn(&Database);

#[derive(Clone)]
struct OnOpen(Arc<OnOpenFn>);

impl std::fmt::Debug for OnOpen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnOpen")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks leaves a half-made state behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    /// Opens the store, creating it if needed.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let store = Arc::new(Store::open(Arc::clone(&options.opener)).await?);
        let replica_id = store.replica_id().await?;
        // The name is drawn anew, so that two processes on copies of one store do not evict each other.
        let name: [u8; 8] = runtime::random()?;
        let name = name.iter().fold(String::from("hw-"), |name, byte| {
            name + &format!("{byte:02x}")
        });
        let (acknowledged, receiver) = mpsc::unbounded_channel();
        runtime::spawn(write_down(Arc::clone(&store), receiver));
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                options,
                peer_id: PeerId::new(name),
                replica_id,
                open: Mutex::default(),
                opening: tokio::sync::Mutex::new(()),
                links: Mutex::default(),
                acknowledged,
                observe: Mutex::new(Observe::Changes),
                on_open: Mutex::default(),
                closing: watch::Sender::default(),
            }),
        })
    }

    /// Creates a database, offline as well. With a name, that stands for it on this peer.
    pub async fn create(&self, name: Option<&str>) -> Result<Database, Error> {
        if let Some(name) = name
            && let Some(&database) = self.inner.store.aliases().await?.get(name)
        {
            let name = name.to_owned();
            return Err(Error::NameTaken { name, database });
        }
        let id = DatabaseId::from_bytes(runtime::random()?);
        let database = self.open_database(id).await?;
        // Also what has no record yet is found again.
        self.inner.store.remember(id).await?;
        if let Some(name) = name {
            self.inner.store.set_alias(name, id).await?;
        }
        Ok(database)
    }

    /// Opens a database by its id: one that is here, or one that a server will bring. Works offline.
    pub async fn open_database(&self, id: DatabaseId) -> Result<Database, Error> {
        let node = self.inner.node(id).await?;
        Ok(Database::new(self.clone(), node))
    }

    /// Opens a database by its name on this peer.
    pub async fn open_named(&self, name: &str) -> Result<Database, Error> {
        match self.inner.store.aliases().await?.get(name) {
            Some(id) => self.open_database(*id).await,
            None => Err(Error::UnknownName {
                name: name.to_owned(),
            }),
        }
    }

    /// Opens the database that goes by this name here, creating it if there is none.
    pub async fn open_or_create(&self, name: &str) -> Result<Database, Error> {
        match self.open_named(name).await {
            Err(Error::UnknownName { .. }) => self.create(Some(name)).await,
            opened => opened,
        }
    }

    /// Lets a name stand for a database on this peer.
    pub async fn set_name(&self, name: &str, id: DatabaseId) -> Result<(), Error> {
        match self.inner.store.aliases().await?.get(name) {
            Some(&database) if database != id => {
                let name = name.to_owned();
                Err(Error::NameTaken { name, database })
            }
            _ => self.inner.store.set_alias(name, id).await,
        }
    }

    /// The databases that are kept here.
    pub async fn databases(&self) -> Result<Vec<DatabaseInfo>, Error> {
        let mut names: BTreeMap<DatabaseId, Vec<String>> = BTreeMap::new();
        for id in self.inner.store.databases().await? {
            names.entry(id).or_default();
        }
        for (name, id) in self.inner.store.aliases().await? {
            names.entry(id).or_default().push(name);
        }
        let all = names.into_iter();
        Ok(all.map(|(id, names)| DatabaseInfo { id, names }).collect())
    }

    /// The databases that are open.
    pub fn open_databases(&self) -> Vec<Database> {
        let nodes: Vec<_> = lock(&self.inner.open).values().cloned().collect();
        nodes
            .into_iter()
            .map(|node| Database::new(self.clone(), node))
            .collect()
    }

    /// How closely databases that are opened from now on follow their changes; at first each change.
    pub fn observe(&self, observe: Observe) {
        *lock(&self.inner.observe) = observe;
    }

    /// Calls `on_open` with each database that is opened from now on, before anything can change in it.
    pub fn on_open(&self, on_open: Arc<OnOpenFn>) {
        *lock(&self.inner.on_open) = Some(OnOpen(on_open));
    }

    /// Why storage is failing, if it is: what is written then is refused, and what is read may be older than what was
    /// written. It is tried again until it works.
    pub fn storage_failure(&self) -> Option<String> {
        lock(&self.inner.open)
            .values()
            .find_map(|node| node.node.failure())
    }

    /// The name by which this peer goes on its connections.
    pub fn peer_id(&self) -> &PeerId {
        &self.inner.peer_id
    }

    /// Lets go of the store. Connections end, those that were accepted within two seconds and told why. What is being stored
    /// is stored to the end, and every write fails from now on; what is there can still be read through handles that are left.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.closing.send_replace(true);
        self.inner.closing.closed().await;
        let nodes = std::mem::take(&mut *lock(&self.inner.open)).into_values();
        for node in nodes {
            node.end_links();
            node.node.end().await;
        }
        Ok(self.inner.store.close().await?)
    }
}

/// Writes down which heads servers have returned. It only saves counting again what is safe, so a failure is no loss.
async fn write_down(store: Arc<Store>, mut receiver: mpsc::UnboundedReceiver<Acknowledged>) {
    while let Some(first) = receiver.recv().await {
        let mut latest: HashMap<(DocumentId, String), _> = HashMap::new();
        let mut next = Some(first);
        while let Some(ack) = next {
            latest.insert((ack.document, ack.server), ack.heads);
            next = receiver.try_recv().ok();
        }
        for ((document, server), heads) in latest {
            if let Err(error) = store.set_acknowledged(document, &server, &heads).await {
                tracing::debug!(%document, %error, "acknowledgement not written down");
            }
        }
    }
}

impl Inner {
    /// How this peer introduces itself.
    pub fn connection_config(&self) -> ConnectionConfig {
        let storage: String = self.replica_id.iter().map(|b| format!("{b:02x}")).collect();
        let metadata = PeerMetadata {
            storage_id: Some(storage),
            is_ephemeral: false,
            headwater: Some(HeadwaterMetadata {
                version: HEADWATER_VERSION,
                durable: self.store.durable(),
            }),
        };
        let config = ConnectionConfig::new(self.peer_id.clone(), metadata);
        #[cfg(target_arch = "wasm32")]
        let config = ConnectionConfig {
            ping_interval: None,
            ..config
        };
        config
    }

    /// Runs a connection that was accepted until it ends or the peer is closed.
    pub async fn serve(&self, transport: impl Transport, scope: Arc<dyn Scope>) -> SessionError {
        let config = self.connection_config();
        let mut closing = self.closing.subscribe();
        let stop = async move {
            // The sender lives as long as this peer, so waiting cannot fail.
            let _ = closing.wait_for(|closing| *closing).await;
            "the server is stopping: edits stay where they are, and sync when it is back".to_owned()
        };
        session::run(transport, Role::Server, config, scope, |_| {}, stop).await
    }

    /// The node of a database, loaded if it is not.
    pub async fn node(self: &Arc<Self>, id: DatabaseId) -> Result<Arc<DatabaseNode>, Error> {
        if let Some(node) = lock(&self.open).get(&id) {
            return Ok(Arc::clone(node));
        }
        let _guard = self.opening.lock().await;
        if let Some(node) = lock(&self.open).get(&id) {
            return Ok(Arc::clone(node));
        }
        let node = self.load(id).await?;
        lock(&self.open).insert(id, Arc::clone(&node));
        let links = lock(&self.links).clone();
        for (connection, link) in links {
            node.attach(connection, link, Some(node.id));
        }
        Ok(node)
    }

    async fn load(self: &Arc<Self>, id: DatabaseId) -> Result<Arc<DatabaseNode>, Error> {
        let tracker = Arc::new(Tracker::new(self.replica_id, self.acknowledged.clone()));
        let store = Arc::clone(&self.store);
        let replica_id = self.replica_id;
        let observe = *lock(&self.observe);
        let resolvers = self.options.resolvers.clone();
        let loader = Arc::new(move || {
            let (store, resolvers) = (Arc::clone(&store), resolvers.clone());
            let loading = async move {
                let mut restored = restore(&store, id, replica_id, observe).await?;
                restored.replica.0.resolvers(resolvers);
                Ok(restored)
            };
            Box::pin(loading) as _
        });
        let node = Node::start(
            id,
            Arc::clone(&self.store),
            EngineConfig::new(self.peer_id.clone()),
            loader,
            Arc::<Tracker>::clone(&tracker),
        )
        .await?;
        let documents = node.read(|replica| replica.0.documents());
        for document in documents {
            let servers = self.store.acknowledged(document).await?;
            node.read(|replica| {
                if let Some(doc) = replica.0.document(&document) {
                    tracker.restore(document, doc, servers);
                }
            });
        }
        let node = Arc::new(DatabaseNode::new(id, node, tracker));
        if let Some(OnOpen(on_open)) = lock(&self.on_open).clone() {
            let peer = Peer {
                inner: Arc::clone(self),
            };
            on_open(&Database::new(peer, Arc::clone(&node)));
        }
        Ok(node)
    }

    /// Carries every database over this connection.
    pub async fn join_link(
        self: &Arc<Self>,
        connection: ConnectionId,
        link: Joined,
    ) -> Result<(), Error> {
        for id in self.store.databases().await? {
            self.node(id).await?;
        }
        let nodes: Vec<_> = {
            // A database that is opened from here on finds the link by itself.
            let _guard = self.opening.lock().await;
            lock(&self.links).insert(connection, link.clone());
            lock(&self.open).values().cloned().collect()
        };
        for node in nodes {
            node.attach(connection, link.clone(), Some(node.id));
        }
        Ok(())
    }

    pub fn leave_link(&self, connection: ConnectionId) {
        lock(&self.links).remove(&connection);
        let nodes: Vec<_> = lock(&self.open).values().cloned().collect();
        for node in nodes {
            node.left(connection);
        }
    }
}

async fn restore(
    store: &Store,
    id: DatabaseId,
    replica_id: [u8; 8],
    observe: Observe,
) -> Result<Restored<DatabaseReplica>, Error> {
    let loaded = store.load(id, |_| true).await?;
    for damaged in &loaded.damaged {
        tracing::error!(database = %id, what = damaged.what, reason = damaged.reason,
            "damaged data is left aside; peers send again what it held");
    }
    // A fresh actor on every open: reusing one after a lost write would diverge for good.
    let session: [u8; 8] = runtime::random()?;
    let actor = ActorId::from([replica_id, session].concat());
    let (mut database, quarantined) =
        headwater_core::Database::restore(id, actor, loaded.documents)?;
    for bad in quarantined {
        tracing::error!(database = %id, document = %bad.document, error = %bad.error,
            "document is left aside; the others are not affected");
    }
    database.observe(observe);
    Ok(Restored {
        replica: DatabaseReplica(database),
        chunks: loaded.chunk_keys,
    })
}

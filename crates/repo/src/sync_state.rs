//! What an application shows of its synchronisation: is anyone there, and what has no server yet.

use crate::DocumentId;
use crate::error::Error;
use crate::node::{Acknowledgement, Flow, Watcher};
use crate::replica::{DatabaseReplica, Done};
use crate::subscription::Subscribers;
use automerge::{Automerge, ChangeHash};
use headwater_core::Event;
use headwater_sync::engine::{ConnectionId, RefusedBy};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The state of a database's synchronisation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncState {
    /// The servers that it was told to sync with.
    pub links: Vec<LinkStatus>,
    /// Local edits that no durable server is known to have. They are safe here, and here only.
    pub unsynced: u64,
    /// Documents that were refused, by us or by a peer, and why.
    pub refused: Vec<String>,
}

impl SyncState {
    /// Whether there is a connection to any server.
    pub fn connected(&self) -> bool {
        self.links
            .iter()
            .any(|link| link.state == LinkState::Connected)
    }

    /// Why there is nobody to sync with, if no server that was asked lets this peer in.
    pub(crate) fn denied(&self) -> Option<Error> {
        let mut denials = self.links.iter().map(|link| match &link.state {
            LinkState::Denied { error } => Some(Error::Denied {
                url: link.url.clone(),
                reason: error.clone(),
            }),
            _ => None,
        });
        let first = denials.next()??;
        denials.all(|denial| denial.is_some()).then_some(first)
    }
}

/// One server and how it goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Its address.
    pub url: String,
    /// How it goes.
    pub state: LinkState,
}

/// How it goes with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// A connection is being made.
    Connecting,
    /// Connected; edits go both ways.
    Connected,
    /// There is no connection; it is tried again after a while.
    Waiting {
        /// Why there is none.
        error: String,
    },
    /// The server does not let this peer in: it wants a token, or another one. It is asked again after a while.
    Denied {
        /// What it said.
        error: String,
    },
}

/// Keeps the count, and tells subscribers.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// With which every actor of this replica begins.
    replica_id: [u8; 8],
    pub subscribers: Arc<Subscribers>,
    documents: Mutex<Documents>,
    state: watch::Sender<SyncState>,
    /// Heads that servers have returned and that are to be written down.
    acknowledged: tokio::sync::mpsc::UnboundedSender<Acknowledged>,
}

/// Heads of a document that a server has returned.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub document: DocumentId,
    pub server: String,
    pub heads: Vec<ChangeHash>,
}

#[derive(Debug, Default)]
struct Documents {
    /// Own changes that no durable server has, by document.
    unsynced: HashMap<DocumentId, HashSet<ChangeHash>>,
    /// The heads that each server has returned.
    acknowledged: HashMap<DocumentId, BTreeMap<String, Vec<ChangeHash>>>,
    servers: HashMap<ConnectionId, String>,
}

impl Tracker {
    pub fn new(
        replica_id: [u8; 8],
        acknowledged: tokio::sync::mpsc::UnboundedSender<Acknowledged>,
    ) -> Self {
        Self {
            replica_id,
            subscribers: Arc::default(),
            documents: Mutex::default(),
            state: watch::Sender::default(),
            acknowledged,
        }
    }

    /// Takes over what was written down of earlier sessions.
    pub fn restore(
        &self,
        id: DocumentId,
        document: &Automerge,
        servers: BTreeMap<String, Vec<ChangeHash>>,
    ) {
        let mut documents = self.lock();
        documents.acknowledged.insert(id, servers);
        let unsynced = documents.count(id, document, &self.replica_id);
        documents.unsynced.insert(id, unsynced);
        self.publish_count(&documents);
    }

    pub fn watch(&self) -> watch::Receiver<SyncState> {
        self.state.subscribe()
    }

    pub fn update(&self, update: impl FnOnce(&mut SyncState)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            update(state);
            *state != before
        });
    }

    /// A connection's peer, if it has a name by which it is known the next time.
    pub fn joined(&self, connection: ConnectionId, server: String) {
        self.lock().servers.insert(connection, server);
    }

    pub fn closed(&self, connection: ConnectionId) {
        self.lock().servers.remove(&connection);
    }

    fn lock(&self) -> MutexGuard<'_, Documents> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_count(&self, documents: &Documents) {
        let count: usize = documents.unsynced.values().map(HashSet::len).sum();
        self.update(|state| state.unsynced = count as u64);
    }
}

impl Documents {
    /// The changes of this replica's own that are not among those before any server's heads.
    fn count(
        &self,
        id: DocumentId,
        document: &Automerge,
        replica_id: &[u8; 8],
    ) -> HashSet<ChangeHash> {
        let servers = self.acknowledged.get(&id);
        let known: Vec<ChangeHash> = servers
            .into_iter()
            .flat_map(BTreeMap::values)
            .flatten()
            .filter(|head| document.get_change_meta_by_hash(head).is_some())
            .copied()
            .collect();
        document
            .get_changes_meta(&known)
            .into_iter()
            .filter(|change| change.actor.to_bytes().starts_with(replica_id))
            .map(|change| change.hash)
            .collect()
    }
}

impl Watcher<DatabaseReplica> for Tracker {
    fn events(&self, replica: &DatabaseReplica, events: Vec<Event>) -> Flow {
        self.subscribers.send(&replica.0, &events)
    }

    fn acknowledged(&self, replica: &DatabaseReplica, ack: Acknowledgement<'_>) {
        let mut documents = self.lock();
        let Some(server) = documents.servers.get(&ack.connection).cloned() else {
            return;
        };
        let heads = ack.heads.to_vec();
        documents
            .acknowledged
            .entry(ack.document)
            .or_default()
            .insert(server.clone(), heads.clone());
        let some_unsynced = documents.unsynced.get(&ack.document);
        if some_unsynced.is_some_and(|unsynced| !unsynced.is_empty())
            && let Some(document) = replica.0.document(&ack.document)
        {
            let unsynced = documents.count(ack.document, document, &self.replica_id);
            documents.unsynced.insert(ack.document, unsynced);
            self.publish_count(&documents);
        }
        // Whoever writes it down ends with the peer.
        let _ = self.acknowledged.send(Acknowledged {
            document: ack.document,
            server,
            heads,
        });
    }

    fn written(&self, done: &Done) {
        let mut documents = self.lock();
        for (document, change) in &done.changes {
            documents
                .unsynced
                .entry(*document)
                .or_default()
                .insert(*change);
        }
        self.publish_count(&documents);
    }

    fn refused(&self, document: DocumentId, by: RefusedBy, message: &str) {
        let who = match by {
            RefusedBy::Us => "refused here",
            RefusedBy::Peer => "refused by the server",
        };
        self.update(|state| {
            // The latest will do; a peer must not fill our memory with refusals.
            state.refused.truncate(99);
            state
                .refused
                .insert(0, format!("document {document} was {who}: {message}"));
        });
    }
}

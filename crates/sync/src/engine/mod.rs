//! Replication of one set of documents between any number of peers: the state machine.
//!
//! Local writes and peers' messages are gathered into batches. One batch is in flight at a time: the driver makes its
//! changes durable and reports back, and what arrives meanwhile forms the next one. So outside a batch the replica's state is
//! exactly the durable state, and can be told to peers as it is; nothing else ever is.
//!
//! The driver calls [`Engine::poll_output`] until it is empty after every other call.

mod answer;
mod batch;
mod congestion;
mod ephemeral;
mod fanout;
mod outgoing;
mod peers;
mod queue;
mod receive;
mod replica;

pub use replica::{Applied, LocalWrite, Refusal, Replica};

use crate::connection::Role;
use crate::frame::{Frame, HeadwaterMetadata, PeerId};
use automerge::{Automerge, ChangeHash};
use batch::Batch;
use bytes::Bytes;
use ephemeral::Sessions;
use headwater_core::bounds::Limits;
use headwater_core::{DatabaseId, DocumentId};
use outgoing::Answers;
use peers::Peers;
use queue::Job;
use std::collections::{BTreeSet, VecDeque};

/// A connection, by a number that the driver gives and does not use again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A local write, numbered by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// A batch of changes to be made durable, numbered by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name. A connected peer of the same name is replaced.
    pub id: PeerId,
    /// What it says of itself if it is Headwater; none for a client of automerge-repo's, which is told nothing unasked.
    pub headwater: Option<HeadwaterMetadata>,
    /// Which end of the connection *we* are.
    pub role: Role,
    /// The database to name in frames, on a connection that carries several.
    pub database: Option<DatabaseId>,
}

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Our own name.
    pub peer_id: PeerId,
    /// How much one message may hold, in both directions.
    pub limits: Limits,
    /// Bytes of messages that may wait for a batch, for each connection. Beyond it the connection is not to be read, and
    /// beyond four times as many it is closed.
    pub backlog: usize,
    /// Bytes of frames that may wait for [`Engine::poll_output`], for each connection. Beyond it no changes are sent on it
    /// until [`Engine::drained`].
    pub outgoing: usize,
    /// Documents that one connection may share.
    pub documents: usize,
}

impl EngineConfig {
    /// The usual limits: 16 MiB each of backlog and of frames to send, and 65,536 documents for each connection.
    pub fn new(peer_id: PeerId) -> Self {
        Self {
            peer_id,
            limits: Limits::default(),
            backlog: 16 << 20,
            outgoing: 16 << 20,
            documents: 1 << 16,
        }
    }
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Output<R: Replica> {
    /// Send a frame.
    Send {
        /// To whom.
        connection: ConnectionId,
        /// The binary WebSocket message.
        frame: Bytes,
    },
    /// Make these chunks durable, all or nothing for each document, then call [`Engine::persisted`].
    Persist {
        /// To be given back.
        batch: BatchId,
        /// For each document that changed.
        chunks: Vec<PersistChunk>,
    },
    /// A local write is done: it is durable, or it failed.
    Written {
        /// The write.
        write: WriteId,
        /// What it gave.
        result: Result<R::Written, WriteError<R::Error>>,
    },
    /// Durable changes, for subscribers.
    Events(Vec<R::Event>),
    /// The replica is what storage holds, and all that led to it was told: the answer to [`Engine::want_rest`].
    AtRest,
    /// A document that is left alone on this connection from now on.
    Refused {
        /// The connection.
        connection: ConnectionId,
        /// The document.
        document: DocumentId,
        /// Who refused.
        by: RefusedBy,
        /// Why, for people.
        message: String,
    },
    /// A peer that announces durability has these changes and all before them.
    Acknowledged {
        /// The connection.
        connection: ConnectionId,
        /// The document.
        document: DocumentId,
        /// Those of its heads that we have too.
        heads: Vec<ChangeHash>,
    },
    /// Do not read from this connection until [`Output::Resume`], because its messages come faster than they can be kept.
    Pause {
        /// The connection.
        connection: ConnectionId,
    },
    /// Read from this connection again.
    Resume {
        /// The connection.
        connection: ConnectionId,
    },
    /// Call [`Engine::drained`] once most of what was sent on this connection is out.
    Congested {
        /// The connection.
        connection: ConnectionId,
    },
    /// Close this connection once what was sent before is out. The engine has forgotten it.
    Close {
        /// The connection.
        connection: ConnectionId,
        /// Why, for people.
        message: String,
    },
}

/// Who refused a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBy {
    /// We did.
    Us,
    /// The peer did.
    Peer,
}

/// Changes of one batch to one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistChunk {
    /// The document.
    pub document: DocumentId,
    /// What the bytes are.
    pub content: Stored,
    /// As automerge encodes it.
    pub bytes: Bytes,
}

/// What is made durable at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Change chunks, one after the other, each after those it depends on; with the hash of the last change, which no other
    /// chunk has.
    Changes(ChangeHash),
    /// The whole document up to these heads, as a peer sent it.
    Whole(Vec<ChangeHash>),
}

/// Why a local write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The replica rejected it. Nothing was changed.
    #[error("{0}")]
    Rejected(E),
    /// It could not be made durable and is undone; it may be tried again once storage works.
    #[error("the write could not be made durable and was undone: {0}")]
    NotDurable(String),
}

/// See the [module](self).
pub struct Engine<R: Replica> {
    config: EngineConfig,
    replica: R,
    /// The documents that peers have been told of.
    known: BTreeSet<DocumentId>,
    peers: Peers,
    queue: VecDeque<Job<R::Write>>,
    in_flight: Option<Batch<R>>,
    failed: bool,
    answers: Answers,
    sessions: Sessions,
    outputs: VecDeque<Output<R>>,
    /// Whether events of a batch wait in `outputs`.
    untold: bool,
    /// Whether nothing more is to be applied for now.
    held: bool,
    /// Whether [`Output::AtRest`] is wanted.
    rest_wanted: bool,
    next_write: u64,
    next_batch: u64,
}

impl<R: Replica> std::fmt::Debug for Engine<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.config)
            .field("known", &self.known)
            .field("peers", &self.peers)
            .field("in_flight", &self.in_flight)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Whether a change is in a document. automerge keeps its own test for itself.
pub(crate) fn has_change(document: &Automerge, hash: &ChangeHash) -> bool {
    document.get_change_meta_by_hash(hash).is_some()
}

impl<R: Replica> Engine<R> {
    /// For a replica whose state is durable.
    pub fn new(config: EngineConfig, replica: R) -> Self {
        Self {
            known: replica.documents().into_iter().collect(),
            config,
            replica,
            peers: Peers::default(),
            queue: VecDeque::new(),
            in_flight: None,
            failed: false,
            answers: Answers::default(),
            sessions: Sessions::default(),
            outputs: VecDeque::new(),
            untold: false,
            held: false,
            rest_wanted: false,
            next_write: 0,
            next_batch: 0,
        }
    }

    /// The replica. While a batch is in flight it holds changes that are not durable yet.
    pub fn replica(&self) -> &R {
        &self.replica
    }

    /// What to do next. The next batch is applied only once the events of the one before were taken and dealt with: at
    /// [`Output::Events`] the replica is what storage holds.
    pub fn poll_output(&mut self) -> Option<Output<R>> {
        if self.outputs.is_empty() && self.in_flight.is_none() && !self.failed {
            self.untold = false;
            if std::mem::take(&mut self.rest_wanted) {
                return Some(Output::AtRest);
            }
            self.start_batches();
        }
        let output = self.outputs.pop_front();
        if let Some(Output::Send { connection, frame }) = &output
            && let Some(connected) = self.peers.get_mut(*connection)
        {
            connected.unpolled = connected.unpolled.saturating_sub(frame.len());
        }
        output
    }

    /// Asks for [`Output::AtRest`].
    pub fn want_rest(&mut self) {
        self.rest_wanted = true;
    }

    /// Stops or goes on to apply what waits. What waits is bounded: a peer that sends more is not read from, and local writes are
    /// not done.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether a batch failed and [`Self::replace_replica`] is due.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// Whether some Headwater peer that is connected has all that we have and we all that it has, as far as both have said.
    pub fn in_sync(&self) -> bool {
        let settled = !self.failed && self.in_flight.is_none() && self.queue.is_empty();
        settled
            && self
                .peers
                .connections()
                .any(|(id, _)| self.in_sync_with(id))
    }

    fn in_sync_with(&self, connection: ConnectionId) -> bool {
        let Some(connected) = self.peers.get(connection).filter(|peer| peer.announced) else {
            return false;
        };
        let equal = |id: &DocumentId| {
            let document = self.replica.document(id);
            let has = |head| document.is_some_and(|document| has_change(document, head));
            let mut ours = document.map(|it| it.get_heads()).unwrap_or_default();
            ours.sort_unstable();
            self.peers
                .existing_share(connection, id)
                .is_some_and(|share| {
                    let mut theirs = share.heads.clone();
                    theirs.sort_unstable();
                    share.refused || (theirs == ours && share.lacked.iter().all(has))
                })
        };
        let ours = self.replica.documents();
        ours.iter().chain(&connected.documents).all(equal)
    }

    /// Takes in a peer whose handshake is done. A connected peer of the same name is closed.
    pub fn connect(&mut self, connection: ConnectionId, peer: Peer) {
        let same_name = |(other, known): (ConnectionId, &Peer)| {
            (known.id == peer.id && other != connection).then_some(other)
        };
        let old = self.peers.connections().find_map(same_name);
        if let Some(old) = old {
            self.close(old, "another connection of the same peer replaced this one");
        }
        let announces = peer.headwater.is_some();
        self.peers.insert(connection, peer);
        // While a batch is in flight or has failed there is nothing that may be told.
        if announces && !self.failed {
            match self.in_flight.as_mut() {
                Some(batch) => batch.newcomers.push(connection),
                None => self.announce_all(connection, false),
            }
        }
    }

    /// Forgets a connection that is gone.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        self.peers.remove(connection);
    }

    /// Queues a local write. [`Output::Written`] tells what became of it, at once if it was rejected.
    pub fn write(&mut self, write: R::Write) -> WriteId {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.queue.push_back(Job::Write(id, write));
        self.start_batches();
        id
    }

    /// Tells what became of a batch.
    ///
    /// After an error the replica in memory is ahead of storage. The engine then neither sends nor applies anything until
    /// [`Self::replace_replica`].
    pub fn persisted(&mut self, batch: BatchId, result: Result<(), String>) {
        match self.in_flight.take() {
            Some(flight) if flight.id == batch => match result {
                Ok(()) => {
                    self.complete(flight);
                    self.start_batches();
                }
                Err(message) => self.fail(flight, &message),
            },
            other => self.in_flight = other,
        }
    }

    /// Goes on after a failed batch with a replica that was loaded from storage again. Peers are asked for what they sent
    /// since, and local writes that wait are done.
    pub fn replace_replica(&mut self, replica: R) {
        self.replica = replica;
        self.failed = false;
        self.answers = Answers::default();
        self.peers.forget_progress();
        let stock: Vec<_> = self
            .peers
            .connections()
            .filter(|(_, peer)| peer.headwater.is_none())
            .map(|(connection, _)| connection)
            .collect();
        // automerge-repo begins anew when it reconnects, which makes it send again what it holds for sent.
        for connection in stock {
            self.close(
                connection,
                "storage failed and was opened again: please reconnect",
            );
        }
        self.known = self.replica.documents().into_iter().collect();
        let connections: Vec<_> = self.peers.connections().map(|(id, _)| id).collect();
        for connection in connections {
            self.announce_all(connection, true);
        }
        self.start_batches();
    }

    /// Tells a peer that a document of its is not taken, and leaves the document alone from now on.
    fn refuse(&mut self, connection: ConnectionId, document: DocumentId, message: String) {
        let Some((peer, share)) = self.peers.share(connection, document) else {
            return;
        };
        share.refused = true;
        self.outputs.push_back(Output::Refused {
            connection,
            document,
            by: RefusedBy::Us,
            message: message.clone(),
        });
        if peer.headwater.is_none() {
            let message = format!("document {document} is refused: {message}");
            return self.reject(connection, &message);
        }
        let frame = Frame::Refused {
            sender: self.config.peer_id.clone(),
            target: peer.id.clone(),
            document,
            database: peer.database,
            message,
        };
        self.send(connection, frame.encode());
    }

    /// Tells a peer why and closes its connection.
    fn reject(&mut self, connection: ConnectionId, message: &str) {
        if let Some(connected) = self.peers.get(connection) {
            let frame = Frame::Error {
                sender: self.config.peer_id.clone(),
                target: connected.peer.id.clone(),
                message: message.to_owned(),
            };
            self.send(connection, frame.encode());
            self.close(connection, message);
        }
    }

    fn close(&mut self, connection: ConnectionId, message: &str) {
        if self.peers.remove(connection).is_some() {
            self.outputs.push_back(Output::Close {
                connection,
                message: message.to_owned(),
            });
        }
    }

    fn send(&mut self, connection: ConnectionId, frame: Bytes) {
        if let Some(connected) = self.peers.get_mut(connection) {
            connected.unpolled += frame.len();
        }
        self.outputs.push_back(Output::Send { connection, frame });
    }
}

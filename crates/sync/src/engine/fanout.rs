//! Telling peers what has become durable.

use super::batch::Batch;
use super::queue::Turn;
use super::{ConnectionId, Engine, Replica, outgoing};
use crate::frame::Frame;
use crate::frame::SharedSync;
use automerge::Change;
use bytes::Bytes;
use headwater_core::{DatabaseId, DocumentId};
use std::collections::{BTreeMap, BTreeSet};

/// What one connection gets when a document has changed.
enum Due {
    /// The changes of the batch.
    Changes,
    /// An answer to the heads that it told when we lacked the document.
    Answer,
    Nothing,
}

impl<R: Replica> Engine<R> {
    /// Sends the changes that a batch brought to a document to the peers that have all before them, and notes them in
    /// `told`. Peers that are still catching up get these changes with what else they lack.
    pub(super) fn fan_out(
        &mut self,
        document: DocumentId,
        changes: &[Change],
        batch: &Batch<R>,
        told: &mut BTreeSet<(DocumentId, ConnectionId)>,
    ) {
        let created = self.known.insert(document);
        let Some(heads) = self
            .replica
            .document(&document)
            .map(|document| document.get_heads())
        else {
            return;
        };
        let limit = self.config.limits.message_bytes;
        let mut for_all: Option<Shared> = None;
        for connection in self.receivers(&document, created) {
            if self.passes_over(connection, document) {
                continue;
            }
            let key = (document, connection);
            let has_turn = batch.turns.contains_key(&key);
            match self.due(connection, document, created, has_turn) {
                Due::Nothing => {}
                Due::Answer => {
                    let heads = self
                        .peers
                        .existing_share(connection, &document)
                        .map(|share| share.heads.clone());
                    let turn = Turn {
                        heads: heads.unwrap_or_default(),
                        ..Turn::default()
                    };
                    self.answer(connection, document, &turn, false);
                }
                Due::Changes => {
                    if let Some(own) = batch.own.get(&key) {
                        let foreign = changes
                            .iter()
                            .filter(|change| !own.contains(&change.hash()));
                        let foreign: Vec<_> = foreign.cloned().collect();
                        if foreign.is_empty() && !has_turn {
                            // More of its message is to come, and will be acknowledged.
                            continue;
                        }
                        let messages = outgoing::changes(heads.clone(), &foreign, limit);
                        self.send_sync(connection, document, &messages, false);
                    } else {
                        let shared = for_all.get_or_insert_with(|| {
                            Shared::new(outgoing::changes(heads.clone(), changes, limit))
                        });
                        self.send_shared(connection, document, shared);
                    }
                    told.insert(key);
                }
            }
        }
    }

    /// Tells a peer the heads of every document. With `start_over` it is to forget what it knows of our progress.
    pub(super) fn announce_all(&mut self, connection: ConnectionId, start_over: bool) {
        let Some(connected) = self.peers.get(connection) else {
            return;
        };
        if connected.peer.headwater.is_none() {
            return;
        }
        let mut documents = self.replica.documents();
        if start_over {
            // Also those that we had and lost, for whoever has them must send them again.
            let shared = connected.documents.iter().copied();
            documents.extend(shared.filter(|id| self.replica.document(id).is_none()));
        }
        for id in documents {
            let refused = self
                .peers
                .existing_share(connection, &id)
                .is_some_and(|share| share.refused);
            if refused {
                continue;
            }
            self.announce(connection, id, start_over);
        }
        if let Some(connected) = self.peers.get(connection) {
            let done = Frame::Announced {
                sender: self.config.peer_id.clone(),
                target: connected.peer.id.clone(),
                database: connected.peer.database,
            };
            self.send(connection, done.encode());
        }
    }

    /// Tells a peer the heads of a document.
    pub(super) fn announce(&mut self, connection: ConnectionId, id: DocumentId, start_over: bool) {
        let document = self.replica.document(&id);
        let missing = document.is_none();
        let heads = document
            .map(|document| document.get_heads())
            .unwrap_or_default();
        let message = outgoing::announcement(heads, start_over);
        self.send_sync(connection, id, &[message], missing);
    }

    /// Sends sync messages about a document to one peer.
    pub(super) fn send_sync(
        &mut self,
        connection: ConnectionId,
        document: DocumentId,
        messages: &[Bytes],
        request: bool,
    ) {
        let Some((peer, share)) = self.peers.share(connection, document) else {
            return;
        };
        share.spoken |= !messages.is_empty();
        let (target, database) = (peer.id.clone(), peer.database);
        for message in messages {
            let sender = &self.config.peer_id;
            let frame = SharedSync::new(request, sender, &document, database.as_ref(), message);
            self.send(connection, frame.to(&target));
        }
    }

    fn send_shared(&mut self, connection: ConnectionId, document: DocumentId, shared: &mut Shared) {
        let Some((peer, share)) = self.peers.share(connection, document) else {
            return;
        };
        share.spoken = true;
        let (target, database) = (peer.id.clone(), peer.database);
        let sender = &self.config.peer_id;
        let encode =
            |message: &Bytes| SharedSync::new(false, sender, &document, database.as_ref(), message);
        let frames = shared
            .frames
            .entry(database)
            .or_insert_with(|| shared.messages.iter().map(encode).collect());
        let frames: Vec<_> = frames.iter().map(|frame| frame.to(&target)).collect();
        for frame in frames {
            self.send(connection, frame);
        }
    }

    /// Who is to be told of a document: those that share it, and every Headwater peer if it is new.
    fn receivers(&self, document: &DocumentId, created: bool) -> Vec<ConnectionId> {
        let mut receivers = self.peers.sharing(document);
        if created {
            let headwater = self
                .peers
                .connections()
                .filter(|(_, peer)| peer.headwater.is_some());
            receivers.extend(headwater.map(|(connection, _)| connection));
            receivers.sort_unstable();
            receivers.dedup();
        }
        receivers
    }

    fn due(
        &mut self,
        connection: ConnectionId,
        document: DocumentId,
        created: bool,
        has_turn: bool,
    ) -> Due {
        let Some((peer, share)) = self.peers.share(connection, document) else {
            return Due::Nothing;
        };
        if share.refused {
            return Due::Nothing;
        }
        if share.caught_up {
            return Due::Changes;
        }
        if share.stuck && !has_turn {
            return Due::Answer;
        }
        // It is answered for its message, with all that it lacks; or it has been told our heads, and its message is due.
        if has_turn || !created {
            return Due::Nothing;
        }
        if peer.headwater.is_some() && share.heads.is_empty() {
            // The batch holds all there is, so nobody need ask for it.
            share.caught_up = true;
            return Due::Changes;
        }
        Due::Answer
    }
}

/// Messages for many peers. What follows the target is encoded once for each way of addressing.
struct Shared {
    messages: Vec<Bytes>,
    frames: BTreeMap<Option<DatabaseId>, Vec<SharedSync>>,
}

impl Shared {
    fn new(messages: Vec<Bytes>) -> Self {
        Self {
            messages,
            frames: BTreeMap::new(),
        }
    }
}

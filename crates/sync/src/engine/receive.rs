//! What becomes of a frame that came: it is dealt with at once, or waits for a batch.

use super::peers::Connected;
use super::queue::{Job, Message};
use super::{ConnectionId, Engine, Output, RefusedBy, Replica, has_change};
use crate::frame::{Frame, SyncFrame};
use automerge::ChangeHash;
use automerge::sync::MessageFlags;
use headwater_core::DocumentId;
use std::collections::BTreeSet;

impl<R: Replica> Engine<R> {
    /// Takes a frame that came from a peer.
    pub fn receive(&mut self, connection: ConnectionId, frame: Frame) {
        if self.peers.get(connection).is_none() {
            return;
        }
        match frame {
            Frame::Sync(frame) => self.receive_sync(connection, &frame),
            Frame::Ephemeral(frame) => self.relay(connection, frame),
            Frame::Refused {
                document, message, ..
            } => {
                if let Some((_, share)) = self.peers.share(connection, document) {
                    share.refused = true;
                    self.outputs.push_back(Output::Refused {
                        connection,
                        document,
                        by: RefusedBy::Peer,
                        message,
                    });
                }
            }
            Frame::Announced { .. } => {
                if let Some(connected) = self.peers.get_mut(connection) {
                    connected.announced = true;
                }
            }
            // That a peer lacks a document changes nothing: it is told when there is something to tell. Heads at other
            // storages are claims that nobody here needs.
            Frame::Unavailable { .. }
            | Frame::RemoteSubscriptionChange { .. }
            | Frame::RemoteHeadsChanged { .. }
            | Frame::Unknown { .. } => {}
            // The connection's machine has dealt with these.
            Frame::Join { .. } | Frame::Peer { .. } | Frame::Error { .. } | Frame::Leave { .. } => {
            }
        }
    }

    fn receive_sync(&mut self, connection: ConnectionId, frame: &SyncFrame) {
        let document = frame.document;
        match self.peers.existing_share(connection, &document) {
            Some(share) if share.refused => return,
            None if self.peers.shared_documents(connection) >= self.config.documents => {
                self.reject(connection, "too many documents on one connection");
                return;
            }
            _ => {}
        }
        if self.failed {
            // The peer will be asked for it when storage works again.
            self.peers.share(connection, document);
            return;
        }
        let message = match Message::decode(connection, document, &frame.data, &self.config.limits)
        {
            Ok(message) => message,
            Err(error) => return self.refuse(connection, document, error.to_string()),
        };
        if self.take_acknowledgement(&message) {
            return;
        }
        self.enqueue(message);
        self.start_batches();
    }

    /// Deals with a message that brings nothing and wants nothing, for which nobody need wait for a batch unless the peer
    /// has said something before it that waits.
    fn take_acknowledgement(&mut self, message: &Message) -> bool {
        let turn = &message.turn;
        let waits = |connected: &Connected| connected.backlog > 0;
        let waits = self.peers.get(message.connection).is_some_and(waits);
        let (Some(document), Some((_, share))) = (
            self.replica.document(&message.document),
            self.peers.share(message.connection, message.document),
        ) else {
            return false;
        };
        let quiet = !waits
            && share.caught_up
            && share.spoken
            && !turn.brought
            && turn.need.is_empty()
            && !turn.heads.is_empty()
            && !turn.asks_for_all()
            && !turn.has_flag(MessageFlags::SYNC_RESET)
            && turn.heads.iter().all(|head| has_change(document, head));
        if quiet {
            let known = turn.heads.clone();
            self.note_heads(message.connection, message.document, &turn.heads, known);
        }
        quiet
    }

    /// Keeps the heads that a peer says it has, those of which we have too are `known`.
    pub(super) fn note_heads(
        &mut self,
        connection: ConnectionId,
        document: DocumentId,
        heads: &[ChangeHash],
        known: Vec<ChangeHash>,
    ) {
        let Some((peer, share)) = self.peers.share(connection, document) else {
            return;
        };
        let mut reached = known.clone();
        let have: BTreeSet<_> = known.iter().collect();
        let lacked = heads.iter().filter(|head| !have.contains(head));
        share.lacked = lacked.copied().collect();
        if !share.lacked.is_empty() {
            // It still has what it had before, though its heads do not tell us so.
            reached.extend_from_slice(&share.heads);
            reached.sort_unstable();
            reached.dedup();
        }
        if share.heads == reached {
            return;
        }
        share.heads = reached;
        if peer.headwater.is_some_and(|headwater| headwater.durable) && !known.is_empty() {
            self.outputs.push_back(Output::Acknowledged {
                connection,
                document,
                heads: known,
            });
        }
    }

    fn enqueue(&mut self, message: Message) {
        let connection = message.connection;
        let Some(connected) = self.peers.get_mut(connection) else {
            return;
        };
        connected.backlog += message.size;
        let (backlog, limit) = (connected.backlog, self.config.backlog);
        self.queue.push_back(Job::Message(message));
        if backlog > limit.saturating_mul(4) {
            self.reject(
                connection,
                "more was sent than can be kept: wait for acknowledgements between messages",
            );
        } else if backlog > limit && !connected.paused {
            connected.paused = true;
            self.outputs.push_back(Output::Pause { connection });
        }
    }
}

//! Who is connected, and how far each has come with each document.

use super::{ConnectionId, Peer};
use automerge::ChangeHash;
use headwater_core::DocumentId;
use std::collections::{BTreeMap, BTreeSet};

/// A peer while it is connected.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) peer: Peer,
    /// The documents that are shared with it.
    pub(super) documents: BTreeSet<DocumentId>,
    /// Bytes of its messages that wait for a batch.
    pub(super) backlog: usize,
    pub(super) paused: bool,
    /// The documents that it missed something of, while too much waits to be sent to it.
    pub(super) behind: Option<BTreeSet<DocumentId>>,
    /// Bytes of frames to it that the driver has not taken.
    pub(super) unpolled: usize,
    /// Whether it has announced everything it had when it connected.
    pub(super) announced: bool,
}

/// How far one peer has come with one document.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// The heads that the peer is known to have, as far as it said so. We need not have all of them.
    pub(super) heads: Vec<ChangeHash>,
    /// Of the heads that it said last, those that we did not have then: there is more to come.
    pub(super) lacked: Vec<ChangeHash>,
    /// Whether the peer has, or will have once it has read what was sent, everything that we hold durably. It is then sent
    /// what each batch brings and nothing else.
    pub(super) caught_up: bool,
    /// Whether it was ever told our heads.
    pub(super) spoken: bool,
    /// Whether it understands whole documents (automerge's sync messages of version 2).
    pub(super) whole_documents: bool,
    /// Whether one side refused the document, which is then left alone on this connection.
    pub(super) refused: bool,
    /// A digest of the last question that was answered, so that a peer that repeats one does not make both talk for ever.
    pub(super) answered: Option<u64>,
    /// Whether it repeated a question that our answer did not settle, so that it is to be told when we have more to say.
    pub(super) stuck: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Peers {
    connected: BTreeMap<ConnectionId, Connected>,
    shares: BTreeMap<DocumentId, BTreeMap<ConnectionId, Share>>,
}

impl Peers {
    pub(super) fn insert(&mut self, connection: ConnectionId, peer: Peer) {
        let connected = Connected {
            peer,
            documents: BTreeSet::new(),
            backlog: 0,
            paused: false,
            behind: None,
            unpolled: 0,
            announced: false,
        };
        self.connected.insert(connection, connected);
    }

    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Connected> {
        let connected = self.connected.remove(&connection)?;
        for document in &connected.documents {
            if let Some(shares) = self.shares.get_mut(document) {
                shares.remove(&connection);
                if shares.is_empty() {
                    self.shares.remove(document);
                }
            }
        }
        Some(connected)
    }

    pub(super) fn get(&self, connection: ConnectionId) -> Option<&Connected> {
        self.connected.get(&connection)
    }

    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Connected> {
        self.connected.get_mut(&connection)
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Peer)> {
        self.connected
            .iter()
            .map(|(connection, connected)| (*connection, &connected.peer))
    }

    /// What the peer and we share of `document`, from now on if not before. None if it is not connected.
    pub(super) fn share(
        &mut self,
        connection: ConnectionId,
        document: DocumentId,
    ) -> Option<(&Peer, &mut Share)> {
        let connected = self.connected.get_mut(&connection)?;
        connected.documents.insert(document);
        let shares = self.shares.entry(document).or_default();
        let share = shares.entry(connection).or_insert_with(|| Share {
            whole_documents: connected.peer.headwater.is_some(),
            ..Share::default()
        });
        Some((&connected.peer, share))
    }

    /// How many documents are shared with a peer.
    pub(super) fn shared_documents(&self, connection: ConnectionId) -> usize {
        self.get(connection)
            .map_or(0, |connected| connected.documents.len())
    }

    /// The connections that share `document`.
    pub(super) fn sharing(&self, document: &DocumentId) -> Vec<ConnectionId> {
        self.shares
            .get(document)
            .map(|shares| shares.keys().copied().collect())
            .unwrap_or_default()
    }

    pub(super) fn existing_share(
        &self,
        connection: ConnectionId,
        document: &DocumentId,
    ) -> Option<&Share> {
        self.shares.get(document)?.get(&connection)
    }

    /// Forgets how far everyone has come, but not what was refused.
    pub(super) fn forget_progress(&mut self) {
        for share in self.shares.values_mut().flat_map(BTreeMap::values_mut) {
            share.start_over();
        }
    }
}

impl Share {
    pub(super) fn start_over(&mut self) {
        *self = Self {
            whole_documents: self.whole_documents,
            refused: self.refused,
            ..Self::default()
        };
    }
}

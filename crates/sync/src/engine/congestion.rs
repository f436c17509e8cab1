//! Peers that read slower than they are sent to. What they miss is not kept for them: they are told later that there is more,
//! and ask for it.

use super::{ConnectionId, Engine, Output, Replica};
use headwater_core::DocumentId;
use std::collections::BTreeSet;

impl<R: Replica> Engine<R> {
    /// Sends no more changes on this connection until [`Self::drained`], because much waits to be sent on it already.
    pub fn congested(&mut self, connection: ConnectionId) {
        if let Some(connected) = self.peers.get_mut(connection)
            && connected.behind.is_none()
        {
            connected.behind = Some(BTreeSet::new());
            self.outputs.push_back(Output::Congested { connection });
        }
    }

    /// Goes on after [`Output::Congested`]: the peer is told the heads of the documents that it missed something of.
    pub fn drained(&mut self, connection: ConnectionId) {
        let Some(connected) = self.peers.get_mut(connection) else {
            return;
        };
        let behind = connected.behind.take().unwrap_or_default();
        if behind.is_empty() {
            return;
        }
        match &mut self.in_flight {
            // Our heads may not be told yet.
            Some(batch) => batch.drained.push((connection, behind)),
            None => self.tell_again(connection, behind),
        }
    }

    /// Whether a peer gets nothing of a document for now because it does not keep up.
    pub(super) fn passes_over(&mut self, connection: ConnectionId, document: DocumentId) -> bool {
        let limit = self.config.outgoing;
        let unpolled = |connected: &super::peers::Connected| connected.unpolled > limit;
        if self.peers.get(connection).is_some_and(unpolled) {
            self.congested(connection);
        }
        let behind = self.peers.get_mut(connection);
        let behind = behind.and_then(|connected| connected.behind.as_mut());
        behind.map(|behind| behind.insert(document)).is_some()
    }

    pub(super) fn tell_again(&mut self, connection: ConnectionId, documents: BTreeSet<DocumentId>) {
        // After a failure every peer is told of everything.
        let Some(connected) = self.peers.get(connection).filter(|_| !self.failed) else {
            return;
        };
        if connected.peer.headwater.is_none() {
            // automerge-repo takes what it was not sent for sent, unless it begins anew.
            let message = "more waited to be sent than can be kept: please reconnect";
            return self.reject(connection, message);
        }
        for document in documents {
            if let Some((_, share)) = self.peers.share(connection, document)
                && !share.refused
            {
                share.start_over();
                self.announce(connection, document, true);
            }
        }
    }
}

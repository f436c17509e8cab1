//! Which engines a connection's frames go to.

use crate::database::DatabaseNode;
use crate::node::Node;
use crate::peer::Inner;
use crate::session::{Joined, Scope, ScopeFuture, SessionError};
use crate::{DatabaseId, DocumentId};
use headwater_sync::engine::{ConnectionId, Peer as EnginePeer};
use headwater_sync::frame::Frame;
use headwater_sync::plain::PlainDocuments;
use std::sync::Arc;

/// One database, at `/sync/<database>`.
pub(crate) struct DatabaseScope(pub Arc<DatabaseNode>);

impl Scope for DatabaseScope {
    fn joined(&self, id: ConnectionId, joined: Joined) -> ScopeFuture<'_> {
        self.0.connect(id, joined);
        Box::pin(std::future::ready(Ok(())))
    }

    fn frame(&self, id: ConnectionId, frame: Frame) -> ScopeFuture<'_> {
        self.0.node.receive(id, frame);
        Box::pin(std::future::ready(Ok(())))
    }

    fn closed(&self, id: ConnectionId) {
        self.0.left(id);
    }
}

/// Every database of two servers, at `/link`. Its frames say which database they are about.
pub(crate) struct EveryDatabase(pub Arc<Inner>);

impl Scope for EveryDatabase {
    fn joined(&self, id: ConnectionId, joined: Joined) -> ScopeFuture<'_> {
        Box::pin(async move {
            if joined.peer.metadata.headwater.is_none() {
                let message = "only Headwater servers link; clients connect to /sync/<database>";
                return Err(SessionError::Closed(message.to_owned()));
            }
            let linked = self.0.join_link(id, joined).await;
            linked.map_err(|error| SessionError::Closed(error.to_string()))
        })
    }

    fn frame(&self, id: ConnectionId, frame: Frame) -> ScopeFuture<'_> {
        Box::pin(async move {
            let database = match (frame.database(), frame.document()) {
                (Some(database), _) => database,
                (None, Some((document, _))) => return Err(unnamed(document)),
                // Nothing else is about one database, and no engine does anything with it.
                (None, None) => return Ok(()),
            };
            let node = self.0.node(database).await;
            let node = node.map_err(|error| SessionError::Closed(error.to_string()))?;
            node.node.receive(id, frame);
            Ok(())
        })
    }

    fn closed(&self, id: ConnectionId) {
        self.0.leave_link(id);
    }
}

fn unnamed(document: DocumentId) -> SessionError {
    SessionError::Closed(format!(
        "a frame about {document} did not name its database, as every frame on /link must"
    ))
}

/// The documents of stock automerge-repo clients, at `/`, spread over engines by their id.
pub(crate) struct PlainScope(pub Arc<[Arc<Node<PlainDocuments>>]>);

/// Under which plain documents are stored; no database has this id.
pub(crate) const PLAIN: DatabaseId = DatabaseId::from_bytes([0; 16]);

/// The shard of a plain document.
pub(crate) fn shard(document: &DocumentId, shards: usize) -> usize {
    let [.., last] = document.as_bytes();
    usize::from(*last) % shards.max(1)
}

impl Scope for PlainScope {
    fn joined(&self, id: ConnectionId, joined: Joined) -> ScopeFuture<'_> {
        for node in self.0.iter() {
            let peer = EnginePeer {
                id: joined.peer.id.clone(),
                // Whoever it is, at this address it is a client of automerge-repo's: told of what it asks for.
                headwater: None,
                role: joined.role,
                database: None,
            };
            node.connect(id, peer, joined.outgoing.clone());
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn frame(&self, id: ConnectionId, frame: Frame) -> ScopeFuture<'_> {
        if let Some((document, _)) = frame.document()
            && let Some(node) = self.0.get(shard(&document, self.0.len()))
        {
            node.receive(id, frame);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn closed(&self, id: ConnectionId) {
        for node in self.0.iter() {
            node.disconnect(id);
        }
    }
}

/// No documents: whoever joins is told why and disconnected.
pub(crate) struct Closed(pub String);

impl Scope for Closed {
    fn joined(&self, _id: ConnectionId, _joined: Joined) -> ScopeFuture<'_> {
        Box::pin(std::future::ready(Err(SessionError::Closed(
            self.0.clone(),
        ))))
    }

    fn frame(&self, _id: ConnectionId, _frame: Frame) -> ScopeFuture<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn closed(&self, _id: ConnectionId) {}
}

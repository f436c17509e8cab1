//! The frames of automerge-repo's wire protocol: one CBOR map per binary WebSocket message.
//!
//! Decoding is tolerant of what encoders differ in (order of keys, null or undefined for an absent field, integers sent as
//! floats, strings of indefinite length, keys we do not know) and bounded: nothing is allocated from a declared length,
//! and nesting is limited. Encoding writes what automerge-repo in JavaScript accepts: text keys and plain byte strings.

mod decode;
mod encode;

pub use encode::SharedSync;

use bytes::Bytes;
use headwater_core::{DatabaseId, DocumentId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The only version of automerge-repo's protocol there is.
pub const PROTOCOL_VERSION: &str = "1";

/// The version of what Headwater adds to the protocol, announced in [`HeadwaterMetadata`].
pub const HEADWATER_VERSION: u64 = 1;

/// The name by which a peer goes on a connection. A peer that joins with the name of a connected one replaces it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Arc<str>);

impl PeerId {
    /// From any text. Peers draw theirs at random.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// What a peer says of itself in the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerMetadata {
    /// The id of its storage, if it has one.
    pub storage_id: Option<String>,
    /// Whether it forgets everything when it goes.
    pub is_ephemeral: bool,
    /// Present if the peer is Headwater.
    pub headwater: Option<HeadwaterMetadata>,
}

/// What a Headwater peer says of itself beyond automerge-repo's metadata (`peerMetadata.headwater`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadwaterMetadata {
    /// The version of Headwater's additions, [`HEADWATER_VERSION`].
    pub version: u64,
    /// Whether heads that this peer returns are on durable storage, so that an edit it acknowledges is safe.
    pub durable: bool,
}

/// One message between two peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The client's first frame.
    Join {
        /// The client.
        sender: PeerId,
        /// What it says of itself.
        metadata: PeerMetadata,
        /// The versions of the protocol that it speaks.
        versions: Vec<String>,
    },
    /// The server's answer to [`Frame::Join`].
    Peer {
        /// The server.
        sender: PeerId,
        /// The client.
        target: PeerId,
        /// What the server says of itself.
        metadata: PeerMetadata,
        /// The version of the protocol that it chose.
        version: String,
    },
    /// Why the sender closes the connection, which it does next.
    Error {
        /// Who closes.
        sender: PeerId,
        /// To whom.
        target: PeerId,
        /// Why, for people.
        message: String,
    },
    /// An automerge sync message (`request` or `sync`).
    Sync(SyncFrame),
    /// The answer to a `request` for a document that the sender does not have.
    Unavailable {
        /// Who does not have it.
        sender: PeerId,
        /// Who asked.
        target: PeerId,
        /// The document.
        document: DocumentId,
        /// The database that the document is in, on connections that carry several.
        database: Option<DatabaseId>,
    },
    /// An application's message about a document, which is not kept.
    Ephemeral(EphemeralFrame),
    /// A change of the storages whose heads the sender wants to be told of.
    RemoteSubscriptionChange {
        /// Who wants.
        sender: PeerId,
        /// To whom it is said.
        target: PeerId,
        /// The storages to add.
        add: Vec<String>,
        /// The storages to remove.
        remove: Vec<String>,
    },
    /// What the heads of a document are at other storages.
    RemoteHeadsChanged {
        /// Who says so.
        sender: PeerId,
        /// To whom.
        target: PeerId,
        /// The document.
        document: DocumentId,
        /// By storage id.
        heads: BTreeMap<String, RemoteHeads>,
    },
    /// The sender goes.
    Leave {
        /// Who goes.
        sender: PeerId,
    },
    /// A document that the sender will not take from or give to the target on this connection (`headwater-refused`, sent
    /// to Headwater peers only).
    Refused {
        /// Who refuses.
        sender: PeerId,
        /// Whom.
        target: PeerId,
        /// The document.
        document: DocumentId,
        /// The database that the document is in, on connections that carry several.
        database: Option<DatabaseId>,
        /// Why, for people.
        message: String,
    },
    /// All documents that the sender has in this database have been announced (`headwater-announced`, sent to Headwater
    /// peers only). So the target knows when it has heard of everything.
    Announced {
        /// Who announced.
        sender: PeerId,
        /// To whom.
        target: PeerId,
        /// The database, on connections that carry several.
        database: Option<DatabaseId>,
    },
    /// A frame of a type we do not know, which is ignored.
    Unknown {
        /// Who sent it, if it says so.
        sender: Option<PeerId>,
        /// Its type.
        kind: String,
    },
}

/// An automerge sync message and whom it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncFrame {
    /// Whether the sender lacks the document and wants to hear if the target does too (`request`, otherwise `sync`).
    pub request: bool,
    /// Who sends.
    pub sender: PeerId,
    /// To whom.
    pub target: PeerId,
    /// The document.
    pub document: DocumentId,
    /// The database that the document is in, on connections that carry several.
    pub database: Option<DatabaseId>,
    /// The sync message.
    pub data: Bytes,
}

/// An application's message about a document. Whoever relays it leaves the first sender in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EphemeralFrame {
    /// Who sent it first.
    pub sender: PeerId,
    /// To whom.
    pub target: PeerId,
    /// The document.
    pub document: DocumentId,
    /// The database that the document is in, on connections that carry several.
    pub database: Option<DatabaseId>,
    /// The number of this message in its session; it only grows.
    pub count: u64,
    /// The sender's session.
    pub session: String,
    /// The application's bytes.
    pub data: Bytes,
}

/// The heads of a document at one storage, as another peer claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteHeads {
    /// The heads in the text form of automerge-repo.
    pub heads: Vec<String>,
    /// When, in milliseconds since 1970.
    pub timestamp: u64,
}

/// Bytes that are not a frame: the peer's fault.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Larger than we read.
    #[error("the message has {size} bytes, more than the limit of {limit}: split it")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not a CBOR map, or broken CBOR.
    #[error("the message is not a CBOR map with text keys: {0}")]
    NotCbor(#[from] minicbor::decode::Error),
    /// A field that this type of frame needs is not there.
    #[error("the `{kind}` frame has no `{field}`")]
    Missing {
        /// The frame's type.
        kind: String,
        /// The field.
        field: &'static str,
    },
    /// A field does not hold what it should.
    #[error("`{field}` of the `{kind}` frame {reason}")]
    BadField {
        /// The frame's type.
        kind: String,
        /// The field.
        field: &'static str,
        /// What is wrong, as the end of a sentence.
        reason: String,
    },
}

impl Frame {
    /// Reads a frame of at most `limit` bytes. Byte strings in the result share `bytes`.
    ///
    /// # Errors
    /// [`FrameError`] if the bytes are not a frame. A frame of an unknown type is not an error but [`Frame::Unknown`].
    pub fn decode(bytes: &Bytes, limit: usize) -> Result<Self, FrameError> {
        decode::frame(bytes, limit)
    }

    /// The bytes of the frame, to be sent as one binary WebSocket message.
    pub fn encode(&self) -> Bytes {
        encode::frame(self)
    }

    /// Its `type`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Join { .. } => "join",
            Self::Peer { .. } => "peer",
            Self::Error { .. } => "error",
            Self::Sync(frame) if frame.request => "request",
            Self::Sync(_) => "sync",
            Self::Unavailable { .. } => "doc-unavailable",
            Self::Ephemeral(_) => "ephemeral",
            Self::RemoteSubscriptionChange { .. } => "remote-subscription-change",
            Self::RemoteHeadsChanged { .. } => "remote-heads-changed",
            Self::Leave { .. } => "leave",
            Self::Refused { .. } => "headwater-refused",
            Self::Announced { .. } => "headwater-announced",
            Self::Unknown { kind, .. } => kind,
        }
    }

    /// Who sent it. For [`Frame::Ephemeral`] that is who sent it first, not necessarily the neighbour it came from.
    pub fn sender(&self) -> Option<&PeerId> {
        match self {
            Self::Join { sender, .. }
            | Self::Peer { sender, .. }
            | Self::Error { sender, .. }
            | Self::Unavailable { sender, .. }
            | Self::RemoteSubscriptionChange { sender, .. }
            | Self::RemoteHeadsChanged { sender, .. }
            | Self::Leave { sender }
            | Self::Announced { sender, .. }
            | Self::Refused { sender, .. } => Some(sender),
            Self::Sync(frame) => Some(&frame.sender),
            Self::Ephemeral(frame) => Some(&frame.sender),
            Self::Unknown { sender, .. } => sender.as_ref(),
        }
    }

    /// The database that it names.
    pub fn database(&self) -> Option<DatabaseId> {
        match self {
            Self::Announced { database, .. } => *database,
            frame => frame.document()?.1,
        }
    }

    /// The document that it is about, with the database if it names one.
    pub fn document(&self) -> Option<(DocumentId, Option<DatabaseId>)> {
        match self {
            Self::Sync(frame) => Some((frame.document, frame.database)),
            Self::Ephemeral(frame) => Some((frame.document, frame.database)),
            Self::Unavailable {
                document, database, ..
            }
            | Self::Refused {
                document, database, ..
            } => Some((*document, *database)),
            Self::RemoteHeadsChanged { document, .. } => Some((*document, None)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

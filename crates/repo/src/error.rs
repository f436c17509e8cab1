use crate::storage::StorageError;
use headwater_core::typed::TypedError;
use headwater_core::{DatabaseId, WriteError};

/// What can go wrong for an application that embeds Headwater.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed. What was acknowledged before is safe.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The write was refused and changed nothing.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A value of the application's type has no form as a record, or a record none as the type.
    #[error(transparent)]
    Typed(#[from] TypedError),
    /// The write could not be made durable. It is not acknowledged, and nobody has been told of it.
    #[error("the write is not saved: {reason}. Once the cause is gone, write again")]
    NotSaved {
        /// What the store said.
        reason: String,
    },
    /// No database goes by this name here.
    #[error("there is no database named {name:?} here; create it, or open one by its id")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// The name already stands for another database.
    #[error("the name {name:?} already stands for the database {database}; choose another name")]
    NameTaken {
        /// The name.
        name: String,
        /// What it stands for.
        database: DatabaseId,
    },
    /// An address that is not a WebSocket's.
    #[error("{url:?} is not the address of a server: it must begin with ws:// or wss://")]
    BadUrl {
        /// The address.
        url: String,
    },
    /// The server does not let this peer in. Edits stay here until it does; it is asked again from time to time.
    #[error("{url} does not let this peer in: {reason}")]
    Denied {
        /// The server's address.
        url: String,
        /// What it said.
        reason: String,
    },
    /// Nothing synced in time.
    #[error("not in sync after {seconds} s: {state}")]
    NotInSync {
        /// How long it was waited.
        seconds: u64,
        /// What was going on.
        state: String,
    },
    /// The system gave no random numbers.
    #[error("the system gave no random numbers: {0}")]
    Random(String),
    /// A defect of Headwater's.
    #[error("internal error: {0}; please report it")]
    Internal(String),
    /// The peer has been closed.
    #[error("the peer is closed; open it again")]
    Closed,
}

impl From<automerge::AutomergeError> for Error {
    fn from(error: automerge::AutomergeError) -> Self {
        Self::Internal(error.to_string())
    }
}

//! What a subscriber is told.

use crate::conflict::Conflict;
use crate::document::Provenance;
use crate::value::Record;
use automerge::{ActorId, Change, ChangeHash};

/// Something that changed in a database.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every event is of a record; on 32 bits it is not that large"
)]
pub enum Event {
    /// A record was inserted, updated or deleted.
    Record(RecordEvent),
    /// What lost in a record is not what it was: something met, or was settled.
    Conflicts(ConflictEvent),
    /// The catalog's entry of a collection changed. A changed delete rule can show or hide records without an event of
    /// their own, so who keeps rows reads them again.
    Catalog {
        /// The collection.
        collection: String,
    },
}

/// What lost in a record, after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictEvent {
    /// The collection.
    pub collection: String,
    /// The record's key.
    pub key: String,
    /// All that is open now; none if everything is settled.
    pub open: Vec<Conflict>,
}

/// A record's change, whoever made it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordEvent {
    /// The collection.
    pub collection: String,
    /// The record's key.
    pub key: String,
    /// The record before; `None` if there was none.
    pub before: Option<Record>,
    /// The record after; `None` if there is none any more.
    pub after: Option<Record>,
    /// The change that did it, the latest if several arrived together; `None` where a whole document arrived at once.
    pub by: Option<Attribution>,
    /// Whether this replica made the change.
    pub local: bool,
}

/// How a record changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordChange {
    /// It was not there before.
    Insert,
    /// It was there and still is.
    Update,
    /// It is no longer there.
    Delete,
}

impl RecordEvent {
    /// How the record changed.
    pub fn change(&self) -> RecordChange {
        match (&self.before, &self.after) {
            (None, _) => RecordChange::Insert,
            (Some(_), Some(_)) => RecordChange::Update,
            (Some(_), None) => RecordChange::Delete,
        }
    }
}

/// Which change, and what its writer claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution {
    /// The change.
    pub hash: ChangeHash,
    /// The replica's session that made it.
    pub actor: ActorId,
    /// Origin, user and time as claimed.
    pub provenance: Provenance,
}

impl Attribution {
    pub(crate) fn of(change: &Change) -> Self {
        Self {
            hash: change.hash(),
            actor: change.actor_id().clone(),
            provenance: Provenance::of(change),
        }
    }
}

/// How closely a database follows what changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Observe {
    /// No events, no cost.
    #[default]
    Nothing,
    /// One event for each record that a batch of changes touched.
    Batches,
    /// One event for each record and change; a batch of more than [`crate::database::LARGE_BATCH`] as above.
    Changes,
}

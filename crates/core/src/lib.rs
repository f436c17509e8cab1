//! Headwater's data model: databases, collections and records as automerge documents, and how concurrent edits merge.
//!
//! Nothing here does I/O, reads a clock or draws a random number: bytes, times and ids come in from the caller, so the
//! same code runs natively, in a browser and in a simulation.

pub mod bounds;
pub mod catalog;
mod catch_up;
mod conflict;
pub mod database;
pub mod date;
pub mod decimal;
mod document;
mod edit;
mod event;
mod genesis;
pub mod id;
pub mod json;
mod names;
pub mod plain;
mod plan;
pub mod policy;
mod read;
mod receive;
pub mod schema;
mod sets;
mod settle;
mod step;
mod tombstone;
mod touched;
mod transact;
pub mod typed;
mod undo;
mod undone;
pub mod value;
mod write;

pub use catalog::{CollectionSchema, DeleteRule, FieldType, LakeColumn};
pub use catch_up::{Missed, ReadRules};
pub use conflict::{Claim, ClaimId, Conflict, ConflictKind, Settlement};
pub use database::{Database, Quarantined, Scan, Standing};
pub use document::{DocumentError, Provenance};
pub use edit::{
    Author, Edit, MAX_KEY_BYTES, MAX_PUT_COST, MAX_RECORD_BYTES, Patch, WriteContext, WriteError,
    check_put, put_cost,
};
pub use event::{Attribution, ConflictEvent, Event, Observe, RecordChange, RecordEvent};
pub use genesis::{FORMAT, Header};
pub use id::{DatabaseId, DocumentId, ParseIdError, Partition};
pub use policy::Policy;
pub use receive::{Applied, TakenOver};
pub use transact::{KeyChange, KeyWrite, ParseVersionError, Transaction, Version};
pub use value::{Record, Value};
pub use write::{LocalWrite, Operation, Write, Written};

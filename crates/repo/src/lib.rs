//! Headwater: records that people edit offline, merged without a coordinator, never lost.
//!
//! A [`Peer`] keeps databases in a store: a folder, or a browser's IndexedDB. Everything is read and written there, at
//! once and offline; [`Database::connect`] syncs with a server whenever one can be reached. Concurrent edits are merged as
//! automerge merges them, with rules for records on top: edits of different fields both stand, counters add up, texts
//! merge by character, of two values for one field the last writer's wins, and an edit outlives a delete that had not
//! seen it.
//!
//! A write resolves once it is stored. [`SyncState::unsynced`] tells how many local edits no durable server has yet.
// Links that carry every database are made by servers only.
#![cfg_attr(target_arch = "wasm32", allow(dead_code))]
// A browser has one thread; the types are the same as natively, where they are shared between several.
#![cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]

mod collection;
mod connect;
mod database;
mod error;
mod link;
mod node;
mod options;
mod peer;
pub mod plain;
mod replica;
mod runtime;
mod scope;
#[cfg(not(target_arch = "wasm32"))]
pub mod serving;
mod session;
pub mod storage;
mod store;
mod subscription;
mod sync_state;
pub mod transport;

pub use collection::{Collection, TypedCollection};
pub use connect::Connect;
pub use database::Database;
pub use error::Error;
pub use headwater_core::catalog::TYPE_NAMES;
pub use headwater_core::policy::Resolver;
pub use headwater_core::schema::{FieldKind, Schema};
pub use headwater_core::typed::{Bytes, Counter, Text, Timestamp};
pub use headwater_core::{
    Attribution, Claim, ClaimId, CollectionSchema, Conflict, ConflictEvent, ConflictKind,
    DatabaseId, DeleteRule, DocumentId, Edit, Event, FieldType, KeyChange, KeyWrite, LakeColumn,
    Observe, Patch, Policy, Provenance, Record, RecordChange, RecordEvent, Scan, Settlement,
    Transaction, Value, Version, WriteContext, WriteError, Written, json,
};
pub use headwater_derive::Schema;
pub use link::Link;
pub use node::Flow;
pub use options::Options;
pub use peer::{DatabaseInfo, OnOpenFn, Peer};
pub use session::SessionError;
pub use subscription::{Lagged, Listener, SUBSCRIPTION_CAPACITY, Subscription};
pub use sync_state::{LinkState, LinkStatus, SyncState};

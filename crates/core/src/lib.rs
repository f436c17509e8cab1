//! Headwater's data model: databases, collections and records as automerge documents, and how concurrent edits merge.
//!
//! Nothing here does I/O, reads a clock or draws a random number: bytes, times and ids come in from the caller, so the
//! same code runs natively, in a browser and in a simulation.

pub mod bounds;
pub mod id;
pub mod json;
pub mod value;

pub use id::{DatabaseId, DocumentId, Partition};
pub use value::{Record, Value};

//! Headwater's replication as a sans-IO state machine that speaks automerge-repo's wire protocol
//!
//! Bytes and times in, bytes and deadlines out: nothing here opens a socket, reads a clock or draws a random number.

pub mod backoff;
pub mod connection;
pub mod engine;
pub mod frame;
pub mod message;
pub mod plain;

//! Headwater's replication as a sans-IO state machine that speaks automerge-repo's wire protocol

pub mod message;

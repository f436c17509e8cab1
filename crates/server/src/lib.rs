//! The Headwater server peer: sync over WebSocket, durable state, tables for Apache Drill, and the command line

pub mod airflow;
pub mod cli;
pub mod drill;
pub mod import;
pub mod serve;

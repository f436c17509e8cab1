//! The HTTP API, of a real server.

mod client;
#[path = "../command/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod command;
mod consumers;
mod description;
mod errors;
mod feed;
mod writes;

//! Benchmarks of the Headwater server against samod: a load generator that speaks the automerge-repo protocol as stock
//! clients do, and checks that what it measures is also right.

pub mod cases;
pub mod client;
pub mod edits;
pub mod fanout;
pub mod growth;
pub mod intake;
pub mod lake;
pub mod ledger;
pub mod machine;
pub mod newcomer;
pub mod partitions;
pub mod records;
pub mod report;
pub mod server;

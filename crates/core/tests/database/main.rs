//! A database as its embedder uses it: writes, deliveries from peers, and what is read and told after.

mod as_of;
mod catalog;
mod conflicts;
mod events;
mod hostile;
mod json;
mod limits;
mod merging;
mod on_disk;
mod partitions;
mod policies;
mod replica;
mod restoring;
mod stock;
mod transact;
mod undo;
mod undo_apart;

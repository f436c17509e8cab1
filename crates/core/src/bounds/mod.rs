//! A bounded check of automerge bytes from outside, to be made before automerge sees them.
//!
//! automerge decodes without bounds: run lengths let a change of 69 bytes expand to gigabytes, compressed data is inflated
//! before any checksum is verified, and some values panic. [`check_chunks`] walks the same bytes in time and memory in
//! proportion to their length (and to [`Limits::inflated_bytes`]), verifies the checksums, and refuses what does not keep
//! to automerge's format. What passes costs automerge an amount of memory in proportion to [`Summary::ops`].

mod change;
mod chunk;
mod columns;
mod document;
mod error;
mod fit;
mod guard;
mod history;
mod ops;
mod reader;
mod rows;
mod sequence;

use automerge::{ActorId, ChangeHash};

pub use chunk::Checker;
pub use error::BoundsError;
pub use fit::{Misfit, check_fit};
pub use guard::{Guard, GuardError, Sorted};
pub use reader::Reader;

/// How much a receiver accepts from one message or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message; larger syncs are split. Default 16 MiB.
    pub message_bytes: usize,
    /// Bytes after inflating, in all chunks together. Default 64 MiB.
    pub inflated_bytes: usize,
    /// Operations in one change. Default 1,000,000.
    pub ops_per_change: u64,
    /// Operations in all chunks together. Default 4,000,000: a document of 100,000 records holds about 1,000,000.
    pub ops: u64,
    /// Changes in all chunks together. Default 2,000,000.
    pub changes: u64,
    /// Bytes of an actor id; automerge makes 16. Default 64.
    pub actor_bytes: usize,
    /// Actors that one change or document names. Default 65,536.
    pub actors: usize,
    /// How far the operations of a change may be numbered above those that it follows. Only a change that was made on an
    /// old version of its document leaves a gap. Default 10,000.
    pub counter_gap: u32,
    /// Changes that may wait for others that they follow. Default 10,000.
    pub waiting: usize,
    /// Bytes of the changes that wait. Default 32 MiB.
    pub waiting_bytes: usize,
    /// Actors times changes of one document: automerge keeps four bytes for every sixteenth. Default 2^30 (256 MiB).
    pub clock_cells: u64,
    /// Dependencies of one change, heads of a document, and hashes in each list of a sync message. Default 65,536.
    pub hashes: usize,
    /// Bloom filters in one sync message; automerge sends one. Default 16.
    pub bloom_filters: usize,
    /// Probes a change that a bloom filter may ask for; automerge uses 7. Default 32.
    pub bloom_probes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            inflated_bytes: 64 << 20,
            ops_per_change: 1_000_000,
            ops: 4_000_000,
            changes: 2_000_000,
            actor_bytes: 64,
            actors: 1 << 16,
            counter_gap: 10_000,
            waiting: 10_000,
            waiting_bytes: 32 << 20,
            clock_cells: 1 << 30,
            hashes: 1 << 16,
            bloom_filters: 16,
            bloom_probes: 32,
        }
    }
}

impl Limits {
    /// For what this replica stored itself: everything in it was within the limits when it came in, but has grown since.
    /// The format is checked all the same.
    pub fn stored() -> Self {
        Self {
            message_bytes: usize::MAX,
            inflated_bytes: usize::MAX,
            ops_per_change: u64::MAX,
            ops: u64::MAX,
            changes: u64::MAX,
            actors: usize::MAX,
            hashes: usize::MAX,
            clock_cells: u64::MAX,
            ..Self::default()
        }
    }
}

/// What checked chunks hold, for a caller that budgets memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary<'a> {
    /// The chunks in the order of the bytes.
    pub chunks: Vec<Chunk<'a>>,
    /// Changes in all chunks, those in documents included.
    pub changes: u64,
    /// Operations in all chunks. automerge needs some hundred bytes for each while it applies changes.
    pub ops: u64,
    /// Bytes that came out of inflating.
    pub inflated_bytes: usize,
}

/// One chunk, header included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The bytes of the chunk as they came.
    pub bytes: &'a [u8],
    /// What the chunk is.
    pub content: Content,
}

/// What a chunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One change, compressed or not.
    Change(ChangeHeader),
    /// A whole document with its history.
    Document {
        /// The heads that the document claims; automerge verifies them when it loads the document.
        heads: Vec<ChangeHash>,
    },
}

/// One change, as far as its header tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeHeader {
    /// The hash of the change, verified.
    pub hash: ChangeHash,
    /// Who made it.
    pub actor: ActorId,
    /// The position among its actor's changes, from 1.
    pub seq: u64,
    /// The counter of its first operation.
    pub start_op: u64,
    /// How many operations it holds.
    pub ops: u64,
    /// The changes that it directly follows.
    pub deps: Vec<ChangeHash>,
}

/// Checks `bytes`, which must be automerge chunks and nothing else; no bytes are no chunks.
pub fn check_chunks<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Summary<'a>, BoundsError> {
    let mut checker = Checker::new(limits);
    checker.check(bytes)?;
    Ok(checker.finish())
}

//! What can be wrong with bytes from outside.

use thiserror::Error;

/// Why bytes from a peer or a file were refused before automerge saw them.
///
/// Nothing was changed and little memory was used. The sender is at fault in every case except [`BoundsError::TooLarge`],
/// which a sender may also meet honestly: it can send the same content in smaller pieces, or the receiver can raise the
/// named field of [`Limits`](super::Limits).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoundsError {
    /// The bytes end before what they announce.
    #[error("the sender's bytes end too early, or claim a length that they do not have")]
    Truncated,
    /// A number is written in more bytes than it needs, or does not fit its type.
    #[error("the sender wrote a number that is overlong or too large")]
    Number,
    /// The bytes do not begin with automerge's magic number.
    #[error("the sender's bytes are not an automerge chunk")]
    Magic,
    /// A chunk of a type that peers do not exchange (bundles) or that this version does not know.
    #[error(
        "the sender's chunk has type {0}, and only documents (0) and changes (1, 2) are accepted"
    )]
    ChunkType(u8),
    /// The content of a chunk does not have the hash that its header names.
    #[error("the sender's chunk does not match its checksum: it was damaged on the way or forged")]
    Checksum,
    /// A DEFLATE stream is broken.
    #[error("the sender's compressed data cannot be inflated")]
    Deflate,
    /// Something exceeds a limit of this receiver.
    #[error(
        "the sender's {what} exceed the limit of {limit}; send smaller pieces or raise the receiver's limit"
    )]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit, in units of `what`.
        limit: u64,
    },
    /// A chunk breaks the rules of automerge's format.
    #[error("the sender's {part} is malformed: {what}")]
    Malformed {
        /// The part of the chunk, often the name of a column.
        part: &'static str,
        /// The rule that is broken.
        what: &'static str,
    },
}

impl BoundsError {
    pub(super) fn malformed(part: &'static str, what: &'static str) -> Self {
        Self::Malformed { part, what }
    }
}

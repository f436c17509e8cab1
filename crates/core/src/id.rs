//! Identifiers of documents, databases and partitions.

use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The identifier of one automerge document: 16 bytes, written in bs58check as automerge-repo does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId([u8; 16]);

/// The identifier of a database, which is the document id of its catalog. Sharing it is how others open the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseId(DocumentId);

/// A text that is not a document or database id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id: it must be 16 bytes in bs58check, such as `headwater ls` prints")]
pub struct ParseIdError {
    text: String,
}

impl DocumentId {
    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl DatabaseId {
    /// From 16 bytes, which a caller draws at random to create a database.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(DocumentId(bytes))
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0.0
    }

    /// The document that holds the database's catalog.
    pub const fn root(&self) -> DocumentId {
        self.0
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).with_check().into_string())
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentId({self})")
    }
}

impl FromStr for DocumentId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An id is at most 28 characters; decoding costs the square of the length, so a long text is refused unread.
        (text.len() <= 64)
            .then(|| bs58::decode(text).with_check(None).into_vec().ok())
            .flatten()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| ParseIdError {
                text: text.chars().take(64).collect(),
            })
    }
}

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseId({self})")
    }
}

impl FromStr for DatabaseId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One partition of a collection: the `index`th of `count`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The collection's name.
    pub collection: String,
    /// Into how many partitions the collection was declared to be spread.
    pub count: u32,
    /// Which of them, from 0.
    pub index: u32,
}

impl Partition {
    /// The document that holds this partition in `database`. Every peer derives the same id with nobody to ask.
    pub fn document(&self, database: &DatabaseId) -> DocumentId {
        let mut hash = Sha256::new();
        hash.update(b"headwater/partition/1\0");
        hash.update(database.as_bytes());
        hash.update(self.collection.as_bytes());
        hash.update([0]);
        hash.update(self.count.to_be_bytes());
        hash.update(self.index.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        DocumentId(id)
    }
}

/// Where a record's key belongs, by its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    spread: u64,
    bucket: u8,
}

/// How many maps a document spreads its records over. An insert costs time in proportion to the keys of its map.
pub const BUCKETS: u8 = 64;

impl Placement {
    /// Of `key`.
    pub fn of(key: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut spread = [0; 8];
        spread.copy_from_slice(&digest[..8]);
        Self {
            spread: u64::from_be_bytes(spread),
            bucket: digest[8] % BUCKETS,
        }
    }

    /// Which of `count` partitions.
    pub fn partition(&self, count: u32) -> u32 {
        // The remainder is below `count`, so it fits.
        (self.spread % u64::from(count.max(1))) as u32
    }

    /// Which bucket within the partition's document, below [`BUCKETS`].
    pub fn bucket(&self) -> u8 {
        self.bucket
    }
}

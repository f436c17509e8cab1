//! The layout of keys: part of the format on disk, the same in every store.
//!
//! ```text
//! d/ <document id, 16 bytes> /s/ <hash of heads, 32 bytes>    a snapshot: the document saved as a whole
//! d/ <document id, 16 bytes> /i/ <change hash, 32 bytes>      an incremental: one change
//! m/ <name>                                                   what the peer knows of itself
//! ```
//!
//! Chunks are named by what they hold, so writing one twice changes nothing. The names under `m/` are
//! `replica-id`, `alias/<name of a database>`, `member/<database id, 16 bytes>/<document id, 16 bytes>` for each document
//! of a database, and `acknowledged/<document id, 16 bytes>/<name of a server>` for the heads
//! that a durable server has returned. All values are [frames](super::framing).

use super::framing::Kind;
use automerge::ChangeHash;
use headwater_core::id::{DatabaseId, DocumentId};
use headwater_sync::engine::{PersistChunk, Stored};
use sha2::{Digest, Sha256};

/// The prefix of all chunks of all documents.
pub const DOCUMENTS: &[u8] = b"d/";

/// The prefix of what the peer knows of itself.
pub const METADATA: &[u8] = b"m/";

const HASH: usize = 32;

/// What a key under [`DOCUMENTS`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkKey {
    /// The document that the chunk belongs to.
    pub document: DocumentId,
    /// [`Kind::Snapshot`] or [`Kind::Incremental`].
    pub kind: Kind,
    /// The hash of the change, or [`heads_hash`] for a snapshot.
    pub hash: [u8; HASH],
}

impl ChunkKey {
    /// The key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Snapshot => b"s/",
            _ => b"i/",
        };
        [&document(&self.document)[..], kind, &self.hash].concat()
    }

    /// Reads a key; `None` if it has another form.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (document, rest) = key.strip_prefix(DOCUMENTS)?.split_first_chunk::<16>()?;
        let (kind, hash) = match rest.strip_prefix(b"/s/") {
            Some(hash) => (Kind::Snapshot, hash),
            None => (Kind::Incremental, rest.strip_prefix(b"/i/")?),
        };
        Some(Self {
            document: DocumentId::from_bytes(*document),
            kind,
            hash: hash.try_into().ok()?,
        })
    }
}

/// The prefix of all chunks of one document.
pub fn document(document: &DocumentId) -> Vec<u8> {
    [DOCUMENTS, document.as_bytes(), b"/"].concat()
}

/// The key of a document's snapshot with these heads.
pub fn snapshot(id: &DocumentId, heads: &[ChangeHash]) -> Vec<u8> {
    [&document(id)[..], b"s/", &heads_hash(heads)].concat()
}

/// The key of one change of a document.
pub fn incremental(id: &DocumentId, change: &ChangeHash) -> Vec<u8> {
    [&document(id)[..], b"i/", &change.0].concat()
}

/// The key of what an engine stores.
pub(crate) fn stored(chunk: &PersistChunk) -> Vec<u8> {
    match &chunk.content {
        Stored::Changes(last) => incremental(&chunk.document, last),
        Stored::Whole(heads) => snapshot(&chunk.document, heads),
    }
}

/// SHA-256 over the heads in ascending order, which names a snapshot.
pub fn heads_hash(heads: &[ChangeHash]) -> [u8; HASH] {
    let mut sorted = heads.to_vec();
    sorted.sort_unstable();
    let mut hasher = Sha256::new();
    sorted.iter().for_each(|head| hasher.update(head.0));
    hasher.finalize().into()
}

/// The key of a piece of metadata.
pub fn metadata(name: &str) -> Vec<u8> {
    [METADATA, name.as_bytes()].concat()
}

/// The key of this store's replica id.
pub fn replica_id() -> Vec<u8> {
    metadata("replica-id")
}

/// The key of the database id that a local name stands for. An empty name gives the prefix of all.
pub fn alias(name: &str) -> Vec<u8> {
    metadata(&format!("alias/{name}"))
}

/// The key that says that a document belongs to a database.
pub fn member(database: DatabaseId, document: DocumentId) -> Vec<u8> {
    [&members(Some(database))[..], document.as_bytes()].concat()
}

/// The prefix of the documents of one database, or of all databases.
pub fn members(database: Option<DatabaseId>) -> Vec<u8> {
    let prefix = metadata("member/");
    match database {
        None => prefix,
        Some(database) => [&prefix[..], database.as_bytes(), b"/"].concat(),
    }
}

/// Reads a key that [`member`] made; `None` if it has another form.
pub fn parse_member(key: &[u8]) -> Option<(DatabaseId, DocumentId)> {
    let rest = key.strip_prefix(members(None).as_slice())?;
    let (database, rest) = rest.split_first_chunk::<16>()?;
    let document = rest.strip_prefix(b"/")?.try_into().ok()?;
    Some((
        DatabaseId::from_bytes(*database),
        DocumentId::from_bytes(document),
    ))
}

/// The key of the heads of a document that a durable server has returned. An empty name gives the prefix of all
/// servers.
pub fn acknowledged(document: &DocumentId, server: &str) -> Vec<u8> {
    let mut key = metadata("acknowledged/");
    key.extend_from_slice(document.as_bytes());
    key.push(b'/');
    key.extend_from_slice(server.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: DocumentId = DocumentId::from_bytes([b'/'; 16]);

    #[test]
    fn the_layout_on_disk_stays_as_it_is() {
        let hash = ChangeHash([7; 32]);
        let expected = [b"d/".as_slice(), &[b'/'; 16], b"/i/", &[7; 32]].concat();
        assert_eq!(incremental(&ID, &hash), expected);
        let (one, two) = (ChangeHash([1; 32]), ChangeHash([2; 32]));
        let digest = Sha256::digest([[1; 32], [2; 32]].concat());
        let expected = [b"d/".as_slice(), &[b'/'; 16], b"/s/", &digest].concat();
        assert_eq!(snapshot(&ID, &[one, two]), expected);
        assert_eq!(snapshot(&ID, &[two, one]), expected);
        assert_eq!(alias("work"), b"m/alias/work");
        assert_eq!(replica_id(), b"m/replica-id");
        let expected = [b"m/acknowledged/".as_slice(), &[b'/'; 16], b"/hub"].concat();
        assert_eq!(acknowledged(&ID, "hub"), expected);
    }

    #[test]
    fn a_chunk_key_is_read_back_and_nothing_else_is() {
        let key = incremental(&ID, &ChangeHash([7; 32]));
        let parsed = ChunkKey::parse(&key).expect("a key of a chunk");
        assert_eq!((parsed.document, parsed.kind), (ID, Kind::Incremental));
        assert_eq!(parsed.hash, [7; 32]);
        let snapshot = snapshot(&ID, &[]);
        let kind = ChunkKey::parse(&snapshot).map(|parsed| parsed.kind);
        assert_eq!(kind, Some(Kind::Snapshot));
        for length in 0..key.len() {
            assert_eq!(ChunkKey::parse(&key[..length]), None, "{length} bytes");
        }
        assert_eq!(ChunkKey::parse(&[key, vec![0]].concat()), None);
        assert_eq!(ChunkKey::parse(&replica_id()), None);
    }
}

//! The frame around every stored value: what is read is what was written, or an error that names the damage.
//!
//! ```text
//! offset  0       1     2                      10                 14
//!         version kind  length, u64, LE        CRC32C, u32, LE    payload
//! ```
//!
//! The version byte is `0xC1` (magic and version in one). The length is that of the payload, and the checksum covers
//! the first 10 bytes and the payload. automerge alone does not notice: it loads an empty file as an empty document,
//! and most single flipped bits as a document with other heads.

use super::Entry;
use super::keys::ChunkKey;

const VERSION: u8 = 0xC1;
const HEADER: usize = 14;
const CHECKED_HEADER: usize = 10;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A document saved as a whole.
    Snapshot,
    /// One change.
    Incremental,
    /// What a peer knows of itself.
    Metadata,
}

impl Kind {
    const fn tag(self) -> u8 {
        match self {
            Self::Snapshot => 1,
            Self::Incremental => 2,
            Self::Metadata => 3,
        }
    }
}

/// Why a stored value is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// It has no bytes.
    #[error("it is empty")]
    Empty,
    /// It ends within the header.
    #[error("it is torn: {length} bytes are less than a header of {HEADER}")]
    Short {
        /// The bytes that are there.
        length: usize,
    },
    /// It does not begin as a frame does, or as one of a later version does.
    #[error("its first byte is {found:#04x}, where this version writes {VERSION:#04x}")]
    Version {
        /// The byte in its place.
        found: u8,
    },
    /// It holds something else than its key says.
    #[error("it should hold {expected:?} (kind {}) and is of kind {found}", expected.tag())]
    WrongKind {
        /// What the reader asked for.
        expected: Kind,
        /// The byte in its place.
        found: u8,
    },
    /// It is shorter or longer than its header says.
    #[error("it is torn: {length} bytes follow the header, which says {expected}")]
    Length {
        /// What the header says.
        expected: u64,
        /// The bytes that are there.
        length: u64,
    },
    /// A bit of it has changed.
    #[error("its checksum is {found:#010x}, where {expected:#010x} was stored")]
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// Its key does not have the form of a chunk's.
    #[error("its key does not have the form of a chunk's")]
    Key,
}

/// Wraps a payload in a frame.
pub fn encode(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend([VERSION, kind.tag()]);
    frame.extend((payload.len() as u64).to_le_bytes());
    frame.extend(checksum(&frame, payload).to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The payload of a frame of the expected kind.
pub fn decode(expected: Kind, frame: &[u8]) -> Result<&[u8], FramingError> {
    if frame.is_empty() {
        return Err(FramingError::Empty);
    }
    let short = || FramingError::Short {
        length: frame.len(),
    };
    let (checked, rest) = frame
        .split_first_chunk::<CHECKED_HEADER>()
        .ok_or_else(short)?;
    let (stored, payload) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let [version, kind, length @ ..] = *checked;
    if version != VERSION {
        return Err(FramingError::Version { found: version });
    }
    let length = u64::from_le_bytes(length);
    if length != payload.len() as u64 {
        return Err(FramingError::Length {
            expected: length,
            length: payload.len() as u64,
        });
    }
    let stored = u32::from_le_bytes(*stored);
    let found = checksum(checked, payload);
    if found != stored {
        return Err(FramingError::Checksum {
            expected: stored,
            found,
        });
    }
    if kind != expected.tag() {
        return Err(FramingError::WrongKind {
            expected,
            found: kind,
        });
    }
    Ok(payload)
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

/// A chunk as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was.
    pub key: ChunkKey,
    /// What automerge is to read.
    pub bytes: Vec<u8>,
}

/// A stored value that is not to be used, and is left where it is for whoever wants to look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong with it.
    pub reason: FramingError,
}

/// The chunks of a scan under [`super::keys::DOCUMENTS`] or [`super::keys::document`], the good ones apart from the
/// damaged.
pub fn chunks(entries: Vec<Entry>) -> (Vec<Chunk>, Vec<Quarantined>) {
    let mut good = Vec::with_capacity(entries.len());
    let mut quarantined = Vec::new();
    for (key, value) in entries {
        match chunk(&key, value) {
            Ok(chunk) => good.push(chunk),
            Err(reason) => quarantined.push(Quarantined { key, reason }),
        }
    }
    (good, quarantined)
}

fn chunk(key: &[u8], mut value: Vec<u8>) -> Result<Chunk, FramingError> {
    let key = ChunkKey::parse(key).ok_or(FramingError::Key)?;
    decode(key.kind, &value)?;
    value.drain(..HEADER);
    Ok(Chunk { key, bytes: value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::keys;
    use automerge::ChangeHash;
    use headwater_core::id::DocumentId;

    #[test]
    fn a_frame_gives_back_what_was_written() {
        for payload in [b"".as_slice(), b"x", &[0; 5000]] {
            let frame = encode(Kind::Metadata, payload);
            assert_eq!(decode(Kind::Metadata, &frame), Ok(payload));
        }
    }

    #[test]
    fn the_format_on_disk_stays_as_it_is() {
        let expected = [
            0xC1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0x8A, 0x58, 0xDF, 0x10, b'a', b'b', b'c',
        ];
        assert_eq!(encode(Kind::Incremental, b"abc"), expected);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_found() {
        let frame = encode(Kind::Incremental, b"one small change of a document");
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            for kind in [Kind::Snapshot, Kind::Incremental, Kind::Metadata] {
                assert!(decode(kind, &flipped).is_err(), "bit {bit} as {kind:?}");
            }
        }
        for length in 0..frame.len() {
            assert!(decode(Kind::Incremental, &frame[..length]).is_err());
            let mut zeroed = frame.clone();
            zeroed[length..].fill(0);
            assert!(decode(Kind::Incremental, &zeroed).is_err(), "{length}");
        }
        assert!(decode(Kind::Incremental, &[&frame[..], b"\0"].concat()).is_err());
    }

    #[test]
    fn damage_is_named() {
        let frame = encode(Kind::Incremental, b"abc");
        let reason = |kind, bytes: &[u8]| decode(kind, bytes).unwrap_err().to_string();
        assert_eq!(reason(Kind::Incremental, b""), "it is empty");
        assert_eq!(
            reason(Kind::Incremental, &frame[..13]),
            "it is torn: 13 bytes are less than a header of 14"
        );
        assert_eq!(
            reason(Kind::Incremental, &frame[..16]),
            "it is torn: 2 bytes follow the header, which says 3"
        );
        assert_eq!(
            reason(Kind::Snapshot, &frame),
            "it should hold Snapshot (kind 1) and is of kind 2"
        );
    }

    #[test]
    fn one_damaged_chunk_is_set_apart_and_the_others_are_read() {
        let id = DocumentId::from_bytes([3; 16]);
        let key = |n| keys::incremental(&id, &ChangeHash([n; 32]));
        let good = encode(Kind::Incremental, b"abc");
        let torn = good[..15].to_vec();
        let entries = vec![
            (key(1), good.clone()),
            (key(2), torn),
            (key(3), Vec::new()),
            (b"d/other".to_vec(), good.clone()),
            (keys::snapshot(&id, &[]), good.clone()),
            (key(4), good),
        ];
        let (chunks, quarantined) = chunks(entries);
        let hashes: Vec<u8> = chunks.iter().map(|chunk| chunk.key.hash[0]).collect();
        assert_eq!(hashes, [1, 4]);
        assert!(chunks.iter().all(|chunk| chunk.bytes == b"abc"));
        let reasons: Vec<_> = quarantined.into_iter().map(|q| q.reason).collect();
        let length = FramingError::Length {
            expected: 3,
            length: 1,
        };
        let kind = FramingError::WrongKind {
            expected: Kind::Snapshot,
            found: 2,
        };
        assert_eq!(
            reasons,
            [length, FramingError::Empty, FramingError::Key, kind]
        );
    }
}

//! automerge's sync messages, read with bounds and written by hand.
//!
//! A message is read without copying its chunks, and every chunk passes [`headwater_core::bounds`] on the way. For the
//! usual cases a peer writes [`SyncMessage`]s itself, which costs a fraction of automerge's `generate_sync_message`; for the
//! others [`SyncMessage::to_automerge`] hands the message to automerge.

use automerge::ChangeHash;
use automerge::sync::{BloomFilter, Message, MessageFlags, MessageVersion};
use headwater_core::bounds::{BoundsError, Checker, Limits, Reader, Summary};
use thiserror::Error;

/// The first byte of a version 1 message.
const VERSION_1: u8 = 0x42;
/// The first byte of a version 2 message.
const VERSION_2: u8 = 0x43;
/// Marks a byte of the flags section that holds a bit field.
const BIT_FIELD: u8 = 0x80;
/// The flags section begins with this byte, which older peers know as "I understand version 2".
const UNDERSTANDS_VERSION_2: u8 = 0x02;

/// Why a sync message was refused. Nothing was changed; the sender is at fault unless a limit was too small for it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The first byte names no version of the protocol.
    #[error(
        "the sender's data begins with {0:#04x}, which is no automerge sync message (0x42 or 0x43)"
    )]
    Version(u8),
    /// The message is larger than this receiver accepts.
    #[error(
        "the sender's message of {len} bytes exceeds the limit of {limit}; split the sync or raise the receiver's limit"
    )]
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// [`Limits::message_bytes`].
        limit: usize,
    },
    /// A bloom filter that would make the receiver fail or work without end.
    #[error("the sender's bloom filter is malformed: {0}")]
    Bloom(&'static str),
    /// The message or one of its chunks is malformed or exceeds a limit.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
}

/// A sync message whose chunks and bloom filters are borrowed from the bytes that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncMessage<'a> {
    /// How it is written.
    pub version: MessageVersion,
    /// The heads of the sender's document.
    pub heads: Vec<ChangeHash>,
    /// Changes that the sender asks for.
    pub need: Vec<ChangeHash>,
    /// What the sender has; automerge sends one entry, or none while it waits for what it needs.
    pub have: Vec<Have<'a>>,
    /// The chunks to apply, one by one.
    pub chunks: Vec<&'a [u8]>,
    /// What the sender can do and wants done; no flags mean a peer that knows version 1 alone.
    pub flags: Option<MessageFlags>,
}

/// A summary of the changes that a peer has: all up to `last_sync`, and those in the bloom filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Have<'a> {
    /// The heads at the end of the last sync.
    pub last_sync: Vec<ChangeHash>,
    /// An encoded bloom filter of the changes since; empty for none.
    pub bloom: &'a [u8],
}

impl<'a> SyncMessage<'a> {
    /// A message from a peer whose document is at `heads` and that takes the receiver to know them once `chunks` are applied.
    pub fn new(version: MessageVersion, heads: Vec<ChangeHash>, chunks: Vec<&'a [u8]>) -> Self {
        let mut flags = MessageFlags::new();
        flags.set(MessageFlags::SUPPORTS_SYNC_RESET);
        let have = Have {
            last_sync: heads.clone(),
            bloom: &[],
        };
        Self {
            version,
            heads,
            need: Vec::new(),
            have: vec![have],
            chunks,
            flags: Some(flags),
        }
    }

    /// Reads a message and checks all of its chunks.
    ///
    /// Takes time and memory in proportion to `bytes` and to [`Limits::inflated_bytes`]. Lists of hashes come out sorted,
    /// as automerge relies on it. Bytes after the end are ignored: that is where later versions put what they add.
    pub fn decode(bytes: &'a [u8], limits: &Limits) -> Result<(Self, Summary<'a>), MessageError> {
        if bytes.len() > limits.message_bytes {
            return Err(MessageError::TooLarge {
                len: bytes.len(),
                limit: limits.message_bytes,
            });
        }
        let mut reader = Reader::new(bytes);
        let version = match reader.byte()? {
            VERSION_1 => MessageVersion::V1,
            VERSION_2 => MessageVersion::V2,
            other => return Err(MessageError::Version(other)),
        };
        let heads = read_hashes(&mut reader, limits)?;
        let need = read_hashes(&mut reader, limits)?;
        let have = read_haves(&mut reader, limits)?;
        let summary = read_chunks(&mut reader, limits)?;
        let flags = match reader.is_empty() {
            true => None,
            false => Some(parse_flags(reader.prefixed()?)),
        };
        let message = Self {
            version,
            heads,
            need,
            have,
            chunks: summary.chunks.iter().map(|chunk| chunk.bytes).collect(),
            flags,
        };
        Ok((message, summary))
    }

    /// Writes the message as automerge writes it.
    pub fn encode(&self) -> Vec<u8> {
        let content: usize = self.chunks.iter().map(|chunk| chunk.len() + 10).sum();
        let hashes = self.heads.len() + self.need.len();
        let mut out = Vec::with_capacity(content + 32 * hashes + 64);
        out.push(match self.version {
            MessageVersion::V1 => VERSION_1,
            MessageVersion::V2 => VERSION_2,
        });
        write_hashes(&mut out, &self.heads);
        write_hashes(&mut out, &self.need);
        write_number(&mut out, self.have.len());
        for have in &self.have {
            write_hashes(&mut out, &have.last_sync);
            write_number(&mut out, have.bloom.len());
            out.extend_from_slice(have.bloom);
        }
        self.write_chunks(&mut out);
        if let Some(flags) = self.flags {
            out.extend_from_slice(&[2, UNDERSTANDS_VERSION_2, BIT_FIELD | flag_bits(flags)]);
        }
        out
    }

    /// Version 1 has an item for each change, version 2 one item that holds all chunks.
    fn write_chunks(&self, out: &mut Vec<u8>) {
        match self.version {
            MessageVersion::V1 => {
                write_number(out, self.chunks.len());
                for chunk in &self.chunks {
                    write_number(out, chunk.len());
                    out.extend_from_slice(chunk);
                }
            }
            MessageVersion::V2 if self.chunks.is_empty() => out.push(0),
            MessageVersion::V2 => {
                out.push(1);
                write_number(out, self.chunks.iter().map(|chunk| chunk.len()).sum());
                for chunk in &self.chunks {
                    out.extend_from_slice(chunk);
                }
            }
        }
    }

    /// The message as automerge's own sync takes it.
    pub fn to_automerge(&self) -> Result<Message, MessageError> {
        let have = self.have.iter().map(Have::to_automerge);
        let changes: Vec<Vec<u8>> = match self.version {
            MessageVersion::V2 if !self.chunks.is_empty() => vec![self.chunks.concat()],
            _ => self.chunks.iter().map(|chunk| chunk.to_vec()).collect(),
        };
        Ok(Message {
            heads: self.heads.clone(),
            need: self.need.clone(),
            have: have.collect::<Result<_, _>>()?,
            changes: changes.into(),
            flags: self.flags,
            version: self.version.clone(),
        })
    }
}

impl Have<'_> {
    /// The summary as automerge's own sync takes it.
    pub fn to_automerge(&self) -> Result<automerge::sync::Have, MessageError> {
        let bloom = BloomFilter::try_from(self.bloom);
        Ok(automerge::sync::Have {
            last_sync: self.last_sync.clone(),
            bloom: bloom.map_err(|_| MessageError::Bloom("it cannot be read"))?,
        })
    }
}

fn read_hashes(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<ChangeHash>, BoundsError> {
    let count = reader.count(32)?;
    if count > limits.hashes {
        return Err(BoundsError::TooLarge {
            what: "hashes in one list",
            limit: limits.hashes as u64,
        });
    }
    let mut hashes = (0..count)
        .map(|_| Ok(ChangeHash(reader.array()?)))
        .collect::<Result<Vec<_>, BoundsError>>()?;
    hashes.sort_unstable();
    Ok(hashes)
}

fn read_haves<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Vec<Have<'a>>, MessageError> {
    // An entry is at least two counts. automerge asks every filter about every change, so a few must do.
    let count = reader.count(2)?;
    if count > limits.bloom_filters {
        return Err(MessageError::Bounds(BoundsError::TooLarge {
            what: "bloom filters",
            limit: limits.bloom_filters as u64,
        }));
    }
    (0..count)
        .map(|_| {
            let last_sync = read_hashes(reader, limits)?;
            let bloom = reader.prefixed()?;
            check_bloom(bloom, limits)?;
            Ok(Have { last_sync, bloom })
        })
        .collect()
}

/// Refuses a filter that automerge would divide by zero for, or allocate memory for that the filter does not have.
fn check_bloom(bytes: &[u8], limits: &Limits) -> Result<(), MessageError> {
    let mut reader = Reader::new(bytes);
    if reader.is_empty() {
        return Ok(());
    }
    let entries = reader.unsigned()?;
    let bits_per_entry = reader.unsigned()?;
    let probes = reader.unsigned()?;
    let bits = entries.checked_mul(bits_per_entry);
    let fits = entries <= u64::from(u32::MAX) && bits_per_entry <= u64::from(u32::MAX);
    match bits {
        Some(bits) if fits && bits.div_ceil(8) <= reader.remaining() as u64 => {}
        _ => return Err(MessageError::Bloom("it claims more bits than it has")),
    }
    if entries > 0 && bits_per_entry == 0 {
        return Err(MessageError::Bloom("it has entries but no bits"));
    }
    // automerge adds two positions below the number of bits in 32 bits.
    if reader.remaining() > 1 << 27 {
        return Err(MessageError::Bloom(
            "it has more bits than a position can name",
        ));
    }
    if probes > u64::from(limits.bloom_probes) {
        return Err(MessageError::Bloom("it asks for too many probes a change"));
    }
    Ok(())
}

fn read_chunks<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Summary<'a>, MessageError> {
    let mut checker = Checker::new(limits);
    for _ in 0..reader.count(1)? {
        checker.check(reader.prefixed()?)?;
    }
    Ok(checker.finish())
}

fn parse_flags(bytes: &[u8]) -> MessageFlags {
    let mut flags = MessageFlags::new();
    for byte in bytes.iter().filter(|byte| *byte & BIT_FIELD != 0) {
        flags.set(byte & !BIT_FIELD);
    }
    flags
}

fn flag_bits(flags: MessageFlags) -> u8 {
    (0..7)
        .map(|bit| 1 << bit)
        .filter(|bit| flags.contains(*bit))
        .sum()
}

fn write_hashes(out: &mut Vec<u8>, hashes: &[ChangeHash]) {
    write_number(out, hashes.len());
    for hash in hashes {
        out.extend_from_slice(&hash.0);
    }
}

/// Writes an unsigned LEB128 number.
fn write_number(out: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

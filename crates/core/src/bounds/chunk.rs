//! The framing that all chunks share: magic number, checksum, type and length.

use std::io::Read;

use automerge::ChangeHash;
use flate2::bufread::DeflateDecoder;
use sha2::{Digest, Sha256};

use super::{BoundsError, Chunk, Content, Limits, Reader, Summary, change, document};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const DOCUMENT: u8 = 0;
const CHANGE: u8 = 1;
const COMPRESSED_CHANGE: u8 = 2;

/// Checks pieces that belong together, such as the items of one message, against limits that hold for their sum.
#[derive(Debug)]
pub struct Checker<'a, 'l> {
    budget: Budget<'l>,
    chunks: Vec<Chunk<'a>>,
}

impl<'a, 'l> Checker<'a, 'l> {
    /// A checker that has seen nothing.
    pub fn new(limits: &'l Limits) -> Self {
        Self {
            budget: Budget {
                limits,
                ops: 0,
                changes: 0,
                inflated: 0,
            },
            chunks: Vec::new(),
        }
    }

    /// Checks `bytes`, which must be whole chunks and nothing else.
    pub fn check(&mut self, bytes: &'a [u8]) -> Result<(), BoundsError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut reader = Reader::new(rest);
            let frame = Frame::read(&mut reader)?;
            let (chunk, after) = rest.split_at(rest.len() - reader.remaining());
            let content = frame.check(&mut self.budget)?;
            self.chunks.push(Chunk {
                bytes: chunk,
                content,
            });
            rest = after;
        }
        Ok(())
    }

    /// What all the checked pieces hold.
    pub fn finish(self) -> Summary<'a> {
        Summary {
            chunks: self.chunks,
            changes: self.budget.changes,
            ops: self.budget.ops,
            inflated_bytes: self.budget.inflated,
        }
    }
}

/// What may still be spent.
#[derive(Debug)]
pub(super) struct Budget<'l> {
    pub(super) limits: &'l Limits,
    ops: u64,
    changes: u64,
    inflated: usize,
}

impl Budget<'_> {
    /// Counts operations and changes that a chunk holds.
    pub(super) fn spend(&mut self, changes: u64, ops: u64) -> Result<(), BoundsError> {
        self.changes = self.changes.saturating_add(changes);
        self.ops = self.ops.saturating_add(ops);
        at_most("changes", self.changes, self.limits.changes)?;
        at_most("operations in all", self.ops, self.limits.ops)
    }

    /// Inflates `bytes`, which must be one DEFLATE stream and nothing else.
    pub(super) fn inflate(&mut self, bytes: &[u8]) -> Result<Vec<u8>, BoundsError> {
        let left = self.limits.inflated_bytes.saturating_sub(self.inflated);
        let mut out = Vec::new();
        let mut stream = DeflateDecoder::new(bytes).take((left as u64).saturating_add(1));
        stream
            .read_to_end(&mut out)
            .map_err(|_| BoundsError::Deflate)?;
        self.inflated += out.len();
        let limit = self.limits.inflated_bytes;
        at_most("inflated bytes", self.inflated as u64, limit as u64)?;
        // What follows the end of the stream would be dropped in silence.
        match stream.into_inner().into_inner().is_empty() {
            true => Ok(out),
            false => Err(BoundsError::Deflate),
        }
    }
}

/// Refuses `count` when it is above `limit`.
pub(super) fn at_most(what: &'static str, count: u64, limit: u64) -> Result<(), BoundsError> {
    match count <= limit {
        true => Ok(()),
        false => Err(BoundsError::TooLarge { what, limit }),
    }
}

/// The content of a chunk that is not compressed, without what frames it.
pub(super) fn content(chunk: &[u8]) -> Result<&[u8], BoundsError> {
    Frame::read(&mut Reader::new(chunk)).map(|frame| frame.body)
}

/// A chunk taken apart, not yet checked.
struct Frame<'a> {
    checksum: [u8; 4],
    kind: u8,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, BoundsError> {
        if reader.array()? != MAGIC {
            return Err(BoundsError::Magic);
        }
        Ok(Self {
            checksum: reader.array()?,
            kind: reader.byte()?,
            body: reader.prefixed()?,
        })
    }

    fn check(&self, budget: &mut Budget<'_>) -> Result<Content, BoundsError> {
        match self.kind {
            CHANGE => {
                let hash = self.verify(CHANGE, self.body)?;
                Ok(Content::Change(change::check(self.body, hash, budget)?))
            }
            COMPRESSED_CHANGE => {
                let body = budget.inflate(self.body)?;
                // The checksum of a compressed change is that of the change inside.
                let hash = self.verify(CHANGE, &body)?;
                Ok(Content::Change(change::check(&body, hash, budget)?))
            }
            DOCUMENT => {
                self.verify(DOCUMENT, self.body)?;
                let heads = document::check(self.body, budget)?;
                Ok(Content::Document { heads })
            }
            other => Err(BoundsError::ChunkType(other)),
        }
    }

    fn verify(&self, kind: u8, body: &[u8]) -> Result<ChangeHash, BoundsError> {
        let hash = chunk_hash(kind, body);
        match hash.starts_with(&self.checksum) {
            true => Ok(ChangeHash(hash)),
            false => Err(BoundsError::Checksum),
        }
    }
}

/// The hash of a chunk: over its type, its length and its content.
pub(super) fn chunk_hash(kind: u8, body: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([kind]);
    let mut length = body.len() as u64;
    while length > 0x7f {
        hasher.update([length as u8 | 0x80]);
        length >>= 7;
    }
    hasher.update([length as u8]);
    hasher.update(body);
    hasher.finalize().into()
}

//! What waits for the next batch.

use super::{ConnectionId, WriteId};
use crate::message::{MessageError, SyncMessage};
use automerge::ChangeHash;
use automerge::sync::{Have, MessageFlags};
use bytes::Bytes;
use headwater_core::DocumentId;
use headwater_core::bounds::{Content, Limits};
use std::collections::VecDeque;

/// A local write or a peer's message, in the order of arrival.
#[derive(Debug)]
pub(super) enum Job<W> {
    Write(WriteId, W),
    Message(Message),
}

/// A peer's sync message whose chunks have passed the bounded check.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) connection: ConnectionId,
    pub(super) document: DocumentId,
    pub(super) chunks: VecDeque<Chunk>,
    pub(super) turn: Turn,
    /// Bytes that it takes while it waits.
    pub(super) size: usize,
    /// Whether this is the first part of a message, whose rest comes with a later batch.
    pub(super) unfinished: bool,
}

/// What a message takes besides its bytes, so that many small ones count too.
const MESSAGE_OVERHEAD: usize = 512;

/// A chunk that a peer sent.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    /// The hash of the change, or none if the chunk is a whole document.
    pub(super) change: Option<ChangeHash>,
    /// Whether a document can begin with it: a whole document or a change that depends on none.
    first: bool,
}

/// What a peer said besides the changes it brought: in one message, or in several that one batch takes together.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) heads: Vec<ChangeHash>,
    pub(super) need: Vec<ChangeHash>,
    pub(super) have: Vec<Have>,
    /// Whether the peer showed flags, which those that know version 1 alone do not.
    pub(super) flags: Option<MessageFlags>,
    /// Whether it brought changes, for which it is owed an acknowledgement.
    pub(super) brought: bool,
}

impl Message {
    /// Reads a sync message and checks everything in it.
    pub(super) fn decode(
        connection: ConnectionId,
        document: DocumentId,
        data: &Bytes,
        limits: &Limits,
    ) -> Result<Self, MessageError> {
        let (message, summary) = SyncMessage::decode(data, limits)?;
        let chunks: VecDeque<_> = summary
            .chunks
            .iter()
            .map(|chunk| {
                let (change, first) = match &chunk.content {
                    Content::Change(change) => (Some(change.hash), change.deps.is_empty()),
                    Content::Document { .. } => (None, true),
                };
                let bytes = data.slice_ref(chunk.bytes);
                Chunk {
                    bytes,
                    change,
                    first,
                }
            })
            .collect();
        let have = message.have.iter().map(|have| have.to_automerge());
        Ok(Self {
            connection,
            document,
            turn: Turn {
                have: have.collect::<Result<_, _>>()?,
                heads: message.heads,
                need: message.need,
                flags: message.flags,
                brought: !chunks.is_empty(),
            },
            chunks,
            size: data.len() + MESSAGE_OVERHEAD,
            unfinished: false,
        })
    }

    /// Cuts off what is beyond `count` chunks or `bytes` bytes, but at least one chunk stays.
    pub(super) fn split_off(&mut self, count: usize, bytes: usize) -> Option<Self> {
        let mut size = 0;
        let fits = |chunk: &&Chunk| {
            size += chunk.bytes.len();
            size <= bytes
        };
        let keep = self
            .chunks
            .iter()
            .take(count)
            .take_while(fits)
            .count()
            .max(1);
        if keep >= self.chunks.len() {
            return None;
        }
        let chunks = self.chunks.split_off(keep);
        let size = self.chunk_bytes().min(self.size);
        let rest = Self {
            connection: self.connection,
            document: self.document,
            chunks,
            turn: std::mem::take(&mut self.turn),
            size: self.size - size,
            unfinished: false,
        };
        self.size = size;
        self.unfinished = true;
        Some(rest)
    }

    /// Whether a document can begin with what it brings.
    pub(super) fn brings_beginning(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.first)
    }

    pub(super) fn brings_whole_document(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.change.is_none())
    }

    /// The bytes of its chunks.
    pub(super) fn chunk_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    /// The changes that it brings, as far as their hashes are known.
    pub(super) fn changes(&self) -> impl Iterator<Item = ChangeHash> {
        self.chunks.iter().filter_map(|chunk| chunk.change)
    }
}

impl Turn {
    /// Takes in what the peer said next.
    pub(super) fn extend(&mut self, later: Turn) {
        self.heads = later.heads;
        self.have = later.have;
        self.need.extend(later.need);
        self.need.sort_unstable();
        self.need.dedup();
        self.brought |= later.brought;
        if let Some(later) = later.flags {
            let mut flags = later;
            if self.has_flag(MessageFlags::SYNC_RESET) {
                flags.set(MessageFlags::SYNC_RESET);
            }
            self.flags = Some(flags);
        }
    }

    pub(super) fn has_flag(&self, flag: u8) -> bool {
        self.flags.is_some_and(|flags| flags.contains(flag))
    }

    /// Whether it only says which heads the peer has, as Headwater's peers do when they meet.
    pub(super) fn is_announcement(&self) -> bool {
        self.have.is_empty() && self.need.is_empty() && !self.brought
    }

    /// Whether it says that the peer does not know `ours`, the heads of our document, as Headwater's peers answer an
    /// announcement. (automerge too leaves out what it has when it needs something, but then something else.)
    pub(super) fn is_lost(&self, ours: &[ChangeHash]) -> bool {
        self.have.is_empty()
            && !self.need.is_empty()
            && !self.brought
            && self.need.iter().all(|need| ours.contains(need))
    }

    /// Whether it asks for everything that the peer's heads do not reach, as automerge does when it does not know the heads
    /// that we took for shared.
    pub(super) fn asks_for_all(&self) -> bool {
        self.need.is_empty() && self.have == [Have::default()] && !self.brought
    }
}

//! Sync messages on their way out: encoded once, split where they are too large, and kept for the next peer that asks.

use crate::message::SyncMessage;
use automerge::sync::{MessageFlags, MessageVersion};
use automerge::{Automerge, Change, ChangeHash, ReadDoc, SaveOptions};
use bytes::Bytes;
use headwater_core::DocumentId;
use std::collections::{BTreeMap, BTreeSet};

/// A whole document is sent instead of changes only if there are more of these than this.
const FEW_CHANGES: usize = 32;

/// Bytes of answers that are kept for other peers.
const KEPT_BYTES: usize = 32 << 20;

/// Room in a message for everything but changes.
const OVERHEAD: usize = 16 << 10;

/// Our heads and nothing else. The peer answers with what we lack if it knows them.
pub(super) fn announcement(heads: Vec<ChangeHash>, start_over: bool) -> Bytes {
    let mut message = SyncMessage::new(MessageVersion::V1, heads, Vec::new());
    message.have = Vec::new();
    if start_over && let Some(flags) = message.flags.as_mut() {
        flags.set(MessageFlags::SYNC_RESET);
    }
    message.encode().into()
}

/// That we have nothing of a document whose heads are `theirs`, as automerge says it.
pub(super) fn question(theirs: &[ChangeHash]) -> Bytes {
    let mut message = SyncMessage::new(MessageVersion::V1, Vec::new(), Vec::new());
    message.need = theirs.to_vec();
    message.encode().into()
}

/// That we do not know the heads which a Headwater peer announced.
pub(super) fn lost(heads: Vec<ChangeHash>, unknown: Vec<ChangeHash>) -> Bytes {
    let mut message = SyncMessage::new(MessageVersion::V1, heads, Vec::new());
    message.have = Vec::new();
    message.need = unknown;
    message.encode().into()
}

/// Messages that bring `changes`, each of at most `limit` bytes as far as a single change is not larger.
///
/// They are of version 1, which every peer reads.
pub(super) fn changes(heads: Vec<ChangeHash>, changes: &[Change], limit: usize) -> Vec<Bytes> {
    let room = limit.saturating_sub(OVERHEAD);
    let size: usize = changes
        .iter()
        .map(|change| change.raw_bytes().len() + 5)
        .sum();
    if size <= room {
        let chunks = changes.iter().map(Change::raw_bytes).collect();
        let message = SyncMessage::new(MessageVersion::V1, heads, chunks);
        return vec![message.encode().into()];
    }
    split(heads, changes, room)
}

/// Every part but the last says the heads that the peer reaches with it, so that the peer does not miss what follows.
fn split(heads: Vec<ChangeHash>, changes: &[Change], room: usize) -> Vec<Bytes> {
    let brought: BTreeSet<_> = changes.iter().map(Change::hash).collect();
    let mut reached: BTreeSet<_> = changes
        .iter()
        .flat_map(Change::deps)
        .filter(|dep| !brought.contains(dep))
        .copied()
        .collect();
    let mut messages = Vec::new();
    let mut part: Vec<&[u8]> = Vec::new();
    let mut size = 0;
    for change in changes {
        let bytes = change.raw_bytes();
        if !part.is_empty() && size + bytes.len() + 5 > room {
            let heads = reached.iter().copied().collect();
            let chunks = std::mem::take(&mut part);
            messages.push(
                SyncMessage::new(MessageVersion::V1, heads, chunks)
                    .encode()
                    .into(),
            );
            size = 0;
        }
        size += bytes.len() + 5;
        part.push(bytes);
        for dep in change.deps() {
            reached.remove(dep);
        }
        reached.insert(change.hash());
    }
    messages.push(
        SyncMessage::new(MessageVersion::V1, heads, part)
            .encode()
            .into(),
    );
    messages
}

/// Whether a peer that lacks so many changes is better sent the whole document.
pub(super) fn is_most(document: &Automerge, missing: usize) -> bool {
    missing > FEW_CHANGES && missing as u64 * 3 > document.stats().num_changes
}

/// The whole document, without changes that wait for others: these are not durable.
pub(super) fn save(document: &Automerge) -> Vec<u8> {
    document.save_with_options(SaveOptions {
        retain_orphans: false,
        ..SaveOptions::default()
    })
}

/// Messages that bring a peer who has `theirs`, all of which we have, to our heads.
fn catch_up(document: &Automerge, theirs: &[ChangeHash], whole: bool, limit: usize) -> Vec<Bytes> {
    let heads = document.get_heads();
    // Counting them takes a small part of the time that making them does.
    if whole && is_most(document, document.get_changes_meta(theirs).len()) {
        let saved = save(document);
        if saved.len() <= limit.saturating_sub(OVERHEAD) {
            let message = SyncMessage::new(MessageVersion::V2, heads, vec![&saved]);
            return vec![message.encode().into()];
        }
    }
    changes(heads, &document.get_changes(theirs), limit)
}

/// The heads of a peer, and whether it reads whole documents.
type Question = (Vec<ChangeHash>, bool);

/// Answers that are kept until their document changes, since many peers ask the same after a restart.
#[derive(Debug, Default)]
pub(super) struct Answers {
    kept: BTreeMap<DocumentId, BTreeMap<Question, Vec<Bytes>>>,
    bytes: usize,
}

impl Answers {
    /// Messages that bring a peer who has `theirs`, all of which we have, to our heads; as a `whole` document where that
    /// is shorter and the peer can read it.
    pub(super) fn catch_up(
        &mut self,
        id: DocumentId,
        document: &Automerge,
        theirs: &[ChangeHash],
        whole: bool,
        limit: usize,
    ) -> Vec<Bytes> {
        let key = (theirs.to_vec(), whole);
        if let Some(kept) = self.kept.get(&id).and_then(|answers| answers.get(&key)) {
            return kept.clone();
        }
        let answer = catch_up(document, theirs, whole, limit);
        let cost = |key: &[ChangeHash], answer: &[Bytes]| {
            answer.iter().map(Bytes::len).sum::<usize>() + 32 * key.len() + 256
        };
        self.bytes += cost(theirs, &answer);
        if self.bytes > KEPT_BYTES {
            self.kept.clear();
            self.bytes = cost(theirs, &answer);
        }
        self.kept.entry(id).or_default().insert(key, answer.clone());
        answer
    }

    /// To be called when a document has changed.
    pub(super) fn forget(&mut self, id: &DocumentId) {
        for ((theirs, _), answer) in self.kept.remove(id).into_iter().flatten() {
            let size: usize = answer.iter().map(Bytes::len).sum();
            self.bytes = self.bytes.saturating_sub(size + 32 * theirs.len() + 256);
        }
    }
}

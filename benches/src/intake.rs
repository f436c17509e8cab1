//! What a reader makes of the sync messages that it receives, and how it notices that something is missing.

use crate::edits::Edits;
use crate::wire;
use anyhow::{Context, Result, ensure};
use automerge::sync::Message;
use automerge::{Automerge, Change, ChangeHash};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A received message, decoded once for all readers that receive the same bytes.
pub struct Received {
    heads: Vec<ChangeHash>,
    edits: Vec<usize>,
    foreign: u64,
    chunks: Vec<Vec<u8>>,
}

/// Decodes sync messages. A hundred readers mostly receive the same bytes, and automerge's decoding of a change costs
/// more than all else that a reader does, so the results are kept for a while.
pub struct Decoder {
    edits: Arc<Edits>,
    recent: Mutex<HashMap<Vec<u8>, Arc<Received>>>,
}

/// How many decoded messages are kept before all are dropped.
const RECENT: usize = 1024;

impl Decoder {
    /// For readers of `edits`.
    pub fn new(edits: Arc<Edits>) -> Self {
        Self {
            edits,
            recent: Mutex::default(),
        }
    }

    /// Decodes one automerge sync message.
    pub fn decode(&self, data: Vec<u8>) -> Result<Arc<Received>> {
        if let Some(received) = self.recent.lock().expect("no reader panics").get(&data) {
            return Ok(received.clone());
        }
        let received = Arc::new(self.read(Message::decode(&data)?)?);
        let mut recent = self.recent.lock().expect("no reader panics");
        if recent.len() >= RECENT {
            recent.clear();
        }
        recent.insert(data, received.clone());
        Ok(received)
    }

    fn read(&self, message: Message) -> Result<Received> {
        let mut received = Received {
            chunks: message.changes.iter().map(<[u8]>::to_vec).collect(),
            heads: message.heads,
            edits: Vec::new(),
            foreign: 0,
        };
        for chunks in message.changes.iter() {
            for change in changes(chunks)? {
                match self.edits.number(&change.hash()) {
                    Some(number) => received.edits.push(number),
                    None if self.edits.in_base(&change.hash()) => {}
                    None => received.foreign += 1,
                }
            }
        }
        Ok(received)
    }
}

/// The changes in a run of automerge chunks: single changes, or a whole document.
pub fn changes(mut bytes: &[u8]) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        let (kind, length) =
            chunk_header(bytes).context("a chunk that automerge does not write")?;
        let (chunk, rest) = bytes
            .split_at_checked(length)
            .context("a chunk that ends early")?;
        match kind {
            DOCUMENT => changes.extend(Automerge::load(chunk)?.get_changes(&[])),
            _ => changes.push(Change::from_bytes(chunk.to_vec())?),
        }
        bytes = rest;
    }
    Ok(changes)
}

const DOCUMENT: u8 = 0;

/// A chunk's type and its whole length: magic (4 bytes), checksum (4), type (1), length of the rest (LEB128).
fn chunk_header(bytes: &[u8]) -> Option<(u8, usize)> {
    let kind = *bytes.get(8)?;
    let mut length = 0usize;
    for (position, byte) in bytes.get(9..)?.iter().take(8).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return length
                .checked_add(10 + position)
                .map(|length| (kind, length));
        }
    }
    None
}

/// What one reader has received.
#[derive(Default)]
pub struct Receipt {
    has: Vec<bool>,
    /// How many edits the reader has with none missing before them.
    pub complete: usize,
    /// Edits that came before one that they depend on.
    pub unordered: u64,
    /// Edits that came again.
    pub repeated: u64,
    /// Changes that nobody sent.
    pub foreign: u64,
    /// Why the reader stopped, if it did.
    pub failure: Option<String>,
    kept: Option<Vec<Arc<Received>>>,
    last_sent: Vec<ChangeHash>,
}

impl Receipt {
    /// Of a reader that has the document as it was before the first edit. One that keeps what it receives can be
    /// [verified](Self::verify) with a real document.
    pub fn new(edits: &Edits, keep: bool) -> Self {
        Self {
            has: vec![false; edits.len()],
            kept: keep.then(Vec::new),
            last_sent: edits.heads(0),
            ..Self::default()
        }
    }

    /// Takes a message in and returns the edits that are now complete and were not before.
    pub fn take(&mut self, received: &Arc<Received>) -> Range<usize> {
        let before = self.complete;
        for &edit in &received.edits {
            if self.has[edit] {
                self.repeated += 1;
                continue;
            }
            if edit > self.complete {
                self.unordered += 1;
            }
            self.has[edit] = true;
            while self.has.get(self.complete) == Some(&true) {
                self.complete += 1;
            }
        }
        self.foreign += received.foreign;
        if let Some(kept) = &mut self.kept
            && !received.chunks.is_empty()
        {
            kept.push(received.clone());
        }
        before..self.complete
    }

    /// How many of the first `sent` edits never came.
    pub fn missing(&self, sent: usize) -> usize {
        self.has.iter().take(sent).filter(|has| !**has).count()
    }

    /// The answer that a stock client gives: what it has, and the other side's heads that it lacks. Nothing if both
    /// have the same and the other side has been told.
    pub fn answer(&mut self, edits: &Edits, received: &Received) -> Option<Message> {
        let heads = edits.heads(self.complete);
        if received.heads == heads && self.last_sent == heads {
            return None;
        }
        let lacks = |hash: &&ChangeHash| match edits.number(hash) {
            Some(edit) => !self.has[edit],
            None => !edits.in_base(hash),
        };
        let need = received.heads.iter().filter(lacks).copied().collect();
        self.last_sent.clone_from(&heads);
        Some(wire::message(heads, need, Vec::new()))
    }

    /// Builds a real document from what was kept and compares it with the writer's after `sent` edits. Does nothing for
    /// a reader that kept nothing.
    pub fn verify(&self, edits: &Edits, sent: usize) -> Result<()> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let mut document = edits.base().clone();
        for chunk in kept.iter().flat_map(|received| &received.chunks) {
            document.load_incremental(chunk)?;
        }
        let difference = edits.difference(&document, sent);
        ensure!(
            difference.is_none(),
            "the reader's document differs: {}",
            difference.unwrap_or_default()
        );
        Ok(())
    }
}

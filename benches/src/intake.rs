//! What a reader makes of the sync messages that it receives, and how it notices that something is missing.

use crate::edits::Edits;
use anyhow::{Result, ensure};
use automerge::sync::MessageVersion;
use automerge::{Automerge, ChangeHash};
use bytes::Bytes;
use headwater_core::bounds::{Content, Limits};
use headwater_sync::message::SyncMessage;
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
    recent: Mutex<HashMap<Bytes, Arc<Received>>>,
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
    pub fn decode(&self, data: Bytes) -> Result<Arc<Received>> {
        if let Some(received) = self.recent.lock().expect("no reader panics").get(&data) {
            return Ok(received.clone());
        }
        let received = Arc::new(self.read(&data)?);
        let mut recent = self.recent.lock().expect("no reader panics");
        if recent.len() >= RECENT {
            recent.clear();
        }
        recent.insert(data, received.clone());
        Ok(received)
    }

    fn read(&self, data: &[u8]) -> Result<Received> {
        let (message, summary) = SyncMessage::decode(data, &Limits::default())?;
        let mut received = Received {
            heads: message.heads,
            edits: Vec::new(),
            foreign: 0,
            chunks: message.chunks.iter().map(|chunk| chunk.to_vec()).collect(),
        };
        for chunk in summary.chunks {
            match chunk.content {
                Content::Change(change) => self.sort(&change.hash, &mut received),
                Content::Document { .. } => {
                    for change in Automerge::load(chunk.bytes)?.get_changes_meta(&[]) {
                        self.sort(&change.hash, &mut received);
                    }
                }
            }
        }
        Ok(received)
    }

    fn sort(&self, change: &ChangeHash, received: &mut Received) {
        match self.edits.number(change) {
            Some(number) => received.edits.push(number),
            None if self.edits.in_base(change) => {}
            None => received.foreign += 1,
        }
    }
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
    pub fn answer(&mut self, edits: &Edits, received: &Received) -> Option<Vec<u8>> {
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
        let message = SyncMessage::new(MessageVersion::V1, heads, Vec::new());
        Some(SyncMessage { need, ..message }.encode())
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

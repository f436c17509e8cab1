//! Batches: what is applied together, made durable together and then told to peers.

use super::queue::{Job, Message, Turn};
use super::{
    BatchId, ConnectionId, Engine, Output, PersistChunk, Refusal, Replica, Stored, WriteError,
    WriteId,
};
use automerge::{Change, ChangeHash, ReadDoc};
use bytes::{BufMut, Bytes, BytesMut};
use headwater_core::{DocumentId, TakenOver};
use std::collections::{BTreeMap, BTreeSet};

/// How many local writes a batch takes.
const MAX_WRITES: usize = 256;

/// How many bytes of peers' changes a batch takes, unless a single chunk is larger.
const MAX_BYTES: usize = 4 << 20;

/// Changes of a batch times operations that their document holds. automerge needs a few bytes for each such pair while it
/// applies changes, so this keeps a batch within some hundred megabytes.
const MAX_PAIRS: u64 = 40_000_000;

/// The bounds of how many changes a batch takes to one document, whatever its size.
const CHANGES: std::ops::RangeInclusive<u64> = 64..=16_384;

/// What was applied and is being made durable.
pub(super) struct Batch<R: Replica> {
    pub(super) id: BatchId,
    pub(super) changes: BTreeMap<DocumentId, Vec<Change>>,
    /// Whole documents that came, which hold the first of these changes.
    whole: BTreeMap<DocumentId, (Bytes, TakenOver)>,
    /// What peers said, to be answered once the batch is durable.
    pub(super) turns: BTreeMap<(DocumentId, ConnectionId), Turn>,
    /// The changes that peers sent, which need not be sent back to them.
    pub(super) own: BTreeMap<(DocumentId, ConnectionId), BTreeSet<ChangeHash>>,
    written: Vec<(WriteId, R::Written)>,
    events: Vec<R::Event>,
    /// Headwater peers that connected meanwhile and have been told nothing.
    pub(super) newcomers: Vec<ConnectionId>,
    /// Peers that keep up again, and the documents that they missed something of.
    pub(super) drained: Vec<(ConnectionId, BTreeSet<DocumentId>)>,
    /// Bytes that each connection waits to have room for again.
    sizes: Vec<(ConnectionId, usize)>,
}

impl<R: Replica> std::fmt::Debug for Batch<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("id", &self.id)
            .field("documents", &self.changes.keys())
            .finish_non_exhaustive()
    }
}

impl<R: Replica> Engine<R> {
    /// Makes batches of what waits until one has to be made durable.
    pub(super) fn start_batches(&mut self) {
        let waits = self.failed || self.untold || self.held || self.rest_wanted;
        while !waits && self.in_flight.is_none() && !self.queue.is_empty() {
            let batch = self.apply_next();
            if batch.changes.is_empty() {
                self.complete(batch);
                continue;
            }
            self.outputs.push_back(Output::Persist {
                batch: batch.id,
                chunks: persist(&batch),
            });
            self.in_flight = Some(batch);
        }
    }

    /// Applies a share of what waits, in the order of arrival.
    fn apply_next(&mut self) -> Batch<R> {
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        let mut batch = Batch {
            id,
            changes: BTreeMap::new(),
            whole: BTreeMap::new(),
            turns: BTreeMap::new(),
            own: BTreeMap::new(),
            written: Vec::new(),
            events: Vec::new(),
            newcomers: Vec::new(),
            drained: Vec::new(),
            sizes: Vec::new(),
        };
        let mut messages: BTreeMap<DocumentId, Vec<Message>> = BTreeMap::new();
        let (mut writes, mut bytes) = (0, 0);
        let mut counts = BTreeMap::new();
        while writes < MAX_WRITES
            && bytes < MAX_BYTES
            && let Some(job) = self.queue.pop_front()
        {
            match job {
                Job::Write(id, write) => {
                    writes += 1;
                    self.apply_write(&mut batch, id, write);
                }
                Job::Message(mut message) => {
                    // The connection may be gone, or have been told that the document is not taken.
                    let share = self
                        .peers
                        .existing_share(message.connection, &message.document);
                    if share.is_none_or(|share| share.refused) {
                        batch.sizes.push((message.connection, message.size));
                        continue;
                    }
                    let left = counts
                        .entry(message.document)
                        .or_insert_with(|| self.room(&message.document));
                    if *left == 0 && !message.chunks.is_empty() {
                        // The batch has as much of this document as it takes.
                        self.queue.push_front(Job::Message(message));
                        break;
                    }
                    let rest = message.split_off(*left, MAX_BYTES - bytes);
                    *left -= message.chunks.len();
                    bytes += message.chunk_bytes();
                    batch.sizes.push((message.connection, message.size));
                    messages.entry(message.document).or_default().push(message);
                    if let Some(rest) = rest {
                        self.queue.push_front(Job::Message(rest));
                        break;
                    }
                }
            }
        }
        for (document, messages) in messages {
            self.apply_messages(&mut batch, document, messages);
        }
        batch
    }

    /// How many changes a batch may bring to a document.
    fn room(&self, document: &DocumentId) -> usize {
        let ops = self
            .replica
            .document(document)
            .map_or(1, |document| document.stats().num_ops.max(1));
        usize::try_from((MAX_PAIRS / ops).clamp(*CHANGES.start(), *CHANGES.end())).unwrap_or(64)
    }

    fn apply_write(&mut self, batch: &mut Batch<R>, write: WriteId, what: R::Write) {
        match self.replica.write(what) {
            Ok(local) => {
                for (document, change) in local.changes {
                    batch.changes.entry(document).or_default().push(change);
                }
                batch.events.extend(local.events);
                batch.written.push((write, local.written));
            }
            Err(error) => self.outputs.push_back(Output::Written {
                write,
                result: Err(WriteError::Rejected(error)),
            }),
        }
    }

    /// Applies what peers sent for one document: changes all at once, whole documents one by one.
    fn apply_messages(
        &mut self,
        batch: &mut Batch<R>,
        document: DocumentId,
        mut messages: Vec<Message>,
    ) {
        let exists = self.replica.document(&document).is_some();
        if !exists && !messages.iter().any(Message::brings_beginning) {
            // The peer takes us to have the document, as we did before storage failed. It will be told that we do not.
            for message in &mut messages {
                message.chunks.clear();
            }
        }
        let (whole, plain): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(Message::brings_whole_document);
        for message in whole {
            match self.apply(batch, document, [&message]) {
                Ok(changes) => {
                    let own = batch.own.entry((document, message.connection));
                    own.or_default().extend(changes);
                    take_turn(batch, message);
                }
                Err(refusal) => self.refuse(message.connection, document, refusal.message),
            }
        }
        if self.apply(batch, document, &plain).is_ok() {
            plain
                .into_iter()
                .for_each(|message| take_turn(batch, message));
            return;
        }
        // One of them is at fault; the others must not suffer for it.
        for message in plain {
            match self.apply(batch, document, [&message]) {
                Ok(_) => take_turn(batch, message),
                Err(refusal) => self.refuse(message.connection, document, refusal.message),
            }
        }
    }

    /// Applies the chunks of `messages` and returns the hashes of the changes that were new.
    fn apply<'m>(
        &mut self,
        batch: &mut Batch<R>,
        document: DocumentId,
        messages: impl IntoIterator<Item = &'m Message>,
    ) -> Result<Vec<ChangeHash>, Refusal> {
        let chunks = messages.into_iter().flat_map(|message| &message.chunks);
        let chunks: Vec<&Bytes> = chunks.map(|chunk| &chunk.bytes).collect();
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        let slices: Vec<&[u8]> = chunks.iter().map(|bytes| &***bytes).collect();
        let applied = self.replica.apply(document, &slices)?;
        if let Some(mut whole) = applied.whole
            && let Some(bytes) = chunks.get(whole.chunk)
        {
            // It has all that was there before it came.
            whole.changes += batch.changes.get(&document).map_or(0, Vec::len);
            batch.whole.insert(document, ((*bytes).clone(), whole));
        }
        let hashes = applied.changes.iter().map(Change::hash).collect();
        if !applied.changes.is_empty() {
            batch
                .changes
                .entry(document)
                .or_default()
                .extend(applied.changes);
        }
        batch.events.extend(applied.events);
        Ok(hashes)
    }

    /// Tells everyone what became durable.
    pub(super) fn complete(&mut self, mut batch: Batch<R>) {
        for (write, written) in std::mem::take(&mut batch.written) {
            self.outputs.push_back(Output::Written {
                write,
                result: Ok(written),
            });
        }
        if !batch.events.is_empty() {
            let events = std::mem::take(&mut batch.events);
            self.untold = true;
            self.outputs.push_back(Output::Events(events));
        }
        for document in batch.changes.keys() {
            self.answers.forget(document);
        }
        for connection in &batch.newcomers {
            self.announce_all(*connection, false);
        }
        for (connection, behind) in std::mem::take(&mut batch.drained) {
            self.tell_again(connection, behind);
        }
        let mut told = BTreeSet::new();
        for (document, changes) in &batch.changes {
            self.fan_out(*document, changes, &batch, &mut told);
        }
        for ((document, connection), turn) in &batch.turns {
            let told = told.contains(&(*document, *connection));
            self.answer(*connection, *document, turn, told);
        }
        self.release(&batch.sizes);
    }

    /// Gives up on a batch that could not be made durable.
    pub(super) fn fail(&mut self, batch: Batch<R>, message: &str) {
        self.failed = true;
        for (write, _) in batch.written {
            self.outputs.push_back(Output::Written {
                write,
                result: Err(WriteError::NotDurable(message.to_owned())),
            });
        }
        self.release(&batch.sizes);
        // Peers will be asked for what they sent, and writes that were not applied can wait.
        let mut dropped = Vec::new();
        self.queue.retain(|job| match job {
            Job::Write(..) => true,
            Job::Message(message) => {
                dropped.push((message.connection, message.size));
                false
            }
        });
        self.release(&dropped);
    }

    /// Lets connections be read again whose messages have left the queue.
    fn release(&mut self, sizes: &[(ConnectionId, usize)]) {
        for (connection, size) in sizes {
            let Some(connected) = self.peers.get_mut(*connection) else {
                continue;
            };
            connected.backlog = connected.backlog.saturating_sub(*size);
            if connected.paused && connected.backlog <= self.config.backlog / 2 {
                connected.paused = false;
                self.outputs.push_back(Output::Resume {
                    connection: *connection,
                });
            }
        }
    }
}

fn take_turn<R: Replica>(batch: &mut Batch<R>, message: Message) {
    let key = (message.document, message.connection);
    if message.turn.brought || message.unfinished {
        batch.own.entry(key).or_default().extend(message.changes());
    }
    // The rest of an unfinished message will say what the peer has.
    if !message.unfinished {
        batch.turns.entry(key).or_default().extend(message.turn);
    }
}

fn persist<R: Replica>(batch: &Batch<R>) -> Vec<PersistChunk> {
    let mut chunks = Vec::new();
    for (document, changes) in &batch.changes {
        let mut rest = changes.as_slice();
        if let Some((bytes, whole)) = batch.whole.get(document) {
            rest = changes.get(whole.changes..).unwrap_or_default();
            chunks.push(PersistChunk {
                document: *document,
                content: Stored::Whole(whole.heads.clone()),
                bytes: bytes.clone(),
            });
        }
        chunks.extend(persist_changes(*document, rest));
    }
    chunks
}

fn persist_changes(document: DocumentId, changes: &[Change]) -> Option<PersistChunk> {
    let last = changes.last()?.hash();
    let size = changes.iter().map(|change| change.raw_bytes().len()).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for change in changes {
        bytes.put_slice(change.raw_bytes());
    }
    Some(PersistChunk {
        document,
        content: Stored::Changes(last),
        bytes: bytes.freeze(),
    })
}

//! One program: what its peers do and how their changes travel, all chosen by the seed.

use crate::coverage::{Case, Coverage};
use crate::declared::Declared;
use crate::generate::Generator;
use crate::laws::{self, Saved, Shown};
use crate::model;
use crate::oracle::{Oracle, Sees, Wrote};
use crate::peer::{Chunk, Peer};
use crate::register::{Made, Stamp};
use crate::rng::Rng;
use crate::ruled;
use crate::undo::Undos;
use automerge::{Change, ChangeHash, ReadDoc as _};
use headwater_core::catalog::Collection;
use headwater_core::{
    CollectionSchema, Conflict, ConflictKind, Database, DeleteRule, DocumentId, LocalWrite,
    Operation, Partition, Record, Write, WriteContext, Written, id::Placement, json,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;

mod own;

const COLLECTION: &str = "notes";

/// A program that did not end as it must.
#[derive(Debug)]
pub struct Failure {
    /// The program's seed.
    pub seed: u64,
    /// What was wrong.
    pub message: String,
    /// What had been done until then.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.trace.iter().enumerate() {
            writeln!(f, "{i:>3} {step}")?;
        }
        write!(f, "seed {}: {}", self.seed, self.message)
    }
}

/// Plays the program of `seed`, checks it, and says what came about in it.
pub fn run(seed: u64) -> Result<Coverage, Box<Failure>> {
    let mut rng = Rng::new(seed);
    let failure = |message, trace| {
        Box::new(Failure {
            seed,
            message,
            trace,
        })
    };
    let mut program = match Program::new(seed, &mut rng) {
        Ok(program) => program,
        Err(message) => return Err(failure(message, Vec::new())),
    };
    match program.play() {
        Ok(()) => Ok(program.coverage),
        Err(message) => Err(failure(message, program.trace)),
    }
}

struct Program {
    rng: Rng,
    generator: Generator,
    peers: Vec<Peer>,
    /// The partition counts that peers declare.
    counts: Vec<u32>,
    /// Every change that was made.
    log: Vec<Chunk>,
    oracle: Oracle,
    declared: Declared,
    undos: Undos,
    /// Whether writes are undone in this program, and older writers take part: in every other, and not in those that are kept.
    undoes: bool,
    coverage: Coverage,
    /// What was shown at which heads, and what had lost, whoever had them.
    shown: BTreeMap<BTreeMap<DocumentId, Vec<ChangeHash>>, Shown>,
    /// What some peers had at some time.
    saved: Vec<Saved>,
    trace: Vec<String>,
}

impl Program {
    fn new(seed: u64, rng: &mut Rng) -> Result<Self, String> {
        let generator = Generator::new(rng);
        let peers = 3 + rng.below(if generator.is_broad() { 3 } else { 1 });
        let counts: [&[u32]; 4] = [&[1], &[1], &[1, 2], &[2, 3]];
        let counts = match generator.is_broad() || rng.chance(20) {
            true => *rng.pick(&counts),
            false => counts[0],
        };
        Ok(Self {
            peers: (0..peers)
                .map(|_| Peer::new(rng))
                .collect::<Result<_, _>>()?,
            counts: counts.to_vec(),
            generator,
            log: Vec::new(),
            oracle: Oracle::default(),
            declared: Declared::default(),
            undos: Undos::default(),
            undoes: seed % 6 > 2,
            coverage: Coverage::default(),
            shown: BTreeMap::new(),
            saved: Vec::new(),
            trace: Vec::new(),
            rng: rng.clone(),
        })
    }

    fn play(&mut self) -> Result<(), String> {
        if self.rng.chance(60) {
            self.start_together()?;
        }
        for _ in 0..8 + self.rng.below(10) {
            let at = self.rng.below(self.peers.len());
            match self.rng.below(100) {
                0..62 => self.write(at)?,
                62..84 => self.deliver(at)?,
                84..87 => self.send_whole(at)?,
                87..90 => self.restart(at)?,
                _ => self.deliver_all()?,
            }
            if self.rng.chance(20) {
                self.remember(at)?;
                if self.saved.len() < 3 && self.rng.chance(40) {
                    self.saved.push(laws::saved(&self.peers[at].db));
                }
            }
        }
        self.deliver_all()?;
        self.check()
    }

    /// One peer declares and fills the collection and all get it, so that what follows are edits of the same records.
    fn start_together(&mut self) -> Result<(), String> {
        let mut schema = CollectionSchema::new().partitions(self.counts[0]);
        if !self.generator.is_broad() {
            schema = ruled::declare(&mut self.rng, self.generator.fields(), schema);
            if self.rng.chance(30) {
                schema = schema.delete(DeleteRule::DeleteWins);
            }
        }
        self.perform(0, Operation::Declare(schema))?;
        for _ in 0..2 {
            self.write(0)?;
        }
        self.deliver_all()
    }

    fn write(&mut self, at: usize) -> Result<(), String> {
        let db = &self.peers[at].db;
        let undeclared = db.collections().is_empty();
        if self.rng.chance(3) {
            let operation = self.generator.refused(&mut self.rng);
            return self.refused(at, operation);
        }
        if self.rng.chance(if undeclared { 85 } else { 8 }) {
            let schema = self.generator.declaration(&mut self.rng, &self.counts);
            return self.perform(at, Operation::Declare(schema)).map(drop);
        }
        if self.undoes && self.rng.chance(28) {
            return match self.rng.chance(75) {
                true => self.undo(at),
                false => self.put_known(at),
            };
        }
        let operation = self.generator.operation(&mut self.rng, db, COLLECTION);
        self.perform(at, operation).map(drop)
    }

    fn refused(&mut self, at: usize, operation: Operation) -> Result<(), String> {
        self.coverage.add(Case::Refused);
        self.trace.push(format!("{at} is refused {operation:?}"));
        match self.peers[at].write(write_of(operation))? {
            Ok(_) => Err("a write that makes no sense was accepted".into()),
            Err(_) => Ok(()),
        }
    }

    fn perform(&mut self, at: usize, operation: Operation) -> Result<Written, String> {
        self.trace.push(format!("{at} does {operation:?}"));
        let peer = &self.peers[at];
        let keys = self.generator.keys().iter();
        let before: Vec<_> = keys
            .map(|key| {
                let open = peer.db.conflicts_of(COLLECTION, key);
                (*key, peer.db.get(COLLECTION, key), open)
            })
            .collect();
        let declared = collection(&peer.db);
        let seen = peer.seen.clone();
        let local = self.peers[at]
            .write(write_of(operation.clone()))?
            .map_err(|error| format!("refused an honest write: {error}"))?;
        for (document, change) in &local.changes {
            let line = format!("  {} of {document}", &change.hash().to_string()[..6]);
            self.trace.push(line);
        }
        self.send(at, &local);
        self.note_declared(at, &operation, &local, &seen);
        let mut saw = Vec::new();
        for before in before {
            let (key, was) = (before.0, before.1.clone());
            self.note(at, &operation, before, &declared, &local)?;
            if names(&operation, key, &self.undos) {
                saw.push((key, was, self.peers[at].db.get(COLLECTION, key)));
            }
        }
        if self.undoes && !matches!(operation, Operation::Undo(_)) {
            let seen = &self.peers[at].seen;
            let (written, policies) = (&local.written, &declared.policies);
            self.undos
                .wrote(at, &operation, written, &saw, seen, policies);
        }
        Ok(local.written)
    }

    fn note_declared(
        &mut self,
        at: usize,
        operation: &Operation,
        local: &LocalWrite,
        seen: &HashSet<ChangeHash>,
    ) {
        let Operation::Declare(schema) = operation else {
            return;
        };
        if schema.delete == Some(DeleteRule::DeleteWins) {
            self.coverage.add(Case::DeleteRule);
        }
        let root = self.peers[at].db.id().root();
        let changes = |document: &DocumentId| *document == root;
        if let Some(made) = made(local, changes) {
            self.declared.wrote(schema, made, seen);
        }
    }

    /// Compares what a write did with the model, and tells the oracle.
    fn note(
        &mut self,
        at: usize,
        operation: &Operation,
        (key, before, open): (&str, Option<Record>, Vec<Conflict>),
        declared: &Collection,
        local: &LocalWrite,
    ) -> Result<(), String> {
        let peer = &self.peers[at];
        let after = peer.db.get(COLLECTION, key);
        if matches!(operation, Operation::Declare(_)) {
            return Ok(());
        }
        let saw = model::Seen {
            record: before.as_ref(),
            open: &open,
            policies: &declared.policies,
        };
        let expected = saw.after(key, operation);
        let json = |record: &Option<Record>| record.as_ref().map(json::record_to_json);
        let undone = match operation {
            Operation::Undo(changes) => self.undos.find(changes).and_then(|it| it.keys.get(key)),
            _ => None,
        };
        if undone.is_none() && json(&after) != json(&expected) {
            return Err(format!(
                "{key} became {after:?}\n  instead of {expected:?}\n  from {before:?}"
            ));
        }
        let named = names(operation, key, &self.undos);
        if let Operation::Settle(_, path, _) = operation
            && named
            && let conflicts = peer.db.conflicts_of(COLLECTION, key)
            && conflicts.iter().any(|open| open.field == *path)
        {
            return Err(format!("{path:?} of {key} is still open: {conflicts:#?}"));
        }
        // An undo can have done nothing to one of its records; else it has cleared what it knew of deletes.
        let open = |kind| {
            let open = peer.db.conflicts_of(COLLECTION, key);
            open.iter().any(|one| one.kind == kind)
        };
        let idle = undone.is_some()
            && before == after
            && (after.is_none() || open(ConflictKind::DeleteLost));
        // Of several records that are put at once, some may be as they were.
        let documents = documents(&peer.db, key);
        if named
            && !idle
            && let Some(made) = made(local, |document| documents.contains(document))
        {
            let wrote = Wrote {
                key,
                operation,
                before: before.as_ref(),
                after: after.as_ref(),
                writers: peer.db.provenance(COLLECTION, key),
                made: Rc::new(made),
                undone,
                declared,
                seen: &peer.seen,
            };
            self.oracle.wrote(&wrote, &mut self.coverage);
        }
        Ok(())
    }

    /// Puts a write's changes on their way to everyone else.
    fn send(&mut self, from: usize, local: &LocalWrite) {
        for (document, change) in &local.changes {
            let chunk = Chunk {
                document: *document,
                hash: change.hash(),
                bytes: change.raw_bytes().into(),
                genesis: change.deps().is_empty(),
            };
            for (to, peer) in self.peers.iter_mut().enumerate() {
                if to != from {
                    peer.inbox.push(chunk.clone());
                }
            }
            self.log.push(chunk);
        }
    }

    /// Some of what is on its way to a peer arrives, all of one document.
    fn deliver(&mut self, at: usize) -> Result<(), String> {
        let rng = &mut self.rng;
        let peer = &mut self.peers[at];
        if rng.chance(50) {
            rng.shuffle(&mut peer.inbox);
        }
        let Some(document) = peer.inbox.first().map(|chunk| chunk.document) else {
            return Ok(());
        };
        let most = 1 + rng.below(6);
        let mut arriving: Vec<Chunk> = Vec::new();
        peer.inbox.retain(|chunk| {
            let arrives = chunk.document == document && arriving.len() < most;
            if arrives {
                arriving.push(chunk.clone());
            }
            !arrives
        });
        if rng.chance(15) {
            let again: Vec<_> = self.log.iter().filter(|c| c.document == document).collect();
            arriving.push((*rng.pick(&again)).clone());
        }
        let place = peer.db.document(&document).is_none();
        if place && !arriving.iter().any(|chunk| chunk.genesis) {
            let genesis = self
                .log
                .iter()
                .find(|c| c.genesis && c.document == document);
            let at = rng.below(arriving.len() + 1);
            arriving.splice(at..at, genesis.cloned());
        }
        self.arrive(at, document, &arriving)
    }

    fn arrive(&mut self, at: usize, document: DocumentId, chunks: &[Chunk]) -> Result<(), String> {
        let hashes: Vec<_> = chunks.iter().map(|chunk| chunk.hash).collect();
        let short: Vec<String> = hashes.iter().map(|h| h.to_string()[..6].into()).collect();
        let line = format!("{at} receives {document}: {}", short.join(" "));
        self.trace.push(line);
        let bytes: Vec<&[u8]> = chunks.iter().map(|chunk| &*chunk.bytes).collect();
        let peer = &mut self.peers[at];
        let distinct: BTreeSet<_> = hashes.iter().collect();
        let again = hashes.iter().any(|hash| peer.seen.contains(hash));
        if again || distinct.len() < hashes.len() {
            self.coverage.add(Case::Duplicate);
        }
        if chunks.len() > 1 {
            self.coverage.add(Case::Batch);
        }
        let nothing_new = hashes.iter().all(|hash| peer.seen.contains(hash));
        let applied = peer.receive(document, &bytes)?;
        if nothing_new && !(applied.changes.is_empty() && applied.events.is_empty()) {
            return Err(format!("what was known already did something: {applied:?}"));
        }
        let waits = |doc: &automerge::Automerge| !doc.get_missing_deps(&[]).is_empty();
        if peer.db.document(&document).is_some_and(waits) {
            self.coverage.add(Case::DependencyLate);
        }
        Ok(())
    }

    /// A whole document of another peer's arrives.
    fn send_whole(&mut self, to: usize) -> Result<(), String> {
        let from = self.rng.below(self.peers.len());
        let document = *self.rng.pick(&self.peers[from].db.documents());
        self.trace
            .push(format!("{to} receives {from}'s {document}"));
        let Some(doc) = self.peers[from].db.document(&document) else {
            return Err(format!("{document} is not where it is listed"));
        };
        let bytes = doc.save();
        self.coverage.add(Case::WholeDocument);
        self.peers[to].receive(document, &[&bytes]).map(drop)
    }

    fn restart(&mut self, at: usize) -> Result<(), String> {
        self.trace.push(format!("{at} restarts"));
        self.coverage.add(Case::Restart);
        let peer = &mut self.peers[at];
        peer.restart(&mut self.rng)?;
        // What waited for its dependencies in memory was not stored; whoever has it sends it again.
        let missing = self.log.iter().filter(|c| !peer.seen.contains(&c.hash));
        peer.inbox = missing.cloned().collect();
        Ok(())
    }

    fn deliver_all(&mut self) -> Result<(), String> {
        for at in 0..self.peers.len() {
            while !self.peers[at].inbox.is_empty() {
                self.deliver(at)?;
            }
        }
        Ok(())
    }

    /// Equal heads must show equal records and have lost the same, to whoever has them and whenever.
    fn remember(&mut self, at: usize) -> Result<(), String> {
        let shown = Shown::of(&self.peers[at].db);
        self.peers[at].check_told(&shown)?;
        self.compare(&format!("peer {at}"), &shown, &self.peers[at].db)?;
        self.shown.insert(self.peers[at].db.heads(), shown);
        self.check_records(at, false)
    }

    fn compare(&self, who: &str, shown: &Shown, db: &Database) -> Result<(), String> {
        match self.shown.get(&db.heads()) {
            Some(before) if before != shown => Err(format!(
                "{who} shows {shown:#?}\n  where the same heads showed {before:#?}"
            )),
            _ => Ok(()),
        }
    }

    fn check(&mut self) -> Result<(), String> {
        let heads = self.peers[0].db.heads();
        for at in 0..self.peers.len() {
            if self.peers[at].db.heads() != heads {
                return Err(format!("peer {at} has other heads than peer 0"));
            }
            let shown = Shown::of(&self.peers[at].db);
            self.peers[at].check_told(&shown)?;
            self.compare(&format!("peer {at}"), &shown, &self.peers[at].db)?;
            self.shown.insert(heads.clone(), shown);
        }
        let at = self.rng.below(self.peers.len());
        self.check_records(at, true)?;
        if self.rng.chance(40) {
            self.deliver_again(at)?;
        }
        let restored = match self.rng.chance(50) {
            true => self.peers[at].restored(&mut self.rng)?,
            false => laws::reordered(&mut self.rng, &self.log)?,
        };
        if restored.heads() != heads {
            return Err("a replica that got the same changes has other heads".into());
        }
        self.compare("a new replica", &Shown::of(&restored), &restored)?;
        if let Ok(parts) = <&[Saved; 3]>::try_from(self.saved.as_slice()) {
            self.coverage.add(Case::Regrouped);
            laws::regrouped(&mut self.rng, parts)?;
        }
        Ok(())
    }

    /// Everything arrives once more, and nothing comes of it.
    fn deliver_again(&mut self, at: usize) -> Result<(), String> {
        let mut all = self.log.clone();
        self.rng.shuffle(&mut all);
        let documents: BTreeSet<DocumentId> = all.iter().map(|chunk| chunk.document).collect();
        for document in documents {
            let chunks: Vec<Chunk> = all
                .iter()
                .filter(|chunk| chunk.document == document)
                .cloned()
                .collect();
            self.arrive(at, document, &chunks)?;
        }
        let shown = Shown::of(&self.peers[at].db);
        self.compare(&format!("peer {at}"), &shown, &self.peers[at].db)
    }

    /// Asks the oracle about what a peer sees; `everything` if it has all changes.
    fn check_records(&mut self, at: usize, everything: bool) -> Result<(), String> {
        let peer = &self.peers[at];
        let declared = collection(&peer.db);
        self.declared.check(&declared, &peer.seen)?;
        for key in self.generator.keys() {
            let sees = Sees {
                record: peer.db.get(COLLECTION, key),
                open: peer.db.conflicts_of(COLLECTION, key),
                writers: peer.db.provenance(COLLECTION, key),
                declared: &declared,
                seen: &peer.seen,
            };
            self.oracle
                .check(key, &sees, everything, &mut self.coverage)?;
        }
        Ok(())
    }
}

/// Whether the operation is about the record of `key`.
fn names(operation: &Operation, key: &str, undos: &Undos) -> bool {
    match operation {
        Operation::Put(records) | Operation::PutKnown(records, _) => records.contains_key(key),
        Operation::Patch(name, _) | Operation::Delete(name) | Operation::Settle(name, ..) => {
            name == key
        }
        Operation::Undo(changes) => {
            let undone = undos.find(changes);
            undone.is_some_and(|undone| undone.keys.contains_key(key))
        }
        Operation::Declare(_) => false,
    }
}

fn collection(db: &Database) -> Collection {
    db.collections()
        .get(COLLECTION)
        .cloned()
        .unwrap_or_default()
}

/// The documents that the record of `key` may be in.
fn documents(db: &Database, key: &str) -> Vec<DocumentId> {
    let document = |count| {
        let partition = Partition {
            collection: COLLECTION.to_owned(),
            count,
            index: Placement::of(key).partition(count),
        };
        partition.document(&db.id())
    };
    collection(db)
        .partitions
        .into_iter()
        .map(document)
        .collect()
}

/// The changes of a write to the documents that `wanted` names, without those that only begin a document.
fn made(local: &LocalWrite, wanted: impl Fn(&DocumentId) -> bool) -> Option<Made> {
    let changes = local.changes.iter();
    let changes: Vec<&(DocumentId, Change)> = changes
        .filter(|(document, change)| wanted(document) && !change.deps().is_empty())
        .collect();
    let stamp = match changes.as_slice() {
        [] => return None,
        [(document, change)] => Some(Stamp {
            document: *document,
            first: change.start_op().get(),
            last: change.max_op(),
            actor: change.actor_id().clone(),
        }),
        _ => None,
    };
    let hashes = changes.iter().map(|(_, change)| change.hash()).collect();
    Some(Made { hashes, stamp })
}

fn write_of(operation: Operation) -> Write {
    Write {
        collection: COLLECTION.to_owned(),
        operation,
        context: WriteContext::default(),
    }
}

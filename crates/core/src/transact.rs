//! Several writes that are made together or not at all, each as of a version that its writer had read.
//!
//! A write as of an earlier version is an edit that is concurrent with what came since: the policies decide between the two as
//! they do between peers, and what loses is in the ledger.

use crate::conflict::{Look, Settlement};
use crate::database::Database;
use crate::document::{Making, made_for};
use crate::edit::{
    MAX_PUT_COST, Patch, WriteContext, WriteError, check_collection, check_key, check_patch,
    check_record, put_cost,
};
use crate::event::{Attribution, Observe};
use crate::genesis::bucket_object;
use crate::id::{DocumentId, Partition, Placement};
use crate::read::{Source, View, maps_under};
use crate::tombstone::same_map;
use crate::typed::Known;
use crate::value::Record;
use crate::write::{Action, LocalWrite, Operation, Steps, Write, Writer, internal};
use automerge::{ActorId, ChangeHash, ReadDoc as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// How many records go into one change.
const LOT: usize = 1_000;

/// Writes that are made together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// What to write; a record can be written once.
    pub writes: Vec<KeyWrite>,
    /// Who writes, and when.
    pub context: WriteContext,
    /// The request that it is made for, by which [`Database::made_for`] finds its changes again.
    pub request: Option<String>,
}

/// A write of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWrite {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: String,
    /// What to do.
    pub change: KeyChange,
    /// The version that its writer had read.
    pub version: Option<Version>,
    /// Whether it fails if the record is not as it was then: without a version, if there is one.
    pub unchanged: bool,
}

/// What to do with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// Makes it equal to this one, creating it if needed.
    Put(Record),
    /// Edits one that is there; it is an error if there is none.
    Patch(Patch),
    /// Edits one if it is there. One that is not, such as one that was deleted meanwhile, stays so.
    PatchIfThere(Patch),
    /// Deletes one that is there. One that is not stays so.
    Delete,
    /// Settles what lost in one of its fields, by a path from the record inwards, or what met a delete if that is empty.
    Settle(Vec<String>, Settlement),
}

/// What a reader of a record had seen: the heads of the documents that may hold it, by partition count. Its text is opaque.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version(BTreeMap<u16, Vec<ChangeHash>>);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::new();
        for (count, heads) in &self.0 {
            bytes.extend(count.to_be_bytes());
            // A document with more heads than that has been written to by as many peers at the same time.
            bytes.extend((heads.len() as u16).to_be_bytes());
            heads.iter().for_each(|head| bytes.extend(head.0));
        }
        write!(f, "v{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// A text that no record had as its version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version; give the one that came with the record, or none")]
pub struct ParseVersionError {
    text: String,
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix('v')?).ok()?;
            let mut rest = bytes.as_slice();
            let mut version = Self::default();
            while !rest.is_empty() {
                let (count, after) = rest.split_first_chunk::<2>()?;
                let (number, after) = after.split_first_chunk::<2>()?;
                let size = 32 * usize::from(u16::from_be_bytes(*number));
                let (heads, after) = after.split_at_checked(size)?;
                let heads = heads.chunks_exact(32).map(ChangeHash::try_from);
                let heads = heads.collect::<Result<Vec<_>, _>>().ok()?;
                let known = version.0.insert(u16::from_be_bytes(*count), heads);
                if known.is_some() {
                    return None;
                }
                rest = after;
            }
            Some(version)
        };
        parse().ok_or_else(|| ParseVersionError {
            text: text.chars().take(64).collect(),
        })
    }
}

/// Steps that become one change of each document.
struct Lot {
    collection: String,
    steps: Steps,
    actor: ActorId,
    seen: Option<BTreeMap<Partition, Vec<ChangeHash>>>,
    /// The records that it changes, as they were.
    pending: Vec<(String, Look)>,
    cost: usize,
}

impl Lot {
    fn new(collection: &str, actor: ActorId) -> Self {
        Self {
            collection: collection.to_owned(),
            steps: Steps::new(),
            actor,
            seen: None,
            pending: Vec::new(),
            cost: 0,
        }
    }
}

impl Database {
    /// What a reader of this record has seen now.
    pub fn version_of(&self, collection: &str, key: &str) -> Version {
        let (partitions, views) = self.views(collection, key);
        let heads = partitions.iter().zip(&views);
        Version(
            heads
                .map(|(partition, view)| (partition.count as u16, view.doc.get_heads()))
                .collect(),
        )
    }

    /// Carries out all writes or, on an error, none; also gives the version of each that its writer has seen after it.
    ///
    /// # Errors
    /// [`WriteError::OneOf`] naming the first write that cannot be done.
    pub fn transact(
        &mut self,
        transaction: &Transaction,
    ) -> Result<(LocalWrite, Vec<Version>), WriteError> {
        let before = self.heads();
        let mut local = LocalWrite::default();
        let lots = self.lots(transaction, &mut local)?;
        for lot in &lots {
            self.check_ops(&lot.collection, &lot.steps)?;
        }
        for lot in lots {
            self.carry_out_lot(transaction, lot, &mut local)?;
        }
        let made = tips(&local.changes);
        let versions = transaction.writes.iter();
        let versions = versions
            .map(|write| self.version_after(write, &before, &made))
            .collect();
        Ok((local, versions))
    }

    /// What its writer has seen after a write, given the heads before and those that the transaction made.
    pub fn version_after(
        &self,
        write: &KeyWrite,
        before: &BTreeMap<DocumentId, Vec<ChangeHash>>,
        made: &BTreeMap<DocumentId, Vec<ChangeHash>>,
    ) -> Version {
        let (partitions, _) = self.views(&write.collection, &write.key);
        let of = |partition: &&Partition| {
            let count = partition.count as u16;
            let id = partition.document(&self.id);
            let read = write.version.as_ref().map(|version| version.0.get(&count));
            let heads = made.get(&id).or(read.unwrap_or_else(|| before.get(&id)))?;
            Some((count, heads.clone()))
        };
        Version(partitions.iter().filter_map(of).collect())
    }

    /// The latest changes that a request made to each document, of those that came after `since`. None if it made none.
    pub fn made_for(
        &self,
        request: &str,
        since: &BTreeMap<DocumentId, Vec<ChangeHash>>,
    ) -> BTreeMap<DocumentId, Vec<ChangeHash>> {
        let mut made = Vec::new();
        for id in self.documents() {
            let Some(doc) = self.document(&id) else {
                continue;
            };
            let since = since.get(&id).map(Vec::as_slice).unwrap_or_default();
            let metas = doc.get_changes_meta(since);
            let own = metas.iter().filter(|change| {
                made_for(change.message.as_deref()).is_some_and(|made| made == request)
            });
            made.extend(own.filter_map(|meta| Some((id, doc.get_change_by_hash(&meta.hash)?))));
        }
        tips(&made)
    }

    fn lots(
        &self,
        transaction: &Transaction,
        local: &mut LocalWrite,
    ) -> Result<Vec<Lot>, WriteError> {
        let mut lots: Vec<Lot> = Vec::new();
        // The lot of each collection that takes what was written as of now.
        let mut open: BTreeMap<&str, Lot> = BTreeMap::new();
        let mut written = BTreeSet::new();
        for (index, write) in transaction.writes.iter().enumerate() {
            let one_of = |source: WriteError| WriteError::OneOf {
                index,
                source: Box::new(source),
            };
            let KeyWrite {
                collection, key, ..
            } = write;
            if !written.insert((collection, key)) {
                return Err(one_of(WriteError::Repeated {
                    collection: collection.clone(),
                    key: key.clone(),
                }));
            }
            let seen = self.seen_earlier(write).map_err(one_of)?;
            if let Some(seen) = seen {
                let mut lot = Lot::new(collection, self.fresh_actor(index));
                lot.seen = Some(seen);
                self.plan_write(write, &mut lot, local).map_err(one_of)?;
                lots.push(lot);
                continue;
            }
            let now = || Lot::new(collection, self.actor.clone());
            let lot = open.entry(collection).or_insert_with(now);
            self.plan_write(write, lot, local).map_err(one_of)?;
            if lot.pending.len() >= LOT || lot.cost >= MAX_PUT_COST / 2 {
                lots.extend(open.remove(collection.as_str()));
            }
        }
        lots.extend(open.into_values());
        lots.retain(|lot| !lot.steps.is_empty());
        Ok(lots)
    }

    fn plan_write(
        &self,
        write: &KeyWrite,
        lot: &mut Lot,
        local: &mut LocalWrite,
    ) -> Result<(), WriteError> {
        let KeyWrite {
            collection, key, ..
        } = write;
        check_collection(collection)?;
        check_key(key)?;
        let writer = Writer {
            actor: &lot.actor,
            seen: lot.seen.as_ref(),
        };
        let steps = &mut lot.steps;
        let planned = match &write.change {
            KeyChange::Put(record) => {
                check_record(key, record)?;
                let record = self.fit_record(collection, record)?;
                lot.cost += put_cost(&record);
                let action = Action::Put(&record, &Known::All);
                self.plan_record(collection, key, action, writer, steps)
            }
            KeyChange::Patch(patch) | KeyChange::PatchIfThere(patch) => {
                let bytes = check_patch(key, patch)?;
                lot.cost += bytes;
                let patch = self.fit_patch(collection, patch)?;
                self.plan_record(collection, key, Action::Patch(&patch), writer, steps)
            }
            KeyChange::Delete => self.plan_record(collection, key, Action::Delete, writer, steps),
            KeyChange::Settle(path, how) => {
                let how = self.fit_settlement(collection, key, path, how)?;
                self.plan_record(collection, key, Action::Settle(path, &how), writer, steps)
            }
        };
        let (before, changed) = match (planned, &write.change) {
            (Err(WriteError::NotFound { .. }), KeyChange::Delete | KeyChange::PatchIfThere(_)) => {
                local.written.unchanged += 1;
                return Ok(());
            }
            (planned, _) => planned?,
        };
        if !changed {
            local.written.unchanged += 1;
            return Ok(());
        }
        match (&write.change, &before.record) {
            (KeyChange::Delete, _) => local.written.deleted += 1,
            (_, None) => local.written.inserted += 1,
            (_, Some(_)) => local.written.updated += 1,
        }
        // Who follows the database is told of what it was, not of what the writer had seen.
        let before = match lot.seen {
            None => before,
            Some(_) => self.look(collection, key),
        };
        lot.pending.push((key.clone(), before));
        Ok(())
    }

    fn carry_out_lot(
        &mut self,
        transaction: &Transaction,
        lot: Lot,
        local: &mut LocalWrite,
    ) -> Result<(), WriteError> {
        let declared = Write {
            collection: lot.collection.clone(),
            operation: Operation::Put(BTreeMap::new()),
            context: transaction.context.clone(),
        };
        self.declare_if_new(&declared, local)?;
        let mut by = None;
        for (partition, steps) in lot.steps {
            let id = partition.document(&self.id);
            self.ensure(&partition).map_err(internal(&lot.collection))?;
            let seen = lot.seen.as_ref().and_then(|seen| seen.get(&partition));
            let making = Making {
                actor: &lot.actor,
                context: &transaction.context,
                undoes: None,
                request: transaction.request.as_deref(),
                seen: seen.map(Vec::as_slice),
            };
            let change = self
                .commit(id, steps, making, local)
                .map_err(internal(&lot.collection))?;
            local
                .written
                .changes
                .extend(change.as_ref().map(|change| (id, change.hash())));
            by = change.as_ref().map(Attribution::of).or(by);
        }
        if self.observe == Observe::Nothing {
            return Ok(());
        }
        for (key, before) in lot.pending {
            let events = &mut local.events;
            self.tell(&lot.collection, &key, before, by.clone(), true, events);
        }
        Ok(())
    }

    /// What the writer had seen of each partition, if the record is not as it was then.
    fn seen_earlier(
        &self,
        write: &KeyWrite,
    ) -> Result<Option<BTreeMap<Partition, Vec<ChangeHash>>>, WriteError> {
        let KeyWrite {
            collection, key, ..
        } = write;
        let changed = || WriteError::Changed {
            collection: collection.clone(),
            key: key.clone(),
        };
        let Some(version) = &write.version else {
            let is_there = || self.get(collection, key).is_some();
            return match write.unchanged && is_there() {
                true => Err(changed()),
                false => Ok(None),
            };
        };
        let (partitions, views) = self.views(collection, key);
        let mut seen = BTreeMap::new();
        for (partition, view) in partitions.iter().zip(&views) {
            let heads = version.0.get(&(partition.count as u16));
            let known = |head: &ChangeHash| view.doc.get_change_meta_by_hash(head).is_some();
            let heads = match heads {
                Some(heads) if !heads.is_empty() && heads.iter().all(known) => heads.clone(),
                None => {
                    // It came into being since then: its writer had seen nothing of it.
                    let document = self.stored(&partition.document(&self.id));
                    document
                        .map(|one| vec![one.genesis.hash()])
                        .unwrap_or_default()
                }
                Some(_) => {
                    return Err(WriteError::UnknownVersion {
                        collection: collection.clone(),
                        key: key.clone(),
                    });
                }
            };
            seen.insert((*partition).clone(), heads);
        }
        let is_same = partitions.iter().zip(&views).all(|(partition, view)| {
            let then = View {
                doc: view.doc,
                at: seen.get(*partition).map(Vec::as_slice),
            };
            is_same(view, &then, key)
        });
        match (is_same, write.unchanged) {
            (true, _) => Ok(None),
            (false, true) => Err(changed()),
            (false, false) => Ok(Some(seen)),
        }
    }

    /// An actor that no change has. An actor's own changes follow each other, which those as of earlier versions do not.
    fn fresh_actor(&self, index: usize) -> ActorId {
        let mut hash = Sha256::new_with_prefix(b"headwater/branch/1\0");
        hash.update(self.actor.to_bytes());
        for heads in self.heads().values().flatten() {
            hash.update(heads.0);
        }
        hash.update((index as u64).to_be_bytes());
        let store = self.actor.to_bytes().iter().take(8).copied();
        let fresh: Vec<u8> = store.chain(hash.finalize().into_iter().take(8)).collect();
        ActorId::from(fresh)
    }
}

/// Whether a record's part in a document is the same at both moments: its edits, and its delete markers.
fn is_same(now: &View<'_>, then: &View<'_>, key: &str) -> bool {
    let bucket = Source {
        rank: 0,
        object: bucket_object(Placement::of(key).bucket()),
    };
    let maps = |view: &View<'_>| maps_under(&[*view], std::slice::from_ref(&bucket), key);
    let here = maps(now);
    let markers = |view: &View<'_>, map: &Source| view.all(&map.object, crate::names::DELETED);
    here == maps(then)
        && here.iter().all(|map| {
            markers(now, map) == markers(then, map) && same_map(now, then, &map.object, 0)
        })
}

/// Of each document the changes that no other of these follows.
fn tips(changes: &[(DocumentId, automerge::Change)]) -> BTreeMap<DocumentId, Vec<ChangeHash>> {
    let followed: BTreeSet<ChangeHash> = changes
        .iter()
        .flat_map(|(_, change)| change.deps().iter().copied())
        .collect();
    let mut tips: BTreeMap<DocumentId, Vec<ChangeHash>> = BTreeMap::new();
    for (id, change) in changes {
        if !followed.contains(&change.hash()) {
            tips.entry(*id).or_default().push(change.hash());
        }
    }
    tips.values_mut().for_each(|hashes| hashes.sort());
    tips
}

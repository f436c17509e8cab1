//! What the writer writes: a document and a chain of edits, made before the clock starts.
//!
//! The same bytes are used against every server, and a change's hash is a digest of its bytes, so a reader knows from
//! the hash alone that it received exactly the edit that was sent.

use anyhow::{Context, Result};
use automerge::{
    ActorId, AutoCommit, Automerge, ChangeHash, ObjType, ROOT, ReadDoc, transaction::Transactable,
};
use std::collections::HashMap;

/// How many records the edits rotate over.
const RECORDS: usize = 64;

/// A document and the edits that follow it, each depending on the one before.
pub struct Edits {
    base: Automerge,
    base_heads: Vec<ChangeHash>,
    changes: Vec<Vec<u8>>,
    hashes: Vec<ChangeHash>,
    index: HashMap<ChangeHash, usize>,
}

impl Edits {
    /// A document of 64 small records, one change each, and `count` edits that each set one field.
    pub fn generate(count: usize) -> Result<Self> {
        let mut document = Automerge::new().with_actor(ActorId::from(*b"headwater-bench!"));
        for record in 0..RECORDS {
            commit(&mut document, |tx| {
                let record = tx.put_object(ROOT, key(record), ObjType::Map)?;
                tx.put(&record, "title", "a record of the benchmark")?;
                tx.put(&record, "value", -1)
            })?;
        }
        let base = document.fork();
        let mut edits = Self {
            base_heads: base.get_heads(),
            base,
            changes: Vec::with_capacity(count),
            hashes: Vec::with_capacity(count),
            index: HashMap::with_capacity(count),
        };
        let mut writer = document;
        for number in 0..count {
            let record = object(&writer, number % RECORDS)?;
            commit(&mut writer, |tx| tx.put(&record, "value", number as i64))?;
            let change = writer
                .get_last_local_change()
                .context("an edit made no change")?;
            edits.index.insert(change.hash(), number);
            edits.hashes.push(change.hash());
            edits.changes.push(change.raw_bytes().to_vec());
        }
        Ok(edits)
    }

    /// How many edits there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The document before the first edit.
    pub fn base(&self) -> &Automerge {
        &self.base
    }

    /// The change chunk of edit `number`, which must be below [`len`](Self::len).
    pub fn chunk(&self, number: usize) -> &[u8] {
        &self.changes[number]
    }

    /// Which edit a change is, by its hash.
    pub fn number(&self, hash: &ChangeHash) -> Option<usize> {
        self.index.get(hash).copied()
    }

    /// Whether a change belongs to the document as it was before the edits.
    pub fn in_base(&self, hash: &ChangeHash) -> bool {
        self.base.get_change_by_hash(hash).is_some()
    }

    /// The heads after the first `count` edits.
    pub fn heads(&self, count: usize) -> Vec<ChangeHash> {
        match count.checked_sub(1) {
            None => self.base_heads.clone(),
            Some(last) => vec![self.hashes[last]],
        }
    }

    /// Says how `document` differs from what it must be after the first `count` edits, or nothing if it is equal in
    /// heads and in content.
    pub fn difference(&self, document: &Automerge, count: usize) -> Option<String> {
        if document.get_heads() != self.heads(count) {
            return Some(format!("its heads are not those of edit {count}"));
        }
        for record in 0..RECORDS {
            // The last of the edits that rotated onto this record.
            let expected = (0..count)
                .rev()
                .take(RECORDS)
                .find(|edit| edit % RECORDS == record);
            let expected = expected.map_or(-1, |edit| edit as i64);
            let found = object(document, record)
                .ok()
                .and_then(|id| document.get(&id, "value").ok().flatten());
            let found = found.and_then(|(value, _)| value.as_i64());
            if found != Some(expected) {
                return Some(format!(
                    "record {record} holds {found:?} instead of {expected}"
                ));
            }
        }
        None
    }
}

/// A document of `records` records of six fields, in one change for each hundred.
pub fn large_document(records: usize) -> Result<Automerge> {
    let mut document = AutoCommit::new();
    for record in 0..records {
        let id = document.put_object(ROOT, key(record), ObjType::Map)?;
        document.put(&id, "title", format!("record number {record}"))?;
        document.put(&id, "count", record as i64)?;
        document.put(&id, "ratio", record as f64 / 7.0)?;
        document.put(&id, "open", record % 3 == 0)?;
        document.put(&id, "place", format!("place {}", record % 97))?;
        document.put(&id, "note", "")?;
        if record % 100 == 99 {
            document.commit();
        }
    }
    Ok(document.document().clone())
}

/// Adds `count` changes of one field each to `document`, as a peer does that works offline.
pub fn work_offline(document: &mut Automerge, count: usize) -> Result<()> {
    for number in 0..count {
        let record = object(document, number % RECORDS)?;
        commit(document, |tx| tx.put(&record, "value", number as i64))?;
    }
    Ok(())
}

fn key(record: usize) -> String {
    format!("record-{record:05}")
}

fn object(document: &Automerge, record: usize) -> Result<automerge::ObjId> {
    let (_, id) = document
        .get(ROOT, key(record))?
        .with_context(|| format!("record {record} is missing"))?;
    Ok(id)
}

fn commit(
    document: &mut Automerge,
    edit: impl FnOnce(
        &mut automerge::transaction::Transaction<'_>,
    ) -> Result<(), automerge::AutomergeError>,
) -> Result<()> {
    document.transact(edit).map_err(|failure| failure.error)?;
    Ok(())
}

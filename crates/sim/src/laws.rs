//! That merging is commutative, associative and idempotent: however changes come together, the same is shown and the
//! same lost.

use crate::peer::{Chunk, ID};
use crate::rng::Rng;
use crate::ruled::resolvers;
use automerge::ActorId;
use headwater_core::{Conflict, Database, DocumentId, Record, Scan, json};
use std::collections::{BTreeMap, BTreeSet};

/// All documents of a peer, as another one gets them.
pub type Saved = Vec<(DocumentId, Vec<u8>)>;

/// What a database shows, and what lost in it, by collection and key.
#[derive(Debug, Default, PartialEq)]
pub struct Shown {
    /// The records.
    pub records: BTreeMap<String, BTreeMap<String, Record>>,
    /// Their canonical JSON.
    json: Vec<String>,
    /// What lost.
    pub open: BTreeMap<String, BTreeMap<String, Vec<Conflict>>>,
}

impl Shown {
    /// Of all collections.
    pub fn of(db: &Database) -> Self {
        let mut shown = Self::default();
        for name in db.collections().keys() {
            let records = shown.records.entry(name.clone()).or_default();
            let open = shown.open.entry(name.clone()).or_default();
            for standing in db.standings(name) {
                if !standing.conflicts.is_empty() {
                    open.insert(standing.key.clone(), standing.conflicts);
                }
                if let Some(record) = standing.record {
                    shown.json.push(json::record_to_json(&record));
                    records.insert(standing.key, record);
                }
            }
        }
        shown
    }
}

/// What lost in a collection, by key.
pub fn ledger(db: &Database, collection: &str) -> BTreeMap<String, Vec<Conflict>> {
    let mut open: BTreeMap<String, Vec<Conflict>> = BTreeMap::new();
    for conflict in db.conflicts(collection, &Scan::default()) {
        open.entry(conflict.key.clone()).or_default().push(conflict);
    }
    open
}

/// All documents of `db`.
pub fn saved(db: &Database) -> Saved {
    let ids = db.documents().into_iter();
    let document = |id| Some((id, db.document(&id)?.save_nocompress()));
    ids.filter_map(document).collect()
}

fn fresh(rng: &mut Rng) -> Result<Database, String> {
    let mut db = Database::new(ID, ActorId::from(rng.bytes())).map_err(|e| e.to_string())?;
    db.resolvers(resolvers());
    Ok(db)
}

fn take(db: &mut Database, document: DocumentId, chunks: &[&[u8]]) -> Result<(), String> {
    let taken = db.apply(document, chunks);
    taken
        .map(drop)
        .map_err(|error| format!("refused honest changes: {error}"))
}

/// A replica that gets all changes in another order and in other batches, some of them twice.
pub fn reordered(rng: &mut Rng, log: &[Chunk]) -> Result<Database, String> {
    let mut db = fresh(rng)?;
    let mut left = log.to_vec();
    rng.shuffle(&mut left);
    // Nobody can place a document without its genesis.
    left.sort_by_key(|chunk| !chunk.genesis);
    let mut documents: Vec<DocumentId> = left.iter().map(|chunk| chunk.document).collect();
    documents.sort_unstable();
    documents.dedup();
    rng.shuffle(&mut documents);
    for document in documents {
        let mut chunks: Vec<&[u8]> = Vec::new();
        for chunk in left.iter().filter(|chunk| chunk.document == document) {
            chunks.push(&chunk.bytes);
            if rng.chance(20) {
                chunks.push(&chunk.bytes);
            }
        }
        let mut rest = chunks.as_slice();
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(1 + rng.below(rest.len().min(8)));
            take(&mut db, document, batch)?;
            rest = more;
        }
    }
    Ok(db)
}

/// Merges what peers had at some time: `(a + b) + c`, and `a + (c + b)` with `b` once more.
pub fn regrouped(rng: &mut Rng, parts: &[Saved; 3]) -> Result<(), String> {
    let merged = |rng: &mut Rng, parts: &[&Saved]| -> Result<Database, String> {
        let mut db = fresh(rng)?;
        for (document, bytes) in parts.iter().copied().flatten() {
            take(&mut db, *document, &[bytes])?;
        }
        Ok(db)
    };
    let [a, b, c] = parts;
    let left = merged(rng, &[a, b, c])?;
    let inner = saved(&merged(rng, &[c, b])?);
    let right = merged(rng, &[a, &inner, b])?;
    if left.heads() != right.heads() {
        let documents: BTreeSet<_> = left.documents().into_iter().collect();
        return Err(format!(
            "merged in another order, {documents:?} have other heads"
        ));
    }
    let (left, right) = (Shown::of(&left), Shown::of(&right));
    match left == right {
        true => Ok(()),
        false => Err(format!(
            "merged {left:#?}\n  and in another order {right:#?}"
        )),
    }
}

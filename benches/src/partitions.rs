//! A collection whose partitions grow in number while its writers are apart: nothing is lost, and what it costs.

use crate::records::{COLLECTION, filled, key, memory, write};
use anyhow::{Context, Result, ensure};
use automerge::ActorId;
use headwater_core::{CollectionSchema, Database, Edit, Operation, Patch, Record, Value};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// The partitions at the end.
const PARTITIONS: u32 = 8;
/// Of so many edits of a peer, one creates a record.
const CREATES: usize = 10;

/// What it cost.
#[derive(Debug, Serialize)]
pub struct Partitions {
    /// Edits of records that were there, of two fields each.
    pub edits: usize,
    /// Records in the end.
    pub records: usize,
    /// Making them on both peers, in memory.
    pub seconds_to_make: f64,
    /// Taking in what the other did, on both peers.
    pub seconds_to_merge: f64,
    /// Of one peer's documents, saved as a whole.
    pub bytes_saved: usize,
    /// Of both peers in one process.
    pub resident_bytes: u64,
}

/// What each record has to be.
type Expected = BTreeMap<String, Record>;

/// Two peers, offline from each other, edit the same records; half way both declare more partitions. Fails if, once they
/// have met, any edit or record of either is missing, or they differ.
pub fn run(edits: usize, records: usize) -> Result<Partitions> {
    let mut first = filled(5, records, CollectionSchema::new())?;
    let mut second = Database::new(first.id(), ActorId::from([6; 16]))?;
    take_in(&mut second, &first)?;
    let mut expected = Expected::new();
    for n in 0..records {
        let record = first.get(COLLECTION, &key(n));
        expected.insert(key(n), record.context("a record is gone")?);
    }
    let begun = Instant::now();
    let mut made = 0;
    for n in 0..edits {
        if n == edits / 2 {
            for peer in [&mut first, &mut second] {
                let more = CollectionSchema::new().partitions(PARTITIONS);
                write(peer, Operation::Declare(more))?;
            }
        }
        let (peer, other) = match n % 2 {
            0 => (&mut first, "first"),
            _ => (&mut second, "second"),
        };
        let turn = n / 2;
        if turn % CREATES == 0 {
            create(peer, other, n, &mut expected)?;
        } else {
            edit(peer, other, key(turn % records), n, &mut expected)?;
            made += 1;
        }
    }
    let seconds_to_make = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    take_in(&mut first, &second)?;
    take_in(&mut second, &first)?;
    let seconds_to_merge = begun.elapsed().as_secs_f64();
    ensure!(first.heads() == second.heads(), "the peers differ");
    check(&first, &expected)?;
    check(&second, &expected)?;
    let documents = first.documents().into_iter();
    let saved = documents.filter_map(|id| Some(first.document(&id)?.save().len()));
    Ok(Partitions {
        edits: made,
        records: expected.len(),
        seconds_to_make,
        seconds_to_merge,
        bytes_saved: saved.sum(),
        resident_bytes: memory("VmRSS")?,
    })
}

fn create(peer: &mut Database, name: &str, n: usize, expected: &mut Expected) -> Result<()> {
    // Both create the same key in their turns, each with a field of its own.
    let key = format!("new-{}", n / 2);
    let record = Record::from([(name.to_owned(), int(n))]);
    write(peer, Operation::Put([(key.clone(), record.clone())].into()))?;
    expected.entry(key).or_default().extend(record);
    Ok(())
}

/// Sets a field that only this peer writes, and counts in one that both do.
fn edit(
    peer: &mut Database,
    name: &str,
    key: String,
    n: usize,
    expected: &mut Expected,
) -> Result<()> {
    let patch = Patch::from([
        (name.to_owned(), Edit::Set(int(n))),
        ("edits".to_owned(), Edit::Increment(1)),
    ]);
    write(peer, Operation::Patch(key.clone(), patch))?;
    let record = expected.entry(key).or_default();
    record.insert(name.to_owned(), int(n));
    let count = record.get("edits").and_then(Value::as_int);
    record.insert("edits".to_owned(), Value::Counter(count.unwrap_or(0) + 1));
    Ok(())
}

fn int(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap_or_default())
}

/// Everything that `other` has, as a peer that meets it gets it.
fn take_in(peer: &mut Database, other: &Database) -> Result<()> {
    for id in other.documents() {
        let document = other.document(&id).context("a document is gone")?;
        peer.apply(id, &[&document.save()])?;
    }
    Ok(())
}

fn check(peer: &Database, expected: &Expected) -> Result<()> {
    let found: Expected = peer
        .scan(COLLECTION, &Default::default())
        .into_iter()
        .collect();
    for (key, record) in expected {
        let found = found.get(key);
        ensure!(
            found == Some(record),
            "{key} should be {record:?} and is {found:?}"
        );
    }
    ensure!(
        found.len() == expected.len(),
        "there are records that no one wrote"
    );
    let counts = &peer.collections()[COLLECTION].partitions;
    ensure!(
        counts.contains(&PARTITIONS),
        "the partitions did not grow: {counts:?}"
    );
    Ok(())
}

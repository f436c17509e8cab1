//! What a long history costs: many edits of few records.

use crate::records::{COLLECTION, filled, key, memory, write};
use anyhow::{Context, Result, ensure};
use automerge::ActorId;
use headwater_core::{CollectionSchema, Database, DocumentId, Edit, Operation, Patch, Value};
use serde::Serialize;
use std::time::Instant;

/// What many edits of few records cost.
#[derive(Debug, Serialize)]
pub struct Growth {
    /// Edits of one field each.
    pub edits: usize,
    /// Records that they are spread over.
    pub records: usize,
    /// Making them, in memory.
    pub seconds_to_make: f64,
    /// That many in a second.
    pub edits_a_second: f64,
    /// Of the changes, as they are stored and sent one by one.
    pub bytes_of_changes: usize,
    /// Of the documents, saved as a whole.
    pub bytes_saved: usize,
    /// The same, for each edit.
    pub bytes_saved_an_edit: f64,
    /// Memory before the edits; the process also holds what it measures with.
    pub resident_bytes_before: u64,
    /// After them.
    pub resident_bytes_after: u64,
    /// Reading the saved documents.
    pub seconds_to_load: f64,
    /// One more edit at the end.
    pub microseconds_to_edit: f64,
    /// Reading one record at the end.
    pub microseconds_to_read: f64,
}

/// Makes the edits, and gives what they cost with the database that they made.
pub fn run(edits: usize, records: usize) -> Result<(Growth, Database)> {
    let mut database = filled(3, records, CollectionSchema::new())?;
    let before = memory("VmRSS")?;
    let begun = Instant::now();
    let mut bytes_of_changes = 0;
    for n in 0..edits {
        bytes_of_changes += write(&mut database, edit(n, records))?;
        if (n + 1) % 50_000 == 0 {
            eprintln!(
                "{} of {edits} edits, {:.0} s",
                n + 1,
                begun.elapsed().as_secs_f64()
            );
        }
    }
    let seconds_to_make = begun.elapsed().as_secs_f64();
    let resident_bytes_after = memory("VmRSS")?;
    let last = Instant::now();
    write(&mut database, edit(edits, records))?;
    let microseconds_to_edit = last.elapsed().as_secs_f64() * 1e6;
    let read = Instant::now();
    database
        .get(COLLECTION, &key(0))
        .context("a record is gone")?;
    let microseconds_to_read = read.elapsed().as_secs_f64() * 1e6;

    let ids = database.documents();
    let saved: Vec<(DocumentId, Vec<Vec<u8>>)> = ids
        .into_iter()
        .filter_map(|id| Some((id, vec![database.document(&id)?.save()])))
        .collect();
    let bytes_saved = saved
        .iter()
        .flat_map(|(_, chunks)| chunks)
        .map(Vec::len)
        .sum();
    let loading = Instant::now();
    let (loaded, damaged) = Database::restore(database.id(), ActorId::from([9; 16]), saved)?;
    let seconds_to_load = loading.elapsed().as_secs_f64();
    ensure!(damaged.is_empty(), "{damaged:?}");
    ensure!(
        loaded.heads() == database.heads(),
        "it loaded something else"
    );
    let growth = Growth {
        edits,
        records,
        seconds_to_make,
        edits_a_second: edits as f64 / seconds_to_make,
        bytes_of_changes,
        bytes_saved,
        bytes_saved_an_edit: bytes_saved as f64 / edits as f64,
        resident_bytes_before: before,
        resident_bytes_after,
        seconds_to_load,
        microseconds_to_edit,
        microseconds_to_read,
    };
    Ok((growth, database))
}

/// Sets one field of one record, the records in turn.
fn edit(n: usize, records: usize) -> Operation {
    let value = Value::Int(i64::try_from(n).unwrap_or_default());
    let patch = Patch::from([("best".to_owned(), Edit::Set(value))]);
    Operation::Patch(key(n % records), patch)
}

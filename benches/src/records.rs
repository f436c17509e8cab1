//! Records and databases to measure, in memory.

use anyhow::{Context, Result};
use automerge::ActorId;
use headwater::storage::framing::{self, Kind};
use headwater::storage::{Batch, keys};
use headwater_core::{
    CollectionSchema, Database, DatabaseId, Operation, Record, Value, Write, WriteContext,
};
use std::collections::BTreeMap;

/// The collection that they are in.
pub const COLLECTION: &str = "records";

/// An empty database.
pub fn database(seed: u8) -> Result<Database> {
    let id = DatabaseId::from_bytes([seed; 16]);
    Ok(Database::new(id, ActorId::from([seed; 16]))?)
}

/// Writes, and gives the bytes of the changes.
pub fn write(database: &mut Database, operation: Operation) -> Result<usize> {
    let local = database.write(Write {
        collection: COLLECTION.to_owned(),
        operation,
        context: WriteContext {
            origin: Some("bench".to_owned()),
            user: None,
            at: 1_700_000_000_000,
        },
    })?;
    let bytes = local
        .changes
        .iter()
        .map(|(_, change)| change.raw_bytes().len());
    Ok(bytes.sum())
}

/// The `n`th record, of six fields.
pub fn record(n: usize) -> Record {
    let n = i64::try_from(n).unwrap_or_default();
    let text = |what: &str| Value::String(format!("{what} number {n}"));
    Record::from([
        ("title".to_owned(), text("title")),
        ("city".to_owned(), text("city")),
        ("best".to_owned(), Value::Int(n)),
        ("least".to_owned(), Value::Float(n as f64 / 8.0)),
        ("open".to_owned(), Value::Bool(n % 2 == 0)),
        ("at".to_owned(), Value::Timestamp(n)),
    ])
}

/// The `n`th key.
pub fn key(n: usize) -> String {
    format!("record-{n}")
}

/// A database of one partition with so many records.
pub fn filled(seed: u8, records: usize, schema: CollectionSchema) -> Result<Database> {
    let mut database = database(seed)?;
    write(&mut database, Operation::Declare(schema.partitions(1)))?;
    fill(&mut database, records)?;
    Ok(database)
}

/// Writes so many records, a thousand at a time.
pub fn fill(database: &mut Database, records: usize) -> Result<()> {
    let all: Vec<usize> = (0..records).collect();
    for some in all.chunks(1000) {
        let records: BTreeMap<_, _> = some.iter().map(|n| (key(*n), record(*n))).collect();
        write(database, Operation::Put(records))?;
    }
    Ok(())
}

/// What a store keeps of a database whose documents it has compacted: each of them as a whole.
pub fn saved(database: &Database) -> Result<Batch> {
    let mut batch = Batch::default();
    for id in database.documents() {
        let document = database.document(&id).context("a document is gone")?;
        let member = framing::encode(Kind::Metadata, &[]);
        let saved = framing::encode(Kind::Snapshot, &document.save());
        batch = batch
            .put(keys::member(database.id(), id), member)
            .put(keys::snapshot(&id, &document.get_heads()), saved);
    }
    Ok(batch)
}

/// Bytes of this process by a name of `/proc/self/status`: `VmRSS` now, `VmHWM` at most.
pub fn memory(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib = kib.with_context(|| format!("no {name} in /proc/self/status"))?;
    Ok(kib.parse::<u64>()? * 1024)
}

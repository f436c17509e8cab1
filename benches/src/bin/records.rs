//! What records cost without any network: resolving them, and what their history grows to.
//!
//! `cargo run --release -p headwater-bench --bin records -- resolve` compares reading records under policies with reading the same
//! maps by automerge alone; `-- growth` makes many edits of few records.

use anyhow::{Context, Result, ensure};
use automerge::{ActorId, Automerge, ObjId, ROOT, ReadDoc as _, ScalarValue, hydrate};
use clap::{Parser, Subcommand};
use headwater_bench::machine::Machine;
use headwater_core::{
    CollectionSchema, Database, DatabaseId, DocumentId, Edit, Operation, Patch, Policy, Record,
    Scan, Value, Write, WriteContext,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Measures records without a network.
#[derive(Parser)]
#[command(name = "records")]
struct Options {
    #[command(subcommand)]
    what: What,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Read records that hold no conflict: by automerge alone, without policies, and with one on every other field.
    Resolve {
        /// Records of six fields.
        #[arg(long, default_value_t = 10_000)]
        records: usize,
        /// How often all of them are read in each way, in turn.
        #[arg(long, default_value_t = 15)]
        rounds: usize,
        /// Fail if policies cost more than this times what reading plainly does.
        #[arg(long)]
        at_most: Option<f64>,
    },
    /// Edit few records many times.
    Growth {
        /// Edits of one field each.
        #[arg(long, default_value_t = 1_000_000)]
        edits: usize,
        /// Records that they are spread over.
        #[arg(long, default_value_t = 1_000)]
        records: usize,
    },
}

fn main() -> Result<()> {
    let options = Options::parse();
    let machine = Machine::describe(&std::env::temp_dir())?;
    if !options.json {
        println!(
            "{}, {} cores, Linux {}, load {}",
            machine.processor, machine.cores, machine.kernel, machine.load
        );
    }
    match options.what {
        What::Resolve {
            records,
            rounds,
            at_most,
        } => {
            let found = resolve(records, rounds)?;
            print(&found, options.json)?;
            let ratio = found.policies_us / found.plain_us;
            let limit = at_most.unwrap_or(f64::INFINITY);
            ensure!(
                ratio <= limit,
                "policies cost {ratio:.2} times what reading plainly does, more than {limit}"
            );
        }
        What::Growth { edits, records } => print(&growth(edits, records)?, options.json)?,
    }
    Ok(())
}

fn print(found: &impl Serialize, json: bool) -> Result<()> {
    let value = serde_json::to_value(found)?;
    if json {
        println!("{value}");
        return Ok(());
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        println!("{:>36}  {value}", name.replace('_', " "));
    }
    Ok(())
}

/// Microseconds a record, the median over all rounds.
#[derive(Serialize)]
struct Resolve {
    records: usize,
    /// By automerge alone, into the same values.
    automerge_us: f64,
    /// As the records of a collection that declares nothing.
    plain_us: f64,
    /// As the records of a collection with a policy on every other field.
    policies_us: f64,
}

fn database(seed: u8) -> Result<Database> {
    let id = DatabaseId::from_bytes([seed; 16]);
    Ok(Database::new(id, ActorId::from([seed; 16]))?)
}

fn write(database: &mut Database, operation: Operation) -> Result<usize> {
    let local = database.write(Write {
        collection: "records".to_owned(),
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

fn record(n: usize) -> Record {
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

fn key(n: usize) -> String {
    format!("record-{n}")
}

fn filled(seed: u8, records: usize, schema: CollectionSchema) -> Result<Database> {
    let mut database = database(seed)?;
    write(&mut database, Operation::Declare(schema.partitions(1)))?;
    let all: Vec<usize> = (0..records).collect();
    for some in all.chunks(1000) {
        let records: BTreeMap<_, _> = some.iter().map(|n| (key(*n), record(*n))).collect();
        write(&mut database, Operation::Put(records))?;
    }
    Ok(database)
}

fn resolve(records: usize, rounds: usize) -> Result<Resolve> {
    let custom = Policy::Custom {
        name: "unused".to_owned(),
        version: 1,
    };
    let schema = CollectionSchema::new()
        .policy("best", Policy::Max)
        .policy("least", Policy::Min)
        .policy("city", custom);
    let plain = filled(1, records, CollectionSchema::new())?;
    let policies = filled(2, records, schema)?;
    let mut document = Automerge::new();
    let objects = alone(&mut document, records)?;
    let (mut by_automerge, mut by_plain, mut by_policies) = (vec![], vec![], vec![]);
    for _ in 0..rounds.max(1) {
        by_automerge.push(timed(records, || {
            objects
                .iter()
                .map(|object| read(&document, object).len())
                .sum()
        }));
        for (database, times) in [(&plain, &mut by_plain), (&policies, &mut by_policies)] {
            times.push(timed(records, || {
                let all = database.scan("records", &Scan::default());
                all.iter().map(|(_, record)| record.len()).sum()
            }));
        }
    }
    Ok(Resolve {
        records,
        automerge_us: median(by_automerge),
        plain_us: median(by_plain),
        policies_us: median(by_policies),
    })
}

/// The same records as maps of a plain document.
fn alone(document: &mut Automerge, records: usize) -> Result<Vec<ObjId>> {
    use automerge::transaction::Transactable as _;
    let mut transaction = document.transaction();
    let mut objects = Vec::new();
    for n in 0..records {
        let fields = record(n).into_iter().filter_map(|(name, value)| {
            let scalar = match value {
                Value::String(text) => ScalarValue::from(text.as_str()),
                Value::Int(n) => ScalarValue::from(n),
                Value::Float(f) => ScalarValue::from(f),
                Value::Bool(b) => ScalarValue::from(b),
                Value::Timestamp(at) => ScalarValue::Timestamp(at),
                _ => return None,
            };
            Some((name, hydrate::Value::Scalar(scalar)))
        });
        let map: std::collections::HashMap<_, _> = fields.collect();
        let map = hydrate::Value::Map(map.into());
        objects.push(transaction.batch_create_object(ROOT, key(n), &map, false)?);
    }
    transaction.commit();
    Ok(objects)
}

fn read(document: &Automerge, object: &ObjId) -> BTreeMap<String, ScalarValue> {
    let range = document.map_range(object, ..);
    range
        .filter_map(|item| match item.value.into_value() {
            automerge::Value::Scalar(scalar) => Some((item.key.into_owned(), scalar.into_owned())),
            automerge::Value::Object(_) => None,
        })
        .collect()
}

/// Microseconds for each of `records`.
fn timed(records: usize, work: impl FnOnce() -> usize) -> f64 {
    let begun = Instant::now();
    let fields = std::hint::black_box(work());
    let elapsed = begun.elapsed().as_secs_f64() * 1e6;
    assert_eq!(fields, records * 6, "every field was read");
    elapsed / records as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What many edits of few records cost.
#[derive(Serialize)]
struct Growth {
    edits: usize,
    records: usize,
    seconds_to_make: f64,
    edits_a_second: f64,
    /// Of the changes, as they are stored and sent one by one.
    bytes_of_changes: usize,
    /// Of the documents, saved as a whole.
    bytes_saved: usize,
    bytes_saved_an_edit: f64,
    /// Before and after the edits; the process also holds what it measures with.
    resident_bytes_before: u64,
    resident_bytes_after: u64,
    seconds_to_load: f64,
    /// One more edit at the end.
    microseconds_to_edit: f64,
    /// Reading one record at the end.
    microseconds_to_read: f64,
}

fn growth(edits: usize, records: usize) -> Result<Growth> {
    let mut database = filled(3, records, CollectionSchema::new())?;
    let before = resident()?;
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
    let resident_bytes_after = resident()?;
    let last = Instant::now();
    write(&mut database, edit(edits, records))?;
    let microseconds_to_edit = last.elapsed().as_secs_f64() * 1e6;
    let read = Instant::now();
    database
        .get("records", &key(0))
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
    Ok(Growth {
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
    })
}

/// Sets one field of one record, the records in turn.
fn edit(n: usize, records: usize) -> Operation {
    let value = Value::Int(i64::try_from(n).unwrap_or_default());
    let patch = Patch::from([("best".to_owned(), Edit::Set(value))]);
    Operation::Patch(key(n % records), patch)
}

fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib
        .context("no VmRSS in /proc/self/status")?
        .parse::<u64>()?
        * 1024)
}

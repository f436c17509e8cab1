//! What records cost: resolving them, and what their history grows to.
//!
//! `cargo run --release -p headwater-bench --bin records -- resolve` compares reading records under policies with reading the same
//! document by automerge alone; `-- growth` makes many edits of few records and syncs them with a new peer; `-- partitions` makes
//! them on two peers that are offline, while the collection's partitions grow.

use anyhow::{Context, Result, ensure};
use automerge::{Automerge, ObjId, ROOT, ReadDoc as _, ScalarValueRef, ValueRef};
use clap::{Parser, Subcommand};
use headwater_bench::machine::Machine;
use headwater_bench::records::{COLLECTION, filled, key};
use headwater_bench::server::Programs;
use headwater_bench::{growth, newcomer, partitions};
use headwater_core::{CollectionSchema, Database, DatabaseId, Policy, Record, Scan, Value};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Measures records.
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
        /// Fail if policies cost more than this times what automerge alone does.
        #[arg(long)]
        at_most: Option<f64>,
    },
    /// Edit few records many times, then sync a new peer with a server that has them.
    Growth {
        /// Edits of one field each.
        #[arg(long, default_value_t = 1_000_000)]
        edits: usize,
        /// Records that they are spread over.
        #[arg(long, default_value_t = 1_000)]
        records: usize,
        /// The `headwater` program; the one next to this program if it is not given.
        #[arg(long)]
        headwater: Option<PathBuf>,
    },
    /// Edit few records many times on two peers that are offline, which both let one partition grow to eight half way.
    Partitions {
        /// Edits of two fields each.
        #[arg(long, default_value_t = 1_000_000)]
        edits: usize,
        /// Records that they are spread over.
        #[arg(long, default_value_t = 1_000)]
        records: usize,
    },
    /// Be the new peer that `growth` starts.
    #[command(hide = true)]
    Newcomer {
        url: String,
        database: DatabaseId,
        key: String,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if let What::Newcomer { url, database, key } = &options.what {
        return print(&newcomer::sync(url, *database, key).await?, true);
    }
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
            let ratio = found.ratio();
            ensure!(
                at_most.is_none_or(|limit| ratio <= limit),
                "policies cost {ratio:.2} times what automerge alone does"
            );
        }
        What::Growth {
            edits,
            records,
            headwater,
        } => {
            let (found, database) = growth::run(edits, records)?;
            print(&found, options.json)?;
            let own = std::env::current_exe()?;
            let programs = Programs {
                headwater: headwater.unwrap_or_else(|| own.with_file_name("headwater")),
                samod: own.with_file_name("samod-server"),
                data: std::env::temp_dir(),
            };
            let found = newcomer::run(&database, &key(0), &programs).await?;
            print(&found, options.json)?;
        }
        What::Partitions { edits, records } => {
            print(&partitions::run(edits, records)?, options.json)?;
        }
        What::Newcomer { .. } => {}
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

/// Microseconds a record in the fastest round, since whatever else runs only adds.
#[derive(Serialize)]
struct Resolve {
    records: usize,
    /// All records in the order of their keys, read out of the same document by automerge alone.
    scan_automerge_us: f64,
    /// As those of a collection that declares nothing.
    scan_plain_us: f64,
    /// As those of a collection with a policy on every other field.
    scan_policies_us: f64,
    /// One record by its key, in the same three ways.
    get_automerge_us: f64,
    get_plain_us: f64,
    get_policies_us: f64,
}

impl Resolve {
    /// What policies cost in proportion to automerge alone: the more of both ways to read.
    fn ratio(&self) -> f64 {
        let scan = self.scan_policies_us / self.scan_automerge_us;
        scan.max(self.get_policies_us / self.get_automerge_us)
    }
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
    let partition = plain.documents().into_iter().nth(1);
    let document = partition.and_then(|id| plain.document(&id));
    let alone = Alone::new(document.context("the records have no document")?, records)?;
    let of_database = |database: &Database| Times {
        scan: timed(records, || {
            fields(&database.scan(COLLECTION, &Scan::default()))
        }),
        get: timed(records, || {
            let keys = alone.places.iter().map(|(key, _)| key);
            keys.filter_map(|key| database.get(COLLECTION, key))
                .map(|record| record.len())
                .sum()
        }),
    };
    let mut times: [Vec<Times>; 3] = Default::default();
    for _ in 0..rounds.max(1) {
        times[0].push(Times {
            scan: timed(records, || fields(&alone.scan())),
            get: timed(records, || alone.get_all().map(|record| record.len()).sum()),
        });
        times[1].push(of_database(&plain));
        times[2].push(of_database(&policies));
    }
    let scan = |way: usize| least(times[way].iter().map(|time| time.scan));
    let get = |way: usize| least(times[way].iter().map(|time| time.get));
    Ok(Resolve {
        records,
        scan_automerge_us: scan(0),
        scan_plain_us: scan(1),
        scan_policies_us: scan(2),
        get_automerge_us: get(0),
        get_plain_us: get(1),
        get_policies_us: get(2),
    })
}

/// Microseconds a record.
struct Times {
    scan: f64,
    get: f64,
}

/// The records of a partition's document for who reads it by automerge alone, and knows in which map each key is.
struct Alone<'a> {
    document: &'a Automerge,
    maps: Vec<ObjId>,
    /// Every key, with the index of its map.
    places: Vec<(String, usize)>,
}

impl<'a> Alone<'a> {
    fn new(document: &'a Automerge, records: usize) -> Result<Self> {
        let (_, all) = document.get(ROOT, "records")?.context("no records")?;
        let maps: Vec<ObjId> = document.map_range(&all, ..).map(|item| item.id()).collect();
        let mut places = Vec::new();
        for n in 0..records {
            let holds = |map: &ObjId| matches!(document.get(map, key(n)), Ok(Some(_)));
            let map = maps.iter().position(holds).context("a record is gone")?;
            places.push((key(n), map));
        }
        Ok(Self {
            document,
            maps,
            places,
        })
    }

    fn scan(&self) -> Vec<(String, Record)> {
        let mut all = Vec::new();
        for map in &self.maps {
            for item in self.document.map_range(map, ..) {
                let record = self.read(&item.id());
                all.push((item.key.into_owned(), record));
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn get_all(&self) -> impl Iterator<Item = Record> {
        self.places.iter().filter_map(|(key, map)| {
            let (_, object) = self.document.get(&self.maps[*map], key.as_str()).ok()??;
            Some(self.read(&object))
        })
    }

    fn read(&self, object: &ObjId) -> Record {
        let fields = self.document.map_range(object, ..).filter_map(|item| {
            let value = match item.value {
                ValueRef::Scalar(ScalarValueRef::Str(text)) => Value::String(text.into_owned()),
                ValueRef::Scalar(ScalarValueRef::Int(n)) => Value::Int(n),
                ValueRef::Scalar(ScalarValueRef::F64(f)) => Value::Float(f),
                ValueRef::Scalar(ScalarValueRef::Boolean(b)) => Value::Bool(b),
                ValueRef::Scalar(ScalarValueRef::Timestamp(at)) => Value::Timestamp(at),
                _ => return None,
            };
            Some((item.key.into_owned(), value))
        });
        fields.collect()
    }
}

fn fields(records: &[(String, Record)]) -> usize {
    records.iter().map(|(_, record)| record.len()).sum()
}

/// Microseconds for each of `records`.
fn timed(records: usize, work: impl FnOnce() -> usize) -> f64 {
    let begun = Instant::now();
    let fields = std::hint::black_box(work());
    let elapsed = begun.elapsed().as_secs_f64() * 1e6;
    assert_eq!(fields, records * 6, "every field was read");
    elapsed / records as f64
}

fn least(times: impl Iterator<Item = f64>) -> f64 {
    times.fold(f64::INFINITY, f64::min)
}

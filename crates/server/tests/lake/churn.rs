//! Readers while everything changes all the time: each answer is one state that was published, row for row.

use crate::select;
use headwater_core::{DatabaseId, Record, Value};
use headwater_materialize::{Lake, RowChange};
use headwater_server::drill::RunningDrill;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// With texts of 3 KiB each these are more than 64 parts.
const ROWS: i64 = 9_600;
const PARTS: usize = 64;
/// So many rows, all over the table, change with each publication.
const CHANGED: i64 = 16;

/// A row: its key's number and what it shows.
type Row = (i64, i64);

/// The hash of each state that was or is about to be published: of its rows, in their order.
#[derive(Default)]
struct Published {
    hashes: Mutex<BTreeMap<u64, u64>>,
    last: AtomicU64,
}

/// FNV-1a.
fn hash(rows: impl IntoIterator<Item = Row>) -> u64 {
    let numbers = rows.into_iter().flat_map(|(key, n)| [key, n]);
    let bytes = numbers.flat_map(i64::to_le_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

impl Published {
    fn note(&self, number: u64, rows: &BTreeMap<i64, i64>) {
        let hash = hash(rows.iter().map(|(key, n)| (*key, *n)));
        self.hashes.lock().unwrap().insert(hash, number);
    }

    /// Rows in any order are a state that was there since the reader began.
    fn check(&self, since: u64, mut rows: Vec<Row>, reader: &str) {
        rows.sort_unstable();
        let count = rows.len();
        let state = self.hashes.lock().unwrap().get(&hash(rows)).copied();
        let state = state
            .unwrap_or_else(|| panic!("{reader}: {count} rows that were never published together"));
        assert!(
            state >= since,
            "{reader}: state {state} after {since} was published"
        );
    }
}

fn change(key: i64, n: Option<i64>) -> RowChange {
    let record = n.map(|n| {
        Record::from([
            ("n".to_owned(), n.into()),
            ("text".to_owned(), format!("{key:06}").repeat(512).into()),
            (
                "inner".to_owned(),
                Value::Map(Record::from([("n".to_owned(), n.into())])),
            ),
        ])
    });
    RowChange {
        database: DatabaseId::from_bytes([(key % 3) as u8; 16]),
        collection: "churn".to_owned(),
        key: format!("{key:06}"),
        record,
        by: None,
    }
}

/// Publishes at full speed until told to stop: rows all over change, come and go.
fn publish(
    lake: &mut Lake,
    rows: &mut BTreeMap<i64, i64>,
    published: &Published,
    stop: &AtomicBool,
) -> u64 {
    let mut state = published.last.load(Ordering::SeqCst);
    while !stop.load(Ordering::SeqCst) {
        state += 1;
        for step in 0..CHANGED {
            let key = (step * (ROWS / CHANGED) + state as i64 * 7) % ROWS;
            let n = (step % 7 != 0 || !rows.contains_key(&key)).then_some(state as i64);
            match n {
                Some(n) => rows.insert(key, n),
                None => rows.remove(&key),
            };
            lake.apply(change(key, n));
        }
        published.note(state, rows);
        lake.publish().unwrap();
        published.last.store(state, Ordering::SeqCst);
    }
    state
}

/// The files that the view names now.
fn files(root: &Path, table: &str) -> Vec<PathBuf> {
    fn below(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in
            fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            match name.starts_with('.') {
                true => {}
                false if path.is_dir() => below(&path, files),
                false => files.push(path),
            }
        }
    }
    let view: Json =
        serde_json::from_slice(&fs::read(root.join(format!("{table}.view.drill"))).unwrap())
            .unwrap();
    let sql = view["sql"].as_str().unwrap();
    let (_, rest) = sql.split_once("FROM table(`headwater`.`").unwrap();
    let mut files = Vec::new();
    below(&root.join(rest.split('`').next().unwrap()), &mut files);
    files
}

/// Reads the table from its files, as Drill does.
fn read(root: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in files(root, "churn") {
        let text =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for line in text.lines() {
            // A text is most of a line, and says nothing here.
            let number = |name: &str| {
                let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
                let end = rest.find([',', '}'])?;
                rest[..end].trim_matches('"').parse::<i64>().ok()
            };
            if let (Some(key), Some(n)) = (number("_key"), number("n")) {
                rows.push((key, n));
            }
        }
    }
    rows
}

/// What Drill answers, by whichever way of reading all rows.
fn query(drill: &RunningDrill, number: usize) -> Vec<Row> {
    let sql = match number % 3 {
        0 => "SELECT `_key`, n, t.`inner`.n m FROM headwater.churn t",
        1 => "SELECT `_key`, n, t.`inner`.n m FROM headwater.churn t ORDER BY n, `_key`",
        _ => "SELECT `_key`, max(n), min(t.`inner`.n) m FROM headwater.churn t GROUP BY `_key`",
    };
    let row = |row: Vec<Value>| {
        let [Value::String(key), Value::Int(n), Value::Int(m)] = &row[..] else {
            panic!("{row:?}")
        };
        assert_eq!(n, m, "a row of two states");
        (key.parse().unwrap(), *n)
    };
    select(drill, sql).into_iter().map(row).collect()
}

pub fn each_answer_is_one_published_state(drill: &RunningDrill, lake: &mut Lake, root: &Path) {
    let (queries, reads, limit) = match super::full() {
        true => (300, 10_000, Duration::from_secs(3_600)),
        false => (30, 300, Duration::from_secs(60)),
    };
    let mut rows: BTreeMap<i64, i64> = (0..ROWS).map(|key| (key, 0)).collect();
    rows.iter()
        .for_each(|(key, n)| lake.apply(change(*key, Some(*n))));
    let published = Published::default();
    published.note(0, &rows);
    lake.publish().unwrap();
    assert!(
        files(root, "churn").len() >= PARTS,
        "{} parts",
        files(root, "churn").len()
    );

    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let check = |count: usize, reader: &str, answer: &dyn Fn(usize) -> Vec<Row>| {
        for number in 0..count {
            let since = published.last.load(Ordering::SeqCst);
            published.check(since, answer(number), reader);
            assert!(
                started.elapsed() < limit,
                "{reader}: {number} of {count} in {limit:?}"
            );
        }
    };
    let states = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(lake, &mut rows, &published, &stop));
        let reader = scope.spawn(|| check(reads, "a reader of files", &|_| read(root)));
        let asks = || check(queries, "Drill", &|number| query(drill, number));
        // However the readers end, the publisher does too.
        let asked = catch_unwind(AssertUnwindSafe(asks));
        let read = reader.join();
        stop.store(true, Ordering::SeqCst);
        let states = publisher.join().unwrap();
        asked.and(read).unwrap_or_else(|panic| resume_unwind(panic));
        states
    });
    assert!(states > 20, "only {states} publications meanwhile");
    println!(
        "{queries} queries and {reads} reads of {states} states in {:?}",
        started.elapsed()
    );
}

/// Ten thousand databases with a few rows each share a table's parts.
pub fn many_databases_are_one_table(drill: &RunningDrill, lake: &mut Lake, root: &Path) {
    const DATABASES: u32 = 10_000;
    let id = |n: u32| {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        DatabaseId::from_bytes(bytes)
    };
    for n in 0..DATABASES {
        for key in 0..3 {
            lake.apply(RowChange {
                database: id(n),
                collection: "shared".to_owned(),
                key: format!("k{key}"),
                record: Some(Record::from([
                    ("n".to_owned(), i64::from(n).into()),
                    ("text".to_owned(), "t".repeat(100).into()),
                ])),
                by: None,
            });
        }
    }
    lake.publish().unwrap();
    let files = files(root, "shared");
    let bytes: u64 = files
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    let most = bytes / (128 << 10) + 64;
    assert!(
        files.len() as u64 <= most,
        "{} files of {bytes} bytes",
        files.len()
    );

    let one = format!(
        "SELECT `_key`, n FROM headwater.shared WHERE `_database` = '{}' ORDER BY `_key`",
        id(4_711)
    );
    let rows: Vec<_> = (0..3)
        .map(|key| vec![format!("k{key}").into(), Value::Int(4_711)])
        .collect();
    assert_eq!(select(drill, &one), rows);
    let counted = "SELECT count(*), count(DISTINCT `_database`) FROM headwater.shared";
    assert_eq!(
        select(drill, counted),
        [[
            (3 * i64::from(DATABASES)).into(),
            i64::from(DATABASES).into()
        ]]
    );
    let started = Instant::now();
    select(drill, &format!("EXPLAIN PLAN FOR {one}"));
    let took = started.elapsed();
    println!(
        "{} files of {bytes} bytes, planned in {took:?}",
        files.len()
    );
    assert!(took < Duration::from_secs(1), "planned in {took:?}");
}

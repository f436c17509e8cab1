//! Any history of changes gives the files that its final rows give.

use super::*;
use crate::number::Shape;
use crate::parts::{Part, Parts, RowKey};
use crate::render::Renderer;
use crate::schema::Schema;
use crate::{Declaration, Declarations, DeclaredType, Type};
use headwater_core::LakeColumn;
use headwater_core::decimal::Decimal;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
enum Step {
    Change(RowChange),
    Declare(DatabaseId, String, Declarations),
    Publish,
    Reopen,
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-9i64..9).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-9i32..9).prop_map(|n| Value::from(f64::from(n) / 2.0)),
        "[a-b\"\\\\\u{0}é]{0,3}".prop_map(Value::from),
        "[a-b]{0,2}".prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..4).prop_map(Value::Bytes),
        prop_oneof![any::<i64>(), 0i64..9].prop_map(Value::Timestamp),
        (0i64..9).prop_map(Value::Counter),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
            proptest::collection::btree_map("[abA]{1,2}", inner, 0..3).prop_map(Value::Map),
        ]
    })
}

fn values() -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(value(), 0..5)
}

/// Numbers around every border between types.
fn number() -> impl Strategy<Value = Value> {
    let exact = 1_i64 << 53;
    prop_oneof![
        (-9i64..9).prop_map(Value::from),
        (exact - 1..exact + 2).prop_map(Value::from),
        (u64::MAX / 2 - 1..u64::MAX / 2 + 2).prop_map(Value::from),
        Just(Value::Uint(u64::MAX)),
        (-9i32..9).prop_map(|n| Value::from(f64::from(n) / 8.0)),
        (-40i32..40).prop_map(|n| Value::from(10_f64.powi(n))),
        prop_oneof![
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(-0.0),
            any::<f64>()
        ]
        .prop_map(Value::from),
    ]
}

fn widened(values: &[Value]) -> Type {
    let mut kind = Type::Null;
    values.iter().for_each(|value| kind.widen(value));
    kind
}

fn row() -> impl Strategy<Value = Record> {
    proptest::collection::btree_map("[abAB]|user|x\\.y", value(), 0..4)
}

fn declaration() -> impl Strategy<Value = Declaration> {
    let decimal = DeclaredType::Decimal {
        precision: 4,
        scale: 1,
    };
    let kinds = [
        decimal,
        DeclaredType::Bool,
        DeclaredType::Int,
        DeclaredType::Float,
        DeclaredType::Text,
        DeclaredType::Date,
        DeclaredType::Timestamp,
        DeclaredType::Bytes,
        DeclaredType::List,
        DeclaredType::Map,
    ];
    let column = prop_oneof![
        3 => "[abA]".prop_map(LakeColumn::Named),
        1 => Just(LakeColumn::Hidden),
    ];
    let kind = proptest::option::of(proptest::sample::select(kinds.to_vec()));
    (kind, proptest::option::weighted(0.3, column))
        .prop_map(|(kind, column)| Declaration { kind, column })
}

fn step() -> impl Strategy<Value = Step> {
    let change = (
        1u8..3,
        "[tT]",
        "[a-e]",
        proptest::option::weighted(0.8, row()),
    )
        .prop_map(|(db, collection, key, record)| {
            Step::Change(RowChange {
                database: database(db),
                collection,
                key,
                record,
            })
        });
    let declare = (
        1u8..3,
        "[tT]",
        proptest::collection::btree_map("[abA]", declaration(), 0..3),
    )
        .prop_map(|(db, collection, declared)| Step::Declare(database(db), collection, declared));
    prop_oneof![8 => change, 2 => declare, 2 => Just(Step::Publish), 1 => Just(Step::Reopen)]
}

type Rows = BTreeMap<(String, DatabaseId, String), Record>;
type Catalogs = BTreeMap<(DatabaseId, String), Declarations>;

fn apply(lake: &mut Lake, catalogs: &Catalogs, rows: &Rows) {
    for ((database, collection), declared) in catalogs {
        lake.declare_fields(*database, collection, declared.clone());
    }
    for ((collection, database, key), record) in rows {
        lake.apply(RowChange {
            database: *database,
            collection: collection.clone(),
            key: key.clone(),
            record: Some(record.clone()),
        });
    }
}

/// All that is visible: by table, its types and the names of its files, which are the hashes of their contents.
fn visible(lake: &Lake, root: &Path) -> BTreeMap<String, (Visible, Vec<String>)> {
    let tables = ["t", "T"]
        .into_iter()
        .filter_map(|collection| lake.schema(collection));
    tables
        .flat_map(|(table, _)| [table.to_owned(), format!("{table}_rejected")])
        .filter(|table| root.join(format!("{table}.view.drill")).exists())
        .map(|table| {
            let mut visible = Visible::read(root, &table);
            let names = visible.names();
            visible.folder = PathBuf::new();
            (table, (visible, names))
        })
        .collect()
}

fn check_history(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let (mut catalogs, mut rows) = (Catalogs::new(), Rows::new());
    for step in steps {
        match step {
            Step::Change(change) => {
                let key = (
                    change.collection.clone(),
                    change.database,
                    change.key.clone(),
                );
                match &change.record {
                    Some(record) => rows.insert(key, record.clone()),
                    None => rows.remove(&key),
                };
                lake.apply(change.clone());
            }
            Step::Declare(database, collection, declared) => {
                let known = (*database, collection.clone());
                catalogs.insert(known, declared.clone());
                lake.declare_fields(*database, collection, declared.clone());
            }
            Step::Publish => {
                lake.publish().unwrap();
            }
            Step::Reopen => {
                drop(lake);
                lake = open(dir.path());
                apply(&mut lake, &catalogs, &rows);
            }
        }
    }
    lake.publish().unwrap();
    let incremental = visible(&lake, dir.path());
    // From scratch, given the recorded schema: without any file of a table.
    drop(lake);
    for table in std::fs::read_dir(dir.path().join(".headwater")).unwrap() {
        for version in std::fs::read_dir(table.unwrap().path())
            .into_iter()
            .flatten()
        {
            let version = version.unwrap().path();
            if version.is_dir() {
                std::fs::remove_dir_all(version).unwrap();
            }
        }
    }
    for table in incremental.keys() {
        std::fs::remove_file(dir.path().join(format!("{table}.view.drill"))).unwrap();
    }
    let mut lake = open(dir.path());
    apply(&mut lake, &catalogs, &rows);
    lake.publish().unwrap();
    assert_eq!(incremental, visible(&lake, dir.path()));
    let tables = incremental
        .iter()
        .filter(|(name, _)| !name.ends_with("_rejected"));
    let count: usize = tables.map(|(_, (visible, _))| visible.rows.len()).sum();
    assert_eq!(count, rows.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(steps in proptest::collection::vec(step(), 0..30)) {
        check_history(&steps);
    }

    #[test]
    fn types_are_a_join_semilattice(a in values(), b in values(), c in values()) {
        let (x, y, z) = (widened(&a), widened(&b), widened(&c));
        let mut all = [a, b, c].concat();
        all.reverse();
        let joined = x.clone().join(y.clone());
        prop_assert_eq!(&x.clone().join(x.clone()), &x);
        prop_assert_eq!(&joined, &y.clone().join(x.clone()));
        prop_assert_eq!(&joined.clone().join(x.clone()), &joined);
        let joined = joined.join(z.clone());
        prop_assert_eq!(&joined, &x.join(y.join(z)));
        prop_assert_eq!(&joined, &widened(&all), "one by one, in another order");
        for value in &all {
            prop_assert_eq!(&joined.clone().join(Type::of(value)), &joined, "{:?} fits", value);
        }
    }

    #[test]
    fn every_value_has_a_cell_that_holds_it(values in prop_oneof![values(), proptest::collection::vec(number(), 0..5)]) {
        let mut schema = Schema::new("t", "t".to_owned());
        for value in &values {
            schema.observe(&record([("v", value.clone())]));
        }
        schema.settle();
        let mut renderer = Renderer::new(&schema);
        for value in &values {
            let mut line = String::new();
            let rejected = renderer.row(&mut line, &key(1), &record([("v", value.clone())]));
            prop_assert!(rejected.is_empty());
            let row: Json = serde_json::from_str(&line).unwrap();
            let cell = row.get("v").filter(|cell| !cell.is_null());
            prop_assert_eq!(cell.is_some(), *value != Value::Null, "{:?} in {}", value, line);
            let (Type::Number(number), Some(_)) = (&schema.columns[0].kind, cell) else {
                continue;
            };
            // As it is written, since a parsed double may be another one.
            let (_, text) = line.trim_end().rsplit_once("\"v\":").unwrap();
            let text = text.trim_matches(['"', '}']);
            match (number.shape(), value) {
                (Shape::Decimal(scale), value) => {
                    let decimal = Decimal::parse(text).unwrap();
                    prop_assert!(decimal.fits(38, scale), "{} in {:?}", text, number);
                    let same = Decimal::of_value(value, |own| own == decimal);
                    prop_assert_eq!(same, Some(true), "{} for {:?}", text, value);
                }
                (Shape::Double, Value::Float(f)) => {
                    let read: f64 = text.parse().unwrap();
                    prop_assert!(read.to_bits() == f.to_bits() || f.is_nan(), "{} for {}", text, f);
                }
                (Shape::Double, value) => {
                    let n = value.as_int().unwrap();
                    prop_assert_eq!(n as f64 as i128, i128::from(n));
                }
                (Shape::Bigint, value) => prop_assert_eq!(text.parse().ok(), value.as_int()),
            }
        }
    }

    #[test]
    fn doubles_are_written_as_they_were(doubles in proptest::collection::vec(proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL, 1..50)) {
        let dir = tempfile::tempdir().unwrap();
        let mut lake = open(dir.path());
        for (at, double) in doubles.iter().enumerate() {
            lake.apply(put("t", &format!("{at:03}"), record([("v", (*double).into())])));
        }
        lake.publish().unwrap();
        let visible = Visible::read(dir.path(), "t");
        let text = std::fs::read_to_string(visible.folder.join(&visible.names()[0])).unwrap();
        for (line, double) in text.lines().zip(&doubles) {
            let written: f64 = line.rsplit_once(':').unwrap().1.trim_end_matches('}').parse().unwrap();
            prop_assert_eq!(written.to_bits(), double.to_bits());
        }
    }
}

/// A row of `bytes` bytes.
fn big_row(bytes: usize) -> Box<str> {
    "x".repeat(bytes).into()
}

fn key(n: u32) -> RowKey {
    RowKey {
        database: database(1),
        key: format!("{n:08}").into(),
    }
}

fn ends(parts: &Parts) -> Vec<(RowKey, usize)> {
    parts
        .iter()
        .map(|part| {
            (
                part.rows.last_key_value().unwrap().0.clone(),
                part.rows.len(),
            )
        })
        .collect()
}

fn size(part: &Part) -> usize {
    part.rows
        .iter()
        .map(|(key, record)| key.key.len() + record.len() + 64)
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_depend_on_rows_alone(
        rounds in proptest::collection::vec(proptest::collection::vec((0u32..600, proptest::option::of(0usize..20_000)), 0..150), 1..8),
    ) {
        let mut rows = BTreeMap::new();
        let mut parts = Parts::default();
        for round in rounds {
            for (n, bytes) in round {
                match bytes {
                    Some(bytes) => rows.insert(key(n), bytes),
                    None => rows.remove(&key(n)),
                };
                parts.set(key(n), bytes.map(big_row));
            }
            parts.recut();
            let mut fresh = Parts::default();
            for (key, bytes) in &rows {
                fresh.set(key.clone(), Some(big_row(*bytes)));
            }
            fresh.recut();
            prop_assert_eq!(ends(&parts), ends(&fresh));
            let sizes: Vec<_> = parts.iter().map(size).collect();
            for (at, size) in sizes.iter().enumerate() {
                prop_assert!(*size < (512 << 10) + 20_100, "part of {} bytes", size);
                prop_assert!(*size >= 128 << 10 || at + 1 == sizes.len(), "part of {} bytes", size);
            }
        }
    }
}

#[test]
fn a_change_writes_its_part_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    for n in 0..20_000 {
        let text = format!("some text of record {n}");
        lake.apply(put(
            "t",
            &format!("{n:08}"),
            record([("n", n.into()), ("text", text.into())]),
        ));
    }
    let all = lake.publish().unwrap();
    assert!(all.parts_written > 5, "{all:?}");
    lake.apply(put("t", "00010000", record([("n", 5.into())])));
    let one = lake.publish().unwrap();
    assert_eq!(
        (one.parts_written, one.parts_kept),
        (1, all.parts_written - 1)
    );
    lake.apply(put(
        "t",
        "00010000",
        record([("n", 5.into()), ("new", true.into())]),
    ));
    assert_eq!(
        lake.publish().unwrap().parts_written,
        1,
        "a new column leaves rows without it alone"
    );
    let files: BTreeSet<_> = Visible::read(dir.path(), "t").names().into_iter().collect();
    assert_eq!(files.len(), all.parts_written);
    // What stays as it is costs nothing: neither the same row again nor a restart.
    lake.apply(put(
        "t",
        "00010000",
        record([("n", 5.into()), ("new", true.into())]),
    ));
    assert_eq!(lake.publish().unwrap(), crate::Published::default());
    drop(lake);
    let mut lake = open(dir.path());
    for n in 0..20_000 {
        let text = format!("some text of record {n}");
        lake.apply(put(
            "t",
            &format!("{n:08}"),
            record([("n", n.into()), ("text", text.into())]),
        ));
    }
    lake.apply(put(
        "t",
        "00010000",
        record([("n", 5.into()), ("new", true.into())]),
    ));
    assert!(lake.is_pending());
    assert_eq!(lake.publish().unwrap(), crate::Published::default());
}

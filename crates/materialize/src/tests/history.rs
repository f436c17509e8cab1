//! Any history of changes gives the files that its final rows give.

use super::*;
use crate::number::Shape;
use crate::render::Renderer;
use crate::schema::Schema;
use crate::tree::MAX_PART;
use crate::{Declaration, Declarations, DeclaredType, Type};
use headwater_core::LakeColumn;
use headwater_core::decimal::Decimal;
use proptest::prelude::*;

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
                by: None,
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
            by: None,
        });
    }
}

/// Deletes what the lake still has beside `rows`.
fn delete_others(lake: &mut Lake, rows: &Rows) {
    for collection in ["t", "T"] {
        for n in 1..3 {
            for (key, _) in lake
                .rows_of(database(n), collection, None, usize::MAX)
                .unwrap()
            {
                if !rows.contains_key(&(collection.to_owned(), database(n), key.clone())) {
                    lake.apply(RowChange {
                        database: database(n),
                        ..delete(collection, &key)
                    });
                }
            }
        }
    }
}

/// All that is visible: by table, its types and rows.
fn visible(lake: &Lake, root: &Path) -> BTreeMap<String, Visible> {
    let tables = ["t", "T"]
        .into_iter()
        .filter_map(|collection| lake.schema(collection));
    tables
        .flat_map(|(table, _)| [table.to_owned(), format!("{table}_rejected")])
        .filter(|table| root.join(format!("{table}.view.drill")).exists())
        .map(|table| {
            let mut visible = Visible::read(root, &table);
            visible.folder = PathBuf::new();
            visible.files.clear();
            (table, visible)
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
                delete_others(&mut lake, &rows);
                apply(&mut lake, &catalogs, &rows);
            }
        }
    }
    lake.publish().unwrap();
    let incremental = visible(&lake, dir.path());
    // From scratch, given the recorded schema: without any row.
    lake.begin_anew().unwrap();
    apply(&mut lake, &catalogs, &rows);
    lake.publish().unwrap();
    assert_eq!(incremental, visible(&lake, dir.path()));
    let tables = incremental
        .iter()
        .filter(|(name, _)| !name.ends_with("_rejected"));
    let count: usize = tables.map(|(_, visible)| visible.rows.len()).sum();
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
            let rejected = renderer.row(&mut line, database(1), "k", &record([("v", value.clone())]));
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
        let text = visible.text();
        for (line, double) in text.lines().zip(&doubles) {
            let written: f64 = line.rsplit_once(':').unwrap().1.trim_end_matches('}').parse().unwrap();
            prop_assert_eq!(written.to_bits(), double.to_bits());
        }
    }
}

/// What the parts of a table may be, whatever became of it.
fn check_parts(files: &[u64]) {
    let bytes: u64 = files.iter().sum();
    let most = bytes / (128 << 10) + 64;
    assert!(
        files.len() as u64 <= most,
        "{} files of {bytes} bytes",
        files.len()
    );
    let largest = files.last().copied().unwrap_or(0);
    // The row that made it too large is in it still.
    let most = MAX_PART as u64 + 21_000;
    assert!(largest < most, "a part of {largest} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_stay_within_their_bounds(
        rounds in proptest::collection::vec((
            proptest::collection::vec((0u32..900, proptest::option::weighted(0.6, 0usize..20_000)), 0..250),
            0u32..900,
        ), 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut lake = open(dir.path());
        let mut rows = BTreeMap::new();
        for (round, cleared) in rounds {
            let mut changes: BTreeMap<u32, Option<usize>> = round.into_iter().collect();
            // A stretch of neighbours goes at once.
            changes.extend((cleared..cleared + 200).map(|n| (n, None)));
            for (n, bytes) in changes {
                let key = format!("{n:08}");
                match bytes {
                    Some(bytes) => {
                        lake.apply(put("t", &key, record([("v", "x".repeat(bytes).into())])));
                        rows.insert(key, bytes);
                    }
                    None => {
                        lake.apply(delete("t", &key));
                        rows.remove(&key);
                    }
                }
            }
            lake.publish().unwrap();
            let visible = Visible::read(dir.path(), "t");
            check_parts(&visible.files);
            let shown: BTreeMap<_, _> = visible
                .rows
                .iter()
                .map(|((_, key), row)| (key.clone(), row["v"].as_str().unwrap().len()))
                .collect();
            prop_assert_eq!(&shown, &rows);
        }
    }
}

#[test]
fn a_change_writes_its_part_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    for n in 0..20_000 {
        let text = format!("some text of record {n}").repeat(4);
        lake.apply(put(
            "t",
            &format!("{n:08}"),
            record([("n", n.into()), ("text", text.into())]),
        ));
    }
    let all = lake.publish().unwrap().absorbed;
    assert!(all.parts_written > 5, "{all:?}");
    lake.apply(put("t", "00010000", record([("n", 5.into())])));
    let one = lake.publish().unwrap().absorbed;
    // The part of the row, and one of the feed.
    assert_eq!(one.parts_written, 2);
    assert!(one.bytes_written < MAX_PART as u64, "{one:?}");
    let wider = put(
        "t",
        "00010000",
        record([("n", 5.into()), ("new", true.into())]),
    );
    lake.apply(wider.clone());
    let one = lake.publish().unwrap().absorbed;
    // The feed, whose columns hold whole rows, is rendered anew too.
    assert_eq!(
        one.parts_written, 3,
        "a new column leaves rows without it alone"
    );
    // What stays as it is costs nothing: neither the same row again nor a restart.
    lake.apply(wider.clone());
    assert_eq!(lake.publish().unwrap().absorbed, crate::Absorbed::default());
    drop(lake);
    let mut lake = open(dir.path());
    assert!(!lake.is_pending());
    lake.apply(wider);
    assert_eq!(lake.publish().unwrap().tables, Vec::<String>::new());
}

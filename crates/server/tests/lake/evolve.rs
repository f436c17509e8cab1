//! A table whose columns come, widen, change their names and go while it is queried.

use crate::select;
use headwater_core::{DatabaseId, LakeColumn, Record, Value};
use headwater_materialize::{Declaration, Declarations, DeclaredType, Lake, RowChange};
use headwater_server::drill::{self, RunningDrill};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ROWS: usize = 200;
/// How often each step is gone through.
const ROUNDS: usize = 3;

/// How often a column changes its name and its type, and goes. Drill plans a statement against two versions of a table in about
/// one of a hundred times.
fn changes_of_columns() -> usize {
    match super::full() {
        true => 600,
        false => 4,
    }
}

fn row(key: usize, fields: &[(&str, Value)]) -> RowChange {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    RowChange {
        database: DatabaseId::from_bytes([1; 16]),
        collection: "evolving".to_owned(),
        key: format!("{key:04}"),
        record: Some(fields.collect()),
        by: None,
    }
}

fn shown_as(column: Option<LakeColumn>, kind: Option<DeclaredType>) -> Declarations {
    [("value".to_owned(), Declaration { kind, column })].into()
}

/// Waits until queries that began after now have been answered.
fn queried(answered: &AtomicUsize, failed: &AtomicBool) {
    let from = answered.load(Ordering::SeqCst);
    while answered.load(Ordering::SeqCst) < from + 4 && !failed.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

/// Each step is published row by row, with a peer of the older version that writes on between.
fn evolve(lake: &mut Lake, answered: &AtomicUsize, failed: &AtomicBool) {
    let database = DatabaseId::from_bytes([1; 16]);
    let values: [fn(usize) -> Value; 4] = [
        |n| (n as i64).into(),
        |n| (n as f64 + 0.5).into(),
        |n| format!("text {n}").into(),
        |n| {
            Value::List(vec![Value::Map(Record::from([(
                "n".to_owned(),
                (n as i64).into(),
            )]))])
        },
    ];
    let names = [
        (Some(LakeColumn::Named("renamed".to_owned())), None),
        (Some(LakeColumn::Hidden), Some(DeclaredType::Bool)),
        (
            Some(LakeColumn::Named("base".to_owned())),
            Some(DeclaredType::Int),
        ),
        (None, None),
    ];
    for (step, value) in values.into_iter().enumerate() {
        for n in 0..ROUNDS {
            let new = format!("new{step}");
            lake.apply(row(
                n * 7 + step,
                &[
                    ("base", 1.into()),
                    ("value", value(n)),
                    (&new, Value::Map(Record::from([("m".to_owned(), 1.into())]))),
                ],
            ));
            lake.publish().unwrap();
            // It knows nothing of the new columns.
            lake.apply(row(n * 11 + 1, &[("base", 2.into()), ("value", 3.into())]));
            lake.publish().unwrap();
            queried(answered, failed);
        }
    }
    for (name, kind) in names.into_iter().cycle().take(changes_of_columns()) {
        lake.declare_fields(database, "evolving", shown_as(name, kind));
        for n in 0..ROUNDS {
            lake.apply(row(n, &[("base", 3.into()), ("value", 4.into())]));
            lake.publish().unwrap();
            queried(answered, failed);
        }
    }
}

pub fn no_query_fails_while_columns_change(drill: &RunningDrill, lake: &mut Lake) {
    (0..ROWS).for_each(|key| lake.apply(row(key, &[("base", 0.into())])));
    lake.publish().unwrap();
    let (stop, failed, answered) = (
        AtomicBool::new(false),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let url = drill.url();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let queries = [
                ("SELECT * FROM headwater.evolving", ROWS),
                ("SELECT count(*) FROM headwater.evolving", 1),
                (
                    "SELECT `_key`, base FROM headwater.evolving ORDER BY `_key`",
                    ROWS,
                ),
                ("SELECT * FROM headwater.evolving_changes LIMIT 5", 5),
            ];
            for (sql, rows) in queries.into_iter().cycle() {
                if stop.load(Ordering::SeqCst) {
                    return Ok(());
                }
                let answer = drill::query(url, sql).map_err(|error| error.to_string());
                let right = answer.and_then(|answer| match answer.rows().len() {
                    count if count == rows => Ok(()),
                    count => Err(format!("{count} rows")),
                });
                if let Err(error) = right {
                    failed.store(true, Ordering::SeqCst);
                    return Err(format!("{sql}: {error}"));
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        evolve(lake, &answered, &failed);
        stop.store(true, Ordering::SeqCst);
        reader.join().unwrap().unwrap();
    });
    let kinds = "SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.`COLUMNS` WHERE TABLE_NAME = 'evolving'";
    let kinds = select(drill, kinds);
    assert!(
        kinds.contains(&vec!["value".into(), "CHARACTER VARYING".into()]),
        "{kinds:?}"
    );
    println!(
        "{} queries while columns changed",
        answered.load(Ordering::SeqCst)
    );
}

/// The fields of [`each_cell_stands_under_its_name`], whose cells are their own names.
const FIELDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The first columns are hidden and shown again, and new ones come, while queries are planned: about one in eight is planned
/// against two versions of the table. None may show a cell under the name of another.
pub fn each_cell_stands_under_its_name(drill: &RunningDrill, lake: &mut Lake) {
    let database = DatabaseId::from_bytes([1; 16]);
    let named = |names: &[String]| {
        let cells: Vec<_> = names
            .iter()
            .map(|name| (&**name, (&**name).into()))
            .collect();
        let collection = "shifting".to_owned();
        RowChange {
            collection,
            ..row(0, &cells)
        }
    };
    let mut names = FIELDS.map(str::to_owned).to_vec();
    lake.apply(named(&names));
    lake.publish().unwrap();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let url = drill.url();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let queries = [
                "SELECT * FROM headwater.shifting",
                "SELECT c, e FROM headwater.shifting",
                "SELECT c, _valid_to FROM headwater.shifting_history WHERE e = 'e' AND _valid_to IS NULL",
                "SELECT 'd' AS d FROM headwater.shifting WHERE d = 'd'",
            ];
            for sql in queries.into_iter().cycle() {
                if stop.load(Ordering::SeqCst) {
                    return Ok(());
                }
                if let Err(error) = stands(url, sql) {
                    stop.store(true, Ordering::SeqCst);
                    return Err(format!("{sql}: {error}"));
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        let enough = if super::full() { 4_000 } else { 200 };
        for n in 0.. {
            if stop.load(Ordering::SeqCst) || answered.load(Ordering::SeqCst) >= enough {
                break;
            }
            let hidden = |on: bool| Declaration {
                kind: None,
                column: on.then_some(LakeColumn::Hidden),
            };
            let declared = [("a", hidden(n % 2 == 0)), ("b", hidden(n % 4 > 1))];
            let declared = declared.map(|(field, declared)| (field.to_owned(), declared));
            lake.declare_fields(database, "shifting", declared.into());
            if n % 50 == 0 {
                names.push(format!("A{n}"));
                lake.apply(named(&names));
            }
            lake.publish().unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        reader.join().unwrap().unwrap();
    });
}

/// Whether the answer is one row whose cells are the names of their columns, or null where a column is hidden.
fn stands(url: &str, sql: &str) -> Result<(), String> {
    let answer = drill::query(url, sql).map_err(|error| error.to_string())?;
    let [row] = answer.rows() else {
        return Err(format!("{} rows", answer.rows().len()));
    };
    for (column, cell) in answer.columns().iter().zip(row) {
        let right = match &*column.name {
            "_key" | "_database" => true,
            name if FIELDS[2..].contains(&name) => cell.get() == format!("{name:?}"),
            name if name.starts_with("_hidden") || name.starts_with("_valid") => true,
            name => cell.get() == "null" || cell.get() == format!("{name:?}"),
        };
        if !right {
            return Err(format!("{cell} under the name {}", column.name));
        }
    }
    Ok(())
}

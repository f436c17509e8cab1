//! A table whose columns come, widen, change their names and go while it is queried.

use crate::select;
use headwater_core::{DatabaseId, LakeColumn, Record, Value};
use headwater_materialize::{Declaration, Declarations, Lake, RowChange};
use headwater_server::drill::{self, RunningDrill};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ROWS: usize = 200;
/// How often each step is gone through.
const ROUNDS: usize = 3;

/// How often a column changes its name and goes. Drill plans a statement against two versions of a table in about one of a
/// hundred times that a column goes.
fn changes_of_names() -> usize {
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

fn shown_as(column: Option<LakeColumn>) -> Declarations {
    [("value".to_owned(), Declaration { kind: None, column })].into()
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
        Some(LakeColumn::Named("renamed".to_owned())),
        Some(LakeColumn::Hidden),
        Some(LakeColumn::Named("base".to_owned())),
        None,
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
    for name in names.into_iter().cycle().take(changes_of_names()) {
        lake.declare_fields(database, "evolving", shown_as(name));
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

//! Tables of no row, of one and of very many answer everything that is asked of tables.

use crate::declared::types;
use crate::select;
use headwater_core::{DatabaseId, Record, Value};
use headwater_materialize::{Lake, RowChange};
use headwater_server::drill::RunningDrill;
use std::time::{Duration, Instant};

/// The rows of the largest, unless `HEADWATER_ROWS` says otherwise.
const MANY: i64 = 20_000;

fn change(collection: &str, n: i64, is_there: bool) -> RowChange {
    let fields = || {
        Record::from([
            ("n".to_owned(), n.into()),
            // Every tenth does not fit.
            (
                "even".to_owned(),
                if n % 10 == 0 {
                    "x".into()
                } else {
                    Value::Int(n / 2)
                },
            ),
        ])
    };
    RowChange {
        database: DatabaseId::from_bytes([1; 16]),
        collection: collection.to_owned(),
        key: format!("{n:07}"),
        record: is_there.then(fields),
        by: None,
    }
}

/// Asks a table, and those beside it, for all that they have.
fn check(drill: &RunningDrill, collection: &str, rows: i64, events: i64) {
    let one = |sql: String| select(drill, &sql).remove(0).remove(0);
    let rejected = (rows + 9) / 10;
    for (table, count) in [
        (collection.to_owned(), rows),
        (format!("{collection}_rejected"), rejected),
        (format!("{collection}_changes"), events),
        (format!("{collection}_conflicts"), 0),
    ] {
        let started = Instant::now();
        assert_eq!(
            one(format!("SELECT count(*) FROM headwater.{table}")),
            count.into(),
            "{table}"
        );
        let all = format!("SELECT * FROM headwater.{table} LIMIT 100000");
        assert_eq!(
            select(drill, &all).len() as i64,
            count.min(100_000),
            "{table}"
        );
        // A conflict's table has no row to be joined with.
        let joined = format!(
            "SELECT count(*) FROM headwater.{collection} a JOIN headwater.{table} b ON a.`_key` = b.`_key` AND a.`_database` = b.`_database`"
        );
        let expected = if rows == 0 { 0 } else { count };
        assert_eq!(one(joined), expected.into(), "{table}");
        let columns = format!(
            "SELECT count(*) FROM INFORMATION_SCHEMA.`COLUMNS` WHERE TABLE_NAME = '{table}'"
        );
        assert!(one(columns).as_int() >= Some(4), "{table}");
        let took = started.elapsed();
        assert!(took < Duration::from_secs(60), "{table}: {took:?}");
    }
    let sum = one(format!("SELECT sum(n) FROM headwater.{collection}"));
    let expected = if rows == 0 {
        Value::Null
    } else {
        (rows * (rows - 1) / 2).into()
    };
    assert_eq!(sum, expected, "{collection}");
}

pub fn tables_of_any_size_answer(drill: &RunningDrill, lake: &mut Lake) {
    let many = std::env::var("HEADWATER_ROWS").map_or(MANY, |rows| rows.parse().unwrap());
    for (collection, rows) in [("none", 0), ("one", 1), ("many", many), ("dropped", 100)] {
        let fields = types([("n", "int"), ("even", "int")]);
        lake.declare_fields(DatabaseId::from_bytes([1; 16]), collection, fields);
        for n in 0..rows {
            lake.apply(change(collection, n, true));
        }
        lake.publish().unwrap();
        check(drill, collection, rows, rows);
    }
    (0..100).for_each(|n| lake.apply(change("dropped", n, false)));
    lake.publish().unwrap();
    check(drill, "dropped", 0, 200);
}

//! A real Drillbit reads tables that the lake published: every cell of a collection made to hurt equals what the rules in
//! `headwater_materialize`'s documentation say of it.
//!
//! Needs a Java 17 development kit, and Maven once. One Drillbit serves all steps, as each takes ten seconds to start.

mod churn;
mod declared;
mod evolve;
mod feeds;
mod sizes;
mod torture;

use headwater_core::json::record_from_str;
use headwater_core::{DatabaseId, Record, Value};
use headwater_materialize::{Lake, LakeOptions, RowChange};
use headwater_server::drill::{self, DrillOptions, RunningDrill};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use torture::{Random, absent, any_text, columns, map};

/// Enough for several parts in each table.
const ROWS: u64 = 3_000;

/// `HEADWATER_CHURN=full` makes 300 queries and 10,000 direct reads while a table churns and changes columns 600 times, instead of
/// some.
fn full() -> bool {
    std::env::var("HEADWATER_CHURN").is_ok_and(|text| text == "full")
}

#[test]
fn a_real_drillbit_reads_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake");
    // Longer than any query takes; while a table churns, its versions are many.
    let lake_options = LakeOptions {
        keep_snapshots: Duration::from_secs(20),
        ..LakeOptions::default()
    };
    let mut lake = Lake::open(&root, lake_options).unwrap();
    let options = DrillOptions {
        http_port: 0,
        user_port: 0,
        bit_port: 0,
        data: Some(folder.path().join("data")),
        ..DrillOptions::new(&root)
    };
    let drill = drill::start(&options, &mut |_| {}).unwrap();
    every_cell_is_right(&drill, &mut lake);
    declared::every_cell_is_right(&drill, &mut lake);
    nested_columns_work_in_sql(&drill);
    empty_tables_answer(&drill, &mut lake);
    names_lead_to_their_columns(&drill, &mut lake);
    tables_widen_under_queries(&drill, &mut lake, &root);
    feeds::tell_what_happened(&drill, &mut lake, &root);
    sizes::tables_of_any_size_answer(&drill, &mut lake);
    evolve::no_query_fails_while_columns_change(&drill, &mut lake);
    evolve::each_cell_stands_under_its_name(&drill, &mut lake);
    churn::many_databases_are_one_table(&drill, &mut lake, &root);
    churn::each_answer_is_one_published_state(&drill, &mut lake, &root);
    drill.stop().unwrap();
}

fn every_cell_is_right(drill: &RunningDrill, lake: &mut Lake) {
    let mut random = Random(0x5eed);
    let mut rows = BTreeMap::new();
    for n in 0..ROWS {
        let record: Record = columns()
            .iter()
            // Nothing is known of any column at first, and of some not for long.
            .filter_map(|column| {
                let late = if column.name < "i" { 10 } else { 1_200 };
                let value = (column.value)(&mut random);
                (n >= late && random.below(4) > 0).then(|| (column.name.to_owned(), value))
            })
            .collect();
        let database = DatabaseId::from_bytes([(n % 3) as u8; 16]);
        let key = format!("{n:05}{}", any_text(&mut random));
        rows.insert((database.to_string(), key.clone()), record.clone());
        lake.apply(RowChange {
            database,
            collection: "torture".to_owned(),
            key,
            record: Some(record),
            by: None,
        });
        if n % 1_000 == 0 {
            lake.publish().unwrap();
        }
    }
    let published = lake.publish().unwrap();
    assert!(published.absorbed.parts_written > 3, "{published:?}");

    let names: Vec<_> = columns()
        .iter()
        .map(|column| format!("`{}`", column.name))
        .collect();
    let sql = format!(
        "SELECT `_database`, `_key`, {} FROM headwater.torture",
        names.join(", ")
    );
    let answer = select(drill, &sql);
    assert_eq!(answer.len(), rows.len());
    for row in answer {
        let [Value::String(database), Value::String(key), cells @ ..] = &row[..] else {
            panic!("a row without key")
        };
        let record = &rows[&(database.clone(), key.clone())];
        for (column, cell) in columns().iter().zip(cells) {
            let value = record.get(column.name).unwrap_or(&Value::Null);
            let expected = match value {
                Value::Null => absent(column.name),
                value => (column.cell)(value),
            };
            assert_eq!(*cell, expected, "{} of {key:?}", column.name);
        }
    }
    let all = select(drill, "SELECT * FROM headwater.torture");
    assert!(all.len() == rows.len() && all.iter().all(|row| row.len() == columns().len() + 2));
    let kinds = select(
        drill,
        "SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.`COLUMNS` WHERE TABLE_NAME = 'torture'",
    );
    for column in columns() {
        assert!(
            kinds.contains(&vec![column.name.into(), column.kind.into()]),
            "{} in {kinds:?}",
            column.name
        );
    }
}

fn nested_columns_work_in_sql(drill: &RunningDrill) {
    let count = |sql: &str| select(drill, sql);
    let all = ROWS as i64;
    assert_eq!(
        count("SELECT count(*) FROM headwater.torture"),
        [[all.into()]]
    );
    let groups = count(
        "SELECT t.structs.`inner`.`at` IS NULL x, count(*) n FROM headwater.torture t GROUP BY 1",
    );
    assert_eq!(
        groups
            .iter()
            .map(|row| row[1].as_int().unwrap())
            .sum::<i64>(),
        all
    );
    let joined = count(
        "SELECT count(*) FROM (SELECT a.structs s, b.points p FROM headwater.torture a JOIN headwater.torture b \
         ON a.`_key` = b.`_key` AND a.`_database` = b.`_database`) t",
    );
    assert_eq!(joined, [[all.into()]]);
    let flat =
        count("SELECT count(f.p.x) FROM (SELECT flatten(points) p FROM headwater.torture) f");
    assert!(flat[0][0].as_int().unwrap() > 100, "{flat:?}");
    let sorted =
        count("SELECT structs, points, integers FROM headwater.torture ORDER BY `_key` LIMIT 5");
    assert_eq!(sorted.len(), 5);
}

fn empty_tables_answer(drill: &RunningDrill, lake: &mut Lake) {
    let database = DatabaseId::from_bytes([1; 16]);
    lake.declare("empty");
    lake.declare_fields(database, "empty", declared::types([("n", "int")]));
    let mut change = RowChange {
        database,
        collection: "emptied".to_owned(),
        key: "k".to_owned(),
        record: Some(Record::from([
            ("n".to_owned(), 1.into()),
            ("s".to_owned(), map([("a", 1.into())])),
        ])),
        by: None,
    };
    lake.apply(change.clone());
    lake.publish().unwrap();
    change.record = None;
    lake.apply(change);
    lake.publish().unwrap();
    assert!(select(drill, "SELECT * FROM headwater.empty_rejected").is_empty());
    for table in ["empty", "emptied"] {
        assert!(select(drill, &format!("SELECT * FROM headwater.{table}")).is_empty());
        assert_eq!(
            select(drill, &format!("SELECT count(*) FROM headwater.{table}")),
            [[0.into()]]
        );
        let sums = select(
            drill,
            &format!("SELECT count(*), sum(n) FROM headwater.{table} WHERE n > 3"),
        );
        assert_eq!(sums, [[0.into(), Value::Null]]);
        let joined = format!(
            "SELECT count(e.n) FROM headwater.torture t LEFT JOIN headwater.{table} e ON t.`_key` = e.`_key`"
        );
        assert_eq!(select(drill, &joined), [[0.into()]]);
    }
    assert!(select(drill, "SELECT t.s.a FROM headwater.emptied t").is_empty());
}

fn names_lead_to_their_columns(drill: &RunningDrill, lake: &mut Lake) {
    let fields = [
        "Name",
        "name",
        "NAME",
        "user",
        "current_date",
        "session_id",
        "pi",
        "filename",
        "dir0",
        "lmt",
        "a.b",
        "",
        "it's",
        "back`tick",
        "quo\"te",
        "US Gross",
        " x",
        "größe",
        "名前",
        "😀",
        "select",
        "_key",
        "_database",
        "$x",
        "1st",
        "a\\b",
        "[x]",
        "*",
        "ſt",
        "ST",
        "é",
        "É",
        "İ",
        "ı",
        "K",
        "\u{212a}",
        "x__0123abcd",
        "line\nbreak",
        "a,b",
        "a(b)",
        "<x>",
        "null",
        "value",
    ];
    let long = "n".repeat(5_000);
    let collections = [
        "Case",
        "case",
        "../up",
        "a:b",
        "{x}",
        "größe",
        "_hidden",
        "default",
        "my table",
        "select",
        long.as_str(),
    ];
    for collection in collections {
        let mut record: Record = fields
            .iter()
            .enumerate()
            .map(|(n, field)| ((*field).to_owned(), (n as i64).into()))
            .collect();
        // `select` reads rows as canonical JSON, in which `$` is special.
        let mut members = record.clone();
        members.remove("$x");
        record.insert("members".to_owned(), Value::Map(members));
        let database = DatabaseId::from_bytes([1; 16]);
        lake.apply(RowChange {
            database,
            collection: collection.to_owned(),
            key: "k".to_owned(),
            record: Some(record),
            by: None,
        });
    }
    lake.publish().unwrap();
    for collection in collections {
        let (table, columns) = lake.schema(collection).unwrap();
        let names: Vec<_> = columns
            .iter()
            .map(|column| format!("`{}`", column.name))
            .collect();
        let row = &select(
            drill,
            &format!("SELECT {} FROM headwater.`{table}`", names.join(", ")),
        )[0];
        for (column, cell) in columns.iter().zip(row) {
            match fields.iter().position(|field| *field == column.field) {
                Some(n) => assert_eq!(*cell, Value::Int(n as i64), "{column:?} of {table}"),
                None => assert!(
                    matches!(cell, Value::Map(members) if members.len() == fields.len() - 1),
                    "{cell:?}"
                ),
            }
        }
    }
}

fn tables_widen_under_queries(drill: &RunningDrill, lake: &mut Lake, root: &Path) {
    let steps: [Value; 5] = [
        1.into(),
        0.5.into(),
        "x".into(),
        map([("a", 1.into())]),
        Value::List(vec![Value::Null]),
    ];
    let texts = ["1", "0.5", "x", "{\"a\":1}", "[null]"];
    for (n, value) in steps.iter().enumerate() {
        let record = Record::from([
            ("v".to_owned(), value.clone()),
            (format!("new{n}"), map([("m", 1.into())])),
        ]);
        let database = DatabaseId::from_bytes([1; 16]);
        lake.apply(RowChange {
            database,
            collection: "widening".to_owned(),
            key: n.to_string(),
            record: Some(record),
            by: None,
        });
        lake.publish().unwrap();
        let rows = select(drill, "SELECT v FROM headwater.widening ORDER BY `_key`");
        assert_eq!(rows.len(), n + 1);
        if n >= 2 {
            for (row, text) in rows.iter().zip(texts) {
                assert_eq!(row[0], text.into());
            }
        }
    }
    let listed = select(drill, "SHOW TABLES IN headwater");
    let views = std::fs::read_dir(root).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !name.to_string_lossy().starts_with('.')
    });
    assert_eq!(listed.len(), views.count());
}

/// The rows of a query, the doubles read exactly.
fn select(drill: &RunningDrill, sql: &str) -> Vec<Vec<Value>> {
    let answer = drill::query(drill.url(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let columns = answer.columns();
    let row = |row: &Vec<Box<RawValue>>| {
        let cells = row.iter().zip(columns);
        cells
            .map(|(json, column)| cell(json.get(), column.kind.starts_with("VARDECIMAL")))
            .collect()
    };
    answer.rows().iter().map(row).collect()
}

/// Drill writes decimal numbers below 10^-6 as Java does: `-1.5E-7`.
fn without_exponent(json: &str) -> String {
    let Some((digits, exponent)) = json.split_once("E-") else {
        return json.to_owned();
    };
    let zeros = "0".repeat(exponent.parse::<usize>().unwrap() - 1);
    let sign = if digits.starts_with('-') { "-" } else { "" };
    format!("{sign}0.{zeros}{}", digits.replace(['-', '.'], ""))
}

/// A decimal number is the text that Drill gave, with `decimal` before it, since a double would round it.
fn cell(json: &str, decimal: bool) -> Value {
    match json.as_bytes().first() {
        Some(b'[') if decimal => {
            let items: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            Value::List(items.iter().map(|item| cell(item.get(), true)).collect())
        }
        Some(b'-' | b'0'..=b'9') if decimal => format!("decimal {}", without_exponent(json)).into(),
        _ => {
            let mut record = record_from_str(&format!("{{\"cell\":{json}}}")).unwrap();
            record.remove("cell").unwrap()
        }
    }
}

//! What happened to a table, and what it was, as Drill tells it.

use super::select;
use headwater_core::{DatabaseId, Record, Value};
use headwater_materialize::{Lake, RowChange};
use headwater_server::drill::{self, QueryOptions, RunningDrill, SnapshotSchema};
use std::path::Path;

fn put(lake: &mut Lake, key: &str, title: Option<&str>) -> u64 {
    let address = |title: &str| Value::Map([("street".to_owned(), title.into())].into());
    let record = title.map(|title| {
        Record::from([
            ("title".to_owned(), title.into()),
            ("address".to_owned(), address(title)),
            ("tags".to_owned(), Value::List(vec![title.into()])),
        ])
    });
    lake.apply(RowChange {
        database: DatabaseId::from_bytes([5; 16]),
        collection: "told".to_owned(),
        key: key.to_owned(),
        record,
        by: None,
    });
    lake.publish().unwrap().version
}

/// A row is inserted, changed and deleted, while another stays.
pub fn tell_what_happened(drill: &RunningDrill, lake: &mut Lake, root: &Path) {
    put(lake, "stays", Some("here"));
    let first = put(lake, "k", Some("one"));
    let second = put(lake, "k", Some("two"));
    let third = put(lake, "k", None);
    let text = |text: &str| Value::from(text);
    let version = |version: u64| Value::Int(version as i64);

    let changes = select(
        drill,
        "SELECT `_commit_version`, `_change_type`, t.`before`.title, t.`after`.title, t.`after`.address.street \
         FROM headwater.told_changes t WHERE `_key` = 'k' ORDER BY `_cursor`",
    );
    assert_eq!(
        changes,
        [
            [
                version(first),
                text("insert"),
                Value::Null,
                text("one"),
                text("one")
            ],
            [
                version(second),
                text("update"),
                text("one"),
                text("two"),
                text("two")
            ],
            [
                version(third),
                text("delete"),
                text("two"),
                Value::Null,
                Value::Null
            ],
        ]
    );
    let debezium = select(
        drill,
        "SELECT op, source_key, source_table, source_version, t.`after`.tags[0], ts_ms > 1700000000000 \
         FROM headwater.told_debezium t ORDER BY source_sequence",
    );
    let ops: Vec<_> = debezium.iter().map(|row| row[0].clone()).collect();
    assert_eq!(ops, ["c", "c", "u", "d"].map(text));
    assert_eq!(debezium[1][1..3], [text("k"), text("told")]);
    assert!(
        debezium.iter().all(|row| row[5] == Value::Bool(true)),
        "{debezium:?}"
    );
    let history = select(
        drill,
        "SELECT `_key`, title, h.address.street, `_valid_from` <= `_valid_to`, `_valid_to` IS NULL, `_commit_version` \
         FROM headwater.told_history h ORDER BY `_commit_version`",
    );
    let (yes, no) = (Value::Bool(true), Value::Bool(false));
    assert_eq!(
        history[1..],
        [
            [
                text("k"),
                text("one"),
                text("one"),
                yes.clone(),
                no.clone(),
                version(first)
            ],
            [
                text("k"),
                text("two"),
                text("two"),
                yes.clone(),
                no,
                version(second)
            ],
        ]
    );
    assert_eq!(history[0][..2], [text("stays"), text("here")]);
    assert_eq!(history[0][4], yes);

    for (snapshot, titles) in [
        (first, vec!["one", "here"]),
        (second, vec!["two", "here"]),
        (third, vec!["here"]),
    ] {
        let schema = SnapshotSchema::open(drill.url(), root, snapshot).unwrap();
        let options = QueryOptions {
            schema: Some(schema.name().to_owned()),
            ..QueryOptions::default()
        };
        let sql = "SELECT t.title FROM told t ORDER BY t.`_key`";
        let answer = drill::query_with(drill.url(), sql, &options).unwrap();
        let found: Vec<_> = answer.rows().iter().map(|row| row[0].get()).collect();
        let titles: Vec<_> = titles.iter().map(|title| format!("\"{title}\"")).collect();
        assert_eq!(found, titles, "the snapshot {snapshot}");
        // All tables are of the same state.
        let sql = "SELECT max(`_commit_version`) FROM told_changes";
        let answer = drill::query_with(drill.url(), sql, &options).unwrap();
        assert_eq!(answer.rows()[0][0].get(), snapshot.to_string());
    }
    let error = SnapshotSchema::open(drill.url(), root, third + 100).unwrap_err();
    assert!(
        error.to_string().contains("headwater lake snapshots"),
        "{error}"
    );
}

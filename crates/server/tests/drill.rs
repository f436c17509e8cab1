//! A real Drillbit reads a lake that is written by hand, by the rules that the lake's writer follows.
//!
//! Needs a Java 17 development kit, and Maven once. One Drillbit serves all steps, as each takes ten seconds to start.

use headwater_server::drill::{self, DrillError, DrillOptions, QueryOptions, RunningDrill};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_real_drillbit() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let options = DrillOptions {
        http_port: 0,
        user_port: 0,
        bit_port: 0,
        data: Some(folder.path().join("data")),
        ..DrillOptions::new(&lake)
    };
    let mut last = String::new();
    let drill = drill::start(&options, &mut |progress| {
        let line = progress.to_string();
        if line != last {
            println!("{line}");
            last = line;
        }
    })
    .unwrap();

    types_are_read_back_exactly(&drill, &lake);
    an_empty_table_has_columns_and_no_rows(&drill, &lake);
    awkward_names_are_only_names(&drill, &lake);
    texts_in_sql_may_hold_any_character(&drill);
    a_failing_query_says_why(&drill);
    limits_are_kept(&drill);
    a_lake_is_registered_again(&drill, &lake, folder.path());
    what_is_in_use_is_refused(&drill, &options);
    it_stops(drill);
}

/// Writes the table `name` with one file of `rows`: its view, a first line with the nulls of every column, and the rows.
fn write_table(lake: &Path, name: &str, columns: &[(&str, &str, Value)], nulls: &str, rows: &str) {
    let folder = lake.join(format!(".{name}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("0.json"), format!("{nulls}\n{rows}")).unwrap();
    let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
    let names: Vec<String> = columns.iter().map(|(name, ..)| quote(name)).collect();
    let schema: Vec<String> = columns
        .iter()
        .map(|(name, kind, _)| {
            let name = name.replace('\\', r"\\").replace('`', r"\`");
            format!("`{name}` {kind}")
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM table(headwater.{}(type=>'json', schema=>'inline=({})')) WHERE `_key` IS NOT NULL",
        names.join(", "),
        quote(&format!(".{name}")),
        schema.join(", ").replace('\'', "''"),
    );
    let fields: Vec<Value> = columns
        .iter()
        .map(|(name, _, field)| {
            let mut field = field.clone();
            field["name"] = json!(name);
            field["isNullable"] = json!(true);
            field
        })
        .collect();
    let view = json!({"name": name, "sql": sql, "fields": fields, "workspaceSchemaPath": []});
    fs::write(lake.join(format!("{name}.view.drill")), view.to_string()).unwrap();
}

fn text() -> Value {
    json!({"type": "VARCHAR", "precision": 65535})
}

fn of(kind: &str) -> Value {
    json!({"type": kind})
}

fn typed_columns() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("_key", "VARCHAR", text()),
        ("mixed", "DOUBLE", of("DOUBLE")),
        ("late", "VARCHAR", text()),
        ("big", "BIGINT", of("BIGINT")),
        (
            "price",
            "DECIMAL(38,4)",
            json!({"type": "DECIMAL", "precision": 38, "scale": 4}),
        ),
        ("at", "TIMESTAMP", of("TIMESTAMP")),
        ("ok", "BOOLEAN", of("BOOLEAN")),
        ("place", "STRUCT<zip BIGINT, street VARCHAR>", of("ANY")),
        ("tags", "ARRAY<VARCHAR>", of("ANY")),
        ("points", "ARRAY<STRUCT<x BIGINT, at TIMESTAMP>>", of("ANY")),
    ]
}

const TYPED_NULLS: &str = r#"{"_key":null,"mixed":null,"late":null,"big":null,"price":null,"at":null,"ok":null,"place":{"zip":null,"street":null},"tags":[],"points":[{"x":null,"at":null}]}"#;

/// The rows of a query as lines of values, the digits as Drill sent them.
fn rows(drill: &RunningDrill, sql: &str) -> String {
    let result = drill::query(drill.url(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows: Vec<String> = result
        .rows()
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.iter().map(|cell| cell.get()).collect();
            cells.join(" ")
        })
        .collect();
    rows.join("\n")
}

fn types_are_read_back_exactly(drill: &RunningDrill, lake: &Path) {
    write_table(
        lake,
        "typed",
        &typed_columns(),
        TYPED_NULLS,
        concat!(
            r#"{"_key":"a","mixed":1,"late":null,"big":9007199254740993,"price":1234567890123456789012345678.0001,"at":"2026-11-22T10:00:00.123","place":{"zip":1,"street":null},"tags":["x","null",""],"points":[{"x":1,"at":0},{"x":-9223372036854775808,"at":null}]}"#,
            "\n",
            r#"{"_key":"b","mixed":1.5,"big":-9223372036854775808,"price":-0.0001,"at":-1,"ok":false,"place":null,"tags":[]}"#,
            "\n",
            r#"{"_key":"c","mixed":"-Infinity","late":"\u0000😀\n\"\\","big":0,"ok":true}"#,
            "\n",
            r#"{"_key":"d"}"#,
            "\n",
        ),
    );
    assert_eq!(
        rows(drill, "SELECT * FROM headwater.typed ORDER BY `_key`;"),
        concat!(
            r#""a" 1.0 null 9007199254740993 1234567890123456789012345678.0001 1795341600123 null {"zip":1,"street":null} ["x","null",""] [{"x":1,"at":0},{"x":-9223372036854775808,"at":null}]"#,
            "\n",
            r#""b" 1.5 null -9223372036854775808 -0.0001 -1 false {"zip":null,"street":null} [] []"#,
            "\n",
            r#""c" "-Infinity" "\u0000\uD83D\uDE00\n\"\\" 0 null null true {"zip":null,"street":null} [] []"#,
            "\n",
            r#""d" null null null null null null {"zip":null,"street":null} [] []"#,
        )
    );
    assert_eq!(
        rows(
            drill,
            "SELECT t.place.zip, count(*), sum(big), min(`at`) FROM headwater.typed t GROUP BY t.place.zip ORDER BY 1"
        ),
        "1 1 9007199254740993 1795341600123\nnull 3 -9223372036854775808 -1"
    );
    let kinds: Vec<String> = drill::query(drill.url(), "SELECT * FROM headwater.typed")
        .unwrap()
        .columns()
        .iter()
        .map(|column| format!("{} {}", column.name, column.kind))
        .collect();
    assert_eq!(
        kinds.join(", "),
        "_key VARCHAR(65535), mixed FLOAT8, late VARCHAR(65535), big BIGINT, price VARDECIMAL(38, 4), \
         at TIMESTAMP, ok BIT, place MAP, tags VARCHAR, points MAP"
    );
    assert_eq!(
        rows(
            drill,
            "SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.`COLUMNS` \
             WHERE TABLE_SCHEMA = 'headwater.default' AND TABLE_NAME = 'typed' AND ORDINAL_POSITION BETWEEN 4 AND 6"
        ),
        "\"big\" \"BIGINT\"\n\"price\" \"DECIMAL\"\n\"at\" \"TIMESTAMP\""
    );
}

fn an_empty_table_has_columns_and_no_rows(drill: &RunningDrill, lake: &Path) {
    write_table(lake, "empty", &typed_columns(), TYPED_NULLS, "");
    let all = drill::query(drill.url(), "SELECT * FROM headwater.empty").unwrap();
    assert_eq!(all.columns().len(), typed_columns().len());
    assert!(all.rows().is_empty());
    assert_eq!(
        rows(drill, "SELECT count(*), sum(big) FROM headwater.empty"),
        "0 null"
    );
}

fn awkward_names_are_only_names(drill: &RunningDrill, lake: &Path) {
    let names = [
        "_key",
        "select",
        "timestamp",
        "a.b",
        "a`b",
        r"a\b",
        "it's",
        "a \"b\"",
        "😀",
        "$x",
        "1st",
    ];
    let columns: Vec<_> = names
        .iter()
        .map(|name| (*name, "VARCHAR", text()))
        .collect();
    let object = |value: &dyn Fn(&str) -> Value| {
        let fields = names.iter().map(|name| ((*name).to_owned(), value(name)));
        Value::Object(fields.collect()).to_string()
    };
    write_table(
        lake,
        "it's a `table`",
        &columns,
        &object(&|_| Value::Null),
        &object(&|name| json!(name)),
    );
    let result = drill::query(drill.url(), "SELECT * FROM headwater.`it's a ``table```").unwrap();
    assert_eq!(result.rows().len(), 1);
    for ((column, value), name) in result.columns().iter().zip(&result.rows()[0]).zip(names) {
        assert_eq!(column.name, name);
        assert_eq!(serde_json::from_str::<String>(value.get()).unwrap(), name);
    }
    assert!(result.table().contains("it's"));
}

fn texts_in_sql_may_hold_any_character(drill: &RunningDrill) {
    assert_eq!(
        rows(
            drill,
            "SELECT `_key`, UPPER('łó') FROM headwater.typed WHERE late LIKE '%😀%' AND '日本' <> 'Łódź'"
        ),
        r#""c" "ŁÓ""#
    );
}

fn a_failing_query_says_why(drill: &RunningDrill) {
    for (sql, why) in [
        ("SELECT nope FROM headwater.typed", "'nope' not found"),
        ("SELECT * FROM headwater.nothing", "'nothing' not found"),
        ("SELEC", "Non-query expression"),
        ("", "Encountered"),
        (
            "SELECT CAST(`_key` AS INT) FROM headwater.typed",
            "NumberFormatException",
        ),
    ] {
        match drill::query(drill.url(), sql) {
            Err(DrillError::Failed { message }) => {
                assert!(message.contains(why), "{sql}: {message}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    let nobody = drill::query("http://127.0.0.1:1", "SELECT 1").unwrap_err();
    assert!(
        matches!(nobody, DrillError::Unreachable { .. }),
        "{nobody:?}"
    );
}

fn limits_are_kept(drill: &RunningDrill) {
    let ask = |options| drill::query_with(drill.url(), "SELECT * FROM headwater.typed", &options);
    for (rows, truncated) in [(2, true), (4, false)] {
        let some = ask(QueryOptions {
            rows: Some(rows),
            ..QueryOptions::default()
        })
        .unwrap();
        assert_eq!(some.rows().len(), rows as usize);
        assert_eq!(some.is_truncated(), truncated);
    }
    let long = ask(QueryOptions {
        bytes: 100,
        ..QueryOptions::default()
    });
    assert!(
        matches!(long, Err(DrillError::TooLong { limit: 100 })),
        "{long:?}"
    );
    let slow = ask(QueryOptions {
        timeout: Duration::from_millis(1),
        ..QueryOptions::default()
    });
    assert!(matches!(slow, Err(DrillError::Timeout { .. })), "{slow:?}");
}

fn a_lake_is_registered_again(drill: &RunningDrill, lake: &Path, folder: &Path) {
    let register = |name: &str, lake: &Path| drill::register(drill.url(), name, lake);
    register("headwater", lake).unwrap();
    assert_eq!(rows(drill, "SELECT count(*) FROM headwater.typed"), "4");

    register("second", lake).unwrap();
    assert_eq!(rows(drill, "SELECT count(*) FROM `second`.typed"), "4");
    fs::create_dir(folder.join("other")).unwrap();
    register("second", &folder.join("other")).unwrap();
    let gone = drill::query(drill.url(), "SELECT count(*) FROM `second`.typed");
    assert!(matches!(gone, Err(DrillError::Failed { .. })), "{gone:?}");

    // A folder that is not there changes nothing, neither where there was a plugin nor where there was none.
    for name in ["headwater", "third"] {
        let invisible = register(name, &folder.join("missing")).unwrap_err();
        assert!(
            matches!(invisible, DrillError::LakeNotVisible { .. }),
            "{invisible:?}"
        );
    }
    assert_eq!(rows(drill, "SELECT count(*) FROM headwater.typed"), "4");
    let none = drill::query(drill.url(), "SELECT * FROM third.typed").unwrap_err();
    assert!(none.to_string().contains("'third' not found"), "{none}");
    // Drill comes with a `cp` of its own.
    let taken = register("cp", lake).unwrap_err();
    assert!(matches!(taken, DrillError::PluginTaken { .. }), "{taken:?}");
    for name in ["", "Name", "a/b", "1a", "a b", "../x"] {
        let bad = register(name, lake).unwrap_err();
        assert!(matches!(bad, DrillError::BadPluginName { .. }), "{bad:?}");
    }
}

fn what_is_in_use_is_refused(drill: &RunningDrill, options: &DrillOptions) {
    let refused = |options: DrillOptions| {
        drill::start(&options, &mut |_| {})
            .map(|drill| drill.url().to_owned())
            .unwrap_err()
    };
    let data = refused(options.clone());
    assert!(matches!(data, DrillError::DataInUse { .. }), "{data:?}");
    let (_, port) = drill.url().rsplit_once(':').unwrap();
    let port = refused(DrillOptions {
        http_port: port.parse().unwrap(),
        data: None,
        ..options.clone()
    });
    assert!(matches!(port, DrillError::Port { .. }), "{port:?}");
}

fn it_stops(drill: RunningDrill) {
    let (url, pid) = (drill.url().to_owned(), drill.pid());
    drill.stop().unwrap();
    let gone = drill::query(&url, "SELECT 1").unwrap_err();
    assert!(matches!(gone, DrillError::Unreachable { .. }), "{gone:?}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

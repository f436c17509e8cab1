//! The table of types in the crate's documentation, rule by rule.

use super::*;
use crate::{MAX_COLUMNS, MAX_LEAVES, MAX_NESTING};
use serde_json::json;

/// Publishes one column of `values` and returns its type and cells.
fn column(values: &[Value]) -> (String, Vec<Json>) {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    for (at, value) in values.iter().enumerate() {
        lake.apply(put(
            "t",
            &format!("{at:04}"),
            record([("v", value.clone())]),
        ));
    }
    lake.publish().unwrap();
    let visible = Visible::read(dir.path(), "t");
    (visible.kind("v").to_owned(), visible.cells("v"))
}

#[track_caller]
fn check<const N: usize>(values: [Value; N], kind: &str, cells: Json) {
    assert_eq!(
        column(&values),
        (kind.to_owned(), cells.as_array().unwrap().clone())
    );
    let reversed: Vec<_> = values.into_iter().rev().collect();
    let mut cells = cells.as_array().unwrap().clone();
    cells.reverse();
    assert_eq!(
        column(&reversed),
        (kind.to_owned(), cells),
        "in the other order"
    );
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into())
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(record(fields))
}

const EXACT: i64 = 1 << 53;

#[test]
fn scalars_keep_their_types() {
    check([Value::Null, Value::Null], "VARCHAR", json!([null, null]));
    check(
        [Value::Null, true.into(), false.into()],
        "BOOLEAN",
        json!([null, true, false]),
    );
    check(
        [i64::MIN.into(), i64::MAX.into(), Value::Null],
        "BIGINT",
        json!([i64::MIN, i64::MAX, null]),
    );
    check([Value::Counter(3), 4.into()], "BIGINT", json!([3, 4]));
    check(
        ["".into(), Value::Text("null".into())],
        "VARCHAR",
        json!(["", "null"]),
    );
    check([Value::Bytes(b"hi".to_vec())], "VARBINARY", json!(["aGk="]));
    check(
        [
            1.5.into(),
            f64::NAN.into(),
            f64::INFINITY.into(),
            f64::NEG_INFINITY.into(),
            2.0.into(),
        ],
        "DOUBLE",
        json!([1.5, "NaN", "Infinity", "-Infinity", 2.0]),
    );
}

#[test]
fn doubles_are_exact() {
    for (double, text) in [
        (0.1, "0.1"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
        (-0.0, "-0.0"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut lake = open(dir.path());
        lake.apply(put("t", "k", record([("v", double.into())])));
        lake.publish().unwrap();
        let visible = Visible::read(dir.path(), "t");
        let line = visible.text();
        assert!(line.contains(&format!("\"v\":{text}}}")), "{line}");
    }
    // A row is JSON in memory, so a double must survive being read: this one needs correct rounding.
    check(
        [2.638_344_616_030_823e-256.into()],
        "DOUBLE",
        json!([2.638_344_616_030_823e-256]),
    );
}

#[test]
fn integers_and_floats_are_doubles_where_nothing_is_lost() {
    check([1.into(), 1.5.into()], "DOUBLE", json!([1, 1.5]));
    check(
        [(-EXACT).into(), EXACT.into(), 0.5.into()],
        "DOUBLE",
        json!([-EXACT, EXACT, 0.5]),
    );
}

#[test]
fn numbers_beyond_doubles_are_decimals_where_nothing_is_lost() {
    check(
        [(EXACT + 1).into(), 1.into(), 0.5.into(), 2.0.into()],
        "DECIMAL(38, 1)",
        json!(["9007199254740993", "1", "0.5", "2"]),
    );
    check(
        [i64::MIN.into(), 0.5.into()],
        "DECIMAL(38, 1)",
        json!(["-9223372036854775808", "0.5"]),
    );
    check(
        [Value::Uint(u64::MAX), 1.into(), Value::Null],
        "DECIMAL(38, 0)",
        json!(["18446744073709551615", "1", null]),
    );
    // 20 digits before the point and 18 after it are 38.
    check(
        [Value::Uint(u64::MAX), 1e-18.into()],
        "DECIMAL(38, 18)",
        json!(["18446744073709551615", "0.000000000000000001"]),
    );
    check(
        [Value::Uint(u64::MAX), 1e-19.into()],
        "VARCHAR",
        json!(["18446744073709551615", "1e-19"]),
    );
    for float in [f64::NAN, f64::INFINITY, -0.0, 1e300, 5e-324] {
        let (kind, _) = column(&[(EXACT + 1).into(), float.into()]);
        assert_eq!(kind, "VARCHAR", "{float}");
    }
    check(
        [list([Value::Uint(u64::MAX)]), list([0.5.into()])],
        "ARRAY<DECIMAL(38, 1)>",
        json!([["18446744073709551615"], ["0.5"]]),
    );
}

#[test]
fn mixtures_are_text() {
    check(
        [300.into(), "Up".into(), 1.5.into(), Value::Null],
        "VARCHAR",
        json!(["300", "Up", "1.5", null]),
    );
    check([true.into(), 1.into()], "VARCHAR", json!(["true", "1"]));
    check(
        [f64::NAN.into(), "x".into()],
        "VARCHAR",
        json!(["NaN", "x"]),
    );
    check(
        [map([("a", 1.into())]), 1.into()],
        "VARCHAR",
        json!(["{\"a\":1}", "1"]),
    );
    check(
        [map([("a", 1.into())]), list([1.into()])],
        "VARCHAR",
        json!(["{\"a\":1}", "[1]"]),
    );
    check(
        [Value::Bytes(b"hi".to_vec()), "x".into()],
        "VARCHAR",
        json!(["aGk=", "x"]),
    );
}

#[test]
fn timestamps_in_and_out_of_range() {
    let (first, last) = (-62_135_596_800_000, 253_402_300_799_999);
    check(
        [
            Value::Timestamp(first),
            Value::Timestamp(last),
            Value::Timestamp(-1),
            Value::Timestamp(951_782_400_123),
        ],
        "TIMESTAMP",
        json!([
            "0001-01-01T00:00:00.000",
            "9999-12-31T23:59:59.999",
            "1969-12-31T23:59:59.999",
            "2000-02-29T00:00:00.123"
        ]),
    );
    for out in [first - 1, last + 1, i64::MIN, i64::MAX] {
        check(
            [Value::Timestamp(out), Value::Timestamp(0)],
            "VARCHAR",
            json!([
                format!("{{\"$timestamp\":{out}}}"),
                "1970-01-01T00:00:00.000"
            ]),
        );
    }
    check(
        [Value::Timestamp(0), 1.into()],
        "VARCHAR",
        json!(["1970-01-01T00:00:00.000", "1"]),
    );
}

#[test]
fn maps_are_structs_of_all_their_members() {
    check(
        [
            map([("a", 1.into())]),
            Value::Null,
            map([("b", map([("c", "x".into())])), ("a", 1.5.into())]),
        ],
        "STRUCT<`a` DOUBLE, `b` STRUCT<`c` VARCHAR>>",
        json!([{"a": 1}, null, {"a": 1.5, "b": {"c": "x"}}]),
    );
    check([map([]), map([])], "VARCHAR", json!(["{}", "{}"]));
    check(
        [map([]), map([("a", Value::Null)])],
        "STRUCT<`a` VARCHAR>",
        json!([{}, {}]),
    );
    check(
        [map([("a", 1.into())]), map([("a", "x".into())])],
        "STRUCT<`a` VARCHAR>",
        json!([{"a": "1"}, {"a": "x"}]),
    );
}

#[test]
fn lists_are_arrays_of_one_type() {
    check([list([]), Value::Null], "ARRAY<VARCHAR>", json!([[], null]));
    check(
        [list([]), list([1.into(), 2.5.into()])],
        "ARRAY<DOUBLE>",
        json!([[], [1, 2.5]]),
    );
    check(
        [list(["a".into()]), list(["".into()])],
        "ARRAY<VARCHAR>",
        json!([["a"], [""]]),
    );
    check(
        [list([Value::Timestamp(0)])],
        "ARRAY<TIMESTAMP>",
        json!([["1970-01-01T00:00:00.000"]]),
    );
    check(
        [
            list([map([("x", 1.into())])]),
            list([map([("y", list([true.into()]))]), map([])]),
        ],
        "ARRAY<STRUCT<`x` BIGINT, `y` ARRAY<BOOLEAN>>>",
        json!([[{"x": 1}], [{"y": [true]}, {}]]),
    );
    check([list([map([])])], "VARCHAR", json!(["[{}]"]));
}

#[test]
fn what_is_no_array_is_canonical_json() {
    check(
        [list([1.into(), Value::Null]), list([2.into()])],
        "VARCHAR",
        json!(["[1,null]", "[2]"]),
    );
    check([list([list([1.into()])])], "VARCHAR", json!(["[[1]]"]));
    check(
        [list([1.into(), "a".into()])],
        "VARCHAR",
        json!(["[1,\"a\"]"]),
    );
    check(
        [list([1.into()]), list(["a".into()])],
        "VARCHAR",
        json!(["[1]", "[\"a\"]"]),
    );
    check(
        [list([(EXACT + 1).into()]), list([f64::NAN.into()])],
        "VARCHAR",
        json!(["[9007199254740993]", "[{\"$float\":\"NaN\"}]"]),
    );
    check(
        [list([map([("a", 1.into())]), 1.into()])],
        "VARCHAR",
        json!(["[{\"a\":1},1]"]),
    );
}

#[test]
fn widening_writes_all_rows_anew_and_survives_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.apply(put("t", "a", record([("v", 1.into())])));
    lake.publish().unwrap();
    assert_eq!(Visible::read(dir.path(), "t").kind("v"), "BIGINT");
    lake.apply(put("t", "b", record([("v", "x".into())])));
    lake.publish().unwrap();
    let wide = Visible::read(dir.path(), "t");
    assert_eq!(
        (wide.kind("v"), wide.cells("v")),
        ("VARCHAR", vec![json!("1"), json!("x")])
    );
    lake.apply(delete("t", "b"));
    lake.publish().unwrap();
    drop(lake);
    let mut lake = open(dir.path());
    lake.apply(put("t", "a", record([("v", 1.into())])));
    lake.publish().unwrap();
    let reopened = Visible::read(dir.path(), "t");
    assert_eq!(
        (reopened.kind("v"), reopened.cells("v")),
        ("VARCHAR", vec![json!("1")])
    );
}

#[test]
fn the_exactness_of_integers_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.apply(put("t", "a", record([("v", (EXACT + 1).into())])));
    lake.publish().unwrap();
    drop(lake);
    let mut lake = open(dir.path());
    lake.apply(put("t", "b", record([("v", 0.5.into())])));
    lake.publish().unwrap();
    assert_eq!(Visible::read(dir.path(), "t").kind("v"), "DECIMAL(38, 1)");
}

#[test]
fn an_empty_table_has_types_and_a_typing_row_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.declare("empty");
    lake.apply(put("emptied", "k", record([("s", map([("a", 1.into())]))])));
    lake.publish().unwrap();
    lake.apply(delete("emptied", "k"));
    lake.publish().unwrap();
    for table in ["empty", "emptied"] {
        let visible = Visible::read(dir.path(), table);
        assert!(visible.rows.is_empty());
        assert_eq!(visible.files.len(), 1);
    }
    let visible = Visible::read(dir.path(), "emptied");
    assert_eq!(visible.kind("s"), "STRUCT<`a` BIGINT>");
    let text = visible.text();
    assert_eq!(text, "{\"_key\":null,\"s\":{\"a\":null}}\n");
}

#[test]
fn long_texts_are_not_cut_by_the_view() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let texts = record([
        ("long", "x".repeat(65_536).into()),
        ("short", "x".repeat(65_535).into()),
    ]);
    lake.apply(put("t", "k", texts));
    lake.publish().unwrap();
    let shown = |root: &Path| {
        let visible = Visible::read(root, "t");
        visible
            .columns
            .into_iter()
            .map(|(name, _, shown)| (name, shown))
            .collect::<BTreeMap<_, _>>()
    };
    let first = shown(dir.path());
    assert_eq!(
        [&first["_key"], &first["long"], &first["short"]],
        ["VARCHAR", "ANY", "VARCHAR"]
    );
    lake.apply(put(
        "t",
        &"k".repeat(65_536),
        record([("long", "x".into())]),
    ));
    lake.apply(delete("t", "k"));
    lake.publish().unwrap();
    let second = shown(dir.path());
    assert_eq!([&second["_key"], &second["long"]], ["ANY", "ANY"]);
}

#[test]
fn fields_beyond_the_limit_share_a_column() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let mut wide = Record::new();
    for n in 0..MAX_COLUMNS + 2 {
        wide.insert(format!("f{n:05}"), (n as i64).into());
    }
    lake.apply(put("t", "k", wide));
    lake.publish().unwrap();
    let visible = Visible::read(dir.path(), "t");
    assert_eq!(visible.columns.len(), MAX_COLUMNS + 3);
    assert_eq!(
        visible.cells("_more"),
        [json!("{\"f01000\":1000,\"f01001\":1001}")]
    );
    assert_eq!(visible.cells("f00999"), [json!(999)]);
}

#[test]
fn maps_used_as_dictionaries_and_deep_nesting_are_json() {
    let mut dictionary = Record::new();
    for n in 0..=MAX_LEAVES {
        dictionary.insert(format!("d{n:04}"), 1.into());
    }
    let (kind, _) = column(&[Value::Map(dictionary)]);
    assert_eq!(kind, "VARCHAR");
    let mut deep = Value::Int(1);
    for _ in 0..=MAX_NESTING {
        deep = map([("d", deep)]);
    }
    let (kind, cells) = column(&[deep]);
    assert_eq!(kind, "VARCHAR");
    assert!(cells[0].as_str().unwrap().starts_with("{\"d\":{\"d\""));
}

#[test]
fn every_character_survives() {
    let texts = [
        "\0\u{1}\u{1f}\u{7f}",
        "\"\\/\n\r\t",
        "\u{2028}\u{fffd}\u{ffff}",
        "é名😀\u{10ffff}",
        "a`'.[]*",
    ];
    let values: Vec<Value> = texts.iter().map(|text| (*text).into()).collect();
    let (_, cells) = column(&values);
    assert_eq!(cells, texts.map(|text| json!(text)));
}

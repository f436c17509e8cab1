//! What is declared of the columns: types, with the values that do not fit them, names, and hidden ones.

use super::*;
use crate::{Declaration, Declarations, DeclaredType};
use headwater_core::{FieldType, LakeColumn};
use serde_json::json;

fn typed<const N: usize>(fields: [(&str, &str); N]) -> Declarations {
    let declared = fields.map(|(field, kind)| {
        let kind = DeclaredType::of(&FieldType::of_name(kind));
        (field.to_owned(), Declaration { kind, column: None })
    });
    declared.into()
}

fn called<'a>(fields: impl IntoIterator<Item = (&'a str, LakeColumn)>) -> Declarations {
    let declared = fields.into_iter().map(|(field, column)| {
        let declaration = Declaration {
            kind: None,
            column: Some(column),
        };
        (field.to_owned(), declaration)
    });
    declared.collect()
}

/// The type and the cells of a column of `values` that is declared `kind`, and the values that are rejected with the reason.
fn column(kind: &str, values: &[Value]) -> (String, Vec<Json>, Vec<(Json, Json)>) {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.declare_fields(database(1), "t", typed([("v", kind)]));
    for (at, value) in values.iter().enumerate() {
        lake.apply(put(
            "t",
            &format!("{at:04}"),
            record([("v", value.clone())]),
        ));
    }
    lake.publish().unwrap();
    let visible = Visible::read(dir.path(), "t");
    let rejected = Visible::read(dir.path(), "t_rejected");
    assert_eq!(visible.rows.len(), values.len(), "every row stays");
    assert!(rejected.cells("field").iter().all(|field| field == "v"));
    let reasons = rejected.cells("value").into_iter();
    let reasons = reasons.zip(rejected.cells("reason")).collect();
    (visible.kind("v").to_owned(), visible.cells("v"), reasons)
}

#[track_caller]
fn check<const N: usize>(declared: &str, fitting: [Value; N], kind: &str, cells: Json) {
    let shown = column(declared, &fitting);
    assert_eq!(
        shown,
        (
            kind.to_owned(),
            cells.as_array().unwrap().clone(),
            Vec::new()
        )
    );
}

#[track_caller]
fn refuse<const N: usize>(declared: &str, values: [Value; N], what: &str) {
    for value in values {
        let (_, cells, rejected) = column(declared, &[value.clone(), Value::Null]);
        assert_eq!(cells, [Json::Null, Json::Null], "{value:?} as {declared}");
        let canonical = headwater_core::json::value_to_json(&value);
        let reason = format!("{canonical} is not {what}");
        assert_eq!(rejected, [(json!(canonical), json!(reason))]);
    }
}

const EXACT: i64 = 1 << 53;

#[test]
fn a_declared_column_has_exactly_its_type() {
    check(
        "bool",
        [true.into(), Value::Null],
        "BOOLEAN",
        json!([true, null]),
    );
    refuse("bool", [1.into(), "true".into()], "true or false");
    check(
        "int",
        [i64::MIN.into(), Value::Counter(3), 4.0.into()],
        "BIGINT",
        json!([i64::MIN, 3, 4]),
    );
    refuse(
        "int",
        [1.5.into(), (-0.0).into(), Value::Uint(u64::MAX), "1".into()],
        "an int (an integer of 64 bits)",
    );
    check("counter", [1.into()], "BIGINT", json!([1]));
    check(
        "float",
        [0.5.into(), EXACT.into(), f64::NAN.into()],
        "DOUBLE",
        json!([0.5, EXACT, "NaN"]),
    );
    refuse("float", [(EXACT + 1).into(), "1.5".into()], "a float");
    check(
        "string",
        ["x".into(), Value::Text("".into())],
        "VARCHAR",
        json!(["x", ""]),
    );
    refuse("text", [5.into(), Value::Bytes(vec![1])], "a string");
    check(
        "bytes",
        [Value::Bytes(b"hi".to_vec())],
        "VARBINARY",
        json!(["aGk="]),
    );
    refuse("bytes", ["aGk=".into()], "bytes");
    check(
        "timestamp",
        [Value::Timestamp(1), 2.into()],
        "TIMESTAMP",
        json!(["1970-01-01T00:00:00.001", "1970-01-01T00:00:00.002"]),
    );
    refuse(
        "timestamp",
        [
            Value::Timestamp(i64::MAX),
            i64::MIN.into(),
            "2024-01-01".into(),
        ],
        "a timestamp (of the years 1 to 9999)",
    );
}

#[test]
fn decimals_and_dates_are_declared() {
    check(
        "decimal(20,4)",
        [
            "-0012.50".into(),
            Value::Text("1".into()),
            7.into(),
            0.25.into(),
            Value::Counter(-3),
            "9999999999999999.9999".into(),
        ],
        "DECIMAL(20, 4)",
        json!(["-12.5", "1", "7", "0.25", "-3", "9999999999999999.9999"]),
    );
    refuse(
        "decimal(20,4)",
        [
            "abc".into(),
            "1.00001".into(),
            "12345678901234567".into(),
            Value::Uint(u64::MAX),
            f64::NAN.into(),
            (-0.0).into(),
            "1e3".into(),
            true.into(),
        ],
        "a decimal(20,4)",
    );
    check("date", ["2024-02-29".into()], "DATE", json!(["2024-02-29"]));
    refuse(
        "date",
        ["2023-02-29".into(), Value::Timestamp(0), 5.into()],
        "a date (yyyy-MM-dd, of the years 1 to 9999)",
    );
}

#[test]
fn declared_lists_and_maps_take_nothing_else_and_keep_their_types() {
    let list = Value::List(vec![1.into()]);
    let map = Value::Map(record([("a", 1.into())]));
    let (kind, cells, rejected) = column("list", &[list.clone(), map.clone(), "x".into()]);
    assert_eq!(
        (kind.as_str(), cells),
        ("ARRAY<BIGINT>", vec![json!([1]), Json::Null, Json::Null])
    );
    assert_eq!(
        rejected[0],
        (json!("{\"a\":1}"), json!("{\"a\":1} is not a list"))
    );
    let (kind, cells, rejected) = column("map", &[map, list]);
    assert_eq!(
        (kind.as_str(), cells),
        ("STRUCT<`a` BIGINT>", vec![json!({"a": 1}), Json::Null])
    );
    assert_eq!(rejected[0].1, "[1] is not a map");
    assert_eq!(DeclaredType::of(&FieldType::of_name("point")), None);
}

#[test]
fn reasons_repeat_long_values_in_part() {
    let (_, _, rejected) = column("int", &["x".repeat(100_000).into()]);
    assert_eq!(rejected[0].0.as_str().unwrap().len(), 100_002);
    assert!(
        rejected[0].1.as_str().unwrap().len() < 150,
        "{}",
        rejected[0].1
    );
    assert!(rejected[0].1.as_str().unwrap().contains("x… is not an int"));
}

/// The type and the cells of the column `v`, and the rejected values.
fn shown(root: &Path) -> (String, Vec<Json>, Vec<Json>) {
    let visible = Visible::read(root, "t");
    let rejected = Visible::read(root, "t_rejected").cells("value");
    (visible.kind("v").to_owned(), visible.cells("v"), rejected)
}

#[test]
fn the_type_follows_the_catalog_and_what_was_ever_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let rows = [("a", Value::from(1)), ("b", "x".into()), ("c", 0.5.into())];
    for (key, value) in &rows {
        lake.apply(put("t", key, record([("v", value.clone())])));
    }
    lake.publish().unwrap();
    let declare = |lake: &mut Lake, kind| {
        lake.declare_fields(database(1), "t", typed([("v", kind)]));
        lake.publish().unwrap();
        shown(dir.path())
    };
    let text = (
        "VARCHAR".to_owned(),
        vec![json!("1"), json!("x"), json!("0.5")],
        vec![],
    );
    let int = (
        "BIGINT".to_owned(),
        vec![json!(1), Json::Null, Json::Null],
        vec![json!("\"x\""), json!("0.5")],
    );
    let float = (
        "DOUBLE".to_owned(),
        vec![json!(1), Json::Null, json!(0.5)],
        vec![json!("\"x\"")],
    );
    assert_eq!(declare(&mut lake, "int"), int);
    assert_eq!(declare(&mut lake, "float"), float);
    assert_eq!(declare(&mut lake, "something new"), text);
    assert_eq!(declare(&mut lake, "int"), int);
    // A value that is mended or gone is rejected no more.
    lake.apply(put("t", "b", record([("v", 2.into())])));
    lake.apply(delete("t", "c"));
    lake.publish().unwrap();
    let mended = ("BIGINT".to_owned(), vec![json!(1), json!(2)], vec![]);
    assert_eq!(shown(dir.path()), mended);
    // Once what was seen is recorded, neither a restart nor the order matters.
    drop(lake);
    let mut lake = open(dir.path());
    for (key, value) in &rows {
        lake.apply(put("t", key, record([("v", value.clone())])));
    }
    assert_eq!(declare(&mut lake, "int"), int);
    drop(lake);
    let mut lake = open(dir.path());
    lake.publish().unwrap();
    assert_eq!(shown(dir.path()), int, "a restart changes no type");
    lake.declare_fields(database(1), "t", Declarations::new());
    lake.publish().unwrap();
    assert_eq!(shown(dir.path()), text);
}

#[test]
fn databases_that_declare_different_types_leave_it_to_the_values() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.apply(put("t", "a", record([("v", 1.into()), ("w", "x".into())])));
    let mut declare = |db, kind| {
        lake.declare_fields(database(db), "t", typed([("v", kind), ("w", "int")]));
        lake.publish().unwrap();
        shown(dir.path())
    };
    let unfit = json!("\"x\"");
    assert_eq!(declare(1, "float").0, "DOUBLE");
    let (kind, _, rejected) = declare(2, "string");
    assert_eq!(kind, "BIGINT", "as is inferred");
    assert_eq!(
        rejected,
        std::slice::from_ref(&unfit),
        "on the other field they agree, and here nothing is rejected"
    );
    assert_eq!(declare(3, "bytes").2, std::slice::from_ref(&unfit));
    declare(1, "string");
    let (kind, _, rejected) = declare(3, "text");
    assert_eq!(
        (kind.as_str(), rejected),
        ("VARCHAR", vec![json!("1"), unfit])
    );
    assert_eq!(Visible::read(dir.path(), "t").cells("w"), [Json::Null]);
}

fn names(lake: &Lake) -> BTreeMap<String, String> {
    let (_, columns) = lake.schema("t").unwrap();
    columns
        .iter()
        .map(|column| (column.field.clone(), column.name.clone()))
        .collect()
}

#[test]
fn a_column_is_called_as_the_catalog_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let row = record([("title", "x".into()), ("user", 1.into())]);
    lake.apply(put("t", "a", row));
    lake.publish().unwrap();
    let call = |lake: &mut Lake, columns| {
        lake.declare_fields(database(1), "t", columns);
        lake.publish().unwrap();
        names(lake)
    };
    let renamed = call(
        &mut lake,
        called([("title", "headline".into()), ("user", "by".into())]),
    );
    assert_eq!((&*renamed["title"], &*renamed["user"]), ("headline", "by"));
    let visible = Visible::read(dir.path(), "t");
    assert_eq!(
        (visible.cells("headline"), visible.cells("by")),
        (vec![json!("x")], vec![json!(1)])
    );
    assert!(visible.columns.iter().all(|(name, ..)| name != "title"));
    // The old name is free, and who has a name keeps it.
    lake.apply(put(
        "t",
        "b",
        record([("headline", 2.into()), ("Title", 3.into())]),
    ));
    lake.publish().unwrap();
    let now = names(&lake);
    assert_eq!(now["Title"], "Title");
    assert!(now["headline"].starts_with("headline__"), "{now:?}");
    // Two swap their names; what Drill cannot hold is mapped, by the field's name.
    let swapped = call(
        &mut lake,
        called([
            ("title", "by".into()),
            ("user", "headline".into()),
            ("Title", "a.b".into()),
        ]),
    );
    assert_eq!((&*swapped["title"], &*swapped["user"]), ("by", "headline"));
    assert!(swapped["Title"].starts_with("a_b__"), "{swapped:?}");
    let reserved = call(
        &mut lake,
        called([("title", "_key".into()), ("Title", "_KEY".into())]),
    );
    assert_eq!(reserved["Title"], "_KEY_");
    assert!(reserved["title"].starts_with("key__"), "{reserved:?}");
    // What is recorded outlasts a restart, and without a declaration a field has its own name again.
    drop(lake);
    let mut lake = open(dir.path());
    let own = call(&mut lake, called([("title", "title".into())]));
    assert_eq!(
        (&*own["Title"], &*own["user"], &own["headline"]),
        ("Title", "user_", &now["headline"])
    );
    assert!(own["title"].starts_with("title__"), "{own:?}");
}

#[test]
fn a_hidden_field_has_no_column_and_nothing_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let row = record([
        ("v", "secret".into()),
        ("w", 1.into()),
        ("x", "secret".into()),
    ]);
    lake.apply(put("t", "a", row));
    let hide = |hidden: bool| {
        let mut declared = typed([("v", "int")]);
        for field in ["v", "x"] {
            let column = hidden.then_some(LakeColumn::Hidden);
            declared.entry(field.to_owned()).or_default().column = column;
        }
        declared
    };
    // Once shown, it leaves something in its place.
    for left in [&[][..], &["_hidden2", "_hidden3"]] {
        lake.declare_fields(database(1), "t", hide(true));
        // Another database that says nothing, or gives a name, shows nothing.
        lake.declare_fields(database(2), "t", called([("x", "y".into())]));
        lake.publish().unwrap();
        let visible = Visible::read(dir.path(), "t");
        assert_eq!(
            columns(dir.path(), "t"),
            [&["_key", "_database", "w"], left].concat()
        );
        let text = visible.text();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(Visible::read(dir.path(), "t_rejected").rows.len(), 0);
        lake.declare_fields(database(1), "t", hide(false));
        lake.publish().unwrap();
        assert_eq!(shown(dir.path()).2, [json!("\"secret\"")]);
        assert_eq!(Visible::read(dir.path(), "t").cells("y"), [json!("secret")]);
    }
}

/// The columns of a table as Drill sees them, in their order.
fn columns(root: &Path, table: &str) -> Vec<String> {
    let view = std::fs::read_to_string(root.join(format!("{table}.view.drill"))).unwrap();
    let view: Json = serde_json::from_str(&view).unwrap();
    let fields = view["fields"].as_array().unwrap().iter();
    fields
        .map(|field| field["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_column_never_takes_the_place_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let hide = |lake: &mut Lake, fields: &[&str]| {
        let hidden = fields.iter().map(|field| (*field, LakeColumn::Hidden));
        lake.declare_fields(database(1), "t", called(hidden));
        lake.publish().unwrap();
    };
    let check = |places: &[&str]| {
        assert_eq!(
            columns(dir.path(), "t"),
            [&["_key", "_database"], places].concat()
        );
        let fixed = [
            "_key",
            "_database",
            "_valid_from",
            "_valid_to",
            "_commit_version",
        ];
        assert_eq!(columns(dir.path(), "t_history"), [&fixed, places].concat());
    };
    let row = ["b", "c", "_hidden2"].map(|field| (field, Value::from(field)));
    lake.apply(put("t", "k", record(row)));
    lake.publish().unwrap();
    check(&["_hidden2", "b", "c"]);
    lake.apply(put("t", "l", record([("a", 1.into()), ("d", 1.into())])));
    hide(&mut lake, &["b", "d"]);
    let stand_in = columns(dir.path(), "t")[3].clone();
    assert!(
        stand_in.starts_with("hidden2__"),
        "its name was taken: {stand_in}"
    );
    check(&["_hidden2", &stand_in, "c", "a"]);
    assert_eq!(
        Visible::read(dir.path(), "t").cells(&stand_in),
        [Json::Null, Json::Null]
    );
    drop(lake);
    let mut lake = open(dir.path());
    assert_eq!(lake.publish().unwrap().tables, Vec::<String>::new());
    check(&["_hidden2", &stand_in, "c", "a"]);
    lake.apply(put("t", "m", record([("_", 1.into())])));
    hide(&mut lake, &["c"]);
    // What is shown for the first time comes last, and what is shown again is where it was.
    check(&["_hidden2", "b", "_hidden3", "a", "_", "d"]);
    hide(&mut lake, &[]);
    check(&["_hidden2", "b", "c", "a", "_", "d"]);
    hide(&mut lake, &["b"]);
    check(&["_hidden2", &stand_in, "c", "a", "_", "d"]);
}

#[test]
fn a_hidden_field_is_not_among_those_beyond_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let wide = (0..crate::MAX_COLUMNS + 2).map(|n| (format!("f{n:05}"), Value::from(1)));
    lake.apply(put("t", "k", wide.collect()));
    lake.publish().unwrap();
    lake.declare_fields(database(1), "t", called([("f01000", LakeColumn::Hidden)]));
    lake.publish().unwrap();
    let visible = Visible::read(dir.path(), "t");
    assert_eq!(visible.cells("_more"), [json!("{\"f01001\":1}")]);
}

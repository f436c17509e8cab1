//! The table of names in the crate's documentation.

use super::*;

/// The columns that `fields` get when they are published together.
fn columns(fields: &[&str]) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let row = fields
        .iter()
        .map(|field| ((*field).to_owned(), Value::Int(1)))
        .collect();
    lake.apply(put("t", "k", row));
    lake.publish().unwrap();
    let (_, columns) = lake.schema("t").unwrap();
    let visible = Visible::read(dir.path(), "t");
    for column in &columns {
        assert_eq!(visible.cells(&column.name), [Json::from(1)], "{column:?}");
    }
    columns
        .iter()
        .map(|column| (column.field.clone(), column.name.clone()))
        .collect()
}

#[test]
fn usable_names_stay() {
    let names = [
        "title", "US Gross", "größe", "名前", "😀", "select", "1st", "a-b", "$x", "_id", "dirt",
        "a/b", "date",
    ];
    for (field, column) in columns(&names) {
        assert_eq!(field, column);
    }
}

#[test]
fn reserved_names_get_an_underscore() {
    let names = columns(&[
        "user",
        "USER_",
        "filename",
        "DIR12",
        "_key",
        "_Database",
        "_more",
        "current_date",
    ]);
    for field in [
        "filename",
        "DIR12",
        "_key",
        "_Database",
        "_more",
        "current_date",
    ] {
        assert_eq!(names[field], format!("{field}_"));
    }
    // `USER_` comes first in byte order.
    assert_eq!(
        (names["USER_"].as_str(), names["user"].as_str()),
        ("USER_", "user__04f8996d")
    );
}

#[test]
fn unusable_names_are_hashed() {
    let long = "n".repeat(201);
    let names = columns(&[
        "a.b",
        "",
        "a`b",
        "it's",
        " x",
        "x ",
        "a\nb",
        "*",
        "x__0123abcd",
        &long,
        ".",
        "a_b",
    ]);
    assert_eq!(names["a.b"], "a_b__2e7336dc");
    assert_eq!(names[""], "field__e3b0c442");
    assert_eq!(names["a_b"], "a_b");
    for (field, column) in names.iter().filter(|(field, _)| *field != "a_b") {
        assert_ne!(field, column);
        assert!(
            column.len() < 60 && !column.contains(['.', '`', '\'', '\n', '*']),
            "{column:?}"
        );
    }
}

#[test]
fn names_that_differ_by_case_stay_apart() {
    let names = columns(&["Name", "name", "NAME", "ſt", "ST", "K", "\u{212a}"]);
    let mut folded: Vec<_> = names
        .values()
        .map(|name| name.to_uppercase().to_lowercase())
        .collect();
    folded.sort();
    folded.dedup();
    assert_eq!(folded.len(), names.len());
    assert_eq!(
        (
            names["NAME"].as_str(),
            names["ST"].as_str(),
            names["K"].as_str()
        ),
        ("NAME", "ST", "K")
    );
    assert!(names["name"].starts_with("name__"));
}

#[test]
fn a_column_keeps_its_name_when_a_rival_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.apply(put("t", "k", record([("name", 1.into())])));
    lake.apply(put("Tab", "k", record([("x", 1.into())])));
    lake.publish().unwrap();
    drop(lake);
    let mut lake = open(dir.path());
    lake.apply(put(
        "t",
        "k",
        record([
            ("name", 1.into()),
            ("Name", 2.into()),
            ("m", Value::Map(record([("A", 1.into()), ("a", 2.into())]))),
        ]),
    ));
    lake.apply(put("TAB", "k", record([("x", 2.into())])));
    lake.publish().unwrap();
    let columns: Vec<_> = lake
        .schema("t")
        .unwrap()
        .1
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(columns, ["name", "Name__dcd1d522", "m"]);
    assert_eq!(
        Visible::read(dir.path(), "t").cells("m"),
        [serde_json::json!({"A": 1, "a__ca978112": 2})]
    );
    assert_eq!(lake.schema("Tab").unwrap().0, "Tab");
    assert!(lake.schema("TAB").unwrap().0.starts_with("TAB__"));
}

#[test]
fn a_collection_s_name_is_never_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("lake");
    let mut lake = open(&root);
    let long = "é".repeat(10_000);
    let names = [
        "../../escape",
        "/etc/passwd",
        "a/b",
        "nul\0",
        "..",
        ".",
        "",
        "_hidden",
        ".hidden",
        "größe",
        "a:b",
        "x[1]",
        "default",
        "orders_changes",
        "orders_conflicts",
        "orders_rejected",
        "orders_History",
        "orders_debezium",
        &long,
    ];
    for name in names {
        lake.apply(put(name, "k", record([("v", (name.len() as i64).into())])));
    }
    lake.publish().unwrap();
    for name in names {
        let (table, _) = lake.schema(name).unwrap();
        assert!(
            table
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            "{table:?}"
        );
        assert!(!table.starts_with('_') && !table.starts_with("default") || table == "default_");
        assert_eq!(
            Visible::read(&root, table).cells("v"),
            [Json::from(name.len())]
        );
    }
    for companion in ["changes", "conflicts", "rejected", "History", "debezium"] {
        let name = format!("orders_{companion}");
        assert_eq!(lake.schema(&name).unwrap().0, format!("{name}_"));
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "something was written beside the lake"
    );
    let listed = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let shown: Vec<_> = listed
        .filter(|name| !name.starts_with(['.', '_']))
        .collect();
    assert_eq!(shown.len(), 6 * names.len());
    assert!(shown.iter().all(|name| name.ends_with(".view.drill")));
}

/// Names that differ by case, reserved words, dots, empty and very long names, names that begin with `_` or `.`: each with what
/// becomes of it as a table, a column and a member. Nothing is said of a name that becomes its beginning and a hash.
#[test]
fn every_kind_of_name_has_its_rule_in_every_place() {
    let long = "x".repeat(5_000);
    let fits = "y".repeat(200);
    let rules: [(&str, [Option<&str>; 3]); 15] = [
        ("Case", [Some("Case"); 3]),
        ("case", [None; 3]),
        ("select", [Some("select"); 3]),
        ("table", [Some("table"); 3]),
        ("user", [Some("user"), Some("user_"), Some("user")]),
        (
            "filename",
            [Some("filename"), Some("filename_"), Some("filename")],
        ),
        (
            "default",
            [Some("default_"), Some("default"), Some("default")],
        ),
        ("a.b", [None; 3]),
        ("", [None; 3]),
        (&long, [None; 3]),
        (&fits, [Some(&fits); 3]),
        ("_x", [None, Some("_x"), Some("_x")]),
        ("_key", [None, Some("_key_"), Some("_key")]),
        (".x", [None; 3]),
        ("größe", [None, Some("größe"), Some("größe")]),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    let fields: Record = rules
        .iter()
        .map(|(name, _)| ((*name).to_owned(), Value::Int(name.len() as i64)))
        .collect();
    for (name, _) in &rules {
        lake.apply(put(name, "k", fields.clone()));
    }
    lake.apply(put("members", "k", record([("m", Value::Map(fields))])));
    lake.publish().unwrap();
    let (_, columns) = lake.schema("Case").unwrap();
    let cells = Visible::read(dir.path(), "members").cells("m");
    let members = cells[0].as_object().unwrap();
    assert_eq!(members.len(), rules.len(), "no two members share a name");
    for (name, places) in &rules {
        let (table, _) = lake.schema(name).unwrap();
        assert_eq!(Visible::read(dir.path(), table).rows.len(), 1);
        let column = columns.iter().find(|column| column.field == *name).unwrap();
        let hash = |found: &str| {
            found
                .rsplit_once("__")
                .is_some_and(|(_, hash)| hash.len() == 8)
        };
        for (found, expected) in [(table, places[0]), (&*column.name, places[1])] {
            assert!(
                expected.map_or_else(|| hash(found), |name| found == name),
                "{found}"
            );
        }
        let value = Json::from(name.len());
        let (member, _) = match places[2] {
            Some(name) => members.get_key_value(name).unwrap(),
            None => members
                .iter()
                .find(|(member, cell)| **cell == value && hash(member))
                .unwrap(),
        };
        assert_eq!(members[member], value);
    }
}

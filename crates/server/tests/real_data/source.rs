//! What Drill must give for a file that was imported, by the rules that `headwater_materialize`'s documentation states.
//!
//! The files are read here without any of the code that imports them: of JSON the text of each value decides, so no number
//! is rounded on its way.

use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// Null, or nothing there.
    Null,
    /// A BIGINT.
    Integer(i64),
    /// A DOUBLE, by its bits.
    Double(u64),
    /// A VARCHAR.
    Text(String),
}

/// A row as it is in a file: the text of each value.
pub type RawRow = BTreeMap<String, Box<RawValue>>;

/// All cells of a table, without `_key` and `_database`.
#[derive(Debug)]
pub struct Table {
    /// The columns' names, in byte order, and Drill's types.
    pub columns: Vec<(String, &'static str)>,
    /// The rows, sorted; each has a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// A file of the npm package vega-datasets.
pub fn path(name: &str) -> PathBuf {
    let demo = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo"));
    let path = demo.join("node_modules/vega-datasets/data").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo xtask setup --only npm`, or `npm ci` in examples/demo",
        path.display()
    );
    path
}

/// The rows of a JSON file.
pub fn json_rows(name: &str) -> Vec<RawRow> {
    let text = std::fs::read_to_string(path(name)).expect("read");
    serde_json::from_str(&text).expect("an array of objects")
}

/// What Drill must give for rows of JSON.
pub fn json_table(rows: &[RawRow]) -> Table {
    let names: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    let columns: Vec<(String, &'static str)> = names
        .into_iter()
        .map(|name| {
            (
                name.clone(),
                kind(rows.iter().filter_map(|row| row.get(name))),
            )
        })
        .collect();
    let cell = |row: &RawRow, (name, kind): &(String, &str)| match row.get(name) {
        Some(value) => json_cell(value.get(), kind),
        None => Cell::Null,
    };
    table(columns, rows, cell)
}

/// The type of a column with these values: text if there is any, else DOUBLE if there is a fraction.
fn kind<'a>(values: impl Iterator<Item = &'a Box<RawValue>>) -> &'static str {
    let mut found = "BIGINT";
    for value in values {
        match value.get() {
            "null" => {}
            text if text.starts_with('"') => return "VARCHAR",
            number if number.contains(['.', 'e', 'E']) => found = "FLOAT8",
            number => assert!(number.parse::<i64>().is_ok(), "no rule here for {number}"),
        }
    }
    found
}

/// The cell of a JSON value in a column of Drill's type `kind`.
pub fn json_cell(value: &str, kind: &str) -> Cell {
    match kind {
        _ if value == "null" => Cell::Null,
        "BIGINT" => Cell::Integer(value.parse().expect("an integer")),
        "FLOAT8" => double(value),
        _ if value.starts_with('"') => Cell::Text(serde_json::from_str(value).expect("a string")),
        // A number among texts is its digits; only integers are in these files.
        _ => Cell::Text(value.parse::<i64>().expect("an integer").to_string()),
    }
}

/// What Drill must give for a CSV file: texts, but numbers in the columns `doubles`.
pub fn csv_table(name: &str, doubles: &[&str]) -> Table {
    let mut reader = csv::Reader::from_path(path(name)).expect("opened");
    let header = reader.headers().expect("a header").clone();
    let kind = |name: &str| match doubles.contains(&name) {
        true => "FLOAT8",
        false => "VARCHAR",
    };
    let mut columns: Vec<(String, &'static str)> = header
        .iter()
        .map(|name| (name.to_owned(), kind(name)))
        .collect();
    columns.sort();
    let rows: Vec<BTreeMap<String, String>> = reader
        .deserialize()
        .collect::<Result<_, _>>()
        .expect("rows of the header's columns");
    let cell = |row: &BTreeMap<String, String>, (name, kind): &(String, &str)| match *kind {
        "FLOAT8" if row[name].is_empty() => Cell::Null,
        "FLOAT8" => double(&row[name]),
        _ => Cell::Text(row[name].clone()),
    };
    table(columns, &rows, cell)
}

fn table<R>(
    columns: Vec<(String, &'static str)>,
    rows: &[R],
    cell: impl Fn(&R, &(String, &'static str)) -> Cell,
) -> Table {
    let mut rows: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| columns.iter().map(|column| cell(row, column)).collect())
        .collect();
    rows.sort();
    Table { columns, rows }
}

fn double(text: &str) -> Cell {
    Cell::Double(text.parse::<f64>().expect("a number").to_bits())
}

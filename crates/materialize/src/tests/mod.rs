//! What a user of the lake notices: types, names, rows, and that no fault shows half of anything.

mod changes;
mod conflicts;
mod declared;
mod faults;
mod history;
mod names;
mod rules;

use crate::{Lake, LakeError, LakeOptions, RowChange};
use headwater_core::{DatabaseId, Record, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A visible table, read as Drill does: through its view.
#[derive(Debug, Clone, PartialEq)]
pub struct Visible {
    /// The column's names and types in the inline schema, with the type that the view shows.
    pub columns: Vec<(String, String, String)>,
    /// By database and key; the cells that are not null.
    pub rows: BTreeMap<(String, String), Json>,
    /// The sizes of the files.
    pub files: Vec<u64>,
    /// The folder that the view names.
    pub folder: PathBuf,
}

impl Visible {
    /// The table `name` in the lake at `root`.
    pub fn read(root: &Path, name: &str) -> Self {
        let view: Json = serde_json::from_slice(
            &std::fs::read(root.join(format!("{name}.view.drill"))).unwrap(),
        )
        .unwrap();
        assert_eq!(view["name"], name);
        let sql = view["sql"].as_str().unwrap();
        let (select, rest) = sql
            .strip_prefix("SELECT ")
            .unwrap()
            .split_once(" FROM table(`headwater`.`")
            .unwrap();
        let (folder, rest) = rest
            .split_once("`(type=>'json', schema=>'inline=(")
            .unwrap();
        let (inline, filter) = rest.split_once(")'))").unwrap();
        let typed = match filter {
            "" => false,
            " WHERE `_key` IS NOT NULL" => true,
            other => panic!("unexpected filter {other}"),
        };
        let fields = view["fields"].as_array().unwrap();
        let mut columns = Vec::new();
        let mut inline = inline;
        for (field, name) in fields.iter().zip(select.split(", ")) {
            let named = name.trim_matches('`');
            assert_eq!(field["name"], named);
            let rest = inline.strip_prefix(&format!("{name} ")).unwrap();
            let end = top_level_comma(rest);
            columns.push((
                named.to_owned(),
                rest[..end].to_owned(),
                field["type"].as_str().unwrap().to_owned(),
            ));
            inline = rest[end..].trim_start_matches(", ");
        }
        assert!(inline.is_empty());
        let folder = root.join(folder);
        let (rows, files) = Self::rows(&folder, typed);
        Self {
            columns,
            rows,
            files,
            folder,
        }
    }

    fn rows(folder: &Path, typed: bool) -> (BTreeMap<(String, String), Json>, Vec<u64>) {
        let mut rows = BTreeMap::new();
        let mut sizes = Vec::new();
        for path in files_in(folder) {
            assert_eq!(path.extension().unwrap(), "json");
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.ends_with('\n'), "a torn file {path:?}");
            sizes.push(text.len() as u64);
            for (at, line) in text.lines().enumerate() {
                let mut row: Json = serde_json::from_str(line).unwrap();
                let cells = row.as_object_mut().unwrap();
                if at == 0 && typed {
                    assert_eq!(cells["_key"], Json::Null, "the typing row comes first");
                    continue;
                }
                let mut take = |name| match cells.remove(name) {
                    Some(Json::String(text)) => text,
                    other => panic!("{name} is {other:?}"),
                };
                let mut key = (take("_database"), take("_key"));
                // The other tables have several rows of one key.
                let rejected = cells.contains_key("reason").then_some("field");
                for column in [rejected.unwrap_or("lost_claim"), "_event_id"] {
                    if let Some(Json::String(which)) = cells.get(column) {
                        key.1 += &format!(" {which}");
                    }
                }
                assert!(rows.insert(key, row).is_none(), "a key twice");
            }
        }
        sizes.sort_unstable();
        (rows, sizes)
    }

    /// The type of a column.
    pub fn kind(&self, column: &str) -> &str {
        let (_, kind, _) = self
            .columns
            .iter()
            .find(|(name, ..)| name == column)
            .unwrap();
        kind
    }

    /// The cells of a column in the order of keys, for a table with one database.
    pub fn cells(&self, column: &str) -> Vec<Json> {
        self.rows
            .values()
            .map(|row| row.get(column).cloned().unwrap_or(Json::Null))
            .collect()
    }

    /// The text of its first file.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&files_in(&self.folder)[0]).unwrap()
    }
}

/// The files that Drill would read in a version's folder, by way of its groups.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap().starts_with('.') {
            true => {}
            false if path.is_dir() => files.extend(files_in(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

fn top_level_comma(text: &str) -> usize {
    let (mut depth, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '`' => quoted = !quoted,
            '<' | '(' if !quoted => depth += 1,
            '>' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

pub fn database(n: u8) -> DatabaseId {
    DatabaseId::from_bytes([n; 16])
}

pub fn record<const N: usize>(fields: [(&str, Value); N]) -> Record {
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

pub fn put(collection: &str, key: &str, record: Record) -> RowChange {
    RowChange {
        database: database(1),
        collection: collection.to_owned(),
        key: key.to_owned(),
        record: Some(record),
        by: None,
    }
}

pub fn delete(collection: &str, key: &str) -> RowChange {
    RowChange {
        record: None,
        ..put(collection, key, Record::new())
    }
}

/// Opens a lake that nobody else uses. A child process that another test starts at this moment holds the lock's file too,
/// until it has begun its own program.
pub fn open(root: &Path) -> Lake {
    let started = std::time::Instant::now();
    loop {
        match Lake::open(root, no_grace()) {
            Err(LakeError::InUse { .. }) if started.elapsed() < Duration::from_secs(10) => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

pub fn no_grace() -> LakeOptions {
    LakeOptions {
        keep_snapshots: Duration::ZERO,
        ..LakeOptions::default()
    }
}

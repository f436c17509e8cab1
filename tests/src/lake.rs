//! What a lake's folder shows, read as a query would: from each view to its version's parts.

use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const VIEW: &str = ".view.drill";

/// The rows of each published table, by `_key`; those of its other tables by `_key` and field, claim or event, with blanks between.
pub type Tables = BTreeMap<String, BTreeMap<String, Json>>;

/// Reads all tables.
///
/// # Errors
/// If a view or a line of a part cannot be parsed, if a view names a folder that is not there, or if a key is there
/// twice: none of that may ever be visible.
pub fn read(root: &Path) -> anyhow::Result<Tables> {
    let mut tables = Tables::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(table) = name.and_then(|name| name.strip_suffix(VIEW)) {
            let text = fs::read_to_string(&path)?;
            let rows = rows(root, &text).with_context(|| format!("the table {table}"))?;
            tables.insert(table.to_owned(), rows);
        }
    }
    Ok(tables)
}

/// The files in a version's folder, by way of its groups.
fn parts(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        match (hidden, path.is_dir()) {
            (true, _) => {}
            (false, true) => files.extend(parts(&path)?),
            (false, false) => files.push(path),
        }
    }
    Ok(files)
}

fn rows(root: &Path, view: &str) -> anyhow::Result<BTreeMap<String, Json>> {
    let view: Json = serde_json::from_str(view)?;
    // … FROM table(`headwater`.`<folder>`(type=>…
    let sql = view["sql"].as_str().context("a view without SQL")?;
    let folder = sql
        .split_once("table(")
        .and_then(|(_, rest)| rest.split_once('('))
        .and_then(|(path, _)| path.rsplit('`').nth(1))
        .context("a view that names no folder")?;
    let mut rows = BTreeMap::new();
    for part in parts(&root.join(folder)).with_context(|| folder.to_owned())? {
        for line in fs::read_to_string(part)?.lines() {
            let row: Json = serde_json::from_str(line).with_context(|| line.to_owned())?;
            // The row without a key tells Drill the types, and the view leaves it out.
            if let Some(key) = row["_key"].as_str() {
                let mut key = key.to_owned();
                // Only the tables beside a collection's own have these columns in these tests.
                for column in ["field", "lost_claim", "_event_id"] {
                    if let Some(text) = row[column].as_str() {
                        key += &format!(" {text}");
                    }
                }
                let again = rows.insert(key.clone(), row.clone());
                ensure!(again.is_none(), "two rows have the key {key:?}");
            }
        }
    }
    Ok(rows)
}

//! What a lake's folder shows, read as a query would: from each view to its version's parts.

use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const VIEW: &str = ".view.drill";

/// The rows of each published table, by `_key`; those of conflicts by `_key`, field and claim, with blanks between.
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
    for part in fs::read_dir(root.join(folder)).with_context(|| folder.to_owned())? {
        for line in fs::read_to_string(part?.path())?.lines() {
            let row: Json = serde_json::from_str(line).with_context(|| line.to_owned())?;
            // The row without a key tells Drill the types, and the view leaves it out.
            if let Some(key) = row["_key"].as_str() {
                let key = match row["lost_claim"].as_str() {
                    Some(claim) => format!("{key} {} {claim}", row["field"].as_str().unwrap_or("")),
                    None => key.to_owned(),
                };
                let again = rows.insert(key.clone(), row.clone());
                ensure!(again.is_none(), "two rows have the key {key:?}");
            }
        }
    }
    Ok(rows)
}

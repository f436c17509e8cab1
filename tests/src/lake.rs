//! What a lake's folder shows, read as a query would: from each view to its version's parts.

use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
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

/// Reads one table as [`read`] does, if it is published.
///
/// # Errors
/// As of [`read`].
pub fn read_table(root: &Path, table: &str) -> anyhow::Result<Option<BTreeMap<String, Json>>> {
    match fs::read_to_string(root.join(format!("{table}{VIEW}"))) {
        Ok(text) => Ok(Some(rows(root, &text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
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

/// A row's own columns, those that are null left out.
pub fn cells(row: &Json) -> BTreeMap<&str, &Json> {
    let all = row.as_object().into_iter().flatten();
    let own = all.filter(|(name, cell)| !name.starts_with('_') && !cell.is_null());
    own.map(|(name, cell)| (name.as_str(), cell)).collect()
}

/// Follows a change feed from a table as it was once to the table as it is: each event must begin where the one before it
/// ended. The table then may have been taken before or after any of the events.
///
/// # Errors
/// If an event is told twice, one is missing, or they are of several epochs.
pub fn follow_feed(
    then: &BTreeMap<String, Json>,
    events: &BTreeMap<String, Json>,
    now: &BTreeMap<String, Json>,
) -> anyhow::Result<()> {
    let text = |event: &Json, column: &str| event[column].as_str().unwrap_or_default().to_owned();
    let mut events: Vec<&Json> = events.values().collect();
    events.sort_by_key(|event| text(event, "_cursor"));
    let (mut ids, mut cursors) = (BTreeSet::new(), BTreeSet::new());
    let mut rows: BTreeMap<String, BTreeMap<&str, &Json>> = BTreeMap::new();
    let mut followed = BTreeSet::new();
    for (key, row) in then {
        rows.insert(key.clone(), cells(row));
    }
    for event in events {
        let (key, cursor) = (text(event, "_key"), text(event, "_cursor"));
        ensure!(ids.insert(text(event, "_event_id")), "told twice: {event}");
        let epoch = |cursor: &String| cursor.split('-').next().map(str::to_owned);
        ensure!(
            cursors
                .last()
                .is_none_or(|last| epoch(last) == epoch(&cursor)),
            "another epoch: {event}"
        );
        ensure!(cursors.insert(cursor), "a cursor twice: {event}");
        let kind = text(event, "_change_type");
        if followed.insert(key.clone()) && kind == "insert" {
            rows.remove(&key);
        }
        let before = (kind != "insert").then(|| cells(&event["before"]));
        ensure!(
            rows.get(&key) == before.as_ref(),
            "a gap before {event}: {:?}",
            rows.get(&key)
        );
        match kind.as_str() {
            "delete" => rows.remove(&key),
            _ => rows.insert(key, cells(&event["after"])),
        };
    }
    let now: BTreeMap<_, _> = now
        .iter()
        .map(|(key, row)| (key.clone(), cells(row)))
        .collect();
    for key in rows.keys().chain(now.keys()) {
        let (told, is) = (rows.get(key), now.get(key));
        ensure!(
            told == is,
            "the feed ends with {told:?} for {key:?}, the row is {is:?}"
        );
    }
    Ok(())
}

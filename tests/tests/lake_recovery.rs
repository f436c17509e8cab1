//! What a lake is after its server was killed, or after its files were damaged.

use anyhow::{Context as _, ensure};
use headwater::{Options, Patch, Peer, Record, Value};
use headwater_tests::{ServerProcess, eventually, lake, post_json};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn record(n: i64) -> Record {
    Record::from([("n".to_owned(), Value::Int(n))])
}

fn rounds() -> usize {
    let asked = std::env::var("HEADWATER_LAKE_KILLS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

/// The number in each row of the table.
fn rows(root: &Path) -> anyhow::Result<BTreeMap<String, i64>> {
    let tables = lake::read(root)?;
    let rows = tables.get("notes").context("no table")?.iter();
    let number = |row: &Json| row["n"].as_i64().context("a row without its number");
    rows.map(|(key, row)| Ok((key.clone(), number(row)?)))
        .collect()
}

/// The events of the feed in their order.
fn events(root: &Path) -> anyhow::Result<Vec<Json>> {
    let mut tables = lake::read(root)?;
    let events = tables.remove("notes_changes").context("no feed")?;
    let mut events: Vec<Json> = events.into_values().collect();
    events.sort_by_key(|event| event["_cursor"].to_string());
    Ok(events)
}

/// The rows that the feed leads to, from nothing.
fn replayed(events: &[Json]) -> anyhow::Result<BTreeMap<String, i64>> {
    let mut rows = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in events {
        ensure!(
            ids.insert(event["_event_id"].to_string()),
            "told twice: {event}"
        );
        let key = event["_key"].as_str().context("no key")?;
        let before = rows.get(key).copied();
        ensure!(
            event["before"]["n"].as_i64() == before,
            "a gap before {event}"
        );
        match event["after"]["n"].as_i64() {
            Some(after) => rows.insert(key.to_owned(), after),
            None => rows.remove(key),
        };
    }
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_while_it_publishes_tells_everything_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("lake");
    let writer = Peer::open(Options::memory().user("ann").origin("field")).await?;
    let db = writer.create(None).await?;
    let notes = db.collection("notes");
    let (mut address, mut link) = ("127.0.0.1:0".to_owned(), None);
    let mut next = 0;
    for round in 0..rounds() {
        let server = ServerProcess::start(folder.path(), &address, &[])?;
        address.clone_from(&server.address);
        match &link {
            None => link = Some(db.connect(&server.url())?),
            Some(link) => link.retry_now(),
        }
        let before = events(&root).map_or(0, |events| events.len());
        // Until it has published something, and then a little further into its work each time.
        let told = || events(&root).ok().filter(|events| events.len() > before);
        for extra in 0.. {
            next += 1;
            notes.put(&format!("k{}", next % 97), record(next)).await?;
            if next % 7 == 0 {
                let gone = format!("k{}", (next + 40) % 97);
                if notes.get(&gone).is_some() {
                    notes.delete(&gone).await?;
                }
            }
            if extra > 20 + round && told().is_some() {
                break;
            }
        }
        server.kill()?;
        ensure!(
            rows(&root).is_ok(),
            "a table cannot be read after round {round}"
        );
        replayed(&events(&root)?)?;
    }
    let server = ServerProcess::start(folder.path(), &address, &[])?;
    if let Some(link) = &link {
        link.retry_now();
    }
    db.synced(LIMIT).await?;
    let expected: BTreeMap<String, i64> = (notes.scan(&Default::default()).into_iter())
        .filter_map(|(key, record)| Some((key, record["n"].as_int()?)))
        .collect();
    let caught_up = || rows(&root).ok().filter(|rows| *rows == expected);
    eventually("the table has caught up", LIMIT, caught_up).await?;
    let replays = || {
        replayed(&events(&root).ok()?)
            .ok()
            .filter(|rows| *rows == expected)
    };
    eventually("the feed leads to the rows", LIMIT, replays).await?;
    for event in events(&root)? {
        // Of a delete that came with a whole document it is not known.
        let unknown = event["_change_type"] == "delete" && event["_change"].is_null();
        let known = event["_user"] == "ann" && event["_origin"] == "field";
        ensure!(known || unknown, "by whom? {event}");
    }
    let report = post_json(&format!("http://{}/lake/verify", server.address))?;
    ensure!(report["ok"] == true, "{report}");
    Ok(())
}

/// A file of the table's parts that ends so.
fn part(root: &Path, ending: &str) -> anyhow::Result<PathBuf> {
    for collection in fs::read_dir(root.join(".headwater"))? {
        let parts = collection?.path().join("records/parts");
        for file in fs::read_dir(parts).into_iter().flatten() {
            let path = file?.path();
            if path.to_string_lossy().ends_with(ending) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("no part ends with {ending}")
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_mended() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("lake");
    let server = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
    let writer = Peer::open(Options::memory()).await?;
    let db = writer.create(None).await?;
    let notes = db.collection("notes");
    notes
        .put_many((0..2_000).map(|n| (format!("k{n:04}"), record(n))))
        .await?;
    db.connect(&server.url())?;
    db.synced(LIMIT).await?;
    let all = || rows(&root).ok().filter(|rows| rows.len() == 2_000);
    let expected = eventually("the table is published", LIMIT, all).await?;
    let ask = |what: &str| post_json(&format!("http://{}/lake/{what}", server.address));
    ensure!(ask("verify")?["ok"] == true, "nothing is damaged yet");
    let epoch = || -> anyhow::Result<String> {
        let events = events(&root)?;
        let cursor = events.first().and_then(|event| event["_cursor"].as_str());
        Ok(cursor
            .and_then(|cursor| cursor.split('-').next())
            .unwrap_or_default()
            .to_owned())
    };
    let first_epoch = epoch()?;

    type Damage = fn(&Path) -> anyhow::Result<()>;
    let damages: [(&str, Damage, bool); 4] = [
        (
            "a text",
            |root| Ok(fs::write(part(root, ".json")?, "{}\n")?),
            false,
        ),
        (
            "a text that is gone",
            |root| Ok(fs::remove_file(part(root, ".json")?)?),
            false,
        ),
        (
            "a view",
            |root| Ok(fs::write(root.join("notes.view.drill"), "{}")?),
            false,
        ),
        (
            "rows",
            |root| Ok(fs::write(part(root, ".rows")?, "rubbish")?),
            true,
        ),
    ];
    for (what, damage, begins_anew) in damages {
        damage(&root)?;
        let found = ask("verify")?;
        ensure!(found["ok"] == false, "{what}: {found}");
        ensure!(found["damaged"][0].is_string(), "{what}: {found}");
        let mended = ask("repair")?;
        ensure!(mended["ok"] == true, "{what}: {mended}");
        ensure!(mended["new_epoch"] == begins_anew, "{what}: {mended}");
        ensure!(rows(&root)? == expected, "{what}: other rows");
        ensure!(ask("verify")?["ok"] == true, "{what}: still damaged");
    }
    // The feed goes on, in another epoch.
    let patch = Patch::from([("n".to_owned(), headwater::Edit::Set(Value::Int(-1)))]);
    notes.patch("k0007", patch).await?;
    let told = || events(&root).ok().filter(|events| events.len() == 1);
    eventually("the change is told", LIMIT, told).await?;
    ensure!(epoch()? != first_epoch, "the epoch is the same");
    let rebuilt = ask("rebuild")?;
    ensure!(
        rebuilt["ok"] == true && rebuilt["records"] == 2_000,
        "{rebuilt}"
    );
    ensure!(rows(&root)?.get("k0007") == Some(&-1));
    Ok(())
}

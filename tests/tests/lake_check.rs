//! `verify`, `repair` and `rebuild` of a running server's lake.

use anyhow::{Context as _, ensure};
use headwater::{Database, Options, Peer, Record, Value};
use headwater_tests::{ServerProcess, eventually, lake};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Enough for several parts.
const ROWS: i64 = 6_000;

fn record(n: i64) -> Record {
    let text = format!("{n:06}").repeat(25);
    let fields = [("n", Value::Int(n)), ("text", text.into())];
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Asks a server to do something with its lake.
fn ask(server: &ServerProcess, what: &str) -> anyhow::Result<Json> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(LIMIT))
        .build()
        .new_agent();
    let mut answer = agent
        .post(format!("http://{}/lake/{what}", server.address))
        .send_empty()?;
    let code = answer.status();
    let text = answer.body_mut().read_to_string()?;
    ensure!(code == 200, "{what}: {code}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// The files of this ending, or folders of this beginning, in the folder of the records.
fn found(
    root: &Path,
    folder: &str,
    matches: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for collection in fs::read_dir(root.join(".headwater"))? {
        let Ok(entries) = fs::read_dir(collection?.path().join(folder)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            found.extend(name.is_some_and(&matches).then_some(path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

struct Damaged {
    server: ServerProcess,
    db: Database,
    _peer: Peer,
    root: PathBuf,
    _folder: tempfile::TempDir,
}

impl Damaged {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
        let peer = Peer::open(Options::memory()).await?;
        let db = peer.create(None).await?;
        let many = (0..ROWS).map(|n| (format!("k{n:06}"), record(n)));
        db.collection("notes").put_many(many).await?;
        db.connect(server.url())?;
        db.synced(LIMIT).await?;
        let root = folder.path().join("lake");
        let this = Self {
            server,
            db,
            _peer: peer,
            root,
            _folder: folder,
        };
        this.shows_all("at first").await?;
        Ok(this)
    }

    /// Every record is a row.
    async fn shows_all(&self, when: &str) -> anyhow::Result<()> {
        let records = self.db.collection("notes").scan(&Default::default());
        let expected: BTreeMap<String, Option<i64>> = records
            .into_iter()
            .map(|(key, record)| (key, record.get("n").and_then(Value::as_int)))
            .collect();
        eventually(when, LIMIT, || {
            let tables = lake::read(&self.root).ok()?;
            let rows = tables.get("notes")?.iter();
            let rows: BTreeMap<_, _> = rows
                .map(|(key, row)| (key.clone(), row["n"].as_i64()))
                .collect();
            (rows == expected).then_some(())
        })
        .await
    }

    /// `verify` finds what `damage` did to a file that it names, `repair` mends it.
    async fn mends(
        &self,
        what: &str,
        new_epoch: bool,
        damage: impl FnOnce() -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<()> {
        let path = damage().context(what.to_owned())?;
        let named = |json: &Json| {
            let all = json
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str);
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            all.into_iter().any(|one| one.contains(name))
        };
        let report = ask(&self.server, "verify").context(what.to_owned())?;
        ensure!(
            report["ok"] == false && named(&report["damaged"]),
            "{what}: {report}"
        );
        let report = ask(&self.server, "repair").context(what.to_owned())?;
        ensure!(
            report["ok"] == true && named(&report["mended"]),
            "{what}: {report}"
        );
        ensure!(report["new_epoch"] == new_epoch, "{what}: {report}");
        self.shows_all(what).await?;
        let report = ask(&self.server, "verify")?;
        ensure!(report["ok"] == true, "{what}: {report}");
        // And it goes on.
        let notes = self.db.collection("notes");
        notes.put("k000001", record(-(what.len() as i64))).await?;
        notes.put(what, record(1)).await?;
        self.db.synced(LIMIT).await?;
        self.shows_all(what).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_is_what_the_databases_hold_also_while_they_change() -> anyhow::Result<()> {
    let lake = Damaged::start().await?;
    let notes = lake.db.collection("notes");
    let mut random: u64 = 0x5eed;
    for round in 0..20 {
        for _ in 0..20 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let n = (random >> 33) as i64;
            let key = format!("k{:06}", n % ROWS);
            match n % 3 {
                0 if notes.get(&key).is_some() => notes.delete(&key).await?,
                _ => notes.put(&key, record(n)).await?,
            };
        }
        let report = ask(&lake.server, "verify")?;
        ensure!(report["ok"] == true, "round {round}: {report}");
    }
    lake.db.synced(LIMIT).await?;
    let report = ask(&lake.server, "verify")?;
    let rows = notes.scan(&Default::default()).len() as u64;
    let table = &report["tables"][0];
    ensure!(
        table["rows"] == rows && table["records"] == rows,
        "{report}"
    );
    ensure!(table["rows_hash"] == table["records_hash"], "{report}");

    let rebuilt = ask(&lake.server, "rebuild")?;
    ensure!(
        rebuilt["ok"] == true && rebuilt["new_epoch"] == true,
        "{rebuilt}"
    );
    ensure!(
        rebuilt["tables"] == report["tables"],
        "{rebuilt} after {report}"
    );
    ensure!(rebuilt["records"].as_u64() >= Some(rows), "{rebuilt}");
    lake.shows_all("after the rebuild").await
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_named_and_mended() -> anyhow::Result<()> {
    let lake = Damaged::start().await?;
    let root = &lake.root;
    let part = |ending: &'static str| {
        let parts = found(root, "records/parts", |name| name.ends_with(ending))?;
        ensure!(parts.len() > 2, "{parts:?}");
        Ok(parts[1].clone())
    };
    let overwrite = |path: PathBuf| {
        let mut bytes = fs::read(&path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes)?;
        Ok(path)
    };
    let remove = |path: PathBuf| {
        fs::remove_file(&path)?;
        Ok(path)
    };
    let view = || root.join("notes.view.drill");
    lake.mends("a text differs", false, || overwrite(part(".json")?))
        .await?;
    lake.mends("a text is gone", false, || remove(part(".json")?))
        .await?;
    lake.mends("a view differs", false, || {
        fs::write(view(), "{}")?;
        Ok(view())
    })
    .await?;
    lake.mends("a view is gone", false, || remove(view()))
        .await?;
    // The folder of what is shown, and a group of parts in it.
    let shown = || {
        let text = fs::read_to_string(view())?;
        let (_, rest) = text.split_once("/records/v").context("no version")?;
        let number = rest.split('`').next().context("no version")?;
        let folder = found(root, "records", |name| name == format!("v{number}"))?.remove(0);
        let mut links = fs::read_dir(&folder)?.filter_map(|link| {
            let name = link.ok()?.file_name();
            name.to_str()?.starts_with('g').then(|| folder.join(name))
        });
        let group = links.next().context("no group")?;
        anyhow::Ok((folder, group))
    };
    lake.mends("a version's link is gone", false, || {
        let (folder, group) = shown()?;
        fs::remove_file(group)?;
        Ok(folder)
    })
    .await?;
    lake.mends("what a version shows is gone", false, || {
        remove(shown()?.0.join(".views.json"))
    })
    .await?;
    lake.mends("a link to a part is gone", false, || {
        let mut links = fs::read_dir(shown()?.1)?;
        remove(links.next().context("no part")??.path())
    })
    .await?;
    lake.mends("rows differ", true, || overwrite(part(".rows")?))
        .await?;
    lake.mends("rows are gone", true, || remove(part(".rows")?))
        .await
}

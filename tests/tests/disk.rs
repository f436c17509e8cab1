//! Disks that are full, and lakes that cannot be written: real ones, under a real server.

use anyhow::ensure;
use headwater::{CollectionSchema, Database, DatabaseId, Options, Peer, Record, Value};
use headwater_sync::frame::Frame;
use headwater_tests::mount::SmallDisk;
use headwater_tests::socket::RawClient;
use headwater_tests::{ServerProcess, eventually, lake};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);

/// Enough that redb and the lake have room to begin with.
const MEBIBYTES: u32 = 16;

/// A client that writes records of 4 KiB and counts what the server has acknowledged.
struct Writer {
    _peer: Peer,
    db: Database,
    written: i64,
}

fn record(n: i64) -> Record {
    Record::from([
        ("n".to_owned(), Value::Int(n)),
        ("text".to_owned(), Value::String(text(n))),
    ])
}

/// 4 KiB that do not compress.
fn text(n: i64) -> String {
    let mut state = n.unsigned_abs() | 1 << 40;
    let mut text = String::with_capacity(4096);
    while text.len() < 4096 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text
}

impl Writer {
    async fn start(server: &ServerProcess) -> anyhow::Result<Self> {
        let peer = Peer::open(Options::memory()).await?;
        let db = peer.create(None).await?;
        // In one document edits are acknowledged in their order.
        let schema = CollectionSchema::new().partitions(1);
        db.declare("notes", schema).await?;
        db.connect(server.url())?;
        Ok(Self {
            _peer: peer,
            db,
            written: 0,
        })
    }

    async fn write(&mut self, count: i64) -> anyhow::Result<()> {
        for _ in 0..count {
            let key = format!("k{:06}", self.written);
            let notes = self.db.collection("notes");
            notes.put(&key, record(self.written)).await?;
            self.written += 1;
        }
        Ok(())
    }

    /// How many records the server has acknowledged. The declaration of the collection is an edit too.
    fn acknowledged(&self) -> anyhow::Result<i64> {
        Ok(self.written - i64::try_from(self.db.unsynced())?)
    }

    /// A table holds these records and no others.
    fn is_in(&self, root: &Path) -> Option<()> {
        let tables = lake::read(root).ok()?;
        (tables.get("notes")?.len() as i64 == self.written).then_some(())
    }
}

/// What `/healthz` says is wrong with `part`, once it says that something is.
async fn ailment(server: &ServerProcess, part: &str) -> anyhow::Result<String> {
    let what = format!("/healthz says what is wrong with the {part}");
    eventually(&what, LIMIT, || {
        let (code, health) = server.health().ok()?;
        let said = health[part].as_str()?.to_owned();
        (code == 503 && health["status"] == "failing" && said != "ok").then_some(said)
    })
    .await
}

async fn well_again(server: &ServerProcess) -> anyhow::Result<()> {
    let healthy = |(code, health): (u16, Json)| code == 200 && health["status"] == "ok";
    eventually("/healthz says that all is well", LIMIT, || {
        server.health().is_ok_and(healthy).then_some(())
    })
    .await
}

/// What a fresh process finds in the data folder.
async fn assert_stored(data: &Path, writer: &Writer, at_least: i64) -> anyhow::Result<()> {
    let check = Peer::open(Options::folder(data)).await?;
    let stored = check
        .open_database(writer.db.id())
        .await?
        .collection("notes");
    for n in 0..at_least {
        assert_eq!(
            stored.get(&format!("k{n:06}")),
            Some(record(n)),
            "record {n}"
        );
    }
    Ok(check.close().await?)
}

/// Whoever comes for a database that the server has not opened yet is told why it cannot be. While the server tries
/// whether storage works again there are moments in which it can, so this asks for another until one is refused.
async fn refused_with_the_reason(server: &ServerProcess) -> anyhow::Result<()> {
    let started = Instant::now();
    for number in 1.. {
        let id = DatabaseId::from_bytes(u128::to_be_bytes(number));
        let mut client = RawClient::join(&format!("{}/sync/{id}", server.url()), true).await?;
        if let Some(Frame::Error { message, .. }) = client.receive().await? {
            ensure!(message.contains("cannot be opened now"), "{message}");
            ensure!(message.contains("no room left"), "{message}");
            return Ok(());
        }
        ensure!(started.elapsed() < LIMIT, "{number} databases were opened");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_documents_refuses_and_recovers_without_a_loss() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let disk = SmallDisk::mount(MEBIBYTES)?;
    let (data, root) = (disk.path().join("data"), folder.path().join("lake"));
    let server = ServerProcess::start_in(&data, &root, "127.0.0.1:0", &[])?;
    let mut writer = Writer::start(&server).await?;
    writer.write(50).await?;
    eventually("50 records are published", LIMIT, || writer.is_in(&root)).await?;

    disk.fill()?;
    // The store has pages of its own left, which the first writes may take.
    while server.health()?.0 == 200 && writer.written < 4000 {
        writer.write(50).await?;
    }
    let said = ailment(&server, "storage").await?;
    ensure!(
        said.contains("no room left") && said.contains("free some space"),
        "{said}"
    );
    writer.write(50).await?;
    ensure!(writer.db.unsynced() > 0, "acknowledged on a full disk");
    let safe = writer.acknowledged()?;
    // Every edit is where it was made, and what is published is whole.
    let notes = writer.db.collection("notes");
    assert_eq!(notes.scan(&Default::default()).len() as i64, writer.written);
    let published = lake::read(&root)?["notes"].len() as i64;
    ensure!(
        published >= 50 && published <= writer.written,
        "{published} rows"
    );
    // So is someone's with another database.
    let stranger = Peer::open(Options::memory()).await?;
    let other = stranger.create(None).await?;
    other.collection("c").put("k", record(0)).await?;
    other.connect(server.url())?;
    refused_with_the_reason(&server).await?;
    ensure!(other.unsynced() > 0, "acknowledged on a full disk");

    disk.free()?;
    writer.db.synced(LIMIT).await?;
    other.synced(LIMIT).await?;
    well_again(&server).await?;
    eventually("every record is published", LIMIT, || writer.is_in(&root)).await?;

    // And a second time, killed while the disk is full.
    disk.fill()?;
    while server.health()?.0 == 200 && writer.written < 8000 {
        writer.write(50).await?;
    }
    ailment(&server, "storage").await?;
    let safe = safe.max(writer.acknowledged()?);
    let address = server.address.clone();
    server.kill()?;
    disk.free()?;
    assert_stored(&data, &writer, safe).await?;
    let server = ServerProcess::start_in(&data, &root, &address, &[])?;
    writer.db.synced(LIMIT).await?;
    well_again(&server).await?;
    eventually("every record is published", LIMIT, || writer.is_in(&root)).await?;
    server.kill()?;
    assert_stored(&data, &writer, writer.written).await
}

/// A lake on a disk of its own, its server and a writer with 50 records in it.
struct Lake {
    server: ServerProcess,
    writer: Writer,
    disk: SmallDisk,
    folder: TempDir,
}

impl Lake {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let disk = SmallDisk::mount(MEBIBYTES)?;
        let root = disk.path().join("lake");
        let server =
            ServerProcess::start_in(&folder.path().join("data"), &root, "127.0.0.1:0", &[])?;
        let mut writer = Writer::start(&server).await?;
        writer.write(50).await?;
        eventually("50 records are published", LIMIT, || writer.is_in(&root)).await?;
        Ok(Self {
            server,
            writer,
            disk,
            folder,
        })
    }

    /// While the lake cannot be written the server syncs, says what is wrong and shows what was published last; once
    /// `mend` has undone the cause everything arrives.
    async fn survives(
        mut self,
        expected: &str,
        readable: bool,
        mend: impl Fn(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let root = self.disk.path().join("lake");
        let then = lake::read(&root).map(|mut tables| tables.remove("notes").unwrap_or_default());
        let then = if readable { then? } else { Default::default() };
        self.writer.write(100).await?;
        self.writer.db.synced(LIMIT).await?;
        let said = ailment(&self.server, "lake").await?;
        ensure!(said.contains(expected), "{said}");
        if readable {
            assert_eq!(lake::read(&root)?["notes"].len(), 50);
            lake::follow_feed(&then, &lake::read(&root)?["notes_changes"], &then)?;
        }
        self.writer.write(10).await?;
        self.writer.db.synced(LIMIT).await?;
        mend(&self)?;
        eventually("every record is published", LIMIT, || {
            self.writer.is_in(&root)
        })
        .await?;
        well_again(&self.server).await?;
        // What was only in memory while the lake failed is in the documents.
        let address = self.server.address.clone();
        self.server.signal("KILL")?;
        self.server.wait()?;
        let data = self.folder.path().join("data");
        self.server = ServerProcess::start_in(&data, &root, &address, &[])?;
        self.writer.write(10).await?;
        self.writer.db.synced(LIMIT).await?;
        eventually("records after a restart", LIMIT, || {
            self.writer.is_in(&root)
        })
        .await?;
        if readable {
            // The feed has neither a gap nor anything twice, whatever failed and was repeated; its view may come a little later.
            let told = || {
                let tables = lake::read(&root).ok()?;
                lake::follow_feed(&then, &tables["notes_changes"], &tables["notes"]).ok()
            };
            eventually("the feed tells all", LIMIT, told).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_lake_keeps_the_last_publication_until_there_is_room()
-> anyhow::Result<()> {
    let lake = Lake::start().await?;
    lake.disk.fill()?;
    lake.survives("no room left to write", true, |lake| lake.disk.free())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_became_read_only_keeps_the_last_publication() -> anyhow::Result<()> {
    let lake = Lake::start().await?;
    lake.disk.set_read_only(true)?;
    let mend = |lake: &Lake| lake.disk.set_read_only(false);
    lake.survives(
        "the lake needs a folder that this process may write to",
        true,
        mend,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_was_replaced_by_a_file_is_written_anew_when_the_folder_is_back()
-> anyhow::Result<()> {
    let lake = Lake::start().await?;
    let root = lake.disk.path().join("lake");
    fs::remove_dir_all(&root)?;
    fs::write(&root, "not a folder")?;
    let mend = |_: &Lake| Ok(fs::remove_file(&root)?);
    lake.survives(
        "the lake needs a folder that this process may write to",
        false,
        mend,
    )
    .await
}

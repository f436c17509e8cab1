//! Rubbish on a server's socket: whoever sends it is told what is wrong, and nobody else notices.

use anyhow::{Context as _, ensure};
use automerge::transaction::{CommitOptions, Transactable as _};
use automerge::{ActorId, Automerge, Change, ObjType, ROOT, ReadDoc as _, ScalarValue};
use bytes::Bytes;
use headwater::{Database, DatabaseId, DocumentId, Options, Peer, Record, Value};
use headwater_core::{Header, Operation, Partition, Write, WriteContext};
use headwater_sync::frame::{Frame, PeerId, SyncFrame};
use headwater_sync::message::SyncMessage;
use headwater_tests::socket::RawClient;
use headwater_tests::{ServerProcess, eventually, get_json, lake};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);

/// A server, and two well-behaved peers that are connected all along.
struct Scene {
    folder: TempDir,
    server: ServerProcess,
    here: Database,
    there: Database,
    edits: i64,
}

impl Scene {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = ServerProcess::start(folder.path(), "127.0.0.1:0", &["--allow-plain"])?;
        let (a, b) = (open().await?, open().await?);
        let here = a.create(None).await?;
        let there = b.open_database(here.id()).await?;
        here.connect(server.url())?;
        there.connect(server.url())?;
        let mut scene = Self {
            folder,
            server,
            here,
            there,
            edits: 0,
        };
        scene.assert_unharmed("before anything").await?;
        Ok(scene)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    fn sync_url(&self) -> String {
        self.url(&format!("/sync/{}", self.here.id()))
    }

    /// Edits go both ways, and the server is well.
    async fn assert_unharmed(&mut self, after: &str) -> anyhow::Result<()> {
        for (from, to) in [(&self.here, &self.there), (&self.there, &self.here)] {
            let key = format!("k{}", self.edits);
            let written = record(self.edits);
            self.edits += 1;
            from.collection("notes").put(&key, written.clone()).await?;
            eventually(&format!("an edit arrives after {after}"), LIMIT, || {
                (to.collection("notes").get(&key).as_ref() == Some(&written)).then_some(())
            })
            .await?;
        }
        let (code, health) = self.server.health()?;
        ensure!(
            code == 200 && health["status"] == "ok",
            "{after}: {health:#}"
        );
        Ok(())
    }

    /// What is stored and published are the edits of the two peers and nothing else.
    async fn assert_clean(self) -> anyhow::Result<()> {
        let expected: BTreeSet<String> = (0..self.edits).map(|n| format!("k{n}")).collect();
        let root = self.folder.path().join("lake");
        eventually("the lake has every edit and no more", LIMIT, || {
            let tables = lake::read(&root).ok()?;
            let (rows, lost) = (tables.get("notes")?, tables.get("notes_conflicts")?);
            let ours = tables.keys().all(|table| table.starts_with("notes"));
            let clean = ours && rows.keys().eq(&expected) && lost.is_empty();
            clean.then_some(())
        })
        .await?;
        self.server.kill()?;
        let check = Peer::open(Options::folder(self.folder.path().join("data"))).await?;
        let databases = check.databases().await?;
        let ids: Vec<_> = databases.iter().map(|database| database.id).collect();
        assert_eq!(ids, [self.here.id()]);
        let stored = check.open_database(self.here.id()).await?;
        assert_eq!(stored.to_json(), self.here.to_json());
        check.close().await?;
        Ok(())
    }
}

async fn open() -> anyhow::Result<Peer> {
    Ok(Peer::open(Options::memory()).await?)
}

fn record(n: i64) -> Record {
    Record::from([("n".to_owned(), Value::Int(n))])
}

fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(next).collect::<Vec<_>>().into()
}

/// A sync frame from `client` that brings `chunks`.
fn bring(
    client: &RawClient,
    document: DocumentId,
    database: Option<DatabaseId>,
    chunks: Vec<&[u8]>,
) -> Frame {
    let version = automerge::sync::MessageVersion::V1;
    let data = SyncMessage::new(version, Vec::new(), chunks).encode();
    sync(client, document, database, data.into())
}

fn sync(
    client: &RawClient,
    document: DocumentId,
    database: Option<DatabaseId>,
    data: Bytes,
) -> Frame {
    Frame::Sync(SyncFrame {
        request: true,
        sender: client.name.clone(),
        target: client.server.clone(),
        document,
        database,
        data,
    })
}

/// A change of automerge's that Headwater did not make.
fn foreign_change() -> anyhow::Result<Change> {
    let mut document = Automerge::new();
    let mut transaction = document.transaction();
    transaction.put(ROOT, "rubbish", "rubbish")?;
    transaction.commit();
    document.get_last_local_change().context("no change")
}

fn is_refused_as(
    (said, closed): &(String, bool),
    expected: &str,
    closes: bool,
) -> anyhow::Result<()> {
    ensure!(
        said.contains(expected) && *closed == closes,
        "expected {expected:?}, but was told {said:?} (closed: {closed})"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_join_is_told_how_and_disconnected() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    for path in [&format!("/sync/{}", scene.here.id()), "/link", "/"] {
        let url = scene.url(path);
        let client = RawClient::connect(&url).await?;
        let hello = client.hello(true, &["1"]).encode();
        let mut other_version = client.hello(true, &["2", "3"]).encode().to_vec();
        let early = foreign_change()?;
        let early = bring(
            &client,
            scene.here.id().root(),
            None,
            vec![early.raw_bytes()],
        );
        let not_cbor = "the message is not a CBOR map with text keys";
        for (what, frame, expected) in [
            ("random bytes", noise(1000), not_cbor),
            ("nothing", Bytes::new(), not_cbor),
            ("a list", Bytes::from_static(b"\x82\x01\x02"), not_cbor),
            (
                "no type",
                Bytes::from_static(b"\xa1\x61a\x01"),
                "has no `type`",
            ),
            (
                "deep nesting",
                [b"\xa1\x61a".as_slice(), &[0x81; 100_000]].concat().into(),
                not_cbor,
            ),
            ("half a join", hello.slice(..hello.len() / 2), not_cbor),
            (
                "other versions",
                std::mem::take(&mut other_version).into(),
                "the peer speaks protocol versions [\"2\", \"3\"], but this is version 1",
            ),
            (
                "an early sync",
                early.encode(),
                "the first frame was `request`, but it must be `join`",
            ),
        ] {
            let mut client = RawClient::connect(&url).await?;
            client.send(frame).await?;
            let told = client.refusal().await.context(what)?;
            is_refused_as(&told, expected, true).with_context(|| format!("{what} at {path}"))?;
            scene.assert_unharmed(what).await?;
        }
        let mut client = RawClient::connect(&url).await?;
        client.send_text("{\"type\":\"join\"}").await?;
        let told = client.refusal().await?;
        is_refused_as(&told, "frames are binary messages", true)?;
        scene.assert_unharmed("text").await?;
    }
    scene.assert_clean().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_and_then_breaks_the_rules_is_told_which() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let link = scene.url("/link");
    let database = scene.sync_url();
    for (url, headwater) in [
        (database.clone(), true),
        (link.clone(), true),
        (scene.url("/"), false),
    ] {
        let client = RawClient::join(&url, headwater).await?;
        let again = client.hello(headwater, &["1"]).encode();
        let name = scene.here.id();
        let mut pretender = sync(&client, name.root(), Some(name), Bytes::new());
        if let Frame::Sync(frame) = &mut pretender {
            frame.sender = PeerId::new("someone-else");
        }
        let whole = sync(&client, name.root(), Some(name), noise(100)).encode();
        for (what, frame, expected) in [
            ("random bytes", noise(1000), "not a CBOR map"),
            ("half a frame", whole.slice(..60), "not a CBOR map"),
            ("a second join", again, "a second handshake"),
            (
                "another's name",
                pretender.encode(),
                "a frame from someone-else",
            ),
            (
                "a message that is too large",
                vec![0; (16 << 20) + 1].into(),
                "more than the limit of 16777216: split it",
            ),
        ] {
            let mut client = RawClient::join(&url, headwater).await?;
            // The server may have closed before it has read all of it.
            let _ = client.send(frame).await;
            let told = client.refusal().await.context(what)?;
            is_refused_as(&told, expected, true).with_context(|| format!("{what} at {url}"))?;
            scene.assert_unharmed(what).await?;
        }
    }
    // A link carries all databases, so each frame must say which.
    let mut client = RawClient::join(&link, true).await?;
    let unnamed = sync(&client, scene.here.id().root(), None, Bytes::new());
    client.send(unnamed.encode()).await?;
    is_refused_as(&client.refusal().await?, "did not name its database", true)?;
    let mut stock = RawClient::join(&link, false).await?;
    is_refused_as(&stock.refusal().await?, "connect to /sync/<database>", true)?;
    scene.assert_unharmed("a stock client on /link").await?;
    scene.assert_clean().await
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_cannot_be_read_or_placed_are_refused_one_by_one() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let id = scene.here.id();
    let other = DatabaseId::from_bytes([7; 16]);
    let partition = Partition {
        collection: "stolen".to_owned(),
        count: 1,
        index: 0,
    };
    let theirs = partition.document(&other);
    let stolen = Header::Partition(other, partition.clone()).genesis()?;
    let foreign = foreign_change()?;
    let mut forged = foreign.raw_bytes().to_vec();
    *forged.last_mut().context("a change has bytes")? ^= 1;
    let unknown = DocumentId::from_bytes([9; 16]);
    let unplaceable = "cannot be placed in database";
    for (url, named) in [(scene.sync_url(), None), (scene.url("/link"), Some(id))] {
        for (what, document, chunk, expected) in [
            (
                "no change at all",
                id.root(),
                noise(64).to_vec(),
                "not an automerge chunk",
            ),
            (
                "a damaged change",
                id.root(),
                forged.clone(),
                "does not match its checksum",
            ),
            (
                "a plain document",
                unknown,
                foreign.raw_bytes().to_vec(),
                unplaceable,
            ),
            (
                "another database's",
                theirs,
                stolen.raw_bytes().to_vec(),
                unplaceable,
            ),
            (
                "a false name",
                unknown,
                stolen.raw_bytes().to_vec(),
                unplaceable,
            ),
        ] {
            let mut client = RawClient::join(&url, true).await?;
            let frame = bring(&client, document, named, vec![&chunk]);
            client.send(frame.encode()).await?;
            let told = client.refusal().await.context(what)?;
            is_refused_as(&told, expected, false).with_context(|| format!("{what} at {url}"))?;
            scene.assert_unharmed(what).await?;
        }
        let mut client = RawClient::join(&url, true).await?;
        let frame = sync(&client, id.root(), named, noise(500));
        client.send(frame.encode()).await?;
        is_refused_as(&client.refusal().await?, "no automerge sync message", false)?;
    }
    // Stock clients have no frame for one document, so the connection ends.
    let mut client = RawClient::join(&scene.url("/"), false).await?;
    let frame = bring(&client, unknown, None, vec![&forged]);
    client.send(frame.encode()).await?;
    is_refused_as(
        &client.refusal().await?,
        "does not match its checksum",
        true,
    )?;
    scene.assert_unharmed("a stock client").await?;
    scene.assert_clean().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_names_no_database_is_answered_with_what_an_id_is() -> anyhow::Result<()> {
    let scene = Scene::start().await?;
    let good = scene.here.id().to_string();
    let zero = DatabaseId::from_bytes([0; 16]).to_string();
    let is_id = "it must be 16 bytes in bs58check";
    for (path, code, expected) in [
        ("nonsense", 400, is_id),
        (&good[1..], 400, is_id),
        (&format!("{good}{good}"), 400, is_id),
        (&"1".repeat(8000), 400, is_id),
        ("..%2f..%2fetc%2fpasswd", 400, is_id),
        ("%00", 400, is_id),
        (&zero, 400, "no database has this id"),
    ] {
        let url = scene.url(&format!("/sync/{path}"));
        let error = RawClient::connect(&url).await.err().context("accepted")?;
        let error = error.downcast::<tokio_tungstenite::tungstenite::Error>()?;
        let tokio_tungstenite::tungstenite::Error::Http(answer) = error else {
            anyhow::bail!("{path}: {error}");
        };
        assert_eq!(answer.status().as_u16(), code, "{path}");
        let said = answer.body().as_deref().unwrap_or_default();
        let said: serde_json::Value = serde_json::from_slice(said).context(path.to_owned())?;
        let said = said["error"]["message"].as_str().unwrap_or_default();
        ensure!(said.contains(expected), "{path}: {said}");
    }
    let plain = format!("http://{}/sync/{good}", scene.server.address);
    let (code, said) = get_json(&plain)?;
    ensure!(
        code == 426
            && said["error"]["message"]
                .as_str()
                .is_some_and(|s| s.contains("WebSocket"))
    );
    scene.assert_clean().await
}

/// A well-formed partition whose contents Headwater would never write.
fn odd_partition(database: DatabaseId) -> anyhow::Result<(DocumentId, Vec<Change>)> {
    let actor = ActorId::from([5; 16]);
    let mut core = headwater_core::Database::new(database, actor)?;
    let write = |key: &str| Write {
        collection: "odd".to_owned(),
        operation: Operation::Put([(key.to_owned(), record(1))].into()),
        context: WriteContext {
            origin: None,
            user: None,
            at: 0,
        },
    };
    let written = core.write(write("model"))?;
    let document = written
        .changes
        .iter()
        .map(|(document, _)| *document)
        .find(|document| *document != database.root())
        .context("no partition")?;
    let mut odd = core.document(&document).context("no document")?.clone();
    odd.set_actor(ActorId::from([6; 16]));
    let (_, records) = odd.get(ROOT, "records")?.context("no records")?;
    let buckets: Vec<_> = odd.keys(&records).collect();
    let mut tx = odd.transaction();
    for bucket in &buckets {
        let (_, bucket) = tx.get(&records, bucket)?.context("no bucket")?;
        tx.put(&bucket, "a-number", 5)?;
        tx.put(&bucket, "", 5)?;
        tx.put_object(&bucket, "a-list", ObjType::List)?;
        tx.put_object(&bucket, "a-text", ObjType::Text)?;
        tx.put_object(&bucket, "x".repeat(100_000), ObjType::Map)?;
        let values = tx.put_object(&bucket, "values", ObjType::Map)?;
        tx.put(&values, "", "no name")?;
        tx.put(&values, "\0\u{202e}`'\"\\", "a name to quote")?;
        tx.put(&values, "nan", f64::NAN)?;
        tx.put(&values, "infinity", f64::NEG_INFINITY)?;
        tx.put(&values, "unsigned", u64::MAX)?;
        tx.put(&values, "far", ScalarValue::Timestamp(i64::MAX))?;
        tx.put(&values, "long ago", ScalarValue::Timestamp(i64::MIN))?;
        tx.put(&values, "counter", ScalarValue::counter(i64::MAX))?;
        tx.put(&values, "$deleted", "certainly")?;
        tx.put(&values, "$unheard", "of")?;
        let sum = tx.put_object(&values, "sum", ObjType::Map)?;
        for actor in ["", "00", "ff"] {
            let name = format!("$counter:{actor}");
            tx.put(&sum, name, ScalarValue::counter(i64::MAX))?;
        }
        tx.increment(&values, "counter", 1)?;
        let mut deep = tx.put_object(&values, "deep", ObjType::Map)?;
        for _ in 0..300 {
            deep = tx.put_object(&deep, "d", ObjType::Map)?;
        }
    }
    tx.put(ROOT, "headwater", "gone")?;
    tx.put(ROOT, "records", "gone")?;
    tx.commit_with(CommitOptions::default().with_message("{\"at\":\"noon\"}"));
    let mut changes = core
        .document(&document)
        .context("no document")?
        .get_changes(&[]);
    changes.extend(odd.get_last_local_change());
    Ok((document, changes))
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_are_no_records_harm_no_table() -> anyhow::Result<()> {
    let mut scene = Scene::start().await?;
    let (document, changes) = odd_partition(scene.here.id())?;
    let mut client = RawClient::join(&scene.sync_url(), true).await?;
    let chunks = changes.iter().map(|change| change.raw_bytes()).collect();
    let frame = bring(&client, document, None, chunks);
    client.send(frame.encode()).await?;
    scene.assert_unharmed("odd contents").await?;
    let root = scene.folder.path().join("lake");
    let edits = scene.edits;
    let published = || {
        let tables = lake::read(&root).ok()?;
        let whole = tables.get("notes")?.len() as i64 == edits;
        (whole && tables.contains_key("odd")).then_some(())
    };
    eventually("both tables are published", LIMIT, published).await?;
    // The record that was well made is there, whatever stands beside it.
    eventually("the model is there", LIMIT, || {
        let collection = scene.here.collection("odd");
        (collection.get("model") == Some(record(1))).then_some(())
    })
    .await?;
    assert_eq!(lake::read(&root)?["odd"]["model"]["n"], 1);
    scene.assert_unharmed("its publication").await?;
    // Also the server that reads it anew.
    let address = scene.server.address.clone();
    restart(&mut scene.server, scene.folder.path(), &address)?;
    scene.assert_unharmed("a restart").await
}

fn restart(server: &mut ServerProcess, folder: &Path, address: &str) -> anyhow::Result<()> {
    server.signal("KILL")?;
    server.wait()?;
    *server = ServerProcess::start(folder, address, &["--allow-plain"])?;
    Ok(())
}

//! Clients that read slower than others write.

use anyhow::ensure;
use headwater::{CollectionSchema, LinkState, Options, Peer, Record, Value};
use headwater_tests::gate::Gate;
use headwater_tests::socket::RawClient;
use headwater_tests::{ServerProcess, eventually};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// How many clients never read.
const STALLED: usize = 8;
/// How much is written: enough that all of it could wait for each of them.
const EDITS: i64 = 1024;
const EDIT_BYTES: usize = 64 << 10;
/// What the server may take. It holds the documents with their history, and 16 MiB for each client that does not read;
/// if it kept all for everyone it would be 512 MiB more.
const MEMORY: u64 = 512 << 20;

/// Text that does not compress.
fn record(n: i64) -> Record {
    let mut state = n.unsigned_abs() | 1 << 40;
    let mut text = String::with_capacity(EDIT_BYTES);
    while text.len() < EDIT_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.extend((0..8).map(|byte| char::from((state >> (8 * byte)) as u8 & 0x3f | 0x40)));
    }
    Record::from([("text".to_owned(), Value::String(text))])
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_cost_little_memory_and_catch_up_when_they_do()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
    let gate = Gate::before(&server.address).await?;
    let (writer, reader) = (
        Peer::open(Options::memory()).await?,
        Peer::open(Options::memory()).await?,
    );
    let db = writer.create(None).await?;
    let copy = reader.open_database(db.id()).await?;
    let sync = format!("{}/sync/{}", server.url(), db.id());
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut client = RawClient::connect(&sync).await?;
        client.name = headwater_sync::frame::PeerId::new(format!("stalled-{}", stalled.len()));
        let hello = client.hello(true, &["1"]);
        client.send(hello.encode()).await?;
        stalled.push(client);
    }
    db.declare("notes", CollectionSchema::new().partitions(1))
        .await?;
    db.connect(server.url())?;
    let link = copy.connect(&gate.url)?;
    db.collection("notes").put("first", record(0)).await?;
    eventually("the first edit arrives", LIMIT, || {
        copy.collection("notes").get("first")
    })
    .await?;

    gate.set_open(false);
    let before = server.resident_bytes()?;
    let mut most = before;
    for n in 0..EDITS {
        db.collection("notes")
            .put(&format!("k{}", n % 16), record(n))
            .await?;
        if n % 64 == 0 {
            db.synced(LIMIT).await?;
            most = most.max(server.resident_bytes()?);
        }
    }
    db.synced(LIMIT).await?;
    most = most.max(server.resident_bytes()?);
    println!("{} MiB before, at most {} MiB", before >> 20, most >> 20);
    ensure!(most < MEMORY, "{} MiB in use", most >> 20);
    ensure!(
        copy.collection("notes").get("k15") != Some(record(EDITS - 1)),
        "nothing was held back"
    );

    // The one that reads again gets everything, on the connection that it has.
    gate.set_open(true);
    eventually("the slow reader has everything", LIMIT, || {
        (copy.to_json() == db.to_json()).then_some(())
    })
    .await?;
    ensure!(link.state() == LinkState::Connected);
    // And is told of what comes.
    copy.collection("notes").put("last", record(-1)).await?;
    copy.synced(LIMIT).await?;
    db.collection("notes").put("k0", record(-2)).await?;
    eventually("an edit arrives", LIMIT, || {
        (copy.to_json() == db.to_json()).then_some(())
    })
    .await?;
    ensure!(server.health()?.0 == 200);
    drop(stalled);
    Ok(())
}

//! Servers that are told to stop, or that cannot start.

use anyhow::{Context as _, ensure};
use headwater::{Database, LinkState, Options, Peer, Record, Value};
use headwater_tests::socket::RawClient;
use headwater_tests::{ServerProcess, binary, eventually, lake};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

fn record(n: u64) -> Record {
    Record::from([("n".to_owned(), Value::Int(n.cast_signed()))])
}

/// Writes records one after the other until told to stop, and returns how many.
fn keep_writing(
    db: &Database,
    stop: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<anyhow::Result<u64>> {
    let (notes, stop) = (db.collection("notes"), Arc::clone(stop));
    tokio::spawn(async move {
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            notes.put(&format!("k{written}"), record(written)).await?;
            written += 1;
            tokio::task::yield_now().await;
        }
        Ok(written)
    })
}

/// The keys of a table. Each row must be what was written.
fn published(root: &Path, written: u64) -> anyhow::Result<u64> {
    let tables = lake::read(root)?;
    let rows = tables.get("notes").context("the table is not there")?;
    for (key, row) in rows {
        ensure!(*key == format!("k{}", row["n"]), "{key} has the row {row}");
    }
    let count = rows.len() as u64;
    ensure!(count <= written, "{count} rows of {written} records");
    Ok(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_has_published_what_it_acknowledged() -> anyhow::Result<()> {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir()?;
        let mut server = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
        let writer = Peer::open(Options::memory()).await?;
        let reader = Peer::open(Options::memory()).await?;
        let db = writer.create(None).await?;
        let copy = reader.open_database(db.id()).await?;
        let link = db.connect(server.url())?;
        copy.connect(server.url())?;
        let stop = Arc::new(AtomicBool::new(false));
        let writing = keep_writing(&db, &stop);
        eventually("the reader gets what is written", LIMIT, || {
            copy.collection("notes").get("k200")
        })
        .await?;

        let mut raw = RawClient::join(&format!("{}/sync/{}", server.url(), db.id()), true).await?;
        let told = Instant::now();
        server.signal(name)?;
        let status = server.ended(Duration::from_secs(8)).await?;
        let took = told.elapsed();
        ensure!(
            status.code() == Some(0),
            "SIG{name}: {status} after {took:?}"
        );
        // Clients hear that it was no accident, and go on without it.
        let (said, closed) = raw.refusal().await?;
        ensure!(
            closed && said.contains("the server is stopping: edits stay where they are"),
            "{said}"
        );
        eventually("the client sees that it is gone", LIMIT, || {
            (link.state() != LinkState::Connected).then_some(())
        })
        .await?;
        let unsynced = db.unsynced();
        stop.store(true, Ordering::Relaxed);
        let written = writing.await??;
        ensure!(db.unsynced() >= unsynced && db.unsynced() > 0);
        // The collection's declaration is an edit too, but the first that was acknowledged.
        let acknowledged = written - db.unsynced();
        let count = published(&folder.path().join("lake"), written)?;
        ensure!(
            count >= acknowledged,
            "{acknowledged} acknowledged, {count} published"
        );

        let address = server.address.clone();
        let server = ServerProcess::start(folder.path(), &address, &[])?;
        db.synced(LIMIT).await?;
        copy.synced(LIMIT).await?;
        eventually("both have the same", LIMIT, || {
            (copy.to_json() == db.to_json()).then_some(())
        })
        .await?;
        let root = folder.path().join("lake");
        eventually("everything is published", LIMIT, || {
            (published(&root, written).ok()? == written).then_some(())
        })
        .await?;
        drop(server);
    }
    Ok(())
}

/// Runs `headwater serve`, which must end by itself.
fn serve(folder: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(Command::new(binary()?)
        .current_dir(folder)
        .arg("serve")
        .args(arguments)
        .output()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_what_to_do_and_ends() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let running = ServerProcess::start(folder.path(), "127.0.0.1:0", &[])?;
    let taken = running.address.clone();
    std::fs::write(folder.path().join("file"), "")?;
    std::fs::write(folder.path().join("wrong.toml"), "orgins = []")?;
    let here = "127.0.0.1:0";
    let loopback = "listen on a loopback address such as 127.0.0.1";
    for (arguments, expected) in [
        (["0.0.0.0:0", "a", "b"], loopback),
        (["[::]:0", "a", "b"], loopback),
        (["192.0.2.1:3030", "a", "b"], loopback),
        (
            [here, "data", "b"],
            "stop that process, or choose another folder",
        ),
        (
            [here, "a", "lake"],
            "stop that one or choose another folder",
        ),
        (
            [&taken, "a", "b"],
            "Stop what uses the port, or choose another",
        ),
        ([here, "file", "b"], "cannot use the folder file"),
        (
            [here, "a", "file"],
            "needs a folder that this process may write to",
        ),
    ] {
        let [listen, data, lake] = arguments;
        let words = ["--listen", listen, "--data", data, "--lake", lake];
        let output = serve(folder.path(), &words)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        ensure!(said.contains(expected), "{arguments:?}: {said}");
        ensure!(output.stdout.is_empty(), "{arguments:?} claims to listen");
    }
    let words = [
        "--data",
        "a",
        "--lake",
        "b",
        "--config",
        "wrong.toml",
        "--listen",
        here,
    ];
    let output = serve(folder.path(), &words)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        said.contains("wrong.toml is wrong") && said.contains("orgins"),
        "{said}"
    );
    let words = [
        "--data", "a", "--lake", "b", "--peer", "http://x", "--listen", here,
    ];
    let output = serve(folder.path(), &words)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("must begin with ws://"), "{said}");
    // The one that was there first is not disturbed.
    ensure!(running.health()?.0 == 200);
    Ok(())
}

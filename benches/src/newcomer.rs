//! What a database costs to sync: a peer that has nothing of it yet meets a server that has it.

use crate::records::{COLLECTION, memory, saved};
use crate::server::{Programs, Server, Target};
use anyhow::{Context, Result, ensure};
use headwater::storage::{NativeStorage, Storage as _};
use headwater::{Database as Shared, DatabaseId, Edit, Options, Patch, Peer, Value};
use headwater_core::Database;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long the new peer may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What the new peer, a process of its own, tells.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    newcomer: Newcomer,
    /// The heads that it had before its edit, for the check.
    heads: String,
}

/// What the new peer measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Newcomer {
    /// From opening its empty folder until it has everything on its disk.
    pub seconds_to_sync: f64,
    /// The most memory that it ever had.
    pub peak_bytes: u64,
    /// One edit after that, until it is on its disk.
    pub milliseconds_to_edit: f64,
    /// The same edit, until the server has told that it is on its disk too.
    pub milliseconds_to_acknowledge: f64,
}

/// What the sync cost.
#[derive(Debug, Serialize)]
pub struct Synced {
    /// Until the server, a process of its own, has opened the database and listens.
    pub seconds_for_the_server_to_start: f64,
    /// The server's memory before the new peer came.
    pub server_bytes_before: u64,
    /// The most that the server ever had.
    pub server_peak_bytes: u64,
    /// What the new peer received over its WebSocket, with the answer to its edit.
    pub bytes_received: u64,
    /// What it sent.
    pub bytes_sent: u64,
    /// How often it connected: more than once if a connection broke.
    pub connections: u64,
    /// What the new peer measured.
    #[serde(flatten)]
    pub newcomer: Newcomer,
}

/// Starts a server on a store that holds `database`, and a new peer that syncs it and then edits the record of `key`.
pub async fn run(database: &Database, key: &str, programs: &Programs) -> Result<Synced> {
    let folder = TempDir::with_prefix_in("headwater-bench-", &programs.data)?;
    store(database, &folder.path().join("data")).await?;
    let begun = Instant::now();
    let server = Server::start_in(Target::Headwater, programs, folder)?;
    let seconds_for_the_server_to_start = begun.elapsed().as_secs_f64();
    let resident = |server: &Server| server.usage().context("the server has ended");
    let before = resident(&server)?;
    let counted = Arc::new(Counted::default());
    let url = counted.clone().between(&server).await?;
    let output = tokio::process::Command::new(std::env::current_exe()?)
        .args(["newcomer", &url, &database.id().to_string(), key])
        .stderr(std::process::Stdio::inherit())
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "the new peer failed; the server said:\n{}",
        server.log()
    );
    let told: Told = serde_json::from_slice(&output.stdout)?;
    ensure!(
        told.heads == format!("{:?}", database.heads()),
        "the new peer has something else than the server"
    );
    let bytes = |megabytes: f64| (megabytes * 1e6) as u64;
    Ok(Synced {
        seconds_for_the_server_to_start,
        server_bytes_before: bytes(before.resident_mb),
        server_peak_bytes: bytes(resident(&server)?.peak_mb),
        bytes_received: counted.down.load(Ordering::Relaxed),
        bytes_sent: counted.up.load(Ordering::Relaxed),
        connections: counted.connections.load(Ordering::Relaxed),
        newcomer: told.newcomer,
    })
}

/// Keeps the database in a new folder, each document as a whole, as a store keeps it once it has compacted it.
async fn store(database: &Database, folder: &Path) -> Result<()> {
    let storage = NativeStorage::open(folder)?;
    storage.commit(saved(database)?).await?;
    Ok(storage.close().await?)
}

/// Counts what passes on a connection.
#[derive(Default)]
struct Counted {
    down: AtomicU64,
    up: AtomicU64,
    connections: AtomicU64,
}

impl Counted {
    /// Takes connections for the server and passes everything on; gives where it listens.
    async fn between(self: Arc<Self>, server: &Server) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let address = server.address();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&self).carry(client, address));
            }
        });
        Ok(url)
    }

    async fn carry(self: Arc<Self>, client: TcpStream, address: SocketAddr) -> std::io::Result<()> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let server = TcpStream::connect(address).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let up = pass(from_client, to_server, &self.up);
        let down = pass(from_server, to_client, &self.down);
        tokio::try_join!(up, down).map(drop)
    }
}

async fn pass(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    bytes: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// The new peer: syncs `database` into an empty folder, and edits one record.
pub async fn sync(url: &str, database: DatabaseId, key: &str) -> Result<Told> {
    let folder = TempDir::with_prefix("headwater-bench-")?;
    let begun = Instant::now();
    let peer = Peer::open(Options::folder(folder.path()).origin("bench")).await?;
    let shared = peer.open_database(database).await?;
    shared.connect(url)?;
    shared.synced(LIMIT).await?;
    let seconds_to_sync = begun.elapsed().as_secs_f64();
    let heads = shared.inspect(|database| format!("{:?}", database.heads()));
    let begun = Instant::now();
    let patch = Patch::from([("best".to_owned(), Edit::Set(Value::Int(-1)))]);
    shared.collection(COLLECTION).patch(key, patch).await?;
    let milliseconds_to_edit = begun.elapsed().as_secs_f64() * 1e3;
    acknowledged(&shared).await?;
    let milliseconds_to_acknowledge = begun.elapsed().as_secs_f64() * 1e3;
    peer.close().await?;
    let newcomer = Newcomer {
        seconds_to_sync,
        peak_bytes: memory("VmHWM")?,
        milliseconds_to_edit,
        milliseconds_to_acknowledge,
    };
    Ok(Told { newcomer, heads })
}

async fn acknowledged(database: &Shared) -> Result<()> {
    let mut state = database.watch_sync_state();
    let done = state.wait_for(|state| state.unsynced == 0);
    tokio::time::timeout(LIMIT, done).await??;
    Ok(())
}

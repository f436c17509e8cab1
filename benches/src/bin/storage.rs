//! Compares embedded stores as the home of Headwater's chunks: small batches that must be durable, under group commit.
//!
//! Each store is driven in the same way: committers hand one chunk each to a writer thread, which takes all that wait,
//! writes them in one transaction with one durable commit, and answers. A committer hands in its next chunk once the
//! last is durable. What a power cut can leave behind is tried too: each page that the last commit wrote is put back to
//! what it was, one at a time, and the store must open with all that was committed before. Run it on the disk that matters: `cargo run --release -p headwater-bench --bin storage -- --dir DIR`.

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 300;
const DOCUMENTS: u64 = 64;
const COMMITTERS: [usize; 3] = [1, 16, 64];

/// Measures durable commits per second and reopening of the embedded stores.
#[derive(Parser)]
struct Options {
    /// An existing folder on the disk to measure; temporary folders are made in it and removed.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Seconds for each number of committers.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Chunks stored before reopening is measured.
    #[arg(long, default_value_t = 100_000)]
    chunks: u64,
    /// One JSON object per line instead of text.
    #[arg(long)]
    json: bool,
}

/// An embedded store as the writer thread uses it.
trait Store: Send + Sized + 'static {
    const NAME: &'static str;
    fn open(folder: &Path) -> Result<Self>;
    /// Writes all in one transaction and returns once it is on disk.
    fn commit(&mut self, chunks: &[Chunk]) -> Result<()>;
    /// Reads all under a prefix; returns how many chunks and bytes those were.
    fn scan(&self, prefix: &[u8]) -> Result<(u64, u64)>;
}

type Chunk = (Vec<u8>, Vec<u8>);

struct Redb(redb::Database);
const TABLE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("chunks");

impl Store for Redb {
    const NAME: &'static str = "redb 4.6";

    fn open(folder: &Path) -> Result<Self> {
        Ok(Self(redb::Database::create(folder.join("chunks.redb"))?))
    }

    fn commit(&mut self, chunks: &[Chunk]) -> Result<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in chunks {
                table.insert(key.as_slice(), value.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn scan(&self, prefix: &[u8]) -> Result<(u64, u64)> {
        use redb::ReadableDatabase;
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let (mut count, mut bytes) = (0, 0);
        for entry in table.range(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            count += 1;
            bytes += value.value().to_vec().len() as u64;
        }
        Ok((count, bytes))
    }
}

struct Fjall {
    database: fjall::Database,
    chunks: fjall::Keyspace,
}

impl Store for Fjall {
    const NAME: &'static str = "fjall 3.1";

    fn open(folder: &Path) -> Result<Self> {
        let database = fjall::Database::builder(folder).open()?;
        let chunks = database.keyspace("chunks", fjall::KeyspaceCreateOptions::default)?;
        Ok(Self { database, chunks })
    }

    fn commit(&mut self, chunks: &[Chunk]) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(fjall::PersistMode::SyncData));
        for (key, value) in chunks {
            batch.insert(&self.chunks, key.as_slice(), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn scan(&self, prefix: &[u8]) -> Result<(u64, u64)> {
        let (mut count, mut bytes) = (0, 0);
        for entry in self.chunks.prefix(prefix) {
            let (_, value) = entry.into_inner()?;
            count += 1;
            bytes += value.to_vec().len() as u64;
        }
        Ok((count, bytes))
    }
}

/// The n-th chunk: a key under one of the documents with a hash for its end, and bytes that do not compress.
fn chunk(n: u64) -> Chunk {
    let mut state = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        // SplitMix64: repeatable, and random enough to spread keys and defeat compression.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_be_bytes()
    };
    let mut key = b"d/".to_vec();
    key.extend_from_slice(&(n % DOCUMENTS).to_be_bytes().repeat(2));
    key.extend_from_slice(b"/i/");
    (0..4).for_each(|_| key.extend_from_slice(&next()));
    let mut value = Vec::with_capacity(VALUE_BYTES + 8);
    while value.len() < VALUE_BYTES {
        value.extend_from_slice(&next());
    }
    value.truncate(VALUE_BYTES);
    (key, value)
}

#[derive(Serialize)]
struct Commits {
    store: &'static str,
    committers: usize,
    commits_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    mean_group: f64,
}

#[derive(Serialize)]
struct Reopening {
    store: &'static str,
    chunks: u64,
    open_ms: f64,
    open_after_crash_ms: f64,
    scan_all_ms: f64,
    scan_document_ms: f64,
    bytes_on_disk: u64,
    bytes_of_chunks: u64,
}

#[derive(Serialize)]
struct Torn {
    store: &'static str,
    pages: u64,
    opened: u64,
    refused: u64,
}

/// Takes everything that waits, commits it at once, and tells each committer. Returns the mean size of a group.
fn write_groups<S: Store>(
    mut store: S,
    jobs: &mpsc::Receiver<(Chunk, mpsc::Sender<()>)>,
) -> Result<f64> {
    let (mut groups, mut total) = (0_u64, 0_u64);
    while let Ok(first) = jobs.recv() {
        let (chunks, done): (Vec<_>, Vec<_>) =
            std::iter::once(first).chain(jobs.try_iter()).unzip();
        store.commit(&chunks)?;
        groups += 1;
        total += chunks.len() as u64;
        for committer in done {
            // A committer that has gone no longer waits for the answer.
            let _ = committer.send(());
        }
    }
    Ok(total as f64 / groups.max(1) as f64)
}

fn measure_commits<S: Store>(options: &Options, committers: usize) -> Result<Commits> {
    let folder = tempfile::tempdir_in(&options.dir)?;
    let store = S::open(folder.path())?;
    let (jobs, receiver) = mpsc::channel();
    let writer = std::thread::spawn(move || write_groups(store, &receiver));
    let duration = Duration::from_secs_f64(options.seconds);
    let start = Instant::now();
    let threads: Vec<_> = (0..committers as u64)
        .map(|id| {
            let jobs = jobs.clone();
            std::thread::spawn(move || {
                let mut latencies = Vec::new();
                let (done, answers) = mpsc::channel();
                while start.elapsed() < duration {
                    let n = (id << 32) + latencies.len() as u64;
                    let sent = Instant::now();
                    if jobs.send((chunk(n), done.clone())).is_err() || answers.recv().is_err() {
                        break;
                    }
                    latencies.push(sent.elapsed());
                }
                latencies
            })
        })
        .collect();
    drop(jobs);
    let mut latencies: Vec<Duration> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap_or_default())
        .collect();
    let elapsed = start.elapsed();
    let mean_group = writer.join().ok().context("the writer thread panicked")??;
    latencies.sort_unstable();
    let quantile = |q: f64| {
        let index = ((latencies.len() as f64 * q) as usize).min(latencies.len().saturating_sub(1));
        latencies
            .get(index)
            .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    };
    Ok(Commits {
        store: S::NAME,
        committers,
        commits_per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50_ms: quantile(0.50),
        p99_ms: quantile(0.99),
        mean_group,
    })
}

fn measure_reopening<S: Store>(options: &Options) -> Result<Reopening> {
    let folder = tempfile::tempdir_in(&options.dir)?;
    let mut store = S::open(folder.path())?;
    let numbers: Vec<u64> = (0..options.chunks).collect();
    let mut bytes_of_chunks = 0;
    // In groups of 16, as a busy server would have written them, so that what superseded pages or logs leave is there.
    for group in numbers.chunks(16) {
        let chunks: Vec<Chunk> = group.iter().map(|n| chunk(*n)).collect();
        bytes_of_chunks += chunks
            .iter()
            .map(|(k, v)| (k.len() + v.len()) as u64)
            .sum::<u64>();
        store.commit(&chunks)?;
    }
    // What is on disk while the store is open is what a killed process leaves.
    let image = tempfile::tempdir_in(&options.dir)?;
    copy(folder.path(), image.path())?;
    drop(store);
    let bytes_on_disk = allocated(folder.path())?;

    let start = Instant::now();
    drop(S::open(image.path())?);
    let open_after_crash_ms = start.elapsed().as_secs_f64() * 1e3;

    let start = Instant::now();
    let store = S::open(folder.path())?;
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let (count, _) = store.scan(b"d/")?;
    let scan_all_ms = start.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(count == options.chunks, "{} lost chunks: {count}", S::NAME);
    let (first, _) = chunk(0);
    let prefix = first.get(..21).context("a key is longer than its prefix")?;
    let start = Instant::now();
    store.scan(prefix)?;
    Ok(Reopening {
        store: S::NAME,
        chunks: options.chunks,
        open_ms,
        open_after_crash_ms,
        scan_all_ms,
        scan_document_ms: start.elapsed().as_secs_f64() * 1e3,
        bytes_on_disk,
        bytes_of_chunks,
    })
}

/// Puts back each page that the last, unacknowledged commit wrote, one at a time, and opens the store.
fn measure_torn<S: Store>(options: &Options) -> Result<Torn> {
    const PAGE: usize = 4096;
    const COMMITTED: u64 = 16;
    let folder = tempfile::tempdir_in(&options.dir)?;
    let mut store = S::open(folder.path())?;
    for n in 0..COMMITTED {
        store.commit(&[chunk(n)])?;
    }
    let before = tempfile::tempdir_in(&options.dir)?;
    copy(folder.path(), before.path())?;
    let large = (0..200).flat_map(|n| chunk(n).1).collect();
    store.commit(&[(b"d/large".to_vec(), large)])?;

    let (mut pages, mut opened, mut refused) = (0, 0, 0);
    for file in std::fs::read_dir(folder.path())? {
        let file = file?;
        if file.metadata()?.is_dir() {
            continue;
        }
        let old = std::fs::read(before.path().join(file.file_name()))?;
        let new = std::fs::read(file.path())?;
        for (index, page) in new.chunks(PAGE).enumerate() {
            let range = index * PAGE..(index * PAGE + page.len()).min(old.len());
            // A file that grew holds zeros where nothing reached the disk.
            let mut reverted = old.get(range).unwrap_or_default().to_vec();
            reverted.resize(page.len(), 0);
            if reverted == page {
                continue;
            }
            pages += 1;
            let torn = tempfile::tempdir_in(&options.dir)?;
            copy(folder.path(), torn.path())?;
            let mut bytes = new.clone();
            bytes.splice(index * PAGE..index * PAGE + page.len(), reverted);
            std::fs::write(torn.path().join(file.file_name()), bytes)?;
            match S::open(torn.path()).and_then(|store| store.scan(b"d/\0")) {
                Ok((COMMITTED, _)) => opened += 1,
                _ => refused += 1,
            }
        }
    }
    Ok(Torn {
        store: S::NAME,
        pages,
        opened,
        refused,
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The bytes that a folder's files occupy, not their lengths: both stores allocate ahead.
fn allocated(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() {
            allocated(&entry.path())?
        } else {
            blocks(&metadata) * 512
        };
    }
    Ok(total)
}

#[cfg(unix)]
fn blocks(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata)
}

#[cfg(not(unix))]
fn blocks(metadata: &std::fs::Metadata) -> u64 {
    metadata.len().div_ceil(512)
}

fn measure<S: Store>(options: &Options) -> Result<()> {
    for committers in COMMITTERS {
        let result = measure_commits::<S>(options, committers)?;
        if options.json {
            println!("{}", serde_json::to_string(&result)?);
        } else {
            println!(
                "{:10} {:3} committers: {:8.0} commits/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} a group",
                result.store,
                committers,
                result.commits_per_second,
                result.p50_ms,
                result.p99_ms,
                result.mean_group
            );
        }
    }
    let torn = measure_torn::<S>(options)?;
    if options.json {
        println!("{}", serde_json::to_string(&torn)?);
    } else {
        println!(
            "{:10} torn last commit, {} cases: opened with all before it {}, refused or lost {}",
            torn.store, torn.pages, torn.opened, torn.refused
        );
    }
    let result = measure_reopening::<S>(options)?;
    if options.json {
        println!("{}", serde_json::to_string(&result)?);
    } else {
        println!(
            "{:10} {} chunks: open {:.1} ms, open after a crash {:.1} ms, scan all {:.1} ms, scan one document {:.2} ms, {:.1} MB on disk for {:.1} MB",
            result.store,
            result.chunks,
            result.open_ms,
            result.open_after_crash_ms,
            result.scan_all_ms,
            result.scan_document_ms,
            result.bytes_on_disk as f64 / 1e6,
            result.bytes_of_chunks as f64 / 1e6
        );
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    measure::<Redb>(&options)?;
    measure::<Fjall>(&options)
}

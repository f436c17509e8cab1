//! The stores of native peers: the conformance suite, and real faults.
#![cfg(not(target_arch = "wasm32"))]

use futures::executor::block_on;
use headwater::storage::conformance::{self, Place};
use headwater::storage::framing::{self, Kind};
use headwater::storage::{
    Batch, Durability, Entry, Fault, MemoryDisk, NativeStorage, Storage, StorageError,
    StorageFuture,
};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

struct InMemory(MemoryDisk);

impl Place for InMemory {
    fn open(&self) -> StorageFuture<'_, Arc<dyn Storage>> {
        Box::pin(async { Ok(Arc::new(self.0.open()) as Arc<dyn Storage>) })
    }
}

struct Folder(TempDir);

impl Place for Folder {
    fn open(&self) -> StorageFuture<'_, Arc<dyn Storage>> {
        let opened = NativeStorage::open(self.0.path());
        Box::pin(async { opened.map(|storage| Arc::new(storage) as Arc<dyn Storage>) })
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(folder: &Path) -> NativeStorage {
    NativeStorage::open(folder).expect("the store opens")
}

fn commit(storage: &impl Storage, batch: Batch) -> Result<(), StorageError> {
    block_on(storage.commit(batch))
}

fn scan(storage: &impl Storage) -> Vec<Entry> {
    block_on(storage.scan(b"")).expect("the store reads")
}

fn close(storage: &impl Storage) {
    block_on(storage.close()).expect("the store closes");
}

#[test]
fn memory_conforms() {
    block_on(conformance::run(|| InMemory(MemoryDisk::default())));
}

#[test]
fn native_conforms() {
    block_on(conformance::run(|| Folder(folder())));
}

#[test]
fn memory_fails_when_told_and_keeps_what_it_acknowledged() {
    let disk = MemoryDisk::default();
    let storage = disk.open();
    disk.fail_commit(1, Fault::Broken);
    commit(&storage, Batch::default().put("a", "1")).expect("the first commit is written");
    let error = commit(&storage, Batch::default().put("b", "2"));
    assert!(matches!(error, Err(StorageError::Io { .. })), "{error:?}");
    let error = commit(&storage, Batch::default().put("c", "3"));
    assert!(
        matches!(error, Err(StorageError::Poisoned { .. })),
        "{error:?}"
    );
    assert_eq!(disk.commits(), 2, "a poisoned store writes nothing");

    disk.fail_all(Some(Fault::Full));
    let storage = disk.open();
    let error = commit(&storage, Batch::default().put("d", "4"));
    assert!(matches!(error, Err(StorageError::Full { .. })), "{error:?}");
    disk.fail_all(None);
    let storage = disk.open();
    commit(&storage, Batch::default().put("e", "5")).expect("there is room again");
    let keys: Vec<_> = scan(&storage).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"a", b"e"]);
    assert_eq!(storage.durability(), Durability::Volatile);
}

#[test]
fn native_takes_more_than_its_queue_holds() {
    let folder = folder();
    let storage = open(folder.path());
    let commits = (0..40_u8).map(|n| storage.commit(Batch::default().put([n], vec![n; 1 << 20])));
    let results = block_on(futures::future::join_all(commits));
    assert!(results.iter().all(Result::is_ok));
    let larger_than_the_queue = Batch::default().put("large", vec![1; 20 << 20]);
    commit(&storage, larger_than_the_queue).expect("it has the queue to itself");
    close(&storage);
    let sizes: Vec<_> = scan(&open(folder.path()))
        .iter()
        .map(|(_, value)| value.len() >> 20)
        .collect();
    assert_eq!(sizes, [vec![1; 40], vec![20]].concat());
}

#[test]
fn a_dropped_native_store_finishes_what_was_queued() {
    let folder = folder();
    let storage = open(folder.path());
    let mut queued = Box::pin(storage.commit(Batch::default().put("a", "1")));
    let waker = futures::task::noop_waker();
    let _ = queued
        .as_mut()
        .poll(&mut std::task::Context::from_waker(&waker));
    drop(queued);
    drop(storage);
    let storage = loop {
        match NativeStorage::open(folder.path()) {
            Err(StorageError::Locked { .. }) => std::thread::yield_now(),
            other => break other.expect("the store opens"),
        }
    };
    assert_eq!(scan(&storage), [(b"a".to_vec(), b"1".to_vec())]);
}

#[test]
fn files_that_are_not_a_store_are_refused_and_left_alone() {
    let folder = folder();
    let file = folder.path().join("chunks.redb");
    for rubbish in [b"not a database".to_vec(), vec![0xFF; 100_000]] {
        std::fs::write(&file, &rubbish).expect("a file");
        let error = NativeStorage::open(folder.path()).expect_err("rubbish is refused");
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("is damaged"), "{error}");
        assert_eq!(std::fs::read(&file).expect("the file"), rubbish);
    }
}

/// Whatever bit changes, what the store gives as a good chunk is what was written.
#[test]
fn a_flipped_bit_never_becomes_data() {
    let original = folder();
    let storage = open(original.path());
    let payload = |n: u8| vec![n; 600];
    for n in 0..40_u8 {
        let frame = framing::encode(Kind::Metadata, &payload(n));
        commit(&storage, Batch::default().put([n], frame)).expect("a commit");
    }
    close(&storage);
    let bytes = std::fs::read(original.path().join("chunks.redb")).expect("the database");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("bytes") + 1;
    let (mut whole, mut named, mut refused) = (0, 0, 0);
    // A prime stride reaches every part of every page.
    for position in (0..used).step_by(503) {
        let damaged = folder();
        let mut bytes = bytes.clone();
        bytes[position] ^= 0x10;
        std::fs::write(damaged.path().join("chunks.redb"), bytes).expect("a copy");
        let Ok(storage) = NativeStorage::open(damaged.path()) else {
            refused += 1;
            continue;
        };
        let Ok(entries) = block_on(storage.scan(b"")) else {
            refused += 1;
            continue;
        };
        let mut all_good = true;
        for (key, value) in &entries {
            match framing::decode(Kind::Metadata, value) {
                // A flip in a key is for whoever reads the chunk to find: keys are hashes of content.
                Ok(good) => assert!((0..40).any(|n| good == payload(n)), "{key:?}"),
                Err(_) => all_good = false,
            }
        }
        *(if all_good { &mut whole } else { &mut named }) += 1;
    }
    assert!(whole > 0 && named > 0, "{whole} {named} {refused}");
}

// The tests below run this test binary again as another process. It then runs one test, which looks for this variable.
const CHILD: &str = "HEADWATER_TEST_STORAGE_FOLDER";
const PARTS: u8 = 3;

fn child(test: &str, folder: &Path) -> Child {
    let program = std::env::current_exe().expect("the test's own program");
    Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process")
}

fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Tells the parent in one write, so that a line is whole or absent.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush())
        .expect("the parent listens");
}

/// Not a test of its own: a process that commits until it is killed.
#[test]
fn child_commits_until_killed() {
    let Some(folder) = child_folder() else { return };
    let storage = open(&folder);
    let round = scan(&storage).len();
    std::thread::scope(|scope| {
        for committer in 0..8 {
            let storage = &storage;
            scope.spawn(move || {
                for n in 0.. {
                    let name = format!("{round}-{committer}-{n}");
                    let batch = (0..PARTS).fold(Batch::default(), |batch, part| {
                        let value = framing::encode(Kind::Metadata, name.as_bytes());
                        batch.put(format!("{name}/{part}"), value)
                    });
                    commit(storage, batch).expect("a commit");
                    tell(&format!("committed {name}"));
                }
            });
        }
    });
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = folder();
    let mut acknowledged = HashSet::new();
    for round in 0..10 {
        let mut process = child("child_commits_until_killed", folder.path());
        let out = process.stdout.take().expect("the child's output");
        let mut seen = 0;
        for line in BufReader::new(out).lines() {
            let line = line.expect("text");
            // The test harness writes around it.
            let Some((_, name)) = line.split_once("committed ") else {
                continue;
            };
            acknowledged.insert(name.to_owned());
            seen += 1;
            // Killed at another moment each round; what it still wrote until then is read to the end.
            if seen == 20 + round * 13 {
                process.kill().expect("kill -9");
            }
        }
        process.wait().expect("the child is gone");
        assert!(seen >= 20, "the child ended early, after {seen} commits");

        let storage = open(folder.path());
        let mut parts = std::collections::HashMap::new();
        for (key, value) in scan(&storage) {
            let name = framing::decode(Kind::Metadata, &value).expect("a whole value");
            assert!(key.starts_with(name));
            *parts
                .entry(String::from_utf8_lossy(name).into_owned())
                .or_insert(0) += 1;
        }
        for (name, count) in &parts {
            assert_eq!(*count, PARTS, "half of batch {name} is there");
        }
        for name in &acknowledged {
            assert!(
                parts.contains_key(name),
                "batch {name} is lost, round {round}"
            );
        }
        close(&storage);
    }
}

/// Not a test of its own: a process that holds a folder until its input ends.
#[test]
fn child_holds_the_folder() {
    let Some(folder) = child_folder() else { return };
    let _storage = open(&folder);
    tell("opened");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_folder_is_for_one_process() {
    let folder = folder();
    let mut process = child("child_holds_the_folder", folder.path());
    let out = process.stdout.take().expect("the child's output");
    BufReader::new(out)
        .lines()
        .map(|line| line.expect("text"))
        .find(|line| line.ends_with("opened"))
        .expect("the child opens the folder");
    let error = NativeStorage::open(folder.path()).expect_err("the folder is in use");
    match &error {
        StorageError::Locked {
            folder: named,
            owner,
        } => {
            assert_eq!(named, folder.path());
            assert_eq!(*owner, Some(process.id()));
        }
        other => panic!("{other:?}"),
    }
    let message = error.to_string();
    assert!(
        message.contains(&format!("in use by process {}", process.id())),
        "{message}"
    );
    assert!(message.contains("stop that process"), "{message}");
    process.kill().expect("kill -9");
    process.wait().expect("the child is gone");

    let storage = open(folder.path());
    let again = NativeStorage::open(folder.path());
    assert!(
        matches!(again, Err(StorageError::Locked { .. })),
        "{again:?}"
    );
    close(&storage);
    open(folder.path());
}

/// A small disk, gone when the test is.
#[cfg(target_os = "linux")]
struct SmallDisk(TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(size: &str) -> Self {
        let disk = Self(folder());
        disk.run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"],
        );
        disk
    }

    fn resize(&self, size: &str) {
        self.run("mount", &["-o", &format!("remount,size={size}")]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = Command::new(program)
            .args(arguments)
            .arg(self.0.path())
            .status();
        let done = status.as_ref().is_ok_and(|status| status.success());
        assert!(
            done,
            "this test mounts a small tmpfs, for which it must run as root: {status:?}"
        );
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failure leaves a mount behind, which a test that is already failing can only mention.
        let status = Command::new("umount").arg(self.0.path()).status();
        if !status.as_ref().is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}: {status:?}", self.0.path().display());
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let disk = SmallDisk::mount("8m");
    let folder = disk.0.path().join("store");
    let storage = open(&folder);
    let value = |n: u32| framing::encode(Kind::Metadata, &n.to_be_bytes().repeat(4096));
    let batch = |n: u32| {
        Batch::default()
            .put(n.to_be_bytes(), value(n))
            .put([n as u8], "")
    };
    let (count, error) = (0_u32..)
        .find_map(|n| commit(&storage, batch(n)).err().map(|error| (n, error)))
        .expect("a disk of 8 MiB fills up");
    assert!(count > 50, "only {count} commits of 16 KiB fit on 8 MiB");
    assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");

    let again = commit(&storage, batch(count));
    assert!(
        matches!(again, Err(StorageError::Poisoned { .. })),
        "{again:?}"
    );
    let read = block_on(storage.get(&[0]));
    assert!(
        matches!(read, Err(StorageError::Poisoned { .. })),
        "{read:?}"
    );
    close(&storage);

    disk.resize("64m");
    let storage = open(&folder);
    for n in 0..count {
        let stored = block_on(storage.get(&n.to_be_bytes())).expect("the store reads");
        assert!(stored == Some(value(n)), "commit {n} of {count} is lost");
    }
    commit(&storage, batch(count)).expect("there is room again");
    let stored = block_on(storage.get(&count.to_be_bytes())).expect("the store reads");
    assert!(stored == Some(value(count)));
    close(&storage);
}

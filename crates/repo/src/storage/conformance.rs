//! What every [`Storage`] must do, as a suite for those who implement one.
//!
//! Each case panics with the place that failed, as tests do. Call [`run`] from a test:
//!
//! ```
//! use headwater::storage::conformance::{self, Place};
//! use headwater::storage::{MemoryDisk, Storage, StorageFuture};
//! use std::sync::Arc;
//!
//! struct InMemory(MemoryDisk);
//!
//! impl Place for InMemory {
//!     fn open(&self) -> StorageFuture<'_, Arc<dyn Storage>> {
//!         Box::pin(async { Ok(Arc::new(self.0.open()) as Arc<dyn Storage>) })
//!     }
//! }
//!
//! futures::executor::block_on(conformance::run(|| InMemory(MemoryDisk::default())));
//! ```

use super::framing::{self, FramingError, Kind};
use super::{Batch, Entry, MaybeSendSync, Storage, StorageError, StorageFuture, keys};
use automerge::ChangeHash;
use futures::FutureExt;
use futures::future::join_all;
use headwater_core::id::DocumentId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Somewhere that a store can be opened again and again: a folder, or a browser's database.
pub trait Place: MaybeSendSync {
    /// Opens the store with all that was committed to it. The suite closes a store before it opens the next.
    fn open(&self) -> StorageFuture<'_, Arc<dyn Storage>>;
}

/// Runs all cases, each in an empty place of its own.
pub async fn run<P: Place>(fresh: impl Fn() -> P) {
    an_empty_store_reads_as_empty(&fresh()).await;
    keys_are_in_bytewise_order(&fresh()).await;
    a_prefix_gives_exactly_its_keys(&fresh()).await;
    puts_overwrite_and_deletes_remove(&fresh()).await;
    a_batch_is_whole_and_ordered(&fresh()).await;
    commits_outlive_the_store(&fresh()).await;
    values_of_any_size_are_kept(&fresh()).await;
    concurrent_commits_all_arrive(&fresh()).await;
    a_dropped_commit_is_whole_or_absent(&fresh()).await;
    damaged_values_are_named(&fresh()).await;
    a_closed_store_says_so(&fresh()).await;
    random_programs_match_a_map(&fresh()).await;
}

const OPENS: &str = "the store opens";
const READS: &str = "the store reads";
const WRITES: &str = "the store writes";

async fn open<P: Place>(place: &P) -> Arc<dyn Storage> {
    place.open().await.expect(OPENS)
}

async fn reopen<P: Place>(place: &P, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    storage.close().await.expect("the store closes");
    drop(storage);
    open(place).await
}

async fn commit(storage: &Arc<dyn Storage>, batch: Batch) {
    storage.commit(batch).await.expect(WRITES);
}

async fn scan(storage: &Arc<dyn Storage>, prefix: &[u8]) -> Vec<Entry> {
    storage.scan(prefix).await.expect(READS)
}

async fn get(storage: &Arc<dyn Storage>, key: &[u8]) -> Option<Vec<u8>> {
    storage.get(key).await.expect(READS)
}

fn keys_of(entries: &[Entry]) -> Vec<&[u8]> {
    entries.iter().map(|(key, _)| key.as_slice()).collect()
}

async fn an_empty_store_reads_as_empty<P: Place>(place: &P) {
    let storage = open(place).await;
    assert_eq!(get(&storage, b"a").await, None);
    assert_eq!(scan(&storage, b"").await, []);
    assert_eq!(scan(&storage, b"a").await, []);
    commit(&storage, Batch::default()).await;
    assert_eq!(scan(&storage, b"").await, []);
}

async fn keys_are_in_bytewise_order<P: Place>(place: &P) {
    let storage = open(place).await;
    let ordered: [&[u8]; 8] = [
        b"\0",
        b"\0\0",
        b"A",
        b"a",
        b"a\0",
        b"a\xff",
        b"b",
        b"\xff\xff",
    ];
    let mut batch = Batch::default();
    for index in [5, 2, 7, 0, 3, 6, 1, 4] {
        batch = batch.put(ordered[index], [index as u8]);
    }
    commit(&storage, batch).await;
    let entries = scan(&storage, b"").await;
    assert_eq!(keys_of(&entries), ordered);
    let values: Vec<_> = entries.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [[0], [1], [2], [3], [4], [5], [6], [7]]);
}

async fn a_prefix_gives_exactly_its_keys<P: Place>(place: &P) {
    let storage = open(place).await;
    let all: [&[u8]; 8] = [
        b"d/",
        b"d/\0",
        b"d/a",
        b"d/a/1",
        b"d/\xff\xff",
        b"d0",
        b"\xff",
        b"\xff\xff\x01",
    ];
    let batch = all
        .iter()
        .fold(Batch::default(), |batch, key| batch.put(*key, *key));
    commit(&storage, batch).await;
    for prefix in [
        b"d/".as_slice(),
        b"d/a",
        b"d/a/1",
        b"d/a/1/2",
        b"d",
        b"d/\xff",
        b"\xff",
        b"\xff\xff",
        b"e",
        b"",
    ] {
        let mut expected: Vec<&[u8]> = all
            .into_iter()
            .filter(|key| key.starts_with(prefix))
            .collect();
        expected.sort_unstable();
        let entries = scan(&storage, prefix).await;
        assert_eq!(keys_of(&entries), expected, "prefix {prefix:?}");
    }
}

async fn puts_overwrite_and_deletes_remove<P: Place>(place: &P) {
    let storage = open(place).await;
    commit(&storage, Batch::default().put("a", "1").put("b", "1")).await;
    commit(&storage, Batch::default().put("a", "22")).await;
    assert_eq!(get(&storage, b"a").await, Some(b"22".to_vec()));
    commit(&storage, Batch::default().delete("a").delete("not there")).await;
    assert_eq!(get(&storage, b"a").await, None);
    assert_eq!(keys_of(&scan(&storage, b"").await), [b"b"]);
    let storage = reopen(place, storage).await;
    assert_eq!(scan(&storage, b"").await, [(b"b".to_vec(), b"1".to_vec())]);
}

async fn a_batch_is_whole_and_ordered<P: Place>(place: &P) {
    let storage = open(place).await;
    let batch = Batch::default().put("a", "first").put("a", "second");
    commit(&storage, batch).await;
    assert_eq!(get(&storage, b"a").await, Some(b"second".to_vec()));
    let batch = Batch::default().put("a", "third").delete("a");
    commit(&storage, batch).await;
    assert_eq!(get(&storage, b"a").await, Some(b"third".to_vec()));

    // As compaction does: the chunks go and the snapshot comes in one step.
    let chunks = (0..500_u16).fold(Batch::default(), |batch, n| {
        batch.put(
            [b"i/".as_slice(), &n.to_be_bytes()].concat(),
            n.to_be_bytes(),
        )
    });
    let keys: Vec<_> = chunks.puts.iter().map(|(key, _)| key.clone()).collect();
    commit(&storage, chunks).await;
    assert_eq!(scan(&storage, b"i/").await.len(), 500);
    let swap = keys
        .into_iter()
        .fold(Batch::default().put("s/1", "all"), Batch::delete);
    commit(&storage, swap).await;
    let storage = reopen(place, storage).await;
    assert_eq!(
        keys_of(&scan(&storage, b"").await),
        [b"a".as_slice(), b"s/1"]
    );
}

async fn commits_outlive_the_store<P: Place>(place: &P) {
    let mut storage = open(place).await;
    for round in 0..5_u8 {
        commit(&storage, Batch::default().put([round], [round; 3])).await;
        storage = reopen(place, storage).await;
        let expected: Vec<Entry> = (0..=round).map(|n| (vec![n], vec![n; 3])).collect();
        assert_eq!(scan(&storage, b"").await, expected);
    }
}

async fn values_of_any_size_are_kept<P: Place>(place: &P) {
    let storage = open(place).await;
    let large: Vec<u8> = (0..1_u32 << 20).map(|n| (n % 251) as u8).collect();
    let long_key = vec![7; 300];
    let batch = Batch::default()
        .put("empty", "")
        .put("large", large.clone())
        .put(long_key.clone(), "1");
    commit(&storage, batch).await;
    let storage = reopen(place, storage).await;
    assert_eq!(get(&storage, b"empty").await, Some(Vec::new()));
    assert!(
        get(&storage, b"large").await == Some(large),
        "1 MiB differs"
    );
    assert_eq!(get(&storage, &long_key).await, Some(b"1".to_vec()));
}

async fn concurrent_commits_all_arrive<P: Place>(place: &P) {
    let storage = open(place).await;
    let commits = (0..200_u8).map(|n| {
        let batch = Batch::default().put([n, 0], [n]).put([n, 1], [n]);
        let storage = &storage;
        async move {
            storage.commit(batch).await.expect(WRITES);
            // What was committed is read at once, whoever else commits.
            assert_eq!(get(storage, &[n, 0]).await, Some(vec![n]));
            assert_eq!(scan(storage, &[n]).await.len(), 2);
        }
    });
    join_all(commits).await;
    let storage = reopen(place, storage).await;
    assert_eq!(scan(&storage, b"").await.len(), 400);
}

async fn a_dropped_commit_is_whole_or_absent<P: Place>(place: &P) {
    let storage = open(place).await;
    for n in 0..20_u8 {
        let batch = (0..50_u8).fold(Batch::default(), |batch, m| batch.put([n, m], "x"));
        // Polled once and dropped.
        storage
            .commit(batch)
            .now_or_never()
            .transpose()
            .expect(WRITES);
    }
    commit(&storage, Batch::default().put("z", "1")).await;
    let storage = reopen(place, storage).await;
    for n in 0..20_u8 {
        let count = scan(&storage, &[n]).await.len();
        assert!(count == 0 || count == 50, "{count} of 50 keys of batch {n}");
    }
    assert_eq!(get(&storage, b"z").await, Some(b"1".to_vec()));
}

async fn damaged_values_are_named<P: Place>(place: &P) {
    let storage = open(place).await;
    let id = DocumentId::from_bytes([9; 16]);
    let key = |n| keys::incremental(&id, &ChangeHash([n; 32]));
    let frame = framing::encode(Kind::Incremental, b"a change");
    let mut flipped = frame.clone();
    *flipped.last_mut().expect("a frame has bytes") ^= 1;
    let batch = Batch::default()
        .put(key(1), frame.clone())
        .put(key(2), "")
        .put(key(3), &frame[..frame.len() - 3])
        .put(key(4), flipped)
        .put(key(5), frame);
    commit(&storage, batch).await;
    let storage = reopen(place, storage).await;
    let (chunks, quarantined) = framing::chunks(scan(&storage, &keys::document(&id)).await);
    let good: Vec<_> = chunks.iter().map(|chunk| chunk.key.hash[0]).collect();
    assert_eq!(good, [1, 5]);
    assert!(chunks.iter().all(|chunk| chunk.bytes == b"a change"));
    let named: Vec<_> = quarantined.iter().map(|damaged| &damaged.key).collect();
    assert_eq!(named, [&key(2), &key(3), &key(4)]);
    let reasons: Vec<_> = quarantined.iter().map(|damaged| &damaged.reason).collect();
    assert!(
        matches!(
            reasons[..],
            [
                FramingError::Empty,
                FramingError::Length { .. },
                FramingError::Checksum { .. }
            ]
        ),
        "{reasons:?}"
    );
}

async fn a_closed_store_says_so<P: Place>(place: &P) {
    let storage = open(place).await;
    commit(&storage, Batch::default().put("a", "1")).await;
    storage.close().await.expect("the store closes");
    storage.close().await.expect("closing twice is no error");
    let commit = storage.commit(Batch::default().put("b", "2")).await;
    assert!(
        matches!(commit, Err(StorageError::Closed { .. })),
        "{commit:?}"
    );
    let get = storage.get(b"a").await;
    assert!(matches!(get, Err(StorageError::Closed { .. })), "{get:?}");
    let scan = storage.scan(b"").await;
    assert!(matches!(scan, Err(StorageError::Closed { .. })), "{scan:?}");
    let storage = open(place).await;
    assert_eq!(storage.scan(b"").await.expect(READS).len(), 1);
}

async fn random_programs_match_a_map<P: Place>(place: &P) {
    // A fixed seed: whoever implements a store wants the same program each time.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let mut storage = open(place).await;
    let mut model = BTreeMap::new();
    for step in 0..200 {
        let mut batch = Batch::default();
        for _ in 0..next(6) {
            let length = next(4) as usize + 1;
            // Three letters make keys that are prefixes of each other.
            let key: Vec<u8> = (0..length)
                .map(|_| [0, b'/', 255][next(3) as usize])
                .collect();
            if next(3) == 0 {
                batch = batch.delete(key);
            } else {
                batch = batch.put(key, vec![step as u8; next(40) as usize]);
            }
        }
        for key in &batch.deletes {
            model.remove(key);
        }
        model.extend(batch.puts.iter().cloned());
        commit(&storage, batch).await;
        if step % 50 == 49 {
            storage = reopen(place, storage).await;
        }
        let prefix: Vec<u8> = (0..next(3))
            .map(|_| [0, b'/', 255][next(3) as usize])
            .collect();
        let expected: Vec<Entry> = model
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(scan(&storage, &prefix).await, expected, "step {step}");
    }
}

//! Reading a message takes memory in proportion to its bytes, whatever they claim.
//!
//! One test alone, because the allocator counts what all threads do.

use automerge::sync::MessageVersion;
use automerge::transaction::Transactable;
use automerge::{AutoCommit, ObjType, ROOT};
use headwater_core::bounds::Limits;
use headwater_sync::message::SyncMessage;
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const LIMITS: Limits = Limits {
    message_bytes: 16 << 20,
    inflated_bytes: 1 << 20,
    ops_per_change: 10_000,
    ops: 20_000,
    changes: 20_000,
    actor_bytes: 64,
    actors: 1 << 16,
    counter_gap: 10_000,
    waiting: 1_000,
    waiting_bytes: 1 << 20,
    clock_cells: 1 << 30,
    hashes: 1 << 16,
    bloom_filters: 16,
    bloom_probes: 32,
};

/// What reading `bytes` may take: a small multiple of the bytes, of what may come out of inflating (of which automerge
/// makes growing vectors), and some tens of bytes for each operation and change that the limits allow.
fn allowed(bytes: &[u8]) -> usize {
    16 * bytes.len() + 3 * LIMITS.inflated_bytes + 64 * (20_000 + 20_000)
}

/// Reads `bytes` and returns how much memory that took at most.
fn read(bytes: &[u8]) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    drop(SyncMessage::decode(bytes, &LIMITS));
    ALLOCATOR.peak_usage().saturating_sub(before)
}

/// Real messages: changes, a compressed document, and both at once.
fn messages() -> Vec<Vec<u8>> {
    let mut doc = AutoCommit::new().with_actor(vec![1; 16].into());
    let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    for index in 0..60 {
        doc.put(ROOT, format!("key {index}"), "some value").unwrap();
        doc.splice_text(
            &text,
            index,
            0,
            "and a text that is longer than a few bytes",
        )
        .unwrap();
        doc.commit();
    }
    let saved = doc.save();
    let changes = doc.get_changes(&[]);
    let raw: Vec<&[u8]> = changes.iter().map(|change| change.raw_bytes()).collect();
    let heads = doc.get_heads();
    let both = [&[saved.as_slice()], &raw[..]].concat();
    [
        (MessageVersion::V1, raw),
        (MessageVersion::V2, vec![&saved]),
        (MessageVersion::V2, both),
    ]
    .map(|(version, chunks)| SyncMessage::new(version, heads.clone(), chunks).encode())
    .to_vec()
}

#[test]
fn reading_any_message_takes_memory_in_proportion_to_its_bytes() {
    let messages = messages();
    for message in &messages {
        assert!(SyncMessage::decode(message, &LIMITS).is_ok());
    }
    let mutated = (
        0..messages.len(),
        proptest::collection::vec((any::<Index>(), any::<u8>()), 0..6),
    )
        .prop_map(|(at, changes)| {
            let mut bytes = messages[at].clone();
            let len = bytes.len();
            for (place, byte) in changes {
                bytes[place.index(len)] = byte;
            }
            bytes
        });
    let first = prop_oneof![Just(0x42u8), Just(0x43u8)];
    let random = (first, proptest::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(first, rest)| [&[first], rest.as_slice()].concat());
    let mut runner = TestRunner::new(Config {
        cases: 4_000,
        ..Config::default()
    });
    let result = runner.run(&prop_oneof![mutated, random], |bytes| {
        let peak = read(&bytes);
        prop_assert!(
            peak <= allowed(&bytes),
            "{peak} bytes for {} bytes",
            bytes.len()
        );
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    for claims in [
        &[0x42, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
        &[0x43, 0, 0, 0, 0xff, 0xff, 0x7f],
    ] {
        assert!(
            read(claims) < 1_000,
            "a claim of many items takes no memory"
        );
    }
}

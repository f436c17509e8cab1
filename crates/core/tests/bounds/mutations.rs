//! What passes must not make automerge panic, however it was made: good chunks are mutated and given right checksums.

use automerge::Automerge;
use headwater_core::bounds::{Limits, check_chunks};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::build;
use crate::corpus::{edits, play};

/// Small, so that mutations of counts stay cheap for automerge too.
fn limits() -> Limits {
    Limits {
        ops_per_change: 10_000,
        ops: 10_000,
        changes: 10_000,
        ..Limits::default()
    }
}

/// The content of a chunk that is not compressed.
pub fn content(chunk: &[u8]) -> &[u8] {
    let length = chunk[9..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    &chunk[9 + length..]
}

/// One change to bytes.
#[derive(Clone, Debug)]
pub enum Mutation {
    Set(Index, u8),
    Add(Index, i8),
    Remove(Index),
    Insert(Index, u8),
    Copy(Index, Index, u8),
}

pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let mutation = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), -3..4i8).prop_map(|(at, by)| Mutation::Add(at, by)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        (any::<Index>(), any::<Index>(), 1..8u8)
            .prop_map(|(from, to, len)| Mutation::Copy(from, to, len)),
    ];
    proptest::collection::vec(mutation, 1..4)
}

pub fn mutate(bytes: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for mutation in mutations {
        let len = out.len();
        match mutation {
            Mutation::Set(at, byte) => out[at.index(len)] = *byte,
            Mutation::Add(at, by) => {
                let byte = &mut out[at.index(len)];
                *byte = byte.wrapping_add_signed(*by);
            }
            Mutation::Remove(at) if len > 1 => drop(out.remove(at.index(len))),
            Mutation::Remove(_) => {}
            Mutation::Insert(at, byte) => out.insert(at.index(len), *byte),
            Mutation::Copy(from, to, count) => {
                let from = from.index(len);
                let copied = out[from..len.min(from + usize::from(*count))].to_vec();
                let to = to.index(len);
                let end = len.min(to + copied.len());
                out[to..end].copy_from_slice(&copied[..end - to]);
            }
        }
    }
    out
}

fn has_increment(change: &automerge::Change) -> bool {
    let operations = change.decode().operations;
    operations
        .iter()
        .any(|op| matches!(op.action, automerge::legacy::OpType::Increment(_)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_mutated_document_that_passes_loads_or_fails_without_panic(
        edits in edits(0..60),
        mutations in proptest::collection::vec(mutations(), 64),
    ) {
        let saved = play(&edits).save_nocompress();
        for mutations in &mutations {
            let bytes = build::chunk(0, &mutate(content(&saved), mutations));
            if check_chunks(&bytes, &limits()).is_ok() {
                if let Ok(doc) = Automerge::load(&bytes) {
                    prop_assert_eq!(Automerge::load(&doc.save()).unwrap().get_heads(), doc.get_heads());
                }
                // The other way in, which does not verify the heads.
                let unverified = automerge::LoadOptions::new()
                    .verification_mode(automerge::VerificationMode::DontCheck);
                drop(Automerge::load_with_options(&bytes, unverified));
            }
        }
    }

    #[test]
    fn a_mutated_change_that_passes_is_decoded_without_panic(
        edits in edits(0..60),
        mutations in proptest::collection::vec(mutations(), 64),
    ) {
        let changes = play(&edits).get_changes(&[]);
        for (mutations, change) in mutations.iter().zip(changes.iter().cycle()) {
            let bytes = build::chunk(1, &mutate(content(change.raw_bytes()), mutations));
            if let Ok(summary) = check_chunks(&bytes, &limits()) {
                let change = automerge::Change::from_bytes(bytes.clone()).unwrap();
                prop_assert_eq!(summary.ops, change.len() as u64);
                // Written again, it is the same, but for increments, which that way of writing makes signed.
                let again = automerge::Change::from(change.decode());
                prop_assert!(again.hash() == change.hash() || has_increment(&change));
            }
        }
    }
}

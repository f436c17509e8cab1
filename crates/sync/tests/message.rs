//! Sync messages against automerge's own: what it sends must pass and come out the same, what we write it must accept.

use automerge::AutoCommit;
use automerge::sync::{Message, MessageFlags, MessageVersion, State, SyncDoc};
use automerge::transaction::Transactable;
use headwater_core::bounds::Limits;
use headwater_sync::message::{MessageError, SyncMessage};
use proptest::prelude::*;

/// A document with `count` changes by one actor.
fn document(actor: u8, count: usize) -> AutoCommit {
    let mut doc = AutoCommit::new().with_actor(vec![actor; 16].into());
    for index in 0..count {
        let key = format!("{actor}-{index}");
        doc.put(automerge::ROOT, key, "some value").unwrap();
        doc.commit();
    }
    doc
}

/// Carries a message as bytes and checks our reading and writing of it against automerge's.
fn carry(message: Message, flags: bool) -> Message {
    let mut message = message;
    if !flags {
        message.flags = None;
    }
    let bytes = message.clone().encode();
    let (ours, summary) = SyncMessage::decode(&bytes, &Limits::default()).unwrap();
    assert_eq!(ours.encode(), bytes, "what is read is written the same");
    assert_eq!(ours.to_automerge().unwrap(), message);
    assert_eq!(ours.chunks.len(), summary.chunks.len());
    message
}

/// Syncs two documents with automerge's own sync and returns the versions of the messages.
fn sync(left: &mut AutoCommit, right: &mut AutoCommit, flags: bool) -> Vec<MessageVersion> {
    let (mut left_state, mut right_state) = (State::new(), State::new());
    let mut versions = Vec::new();
    loop {
        let to_right = left.sync().generate_sync_message(&mut left_state);
        let to_left = right.sync().generate_sync_message(&mut right_state);
        if to_right.is_none() && to_left.is_none() {
            return versions;
        }
        if let Some(message) = to_right {
            versions.push(message.version.clone());
            let message = carry(message, flags);
            right
                .sync()
                .receive_sync_message(&mut right_state, message)
                .unwrap();
        }
        if let Some(message) = to_left {
            versions.push(message.version.clone());
            let message = carry(message, flags);
            left.sync()
                .receive_sync_message(&mut left_state, message)
                .unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn real_sessions_pass_in_both_versions(common in 0..12usize, left in 0..40usize, right in 0..40usize, flags: bool) {
        let mut ours = document(1, common);
        let mut theirs = ours.fork().with_actor(vec![2; 16].into());
        ours.merge(&mut document(3, left)).unwrap();
        theirs.merge(&mut document(4, right)).unwrap();
        let versions = sync(&mut ours, &mut theirs, flags);
        prop_assert_eq!(ours.get_heads(), theirs.get_heads());
        prop_assert!(flags || versions.iter().all(|version| *version == MessageVersion::V1));
        if flags && left > 12 {
            prop_assert!(versions.contains(&MessageVersion::V2));
        }
    }
}

/// Sends `doc`'s changes since `from` in one hand-made message.
fn push(doc: &mut AutoCommit, from: &[automerge::ChangeHash], version: MessageVersion) -> Vec<u8> {
    let changes = doc.get_changes(from);
    let chunks = changes.iter().map(|change| change.raw_bytes()).collect();
    SyncMessage::new(version, doc.get_heads(), chunks).encode()
}

#[test]
fn automerge_accepts_what_we_write() {
    for version in [MessageVersion::V1, MessageVersion::V2] {
        let mut ours = document(1, 5);
        let mut theirs = ours.fork().with_actor(vec![2; 16].into());
        let from = ours.get_heads();
        ours.merge(&mut document(3, 4)).unwrap();
        let bytes = push(&mut ours, &from, version);
        let mut state = State::new();
        let message = Message::decode(&bytes).unwrap();
        theirs
            .sync()
            .receive_sync_message(&mut state, message)
            .unwrap();
        assert_eq!(theirs.get_heads(), ours.get_heads());
        // The answer acknowledges: the same heads, nothing needed, nothing sent.
        let answer = theirs
            .sync()
            .generate_sync_message(&mut state)
            .unwrap()
            .encode();
        let (answer, _) = SyncMessage::decode(&answer, &Limits::default()).unwrap();
        assert_eq!(answer.heads, ours.get_heads());
        assert!(answer.need.is_empty() && answer.chunks.is_empty());
        // And the peer goes on from there with changes of its own.
        theirs.put(automerge::ROOT, "more", 1).unwrap();
        let next = theirs
            .sync()
            .generate_sync_message(&mut state)
            .unwrap()
            .encode();
        let (next, _) = SyncMessage::decode(&next, &Limits::default()).unwrap();
        assert_eq!(next.chunks.len(), 1);
        ours.load_incremental(next.chunks[0]).unwrap();
        assert_eq!(theirs.get_heads(), ours.get_heads());
    }
}

#[test]
fn flags_survive_in_both_directions() {
    let mut message = SyncMessage::new(MessageVersion::V1, Vec::new(), Vec::new());
    for flags in 0..0x80u8 {
        let mut wanted = MessageFlags::new();
        wanted.set(flags);
        message.flags = Some(wanted);
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).unwrap().flags, Some(wanted));
        let (read, _) = SyncMessage::decode(&bytes, &Limits::default()).unwrap();
        assert_eq!(read.flags, Some(wanted));
    }
}

/// A message with nothing but this bloom filter.
fn with_bloom(bloom: &[u8]) -> Vec<u8> {
    [&[0x42, 0, 0, 1, 0, bloom.len() as u8], bloom, &[0]].concat()
}

#[test]
fn refuses_bloom_filters_that_automerge_would_fail_on() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let no_bits = [1, 0, 7];
    let claims_more = [100, 10, 7, 0, 0];
    let many_probes = [&[1, 8][..], &huge, &[0xff]].concat();
    let claims_all = [&huge[..], &huge, &[7, 0]].concat();
    for bloom in [&no_bits[..], &claims_more, &many_probes, &claims_all] {
        let bytes = with_bloom(bloom);
        let error = SyncMessage::decode(&bytes, &Limits::default()).unwrap_err();
        assert!(
            matches!(error, MessageError::Bloom(_)),
            "{bloom:?}: {error}"
        );
    }
    assert!(SyncMessage::decode(&with_bloom(&[]), &Limits::default()).is_ok());
    assert!(SyncMessage::decode(&with_bloom(&[1, 8, 7, 0xff]), &Limits::default()).is_ok());
}

#[test]
fn refuses_what_exceeds_a_limit_or_is_no_message() {
    let limits = Limits {
        message_bytes: 64,
        hashes: 1,
        bloom_filters: 1,
        ..Limits::default()
    };
    let refused = |bytes: &[u8]| SyncMessage::decode(bytes, &limits).unwrap_err().to_string();
    assert!(refused(&[0x42; 65]).contains("limit of 64"));
    assert!(refused(&[]).contains("too early"));
    assert!(refused(&[0x44, 0]).contains("0x44"));
    assert!(refused(&[0x42, 0xff, 0xff, 0xff, 0xff, 0x0f]).contains("too early"));
    assert!(refused(&[0x42, 0, 0, 2, 0, 0, 0, 0, 0]).contains("bloom filters"));
}

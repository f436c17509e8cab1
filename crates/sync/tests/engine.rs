//! What an engine does with peers that are odd, hostile or too fast.

mod common;

use automerge::sync::MessageVersion;
use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, Change, ROOT};
use bytes::Bytes;
use common::document;
use common::replica::{Put, TestReplica};
use headwater_core::{DatabaseId, DocumentId};
use headwater_sync::connection::Role;
use headwater_sync::engine::{
    ConnectionId, Engine, EngineConfig, Output, Peer, PersistChunk, RefusedBy, Replica, Stored,
};
use headwater_sync::frame::{EphemeralFrame, Frame, HeadwaterMetadata, PeerId, SyncFrame};
use headwater_sync::message::SyncMessage;
use proptest::prelude::*;

type TestEngine = Engine<TestReplica>;

fn engine() -> TestEngine {
    engine_with(EngineConfig::new(PeerId::new("server")))
}

fn engine_with(config: EngineConfig) -> TestEngine {
    Engine::new(config, TestReplica::new("server", 1))
}

fn join(engine: &mut TestEngine, connection: u64, headwater: bool) -> ConnectionId {
    let peer = Peer {
        id: PeerId::new(format!("peer{connection}")),
        headwater: headwater.then_some(HeadwaterMetadata {
            version: 1,
            durable: true,
        }),
        role: Role::Server,
        database: None,
    };
    engine.connect(ConnectionId(connection), peer);
    ConnectionId(connection)
}

fn sync(connection: ConnectionId, document: DocumentId, data: impl Into<Bytes>) -> Frame {
    Frame::Sync(SyncFrame {
        request: false,
        sender: PeerId::new(format!("peer{}", connection.0)),
        target: PeerId::new("server"),
        document,
        database: None,
        data: data.into(),
    })
}

/// That the peer has told of all of its documents.
fn announced(connection: ConnectionId) -> Frame {
    Frame::Announced {
        sender: PeerId::new(format!("peer{}", connection.0)),
        target: PeerId::new("server"),
        database: None,
    }
}

/// A message of a peer that has nothing.
fn ask() -> Vec<u8> {
    SyncMessage::new(MessageVersion::V1, Vec::new(), Vec::new()).encode()
}

/// A message that brings all of `document`.
fn push(document: &Automerge) -> Vec<u8> {
    let changes = document.get_changes(&[]);
    let chunks = changes.iter().map(Change::raw_bytes).collect();
    SyncMessage::new(MessageVersion::V1, document.get_heads(), chunks).encode()
}

fn filled(values: i64) -> Automerge {
    let mut document = Automerge::new();
    document.set_actor(ActorId::from(b"author"));
    for value in 0..values {
        let mut transaction = document.transaction();
        transaction.put(ROOT, format!("key{value}"), value).unwrap();
        transaction.commit();
    }
    document
}

fn outputs(engine: &mut TestEngine) -> Vec<Output<TestReplica>> {
    std::iter::from_fn(|| engine.poll_output()).collect()
}

/// Carries out what the engine asks for with storage that works, and gives the frames.
fn run(engine: &mut TestEngine) -> Vec<(ConnectionId, Frame)> {
    let mut frames = Vec::new();
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Persist { batch, .. } => engine.persisted(batch, Ok(())),
            Output::Send { connection, frame } => {
                frames.push((connection, Frame::decode(&frame, 1 << 30).unwrap()));
            }
            _ => {}
        }
    }
    frames
}

fn messages(frames: &[(ConnectionId, Frame)]) -> Vec<Bytes> {
    let data = frames.iter().filter_map(|(_, frame)| match frame {
        Frame::Sync(frame) => Some(frame.data.clone()),
        _ => None,
    });
    data.collect()
}

fn put(engine: &mut TestEngine, id: DocumentId, value: i64) {
    engine.write(Put {
        document: id,
        key: String::from("key"),
        value,
    });
}

#[test]
fn a_refused_document_is_named_and_the_others_go_on() {
    let mut replica = TestReplica::new("server", 1);
    replica.forbidden = Some(document(1));
    let mut engine = Engine::new(EngineConfig::new(PeerId::new("server")), replica);
    let peer = join(&mut engine, 1, true);
    let stock = join(&mut engine, 2, false);
    outputs(&mut engine);

    engine.receive(peer, sync(peer, document(1), push(&filled(1))));
    let told = outputs(&mut engine);
    assert!(told.iter().any(|output| matches!(
        output,
        Output::Refused { document: id, by: RefusedBy::Us, .. } if *id == document(1)
    )));
    assert!(told.iter().any(|output| matches!(
        output,
        Output::Send { frame, .. }
            if matches!(Frame::decode(frame, 1 << 20), Ok(Frame::Refused { .. }))
    )));
    // It is left alone from now on.
    engine.receive(peer, sync(peer, document(1), push(&filled(2))));
    assert!(outputs(&mut engine).is_empty());
    // Another document of the same peer is taken.
    engine.receive(peer, sync(peer, document(2), push(&filled(1))));
    run(&mut engine);
    assert!(engine.replica().document(&document(2)).is_some());

    // A stock client knows errors only, after which it is closed.
    engine.receive(stock, sync(stock, document(1), push(&filled(1))));
    let told = outputs(&mut engine);
    assert!(matches!(told.last(), Some(Output::Close { connection, .. }) if *connection == stock));
    assert!(told.iter().any(|output| matches!(
        output,
        Output::Send { frame, .. } if matches!(Frame::decode(frame, 1 << 20), Ok(Frame::Error { .. }))
    )));
}

/// One peer's broken changes must not keep those of others from the same batch.
#[test]
fn a_bad_message_does_not_spoil_the_batch_it_came_in() {
    let mut engine = engine();
    let good = join(&mut engine, 1, true);
    let bad = join(&mut engine, 2, true);
    put(&mut engine, document(9), 1);
    outputs(&mut engine);
    // Two changes of one actor with one number cannot both be right; the document takes the first.
    let mut fork = Automerge::new();
    fork.set_actor(ActorId::from(b"author"));
    let mut transaction = fork.transaction();
    transaction.put(ROOT, "other", 7).unwrap();
    transaction.commit();
    engine.receive(good, sync(good, document(1), push(&filled(3))));
    engine.receive(bad, sync(bad, document(1), push(&fork)));
    // The batch in flight is done; both messages go into the next.
    engine.persisted(headwater_sync::engine::BatchId(0), Ok(()));
    let told = outputs(&mut engine);
    assert!(told.iter().any(|output| matches!(
        output,
        Output::Refused { connection, .. } if *connection == bad
    )));
    let stored = told.iter().find_map(|output| match output {
        Output::Persist { chunks, .. } => Some(chunks.clone()),
        _ => None,
    });
    let Some([PersistChunk { bytes, .. }]) = stored.as_deref() else {
        panic!("the good changes are not stored");
    };
    let mut copy = Automerge::new();
    copy.load_incremental(bytes).unwrap();
    assert_eq!(copy.get_heads(), filled(3).get_heads());
}

#[test]
fn a_whole_document_that_is_taken_over_is_stored_as_it_came() {
    let mut replica = TestReplica::new("server", 1);
    replica.takes_over = true;
    let mut engine = Engine::new(EngineConfig::new(PeerId::new("server")), replica);
    let peer = join(&mut engine, 1, true);
    outputs(&mut engine);
    let whole = filled(300);
    let saved = whole.save();
    let heads = whole.get_heads();
    let message = SyncMessage::new(MessageVersion::V2, heads.clone(), vec![&saved]);
    engine.receive(peer, sync(peer, document(1), message.encode()));
    let told = outputs(&mut engine);
    let stored = told.iter().find_map(|output| match output {
        Output::Persist { chunks, .. } => Some(chunks.clone()),
        _ => None,
    });
    let expected = PersistChunk {
        document: document(1),
        content: Stored::Whole(heads),
        bytes: saved.into(),
    };
    assert_eq!(stored, Some(vec![expected]));
}

/// An acknowledgement was taken at once while an older message of the same peer waited for a batch, which then took back
/// what the peer was known to have: it never was in sync.
#[test]
fn what_a_peer_says_later_counts_although_what_it_said_before_has_to_wait() {
    let mut engine = engine();
    let id = document(1);
    put(&mut engine, id, 0);
    run(&mut engine);
    let old = engine.replica().document(&id).unwrap().clone();
    put(&mut engine, id, 1);
    run(&mut engine);
    let peer = join(&mut engine, 1, true);
    let heads = |engine: &TestEngine, id| {
        let heads = engine.replica().document(&id).unwrap().get_heads();
        SyncMessage::new(MessageVersion::V1, heads, Vec::new()).encode()
    };
    let now = heads(&engine, id);
    engine.receive(peer, sync(peer, id, now.clone()));
    engine.receive(peer, announced(peer));
    run(&mut engine);
    assert!(engine.in_sync());
    // A batch of another document is on its way to the disk.
    put(&mut engine, document(9), 1);
    let told = outputs(&mut engine);
    let Some(Output::Persist { batch, .. }) = told.last() else {
        panic!("nothing to store");
    };
    engine.receive(peer, sync(peer, id, push(&old)));
    engine.receive(peer, sync(peer, id, now));
    engine.persisted(*batch, Ok(()));
    run(&mut engine);
    let other = heads(&engine, document(9));
    engine.receive(peer, sync(peer, document(9), other));
    run(&mut engine);
    assert!(engine.in_sync());
}

/// A peer that has what we have, and a change made apart from it, says both as its heads.
#[test]
fn who_lacks_one_of_a_peers_heads_is_not_in_sync_although_it_has_the_other() {
    let mut engine = engine();
    let id = document(1);
    put(&mut engine, id, 0);
    run(&mut engine);
    let mut ahead = filled(1);
    let mut ours = engine.replica().document(&id).unwrap().clone();
    ahead.merge(&mut ours).unwrap();
    let peer = join(&mut engine, 1, true);
    let said = SyncMessage::new(MessageVersion::V1, ahead.get_heads(), Vec::new()).encode();
    engine.receive(peer, sync(peer, id, said));
    engine.receive(peer, announced(peer));
    run(&mut engine);
    assert!(!engine.in_sync());
    engine.receive(peer, sync(peer, id, push(&ahead)));
    run(&mut engine);
    assert!(engine.in_sync());
}

/// automerge-repo does not ask again for what it was not sent, unless it begins anew.
#[test]
fn a_stock_client_that_reads_too_slowly_is_told_to_reconnect_when_it_keeps_up() {
    let mut engine = engine();
    let stock = join(&mut engine, 1, false);
    engine.receive(stock, sync(stock, document(1), push(&filled(1))));
    run(&mut engine);
    engine.congested(stock);
    put(&mut engine, document(1), 1);
    let frames = run(&mut engine);
    assert_eq!(frames, []);
    engine.drained(stock);
    let told = outputs(&mut engine);
    assert!(matches!(
        &told[..],
        [Output::Send { frame, .. }, Output::Close { connection, .. }]
            if *connection == stock && matches!(Frame::decode(frame, 1 << 20), Ok(Frame::Error { .. }))
    ));
}

/// Also where many answers are due at once, before any of them can be sent.
#[test]
fn answers_stop_where_too_much_waits_to_be_sent() {
    let mut config = EngineConfig::new(PeerId::new("server"));
    config.outgoing = 4000;
    let mut engine = engine_with(config);
    let author = join(&mut engine, 1, true);
    for number in 0..20 {
        engine.receive(author, sync(author, document(number), push(&filled(30))));
        run(&mut engine);
    }
    let reader = join(&mut engine, 2, true);
    run(&mut engine);
    put(&mut engine, document(99), 1);
    for number in 0..20 {
        engine.receive(reader, sync(reader, document(number), ask()));
    }
    engine.persisted(headwater_sync::engine::BatchId(20), Ok(()));
    let told = outputs(&mut engine);
    let congested = |output: &Output<_>| matches!(output, Output::Congested { connection } if *connection == reader);
    assert!(told.iter().any(congested));
    let sent = told.iter().filter_map(|output| match output {
        Output::Send { connection, frame } if *connection == reader => Some(frame.len()),
        _ => None,
    });
    assert!(sent.sum::<usize>() < 8000);
}

#[test]
fn who_follows_hears_of_a_batch_before_the_next_is_applied_and_can_make_it_wait() {
    let mut engine = engine_with(EngineConfig::new(PeerId::new("server")));
    let batch = headwater_sync::engine::BatchId;
    let values = |engine: &TestEngine| {
        let document: &automerge::Automerge = engine.replica().document(&document(9)).unwrap();
        document.get_changes(&[]).len()
    };
    put(&mut engine, document(9), 1);
    outputs(&mut engine);
    put(&mut engine, document(9), 2);
    engine.want_rest();
    assert!(
        outputs(&mut engine).is_empty(),
        "the first batch is in flight"
    );
    engine.persisted(batch(0), Ok(()));
    let changes = values(&engine);
    let mut told = Vec::new();
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Events(_) => told.push("events"),
            Output::AtRest => told.push("rest"),
            Output::Persist { .. } => told.push("persist"),
            _ => continue,
        }
        let applied = values(&engine) > changes;
        assert_eq!(applied, told.contains(&"persist"), "{told:?}");
    }
    assert_eq!(told, ["events", "rest", "persist"]);

    engine.hold(true);
    put(&mut engine, document(9), 3);
    engine.persisted(batch(1), Ok(()));
    let held = outputs(&mut engine);
    assert!(
        !held
            .iter()
            .any(|output| matches!(output, Output::Persist { .. })),
        "it is held"
    );
    engine.hold(false);
    let go_on = outputs(&mut engine);
    assert!(matches!(go_on[..], [Output::Persist { .. }]));
}

#[test]
fn a_peer_that_is_too_fast_is_paused_and_resumed() {
    let mut config = EngineConfig::new(PeerId::new("server"));
    config.backlog = 4000;
    let mut engine = engine_with(config);
    let peer = join(&mut engine, 1, true);
    let other = join(&mut engine, 2, true);
    put(&mut engine, document(9), 1);
    outputs(&mut engine);
    // While a batch is in flight, everything waits.
    for number in 0..6 {
        engine.receive(peer, sync(peer, document(number), push(&filled(3))));
    }
    assert!(
        matches!(outputs(&mut engine)[..], [Output::Pause { connection }] if connection == peer)
    );
    engine.persisted(headwater_sync::engine::BatchId(0), Ok(()));
    let mut resumed = false;
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Persist { batch, .. } => engine.persisted(batch, Ok(())),
            Output::Resume { connection } => resumed |= connection == peer,
            _ => {}
        }
    }
    assert!(resumed);

    // Who does not pause is closed, and only that one.
    put(&mut engine, document(9), 2);
    outputs(&mut engine);
    for number in 10..40 {
        engine.receive(peer, sync(peer, document(number), push(&filled(3))));
    }
    let closed: Vec<_> = outputs(&mut engine)
        .iter()
        .filter_map(|output| match output {
            Output::Close { connection, .. } => Some(*connection),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [peer]);
    engine.receive(other, sync(other, document(1), push(&filled(4))));
}

#[test]
fn a_peer_that_joins_again_replaces_its_old_connection() {
    let mut engine = engine();
    join(&mut engine, 1, true);
    outputs(&mut engine);
    let mut peer = Peer {
        id: PeerId::new("peer1"),
        headwater: None,
        role: Role::Server,
        database: None,
    };
    engine.connect(ConnectionId(7), peer.clone());
    let told = outputs(&mut engine);
    assert!(matches!(
        told[..],
        [Output::Close {
            connection: ConnectionId(1),
            ..
        }]
    ));
    peer.id = PeerId::new("peer2");
    engine.connect(ConnectionId(8), peer);
    assert!(outputs(&mut engine).is_empty());
}

#[test]
fn ephemeral_messages_reach_those_who_share_the_document_once() {
    let mut engine = engine();
    let peers: Vec<_> = (1..=3)
        .map(|number| join(&mut engine, number, false))
        .collect();
    for peer in &peers[..2] {
        engine.receive(*peer, sync(*peer, document(1), push(&filled(1))));
    }
    run(&mut engine);
    let message = |document, count| {
        Frame::Ephemeral(EphemeralFrame {
            sender: PeerId::new("peer1"),
            target: PeerId::new("server"),
            document,
            database: None,
            count,
            session: String::from("session"),
            data: Bytes::from_static(b"cursor"),
        })
    };
    engine.receive(peers[0], message(document(1), 1));
    let told = run(&mut engine);
    let [(to, Frame::Ephemeral(frame))] = &told[..] else {
        panic!("expected one message, got {told:?}");
    };
    assert_eq!(*to, peers[1]);
    assert_eq!(
        (frame.sender.as_str(), frame.target.as_str()),
        ("peer1", "peer2")
    );
    // It comes back by another way.
    engine.receive(peers[1], message(document(1), 1));
    assert!(run(&mut engine).is_empty());
    // Who does not share the document has nothing to say about it.
    engine.receive(peers[2], message(document(1), 2));
    assert!(run(&mut engine).is_empty());
}

#[test]
fn ten_new_clients_get_the_same_bytes() {
    let mut engine = engine();
    let author = join(&mut engine, 100, true);
    engine.receive(author, sync(author, document(1), push(&filled(500))));
    run(&mut engine);
    let question = SyncMessage {
        have: vec![headwater_sync::message::Have::default()],
        ..SyncMessage::new(MessageVersion::V1, Vec::new(), Vec::new())
    };
    let answers: Vec<_> = (0..10)
        .flat_map(|number| {
            let peer = join(&mut engine, number, false);
            engine.receive(peer, sync(peer, document(1), question.encode()));
            messages(&run(&mut engine))
        })
        .collect();
    assert_eq!(answers.len(), 10);
    for answer in answers {
        let message = automerge::sync::Message::decode(&answer).unwrap();
        let mut copy = Automerge::new();
        let mut state = automerge::sync::State::new();
        automerge::sync::SyncDoc::receive_sync_message(&mut copy, &mut state, message).unwrap();
        assert_eq!(copy.get_heads(), filled(500).get_heads());
    }
}

/// A sync that is larger than a message is split so that each part can be applied by itself.
#[test]
fn large_syncs_are_split() {
    let mut config = EngineConfig::new(PeerId::new("server"));
    config.limits.message_bytes = 40_000;
    let mut engine = engine_with(config);
    let author = join(&mut engine, 1, true);
    let all = filled(500);
    for part in all.get_changes(&[]).chunks(100) {
        let chunks = part.iter().map(Change::raw_bytes).collect();
        let heads = vec![part.last().unwrap().hash()];
        let message = SyncMessage::new(MessageVersion::V1, heads, chunks);
        engine.receive(author, sync(author, document(1), message.encode()));
    }
    run(&mut engine);
    let old = join(&mut engine, 2, false);
    let question = SyncMessage {
        flags: None,
        have: vec![headwater_sync::message::Have::default()],
        ..SyncMessage::new(MessageVersion::V1, Vec::new(), Vec::new())
    };
    engine.receive(old, sync(old, document(1), question.encode()));
    let parts = messages(&run(&mut engine));
    assert!(parts.len() > 1, "{} parts", parts.len());
    let mut copy = Automerge::new();
    let mut state = automerge::sync::State::new();
    for part in parts {
        assert!(part.len() <= 40_000);
        let message = automerge::sync::Message::decode(&part).unwrap();
        let promised = message.heads.clone();
        automerge::sync::SyncDoc::receive_sync_message(&mut copy, &mut state, message).unwrap();
        assert_eq!(copy.get_heads(), promised);
    }
    assert_eq!(copy.get_heads(), all.get_heads());
}

/// On a connection between servers, which carries many databases, every frame names its own.
#[test]
fn links_name_the_database() {
    let mut engine = engine();
    let database = DatabaseId::from_bytes([5; 16]);
    let peer = Peer {
        id: PeerId::new("server2"),
        headwater: Some(HeadwaterMetadata {
            version: 1,
            durable: true,
        }),
        role: Role::Client,
        database: Some(database),
    };
    engine.connect(ConnectionId(1), peer);
    join(&mut engine, 2, true);
    put(&mut engine, document(1), 1);
    put(&mut engine, document(1), 2);
    let frames = run(&mut engine);
    assert_eq!(messages(&frames).len(), 4);
    for (connection, frame) in frames {
        let expected = (connection == ConnectionId(1)).then_some(database);
        assert_eq!(frame.database(), expected);
    }
}

#[test]
fn one_connection_cannot_share_documents_without_end() {
    let mut config = EngineConfig::new(PeerId::new("server"));
    config.documents = 10;
    let mut engine = engine_with(config);
    let peer = join(&mut engine, 1, false);
    let question = SyncMessage::new(MessageVersion::V1, Vec::new(), Vec::new()).encode();
    for number in 0..11 {
        engine.receive(peer, sync(peer, document(number), question.clone()));
    }
    assert!(matches!(
        outputs(&mut engine).last(),
        Some(Output::Close { .. })
    ));
}

/// A Headwater peer that repeats a question it was answered gets no second answer, so that two peers never talk for ever.
#[test]
fn a_repeated_question_is_answered_once() {
    let mut engine = engine();
    let peer = join(&mut engine, 1, true);
    put(&mut engine, document(1), 1);
    run(&mut engine);
    let mut question = SyncMessage::new(MessageVersion::V1, filled(1).get_heads(), Vec::new());
    question.need = filled(2).get_heads();
    let question = question.encode();
    engine.receive(peer, sync(peer, document(1), question.clone()));
    assert_eq!(run(&mut engine).len(), 1);
    for _ in 0..3 {
        engine.receive(peer, sync(peer, document(1), question.clone()));
        assert!(run(&mut engine).is_empty());
    }
}

proptest! {
    /// Whatever a peer sends, the engine lives, and serves the others.
    #[test]
    fn rubbish_is_survived(
        headwater in any::<bool>(),
        rubbish in proptest::collection::vec(
            (0_u8..3, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80),
             proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)),
            1..12,
        ),
    ) {
        let mut engine = engine();
        let good = join(&mut engine, 1, true);
        let bad = join(&mut engine, 2, headwater);
        put(&mut engine, document(1), 1);
        run(&mut engine);
        for (number, valid, bytes, changes) in rubbish {
            let mut data = if valid { push(&filled(5)) } else { bytes };
            for (at, value) in changes {
                if !data.is_empty() {
                    let at = at.index(data.len());
                    data[at] = value;
                }
            }
            engine.receive(bad, sync(bad, document(number), data));
            run(&mut engine);
        }
        engine.receive(good, sync(good, document(7), push(&filled(2))));
        let told = run(&mut engine);
        prop_assert!(told.iter().any(|(to, _)| *to == good));
        prop_assert!(engine.replica().document(&document(7)).is_some());
    }
}

use super::*;
use minicbor::Encoder;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

fn decode(bytes: impl Into<Bytes>) -> Result<Frame, FrameError> {
    Frame::decode(&bytes.into(), LIMIT)
}

fn document() -> DocumentId {
    DocumentId::from_bytes([7; 16])
}

fn examples() -> Vec<Frame> {
    let sender = PeerId::new("alice");
    let target = PeerId::new("bob");
    let database = Some(DatabaseId::from_bytes([9; 16]));
    let metadata = PeerMetadata {
        storage_id: Some(String::from("disk")),
        is_ephemeral: true,
        headwater: Some(HeadwaterMetadata {
            version: HEADWATER_VERSION,
            durable: true,
        }),
    };
    let heads = RemoteHeads {
        heads: vec![String::from("h1")],
        timestamp: 1_700_000_000_000,
    };
    let sync = |request, database| {
        Frame::Sync(SyncFrame {
            request,
            sender: PeerId::new("alice"),
            target: PeerId::new("bob"),
            document: document(),
            database,
            data: Bytes::from_static(b"\x42\0\0\0\0"),
        })
    };
    vec![
        Frame::Join {
            sender: sender.clone(),
            metadata: metadata.clone(),
            versions: vec![String::from("1")],
        },
        Frame::Peer {
            sender: sender.clone(),
            target: target.clone(),
            metadata: PeerMetadata::default(),
            version: String::from("1"),
        },
        Frame::Error {
            sender: sender.clone(),
            target: target.clone(),
            message: String::from("go away"),
        },
        sync(true, None),
        sync(false, database),
        Frame::Unavailable {
            sender: sender.clone(),
            target: target.clone(),
            document: document(),
            database: None,
        },
        Frame::Ephemeral(EphemeralFrame {
            sender: sender.clone(),
            target: target.clone(),
            document: document(),
            database,
            count: 3,
            session: String::from("s"),
            data: Bytes::from_static(b"cursor"),
        }),
        Frame::RemoteSubscriptionChange {
            sender: sender.clone(),
            target: target.clone(),
            add: vec![String::from("disk")],
            remove: vec![],
        },
        Frame::RemoteHeadsChanged {
            sender: sender.clone(),
            target: target.clone(),
            document: document(),
            heads: BTreeMap::from([(String::from("disk"), heads)]),
        },
        Frame::Leave {
            sender: sender.clone(),
        },
        Frame::Refused {
            sender,
            target,
            document: document(),
            database,
            message: String::from("not a partition of this database"),
        },
    ]
}

#[test]
fn every_frame_reads_as_it_was_written() {
    for frame in examples() {
        assert_eq!(decode(frame.encode()).unwrap(), frame);
    }
}

/// What automerge-repo 2.5 in JavaScript sends: maps with a length of two bytes, undefined where nothing is, and numbers
/// as floats.
#[test]
fn what_javascript_writes_is_read() {
    let id = document().to_string();
    let mut bytes = vec![0xb9, 0x00, 0x09];
    let mut encoder = Encoder::new(&mut bytes);
    encoder.str("type").unwrap().str("ephemeral").unwrap();
    encoder.str("senderId").unwrap().str("alice").unwrap();
    encoder.str("targetId").unwrap().str("bob").unwrap();
    encoder.str("documentId").unwrap().str(&id).unwrap();
    encoder.str("databaseId").unwrap().undefined().unwrap();
    encoder.str("count").unwrap().f64(3.0).unwrap();
    encoder.str("sessionId").unwrap().str("s").unwrap();
    encoder.str("data").unwrap().bytes(b"cursor").unwrap();
    encoder
        .str("future")
        .unwrap()
        .array(1)
        .unwrap()
        .map(1)
        .unwrap();
    encoder.u8(1).unwrap().null().unwrap();
    let Frame::Ephemeral(frame) = decode(bytes).unwrap() else {
        panic!("not an ephemeral frame");
    };
    assert_eq!((frame.count, &frame.data[..]), (3, &b"cursor"[..]));
    assert_eq!(frame.database, None);
}

#[test]
fn indefinite_lengths_are_read() {
    let id = document().to_string();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    encoder.begin_map().unwrap();
    encoder.str("data").unwrap().begin_bytes().unwrap();
    encoder
        .bytes(b"cur")
        .unwrap()
        .bytes(b"sor")
        .unwrap()
        .end()
        .unwrap();
    encoder
        .begin_str()
        .unwrap()
        .str("ty")
        .unwrap()
        .str("pe")
        .unwrap()
        .end()
        .unwrap();
    encoder.str("sync").unwrap();
    encoder.str("senderId").unwrap().str("alice").unwrap();
    encoder.str("targetId").unwrap().str("bob").unwrap();
    encoder.str("documentId").unwrap().str(&id).unwrap();
    encoder.end().unwrap();
    let Frame::Sync(frame) = decode(bytes).unwrap() else {
        panic!("not a sync frame");
    };
    assert_eq!(&frame.data[..], b"cursor");
}

#[test]
fn unknown_types_are_named_and_not_refused() {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    encoder
        .map(2)
        .unwrap()
        .str("type")
        .unwrap()
        .str("novel")
        .unwrap();
    encoder.str("data").unwrap().map(0).unwrap();
    let frame = decode(bytes).unwrap();
    assert_eq!(frame.kind(), "novel");
}

#[test]
fn errors_name_what_is_wrong() {
    let missing = Frame::Unknown {
        sender: Some(PeerId::new("alice")),
        kind: String::from("sync"),
    };
    let error = decode(missing.encode()).unwrap_err();
    assert_eq!(error.to_string(), "the `sync` frame has no `targetId`");

    let error = Frame::decode(&Bytes::from(vec![0; 11]), 10).unwrap_err();
    assert!(matches!(
        error,
        FrameError::TooLarge {
            size: 11,
            limit: 10
        }
    ));

    let name = "x".repeat(2000);
    let error = decode(
        Frame::Leave {
            sender: PeerId::new(name),
        }
        .encode(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("2000 bytes"), "{error}");
}

/// A declared length of 2^63 and a nesting of a million must cost nothing.
#[test]
fn hostile_lengths_and_nesting_are_errors() {
    assert!(decode(vec![0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0]).is_err());
    let mut deep = vec![0xa1, 0x61, b'x'];
    deep.extend(std::iter::repeat_n(0x81, 1_000_000));
    assert!(decode(deep).unwrap_err().to_string().contains("deep"));
}

#[test]
fn shared_frames_are_the_same_as_those_written_one_by_one() {
    let data = b"\x42\0\0\0\0";
    let shared = SharedSync::new(false, &PeerId::new("alice"), &document(), None, data);
    for name in ["bob", "carol"] {
        let Frame::Sync(frame) = decode(shared.to(&PeerId::new(name))).unwrap() else {
            panic!("not a sync frame");
        };
        assert_eq!(frame.target, PeerId::new(name));
        assert_eq!(&frame.data[..], data);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(bytes);
    }

    #[test]
    fn damaged_frames_are_read_or_refused(
        which in 0_usize..11,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = examples()[which].encode().to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = decode(bytes.clone());
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode(bytes);
    }
}

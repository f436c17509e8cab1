//! Deliveries that are refused: an error that says why, and nothing changed.

use crate::replica::{ID, NOTES, Replica};
use automerge::transaction::{CommitOptions, Transactable as _};
use automerge::{ActorId, AutoCommit, Change, ROOT};
use headwater_core::{Database, DatabaseId, DocumentId, Header, Partition};

/// A change of no Headwater document.
fn foreign() -> Change {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([99; 16]));
    doc.put(ROOT, "todo", "milk").unwrap();
    doc.commit_with(CommitOptions::default());
    doc.get_last_local_change().unwrap()
}

fn genesis(header: &Header) -> Change {
    header.genesis().unwrap()
}

fn partition(count: u32, index: u32) -> Partition {
    let collection = NOTES.to_owned();
    Partition {
        collection,
        count,
        index,
    }
}

fn refused(replica: &mut Replica, document: DocumentId, chunks: &[&[u8]]) -> String {
    let (heads, json) = (replica.db.heads(), replica.db.to_json());
    let collections = replica.db.collections().clone();
    let error = replica.db.apply(document, chunks).unwrap_err().to_string();
    assert_eq!(replica.db.heads(), heads, "{error}");
    assert_eq!(replica.db.to_json(), json, "{error}");
    assert_eq!(*replica.db.collections(), collections, "{error}");
    error
}

#[test]
fn a_document_that_cannot_be_placed_is_refused_with_what_to_do() {
    let mut a = Replica::single(1);
    a.put("k", &[("x", 1.into())]);
    let other = DatabaseId::from_bytes([8; 16]);
    let mine = |count, index| Header::Partition(ID, partition(count, index));
    let theirs = Header::Partition(other, partition(1, 0));
    let unknown = DocumentId::from_bytes([42; 16]);
    let foreign = foreign();
    let rooted = genesis(&Header::Catalog(other));
    let edit = a.out[3].1.clone();
    let many = mine(5_000, 0);
    let named = Partition {
        collection: "a\nb".into(),
        count: 1,
        index: 0,
    };
    let named = Header::Partition(ID, named);
    let cases: [(DocumentId, Vec<u8>, &str); 8] = [
        (
            unknown,
            foreign.raw_bytes().to_vec(),
            "genesis change of Headwater's",
        ),
        (unknown, edit, "genesis change was not sent"),
        (
            unknown,
            genesis(&mine(4, 1)).raw_bytes().to_vec(),
            "another document's",
        ),
        (
            theirs.document(),
            genesis(&theirs).raw_bytes().to_vec(),
            "another database",
        ),
        (
            other.root(),
            rooted.raw_bytes().to_vec(),
            "another document's",
        ),
        (
            many.document(),
            genesis(&many).raw_bytes().to_vec(),
            "too many partitions",
        ),
        (
            named.document(),
            genesis(&named).raw_bytes().to_vec(),
            "name cannot be used",
        ),
        (
            ID.root(),
            rooted.raw_bytes().to_vec(),
            "does not descend from its genesis",
        ),
    ];
    for (document, chunk, reason) in cases {
        let error = refused(&mut a, document, &[&chunk]);
        assert!(error.contains(reason), "{error}");
        assert!(error.contains("--allow-plain"), "{error}");
    }
}

#[test]
fn one_wrong_chunk_refuses_all_that_came_with_it() {
    let (mut a, mut b) = (Replica::single(1), Replica::single(2));
    a.put("k", &[("x", 1.into())]);
    a.put("k", &[("x", 2.into())]);
    b.receive(&a.out[..4]);
    let partition = a.partition();
    let foreign = foreign();
    let good = a.out[4].1.clone();
    for chunks in [
        [good.as_slice(), foreign.raw_bytes()],
        [foreign.raw_bytes(), good.as_slice()],
        [good.as_slice(), b"rubbish"],
        [good.as_slice(), &good[..good.len() - 1]],
    ] {
        refused(&mut b, partition, &chunks);
    }
    // The same actor and number again, with other content: two replicas share an actor.
    let mut clone = Database::new(ID, ActorId::from([1; 16])).unwrap();
    for (document, chunk) in &a.out[..4] {
        clone.apply(*document, &[chunk]).unwrap();
    }
    let mut clone = Replica {
        db: clone,
        out: Vec::new(),
        told: Vec::new(),
    };
    clone.put("k", &[("x", 3.into())]);
    let twin = clone.out[0].1.clone();
    refused(&mut b, partition, &[&good, &twin]);
    b.db.apply(partition, &[&good]).unwrap();
    refused(&mut b, partition, &[&twin]);
    assert_eq!(b.db.to_json(), a.db.to_json());
}

#[test]
fn a_document_that_was_refused_can_be_sent_right() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.put("k", &[("x", 1.into())]);
    let (document, _) = a.out[2].clone();
    let chunks: Vec<_> = a.out.iter().filter(|(id, _)| *id == document).collect();
    refused(&mut b, document, &[&chunks[0].1, foreign().raw_bytes()]);
    assert!(b.db.document(&document).is_none());
    let applied = b.db.apply(document, &[&chunks[0].1, &chunks[1].1]).unwrap();
    assert_eq!(applied.changes.len(), 2);
    assert_eq!(b.get("k"), a.get("k"));
}

#[test]
fn nothing_at_all_is_no_change() {
    let mut a = Replica::single(1);
    a.put("k", &[("x", 1.into())]);
    let applied = a.db.apply(a.partition(), &[]).unwrap();
    assert!(applied.changes.is_empty() && applied.events.is_empty());
    let error = refused(&mut a, DocumentId::from_bytes([42; 16]), &[]);
    assert!(error.contains("genesis"), "{error}");
}

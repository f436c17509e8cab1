//! Restarting from what was stored.

use crate::replica::{ID, NOTES, Replica, exchange};
use automerge::{ActorId, Change};
use headwater_core::database::LARGE_BATCH;
use headwater_core::{CollectionSchema, Database, DocumentId, Edit};
use std::collections::BTreeMap;

type Stored = BTreeMap<DocumentId, Vec<Vec<u8>>>;

fn stored(changes: &[(DocumentId, Vec<u8>)]) -> Stored {
    let mut stored = Stored::new();
    for (document, bytes) in changes {
        stored.entry(*document).or_default().push(bytes.clone());
    }
    stored
}

fn filled() -> Replica {
    let mut a = Replica::new(1);
    a.declare(CollectionSchema::new().partitions(2));
    for n in 0..8 {
        a.put(&format!("k{n}"), &[("x", n.into())]);
        a.patch(&format!("k{n}"), vec![("x", Edit::Set((n + 10).into()))])
            .unwrap();
    }
    a
}

#[test]
fn chunks_in_any_order_and_snapshots_give_the_same_database() {
    let a = filled();
    let mut backwards = stored(&a.out);
    backwards.values_mut().for_each(|chunks| chunks.reverse());
    // A snapshot of an earlier state beside the changes since, and one that holds them already.
    let mut early = filled();
    early.db = Database::new(ID, ActorId::from([9; 16])).unwrap();
    early.receive(&a.out[..6]);
    let mut snapshots = stored(&early.documents());
    for (document, chunks) in stored(&a.out) {
        snapshots.entry(document).or_default().extend(chunks);
    }
    let whole = stored(&a.documents());
    for documents in [backwards, snapshots, whole] {
        let (restored, bad) = Database::restore(ID, ActorId::from([2; 16]), documents).unwrap();
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(restored.heads(), a.db.heads());
        assert_eq!(restored.to_json(), a.db.to_json());
    }
}

#[test]
fn one_bad_document_is_named_and_the_others_are_usable() {
    let a = filled();
    let mut documents = stored(&a.out);
    let broken = a.db.documents()[1];
    documents.get_mut(&broken).unwrap()[1][20] ^= 1;
    let (mut restored, bad) = Database::restore(ID, ActorId::from([2; 16]), documents).unwrap();
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0].document, broken);
    assert!(
        bad[0].error.to_string().contains("refused"),
        "{}",
        bad[0].error
    );
    let left = restored.scan(NOTES, &Default::default());
    assert!(!left.is_empty() && left.len() < 8, "{}", left.len());
    // What the store has lost comes back from a peer.
    let chunk = a.db.document(&broken).unwrap().save();
    restored.apply(broken, &[&chunk]).unwrap();
    assert_eq!(restored.to_json(), a.db.to_json());
}

/// The genesis of a document that came from the store is known to be stored, that of a new one is not.
#[test]
fn a_genesis_is_stored_once() {
    let (mut a, mut b) = (Replica::single(1), Replica::new(2));
    a.put("k", &[("x", 1.into())]);
    let genesis = |changes: &[(DocumentId, Vec<u8>)]| {
        let first = |bytes: &[u8]| {
            automerge::Change::try_from(bytes)
                .unwrap()
                .deps()
                .is_empty()
        };
        changes.iter().filter(|(_, bytes)| first(bytes)).count()
    };
    assert_eq!(genesis(&a.out), 2);
    let documents = stored(&a.out);
    let (restored, _) = Database::restore(ID, ActorId::from([3; 16]), documents).unwrap();
    exchange(&mut a, &mut b);
    a.db = restored;
    a.put("k", &[("x", 2.into())]);
    b.put("k", &[("x", 3.into())]);
    assert_eq!((genesis(&a.out), genesis(&b.out)), (0, 0));
    exchange(&mut a, &mut b);
}

#[test]
fn a_long_document_that_arrives_is_stored_as_it_came() {
    let mut a = Replica::single(1);
    for n in 0..LARGE_BATCH as i64 {
        a.put("k", &[("n", n.into())]);
    }
    let partition = a.partition();
    let whole = a.db.document(&partition).unwrap();
    let (saved, heads) = (whole.save(), whole.get_heads());
    a.out.clear();
    a.put("k", &[("n", (-1).into())]);
    let (_, later) = a.out.pop().unwrap();

    let mut b = Replica::new(2);
    let applied = b.db.apply(partition, &[&later, &saved]).unwrap();
    let taken_over = applied.whole.unwrap();
    assert_eq!((taken_over.chunk, taken_over.heads), (1, heads));
    let rest = &applied.changes[taken_over.changes..];
    assert_eq!(
        rest.iter().map(Change::raw_bytes).collect::<Vec<_>>(),
        [later.as_slice()]
    );

    let stored = [(partition, vec![saved, later.clone()])];
    let (again, damaged) = Database::restore(ID, ActorId::from([3; 16]), stored).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    assert_eq!(again.to_json(), b.db.to_json());
    assert_eq!(again.heads()[&partition], b.db.heads()[&partition]);
}

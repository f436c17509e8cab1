//! Changes that do not fit a document are refused and leave it as it was; those of honest replicas fit in any order.

use automerge::transaction::Transactable;
use automerge::{AutoCommit, Automerge, ObjType, ROOT};
use headwater_core::bounds::{Guard, GuardError, Limits, check_chunks};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::build::{Change, one, prefixed};
use crate::corpus::{edits, play};
use crate::mutations::{content, mutate, mutations};

/// A document with a key "k", a list of one element, and a map, all by actor 9: 1@9 is the key, 2@9 the list, 3@9 its
/// element, 4@9 the map.
fn document() -> Automerge {
    let mut doc = AutoCommit::new().with_actor(vec![9].into());
    doc.put(ROOT, "k", 1).unwrap();
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    doc.insert(&list, 0, 1).unwrap();
    doc.put_object(ROOT, "map", ObjType::Map).unwrap();
    Automerge::load(&doc.save()).unwrap()
}

/// A change by actor 1 that follows the document.
fn change(doc: &Automerge) -> Change {
    Change {
        deps: doc.get_heads().iter().map(|head| head.0).collect(),
        start_op: 5,
        ..Change::new()
    }
}

/// The same in an object of actor 9's.
fn inside(doc: &Automerge, object: u8) -> Change {
    let change = Change {
        others: vec![vec![9]],
        ..change(doc)
    };
    change.with(0x01, one(&[1])).with(0x02, one(&[object]))
}

/// The same on an element of the list.
fn at(doc: &Automerge, actor: u8, element: u8, insert: bool) -> Change {
    let mut change = inside(doc, 2)
        .with(0x11, one(&[actor]))
        .with(0x13, one(&[element]));
    change.columns.retain(|(spec, _)| *spec != 0x15);
    change.with(0x34, if insert { vec![0, 1] } else { vec![1] })
}

/// The same with one predecessor.
fn replacing(change: Change, actor: u8, counter: u8) -> Change {
    change
        .with(0x70, one(&[1]))
        .with(0x71, one(&[actor]))
        .with(0x73, one(&[counter]))
}

fn apply(doc: &mut Automerge, guard: &mut Guard, bytes: &[u8]) -> Result<(), GuardError> {
    check_chunks(bytes, &Limits::default()).expect("the change is sound by itself");
    let change = automerge::Change::from_bytes(bytes.to_vec()).unwrap();
    guard.apply(doc, vec![change]).map(drop)
}

/// What is saved must load again.
fn assert_sound(doc: &Automerge) {
    let loaded = Automerge::load(&doc.save()).expect("a saved document loads");
    assert_eq!(loaded.get_heads(), doc.get_heads());
}

#[test]
fn changes_that_fit_are_applied() {
    let doc = document();
    let named = Change {
        others: vec![vec![9]],
        ..change(&doc)
    };
    let good = [
        change(&doc),
        inside(&doc, 4),
        at(&doc, 1, 3, true),
        replacing(named, 1, 1),
        replacing(at(&doc, 1, 3, false), 1, 3),
    ];
    for change in good {
        let mut doc = doc.clone();
        apply(&mut doc, &mut Guard::default(), &change.bytes()).unwrap();
        assert_sound(&doc);
        assert_ne!(doc.get_heads(), document().get_heads());
    }
}

#[test]
fn changes_that_would_break_the_document_are_refused() {
    let doc = document();
    let good = change(&doc);
    let named = Change {
        others: vec![vec![9]],
        ..good.clone()
    };
    let bad = [
        // A gap in an actor's changes, operations numbered too low or far too high.
        Change {
            seq: 5,
            ..good.clone()
        },
        Change {
            start_op: 4,
            ..good.clone()
        },
        Change {
            start_op: 4_000_000,
            ..good.clone()
        },
        Change {
            start_op: 6,
            columns: Vec::new(),
            ..good.clone()
        },
        // An actor that the document does not know.
        replacing(
            Change {
                others: vec![vec![5]],
                ..good.clone()
            },
            1,
            1,
        ),
        // Predecessors that are not there, or at another key or element.
        replacing(good.clone(), 0, 1),
        replacing(named.clone(), 1, 4),
        replacing(named.with(0x15, one(&prefixed(b"other"))), 1, 1),
        replacing(at(&doc, 1, 3, false), 1, 1),
        // Objects that are not there or no objects; a key in a list; an element in a map.
        good.clone().with(0x01, one(&[0])).with(0x02, one(&[3])),
        inside(&doc, 1),
        inside(&doc, 2),
        at(&doc, 1, 3, true).with(0x02, one(&[4])),
        // Elements that are not there, or not elements.
        at(&doc, 0, 3, true),
        at(&doc, 1, 1, true),
        at(&doc, 1, 4, false),
    ];
    for (index, change) in bad.iter().enumerate() {
        let mut after = doc.clone();
        let mut guard = Guard::default();
        match apply(&mut after, &mut guard, &change.bytes()) {
            Err(GuardError::Misfit(_)) => {}
            other => panic!("{index}: {other:?}"),
        }
        assert_eq!(after.save(), doc.save(), "{index}: nothing changes");
        assert_eq!(guard.waiting(), 0);
    }
}

#[test]
fn a_bad_change_that_waited_does_not_hold_up_others() {
    let before = document();
    let mut doc = before.clone();
    let mut guard = Guard::default();
    // An honest change that is still to come, and a bad and a good one that follow it.
    let honest = change(&doc).bytes();
    let hash = automerge::Change::from_bytes(honest.clone())
        .unwrap()
        .hash();
    let follower = |actor: u8, seq: u64| Change {
        deps: vec![hash.0],
        actor: vec![actor],
        seq,
        start_op: 6,
        ..Change::new()
    };
    apply(&mut doc, &mut guard, &follower(3, 7).bytes()).unwrap();
    apply(&mut doc, &mut guard, &follower(4, 1).bytes()).unwrap();
    apply(&mut doc, &mut guard, &follower(5, 2).bytes()).unwrap();
    assert_eq!(guard.waiting(), 3);
    assert_eq!(doc.get_heads(), before.get_heads());
    apply(&mut doc, &mut guard, &honest).unwrap();
    assert_eq!(guard.waiting(), 0);
    let applied = automerge::Change::from_bytes(follower(4, 1).bytes())
        .unwrap()
        .hash();
    assert_eq!(doc.get_heads(), [applied]);
    assert_sound(&doc);
}

#[test]
fn only_so_many_changes_may_wait() {
    let mut doc = document();
    let mut guard = Guard::new(Limits {
        waiting: 2,
        ..Limits::default()
    });
    for actor in 1..5u8 {
        let orphan = Change {
            deps: vec![[7; 32]],
            actor: vec![actor],
            ..Change::new()
        };
        let orphan = automerge::Change::from_bytes(orphan.bytes()).unwrap();
        let result = guard.apply(&mut doc, vec![orphan]);
        assert_eq!(result.is_ok(), actor < 3, "{result:?}");
    }
    assert_eq!(guard.waiting(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn honest_changes_fit_in_any_order(
        edits in edits(0..100),
        swaps in proptest::collection::vec((any::<Index>(), any::<Index>()), 0..20),
        group in 1..6usize,
    ) {
        let mut whole = play(&edits);
        let mut changes = whole.get_changes(&[]);
        for (left, right) in swaps {
            let len = changes.len();
            changes.swap(left.index(len), right.index(len));
        }
        let mut doc = Automerge::new();
        let mut guard = Guard::default();
        for group in changes.chunks(group) {
            guard.apply(&mut doc, group.to_vec()).unwrap();
        }
        prop_assert_eq!(guard.waiting(), 0);
        prop_assert_eq!(doc.get_heads(), whole.get_heads());
    }

    #[test]
    fn mutated_changes_are_refused_or_leave_a_document_that_loads(
        edits in edits(0..60),
        at in any::<Index>(),
        mutations in proptest::collection::vec(mutations(), 64),
    ) {
        let mut whole = play(&edits);
        let changes = whole.get_changes(&[]);
        let victim = at.index(changes.len());
        let mut doc = Automerge::new();
        doc.apply_changes(changes[..victim].to_vec()).unwrap();
        for mutations in &mutations {
            let bytes = crate::build::chunk(1, &mutate(content(changes[victim].raw_bytes()), mutations));
            if check_chunks(&bytes, &Limits::default()).is_err() {
                continue;
            }
            let change = automerge::Change::from_bytes(bytes).unwrap();
            let mut doc = doc.clone();
            if Guard::default().apply(&mut doc, vec![change]).is_ok() {
                assert_sound(&doc);
            }
        }
    }
}

//! What a subscriber is told.

use crate::replica::{NOTES, Replica, exchange, record, records};
use headwater_core::database::LARGE_BATCH;
use headwater_core::{CollectionSchema, Edit, Event, Observe, RecordChange, Value};

#[test]
fn events_tell_before_and_after_with_origin() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.put("k", &[("x", 1.into())]);
    a.patch("k", vec![("x", Edit::Set(2.into()))]).unwrap();
    let events = b.receive(&std::mem::take(&mut a.out));
    let records = records(&events);
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].before, None);
    assert_eq!(records[1].before, Some(record(&[("x", 1.into())])));
    assert_eq!(records[1].after, Some(record(&[("x", 2.into())])));
    let by = records[1].by.as_ref().unwrap();
    assert_eq!(by.provenance.origin.as_deref(), Some("test"));
    assert_eq!(by.actor, automerge::ActorId::from([1; 16]));
}

#[test]
fn local_writes_are_told_too() {
    let mut a = Replica::new(1);
    a.put("k", &[("x", 1.into())]);
    a.put("k", &[("x", 1.into())]);
    a.patch("k", vec![("x", Edit::Set(2.into()))]).unwrap();
    a.delete("k");
    let told: Vec<_> = records(&a.told)
        .iter()
        .map(|event| (event.change(), event.local, event.by.is_some()))
        .collect();
    let kinds = [
        RecordChange::Insert,
        RecordChange::Update,
        RecordChange::Delete,
    ];
    assert_eq!(told, kinds.map(|kind| (kind, true, true)));
}

/// A change that came before what it depends on shows itself when that comes, and is told then.
#[test]
fn a_change_that_waited_is_told_when_it_takes_effect() {
    for observe in [Observe::Changes, Observe::Batches] {
        let (mut a, mut b) = (Replica::single(1), Replica::single(2));
        b.db.observe(observe);
        a.put("k", &[("x", 1.into())]);
        a.put("other", &[("x", 1.into())]);
        exchange(&mut a, &mut b);
        a.patch("k", vec![("x", Edit::Set(2.into()))]).unwrap();
        a.patch("other", vec![("x", Edit::Set(2.into()))]).unwrap();
        a.patch("other", vec![("x", Edit::Set(3.into()))]).unwrap();
        let sent = std::mem::take(&mut a.out);
        assert!(records(&b.receive(&sent[1..2])).is_empty());
        // One more that has to wait comes together with the one that was missing.
        let events = b.receive(&[sent[2].clone(), sent[0].clone()]);
        let told = records(&events);
        assert_eq!(told.len(), 2, "{told:?}");
        for event in told {
            assert_eq!(event.before, Some(record(&[("x", 1.into())])));
            assert_eq!(event.after, b.get(&event.key));
            assert!(event.by.is_some());
        }
        assert_eq!(b.get("other"), Some(record(&[("x", 3.into())])));
    }
}

#[test]
fn changes_of_one_batch_are_told_in_whatever_order_they_come() {
    let (mut a, mut b) = (Replica::single(1), Replica::single(2));
    exchange(&mut a, &mut b);
    b.db.observe(Observe::Batches);
    a.put("k", &[("m", record(&[("x", 1.into())]).into())]);
    let inner = [("x".to_owned(), Edit::Set(2.into()))].into();
    a.patch("k", vec![("m", Edit::Merge(inner))]).unwrap();
    a.out.reverse();
    let events = b.receive(&std::mem::take(&mut a.out));
    let told = records(&events);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].after, a.get("k"));
}

/// More than [`LARGE_BATCH`] changes of a document that was empty are taken over as a whole.
#[test]
fn a_large_document_is_told_record_by_record() {
    let (mut a, mut b) = (Replica::single(1), Replica::new(2));
    b.declare(CollectionSchema::new().partitions(2));
    b.put("k0", &[("x", 1.into()), ("y", 1.into())]);
    b.put("mine", &[("x", 1.into())]);
    for n in 0..=LARGE_BATCH {
        a.put(&format!("k{}", n % 100), &[("x", (n as i64).into())]);
    }
    let partition = a.partition();
    let chunk = a.db.document(&partition).unwrap().save();
    let applied = b.db.apply(partition, &[&chunk]).unwrap();
    assert_eq!(applied.changes.len(), LARGE_BATCH + 2, "the genesis too");
    let told = records(&applied.events);
    assert_eq!(
        told.len(),
        100 - 1,
        "k0 is shown as before: its newer value is under the larger count"
    );
    assert!(
        told.iter()
            .all(|event| event.change() == RecordChange::Insert)
    );
    assert!(told.iter().all(|event| b.get(&event.key) == event.after));
    let collection = NOTES.to_owned();
    assert!(applied.events.contains(&Event::Catalog { collection }));
    assert_eq!(
        b.get("k0"),
        Some(record(&[("x", 1.into()), ("y", 1.into())]))
    );
}

#[test]
fn nothing_is_told_to_who_does_not_listen() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    b.db.observe(Observe::Nothing);
    a.put("k", &[("x", Value::Null)]);
    assert!(b.receive(&std::mem::take(&mut a.out)).is_empty());
    assert_eq!(b.get("k"), Some(record(&[("x", Value::Null)])));
}

//! A peer that edits a partition's document with automerge itself, as the JavaScript library does.

use crate::replica::{NOTES, Replica, record, records};
use automerge::transaction::Transactable as _;
use automerge::{ActorId, AutoCommit, ObjId, ObjType, ROOT, ReadDoc as _, ScalarValue};
use headwater_core::id::Placement;
use headwater_core::{Edit, Event, Scan, Value};

struct Stock {
    doc: AutoCommit,
}

impl Stock {
    /// A peer that has the partition of `replica`.
    fn of(replica: &Replica) -> Self {
        let bytes = replica.db.document(&replica.partition()).unwrap().save();
        let mut doc = AutoCommit::load(&bytes).unwrap();
        doc.set_actor(ActorId::from([200; 16]));
        Self { doc }
    }

    fn object(&self, path: &[&str]) -> ObjId {
        path.iter().fold(ROOT, |object, name| {
            self.doc
                .get(&object, *name)
                .unwrap()
                .expect("it is there")
                .1
        })
    }

    fn record(&self, key: &str) -> ObjId {
        self.object(&["records", &bucket(key), key])
    }

    fn send(&mut self, replica: &mut Replica) -> Vec<Event> {
        let changes = self.doc.get_changes(&[]);
        let chunks: Vec<&[u8]> = changes.iter().map(|change| change.raw_bytes()).collect();
        replica
            .db
            .apply(replica.partition(), &chunks)
            .unwrap()
            .events
    }
}

fn bucket(key: &str) -> String {
    format!("{:02x}", Placement::of(key).bucket())
}

#[test]
fn strings_that_are_text_objects_are_read_and_edited_as_texts() {
    let mut a = Replica::single(1);
    a.put("k", &[("title", "old".into()), ("n", 1.into())]);
    let mut stock = Stock::of(&a);
    let record_object = stock.record("k");
    let title = stock
        .doc
        .put_object(&record_object, "title", ObjType::Text)
        .unwrap();
    stock.doc.splice_text(&title, 0, 0, "the cat").unwrap();
    let events = stock.send(&mut a);
    assert_eq!(records(&events).len(), 1);
    assert_eq!(a.get("k").unwrap()["title"], Value::Text("the cat".into()));
    // A plain string is an edit of the text: what the other writes meanwhile stays.
    a.put("k", &[("title", "the black cat".into()), ("n", 1.into())]);
    stock.doc.splice_text(&title, 7, 0, " sat").unwrap();
    stock.send(&mut a);
    assert_eq!(
        a.get("k").unwrap()["title"],
        Value::Text("the black cat sat".into())
    );
}

#[test]
fn counters_of_automerge_are_counters() {
    let mut a = Replica::single(1);
    a.put("k", &[]);
    let mut stock = Stock::of(&a);
    let object = stock.record("k");
    stock
        .doc
        .put(&object, "n", ScalarValue::counter(5))
        .unwrap();
    stock.send(&mut a);
    a.patch("k", vec![("n", Edit::Increment(2))]).unwrap();
    stock.doc.increment(&object, "n", 10).unwrap();
    stock.send(&mut a);
    assert_eq!(a.get("k").unwrap()["n"], Value::Counter(17));
    // A plain number is an increment by the difference.
    a.put("k", &[("n", 20.into())]);
    stock.doc.increment(&object, "n", 1).unwrap();
    stock.send(&mut a);
    assert_eq!(a.get("k").unwrap()["n"], Value::Counter(21));
}

#[test]
fn a_record_that_is_removed_from_its_bucket_is_deleted() {
    let mut a = Replica::single(1);
    a.put("k", &[("x", 1.into())]);
    let mut stock = Stock::of(&a);
    let records_object = stock.object(&["records", &bucket("k")]);
    stock.doc.delete(&records_object, "k").unwrap();
    let events = stock.send(&mut a);
    assert_eq!(records(&events)[0].after, None);
    assert_eq!(a.get("k"), None);
    a.put("k", &[("y", 2.into())]);
    assert_eq!(a.get("k"), Some(record(&[("y", 2.into())])));
}

/// What is not a record where its key belongs is no one's: it is not shown, counted or told.
#[test]
fn what_is_in_the_wrong_place_is_not_a_record() {
    let mut a = Replica::single(1);
    a.put("k", &[("x", 1.into())]);
    let json = a.db.to_json();
    let mut stock = Stock::of(&a);
    let wrong = format!("{:02x}", (Placement::of("stray").bucket() + 1) % 64);
    let bucket_object = stock.object(&["records", &wrong]);
    let stray = stock
        .doc
        .put_object(&bucket_object, "stray", ObjType::Map)
        .unwrap();
    stock.doc.put(&stray, "x", 1).unwrap();
    let right = stock.object(&["records", &bucket("scalar")]);
    stock.doc.put(&right, "scalar", 1).unwrap();
    stock.doc.put(ROOT, "rubbish", 1).unwrap();
    // The names above the buckets can be written over; the records stay.
    stock.doc.put(ROOT, "records", "gone").unwrap();
    stock.doc.put(ROOT, "headwater", "gone").unwrap();
    assert!(records(&stock.send(&mut a)).is_empty());
    assert_eq!(a.get("stray"), None);
    assert_eq!(a.get("scalar"), None);
    assert_eq!(a.db.scan(NOTES, &Scan::default()).len(), 1);
    assert_eq!(a.db.to_json(), json);
    a.put("k", &[("x", 2.into())]);
    a.put("scalar", &[("x", 3.into())]);
    assert_eq!(a.get("scalar"), Some(record(&[("x", 3.into())])));
}

/// A peer must not be able to exhaust our stack.
#[test]
fn what_is_nested_without_end_is_cut_off() {
    const LEVELS: usize = 100_000;
    let mut a = Replica::single(1);
    a.put("k", &[("x", 1.into())]);
    let mut stock = Stock::of(&a);
    let mut object = stock.record("k");
    for _ in 0..LEVELS {
        object = stock.doc.put_object(&object, "m", ObjType::Map).unwrap();
    }
    let told = stock.send(&mut a);
    assert_eq!(records(&told).len(), 1);
    stock.doc.put(&object, "deepest", 1).unwrap();
    // Nobody sees what changed down there.
    assert!(records(&stock.send(&mut a)).is_empty());
    let mut value = Value::Map(a.get("k").unwrap());
    let mut levels = 0;
    while let Value::Map(mut map) = value {
        value = map.remove("m").unwrap_or(Value::Null);
        levels += 1;
    }
    assert_eq!(levels, headwater_core::value::MAX_DEPTH + 1);
    assert!(a.db.to_json().len() < 1_000);
    a.delete("k");
    a.put("k", &[("x", 2.into())]);
    assert_eq!(a.get("k"), Some(record(&[("x", 2.into())])));
}

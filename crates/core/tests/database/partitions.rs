//! Peers that declared one collection with different partition counts while they were apart.

use crate::replica::{NOTES, Replica, exchange, record};
use headwater_core::{CollectionSchema, Edit, Scan, Value};

fn apart() -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.declare(CollectionSchema::new().partitions(2));
    b.declare(CollectionSchema::new().partitions(5));
    (a, b)
}

#[test]
fn nothing_vanishes_whatever_the_counts() {
    let (mut a, mut b) = apart();
    for n in 0..20 {
        a.put(&format!("a{n}"), &[("n", n.into())]);
        b.put(&format!("b{n}"), &[("n", n.into())]);
        a.put(
            &format!("both{n}"),
            &[("left", n.into()), ("f", "a".into())],
        );
        b.put(
            &format!("both{n}"),
            &[("right", n.into()), ("f", "b".into())],
        );
    }
    exchange(&mut a, &mut b);
    let declared = &a.db.collections()[NOTES].partitions;
    assert_eq!(declared.iter().copied().collect::<Vec<_>>(), [2, 5]);
    assert_eq!(a.db.scan(NOTES, &Scan::default()).len(), 60);
    for n in 0..20 {
        assert_eq!(a.get(&format!("a{n}")), Some(record(&[("n", n.into())])));
        // The document of the larger count is preferred.
        let merged = record(&[("left", n.into()), ("right", n.into()), ("f", "b".into())]);
        assert_eq!(a.get(&format!("both{n}")), Some(merged));
    }
}

#[test]
fn writes_reach_across_the_counts() {
    let (mut a, mut b) = apart();
    a.put(
        "k",
        &[
            ("x", 1.into()),
            ("y", 1.into()),
            ("m", record(&[("p", 1.into())]).into()),
        ],
    );
    exchange(&mut a, &mut b);
    // The record is in the document of the smaller count; new values go to the larger one's and hide the old.
    b.patch("k", vec![("x", Edit::Set(2.into()))]).unwrap();
    let inner = [("q".to_owned(), Edit::Set(2.into()))].into();
    b.patch("k", vec![("m", Edit::Merge(inner))]).unwrap();
    exchange(&mut a, &mut b);
    let m = record(&[("p", 1.into()), ("q", 2.into())]);
    let expected = record(&[("x", 2.into()), ("y", 1.into()), ("m", m.into())]);
    assert_eq!(a.get("k"), Some(expected));
    a.patch("k", vec![("x", Edit::Remove)]).unwrap();
    a.put("k", &[("y", 3.into())]);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), Some(record(&[("y", 3.into())])));
    a.delete("k");
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), None);
    b.put("k", &[("z", 4.into())]);
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k"), Some(record(&[("z", 4.into())])));
}

#[test]
fn an_edit_under_one_count_survives_a_delete_under_another() {
    let (mut a, mut b) = apart();
    a.put("k", &[("x", 1.into())]);
    exchange(&mut a, &mut b);
    a.delete("k");
    b.patch("k", vec![("y", Edit::Set(2.into()))]).unwrap();
    exchange(&mut a, &mut b);
    let expected = record(&[("x", 1.into()), ("y", 2.into())]);
    assert_eq!(a.get("k"), Some(expected));
}

#[test]
fn counters_are_exact_across_counts() {
    let (mut a, mut b) = apart();
    a.put("k", &[("n", Value::Counter(10))]);
    b.put("k", &[("n", Value::Counter(5))]);
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k").unwrap()["n"], Value::Counter(15));
    a.patch("k", vec![("n", Edit::Increment(1))]).unwrap();
    b.patch("k", vec![("n", Edit::Increment(2))]).unwrap();
    exchange(&mut a, &mut b);
    // A plain number sets the sum.
    a.put("k", &[("n", 20.into())]);
    b.patch("k", vec![("n", Edit::Increment(3))]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k").unwrap()["n"], Value::Counter(23));
}

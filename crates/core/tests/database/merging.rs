//! Two replicas that edit apart from each other, and what they see once they have each other's changes.

use crate::replica::{Replica, exchange, record};
use headwater_core::{Edit, Record, Scan, Value};

#[test]
fn two_creations_of_one_key_merge_field_by_field() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.put("k", &[("left", 1.into()), ("both", "a".into())]);
    b.put("k", &[("right", 2.into()), ("both", "b".into())]);
    exchange(&mut a, &mut b);
    let merged = a.get("k").unwrap();
    assert_eq!(merged["left"], 1.into());
    assert_eq!(merged["right"], 2.into());
    assert_eq!(merged["both"], "b".into());
    // A later write that saw both settles it, and nothing stale comes back when the field goes.
    a.patch("k", vec![("both", Edit::Set("c".into()))]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k").unwrap()["both"], "c".into());
    b.patch("k", vec![("both", Edit::Remove)]).unwrap();
    exchange(&mut a, &mut b);
    assert!(!a.get("k").unwrap().contains_key("both"));
}

#[test]
fn counters_add_up_also_when_both_sides_created_them() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.put("k", &[("n", Value::Counter(10))]);
    b.put("k", &[("n", Value::Counter(5))]);
    b.patch("k", vec![("n", Edit::Increment(2))]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k").unwrap()["n"], Value::Counter(17));
    a.patch("k", vec![("n", Edit::Increment(1))]).unwrap();
    b.patch("k", vec![("n", Edit::Increment(-4))]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k").unwrap()["n"], Value::Counter(14));
}

#[test]
fn texts_merge_by_character_and_keep_their_kind() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.put("k", &[("t", Value::Text("the cat".into()))]);
    exchange(&mut a, &mut b);
    a.put("k", &[("t", "the black cat".into())]);
    let insert = " sat".to_owned();
    b.patch(
        "k",
        vec![(
            "t",
            Edit::Splice {
                at: 7,
                delete: 0,
                insert,
            },
        )],
    )
    .unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(
        a.get("k").unwrap()["t"],
        Value::Text("the black cat sat".into())
    );
}

#[test]
fn an_edit_that_did_not_see_the_delete_survives_it() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.put("k", &[("x", 1.into()), ("y", 2.into())]);
    a.put("gone", &[("x", 1.into())]);
    exchange(&mut a, &mut b);
    a.delete("k");
    a.delete("gone");
    assert_eq!(a.get("k"), None);
    b.patch("k", vec![("x", Edit::Set(9.into()))]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(
        a.get("k"),
        Some(record(&[("x", 9.into()), ("y", 2.into())]))
    );
    assert_eq!(b.get("gone"), None);
    // Deleting it again, now having seen the edit, deletes it.
    b.delete("k");
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k"), None);
    a.put("k", &[("z", 3.into())]);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), Some(record(&[("z", 3.into())])));
}

#[test]
fn put_replaces_and_says_what_it_did() {
    let mut a = Replica::new(1);
    let first = a.put("k", &[("x", 1.into()), ("y", 2.into())]);
    assert_eq!((first.inserted, first.updated), (1, 0));
    let again = a.put("k", &[("x", 1.into()), ("y", 2.into())]);
    assert_eq!((again.unchanged, again.updated), (1, 0));
    a.put("k", &[("x", Value::Null)]);
    assert_eq!(a.get("k"), Some(record(&[("x", Value::Null)])));
    a.put("empty", &[]);
    assert_eq!(a.get("empty"), Some(Record::new()));
    assert_eq!(a.db.scan("notes", &Scan::default()).len(), 2);
}

/// A write over a conflict takes the losers away too, or what they hold inside would merge into it.
#[test]
fn a_new_value_does_not_merge_with_the_losers_of_a_conflict() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    let inner = |name: &str| Value::Map(record(&[(name, 1.into())]));
    a.put("k", &[("m", inner("stale")), ("n", Value::Counter(5))]);
    b.put("k", &[("m", 1.into()), ("n", "none".into())]);
    exchange(&mut a, &mut b);
    assert_eq!(
        a.get("k"),
        Some(record(&[("m", 1.into()), ("n", "none".into())]))
    );
    let fields = [("m", inner("new")), ("n", Value::Counter(1))];
    a.put("k", &fields);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), Some(record(&fields)));
}

#[test]
fn a_map_that_is_set_over_a_counter_stays_a_map_when_it_is_empty() {
    let map = || Value::Map(record(&[("x", 1.into())]));
    let counter = || Value::Counter(5);
    for (of_a, of_b) in [(counter(), map()), (map(), counter())] {
        let (mut a, mut b) = (Replica::single(1), Replica::single(2));
        a.put("k", &[("f", of_a)]);
        b.put("k", &[("f", of_b)]);
        exchange(&mut a, &mut b);
        assert_eq!(a.value("k", "f"), map());
        a.set("k", "f", Value::Map(record(&[])));
        exchange(&mut a, &mut b);
        assert_eq!(b.value("k", "f"), Value::Map(record(&[])));
    }
}

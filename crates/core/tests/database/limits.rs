//! Writes that are refused, each with an error that says why, and names that need care.

use crate::replica::{NOTES, Replica, exchange, record};
use headwater_core::json::record_to_json;
use headwater_core::value::MAX_DEPTH;
use headwater_core::{
    CollectionSchema, Edit, MAX_KEY_BYTES, MAX_RECORD_BYTES, Operation, Value, Write, WriteContext,
    WriteError,
};

fn nested(depth: usize) -> Value {
    (0..depth).fold(1.into(), |value, _| Value::List(vec![value]))
}

#[test]
fn what_cannot_be_written_is_refused_and_changes_nothing() {
    let mut a = Replica::new(1);
    a.put(
        "k",
        &[
            ("t", Value::Text("abc".into())),
            ("l", Value::List(vec![])),
            ("s", "s".into()),
        ],
    );
    a.put(
        "k",
        &[
            ("t", "abc".into()),
            ("s", "s".into()),
            ("n", Value::Counter(i64::MAX)),
        ],
    );
    let (heads, json) = (a.db.heads(), a.db.to_json());
    let long = "x".repeat(MAX_KEY_BYTES + 1);
    let large = Value::String("x".repeat(MAX_RECORD_BYTES));
    let deep: Edit = (0..MAX_DEPTH).fold(Edit::Set(nested(1)), |edit, _| {
        Edit::Merge([("m".to_owned(), edit)].into())
    });
    let splice = |at, delete| Edit::Splice {
        at,
        delete,
        insert: String::new(),
    };
    let refusals = [
        (a.try_put("", &[]), "a key has 1 to 1024"),
        (a.try_put(&long, &[]), "a key has 1 to 1024"),
        (a.try_put("k", &[("x", large)]), "Split it"),
        (
            a.try_put("new", &[("x", Value::Text("x".repeat(1_000_000)))]),
            "keep long texts as strings",
        ),
        (
            a.try_put("k", &[("t", Value::String("x".repeat(1_000_002)))]),
            "keep long texts as strings",
        ),
        (
            a.try_put("k", &[("x", nested(MAX_DEPTH + 1))]),
            "flatten the record",
        ),
        (a.patch("k", vec![("m", deep)]), "flatten the record"),
        (a.patch("none", vec![]), "use put to create it"),
        (a.patch("k", vec![("t", splice(2, 2))]), "beyond its end"),
        (
            a.patch("k", vec![("t", splice(usize::MAX, 2))]),
            "beyond its end",
        ),
        (a.patch("k", vec![("s", splice(0, 0))]), "declare its type"),
        (
            a.patch("k", vec![("s", Edit::Increment(1))]),
            "declare its type",
        ),
        (a.patch("k", vec![("n", Edit::Increment(1))]), "64-bit"),
        (
            a.write(Operation::Declare(CollectionSchema::new().partitions(0))),
            "1 to 4096",
        ),
        (
            a.write(Operation::Declare(CollectionSchema::new().partitions(4097))),
            "1 to 4096",
        ),
    ];
    for (refused, reason) in refusals {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    // A patch is all or nothing.
    let edits = vec![("a", Edit::Set(1.into())), ("s", Edit::Increment(1))];
    assert!(a.patch("k", edits).is_err());
    assert_eq!((a.db.heads(), a.db.to_json()), (heads, json));
}

#[test]
fn a_collection_has_a_usable_name() {
    let mut a = Replica::new(1);
    for name in ["", "a\nb", &"x".repeat(201)] {
        let write = Write {
            collection: name.to_owned(),
            operation: Operation::Put([("k".to_owned(), record(&[]))].into()),
            context: WriteContext::default(),
        };
        let error = a.db.write(write).unwrap_err();
        assert!(
            matches!(error, WriteError::CollectionName { .. }),
            "{error}"
        );
    }
    assert!(a.db.collections().is_empty());
}

#[test]
fn a_counter_stays_in_range_whoever_created_its_parts() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.put("k", &[("n", Value::Counter(-9))]);
    b.put("k", &[("n", Value::Counter(i64::MAX - 1))]);
    exchange(&mut a, &mut b);
    // The sum has room for 5, and the part that b created has not.
    a.patch("k", vec![("n", Edit::Increment(5))]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k").unwrap()["n"], Value::Counter(i64::MAX - 5));
}

#[test]
fn what_is_as_deep_as_allowed_is_read_back_whole() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    let fields = [("x", nested(MAX_DEPTH))];
    a.put("k", &fields);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), Some(record(&fields)));
    let json = record_to_json(&record(&fields));
    assert_eq!(
        headwater_core::json::record_from_str(&json),
        Ok(record(&fields))
    );
}

#[test]
fn any_field_name_can_be_used() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    let names = [
        "",
        "$",
        "$$",
        "$$$x",
        "$deleted",
        "$counter:00",
        "$bytes",
        "a\u{0}b",
        "é",
    ];
    let fields: Vec<(&str, Value)> = names.iter().map(|name| (*name, 1.into())).collect();
    let mut all = record(&fields);
    all.insert("inner".into(), record(&fields).into());
    let records = [("$deleted".to_owned(), all.clone())].into();
    a.write(Operation::Put(records)).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.get("$deleted"), Some(all.clone()));
    for name in names {
        b.patch("$deleted", vec![(name, Edit::Set(2.into()))])
            .unwrap();
        let inner = [(name.to_owned(), Edit::Remove)].into();
        b.patch("$deleted", vec![("inner", Edit::Merge(inner))])
            .unwrap();
    }
    exchange(&mut a, &mut b);
    let mut expected = record(&names.map(|name| (name, 2.into())));
    expected.insert("inner".into(), record(&[]).into());
    assert_eq!(a.db.get(NOTES, "$deleted"), Some(expected));
}

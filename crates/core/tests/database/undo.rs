//! Taking back a write, and nothing that anyone did since.

use crate::replica::{NOTES, Replica, exchange, pair, record};
use automerge::ChangeHash;
use headwater_core::{CollectionSchema, Edit, Operation, Policy, Value, WriteError, Written};

fn undo(replica: &mut Replica, written: Written) -> Written {
    replica.write(Operation::Undo(written.changes)).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn ints(items: &[i64]) -> Value {
    Value::List(items.iter().map(|n| Value::Int(*n)).collect())
}

/// Both have one record with a field of each kind.
fn start() -> (Replica, Replica) {
    let (mut a, mut b) = pair(CollectionSchema::new().policy("tags", Policy::Union));
    let map = Value::Map(record(&[("x", 1.into()), ("y", 1.into())]));
    a.put(
        "k",
        &[
            ("title", "start".into()),
            ("gone", "here".into()),
            ("text", text("one two three")),
            ("list", ints(&[1, 2, 3])),
            ("n", Value::Counter(10)),
            ("m", map),
            ("tags", Value::List(vec!["red".into()])),
        ],
    );
    exchange(&mut a, &mut b);
    (a, b)
}

/// A patch of every kind of field.
fn edit_everything(a: &mut Replica) -> Written {
    let inner = [
        ("x".to_owned(), Edit::Set(2.into())),
        ("z".to_owned(), Edit::Set(2.into())),
    ];
    let edits = vec![
        ("title", Edit::Set("a's".into())),
        ("new", Edit::Set("a's".into())),
        ("gone", Edit::Remove),
        (
            "text",
            Edit::Splice {
                at: 4,
                delete: 4,
                insert: "2 ".into(),
            },
        ),
        (
            "list",
            Edit::SpliceList {
                at: 1,
                delete: 1,
                insert: vec![20.into(), 21.into()],
            },
        ),
        ("n", Edit::Increment(5)),
        ("m", Edit::Merge(inner.into())),
        ("tags", Edit::Set(Value::List(vec!["blue".into()]))),
    ];
    a.patch("k", edits).unwrap()
}

#[test]
fn an_undone_patch_leaves_every_field_as_it_was() {
    let (mut a, mut b) = start();
    let before = a.get("k");
    let patch = edit_everything(&mut a);
    assert_ne!(a.get("k"), before);
    undo(&mut a, patch);
    assert_eq!(a.get("k"), before);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), before);
    assert_eq!(b.open(), []);
}

#[test]
fn what_others_did_since_stays() {
    let (mut a, mut b) = start();
    let patch = edit_everything(&mut a);
    exchange(&mut a, &mut b);
    let splice = Edit::Splice {
        at: 0,
        delete: 0,
        insert: "b: ".into(),
    };
    let edits = vec![
        ("title", Edit::Set("b's".into())),
        ("text", splice),
        (
            "list",
            Edit::SpliceList {
                at: 0,
                delete: 0,
                insert: vec![0.into()],
            },
        ),
        ("n", Edit::Increment(100)),
        (
            "m",
            Edit::Merge([("y".to_owned(), Edit::Set(3.into()))].into()),
        ),
        ("tags", Edit::Add(vec!["black".into()])),
    ];
    b.patch("k", edits).unwrap();
    exchange(&mut a, &mut b);
    undo(&mut a, patch);
    exchange(&mut a, &mut b);
    let map = Value::Map(record(&[("x", 1.into()), ("y", 3.into())]));
    let expected = [
        ("title", "b's".into()),
        ("gone", "here".into()),
        ("text", text("b: one two three")),
        ("list", ints(&[0, 1, 2, 3])),
        ("n", Value::Counter(110)),
        ("m", map),
        ("tags", Value::List(vec!["black".into(), "red".into()])),
    ];
    assert_eq!(b.get("k"), Some(record(&expected)));
}

#[test]
fn of_two_concurrent_writes_the_others_remains() {
    for undone_by_first in [true, false] {
        let (mut a, mut b) = start();
        let set = |value: &str| vec![("title", Edit::Set(value.into()))];
        let of_a = a.patch("k", set("a's")).unwrap();
        let of_b = b.patch("k", set("b's")).unwrap();
        exchange(&mut a, &mut b);
        let (left, undone) = if undone_by_first {
            ("b's", of_a)
        } else {
            ("a's", of_b)
        };
        undo(&mut a, undone);
        exchange(&mut a, &mut b);
        assert_eq!((b.value("k", "title"), b.open()), (left.into(), vec![]));
    }
}

#[test]
fn an_undone_creation_deletes_the_record_unless_others_wrote_in_it() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    let put = a.put("k", &[("x", 1.into())]);
    exchange(&mut a, &mut b);
    undo(&mut a, put);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), None);

    let (mut a, mut b) = pair(CollectionSchema::new());
    let put = a.put("k", &[("x", 1.into())]);
    exchange(&mut a, &mut b);
    b.set("k", "y", 2);
    exchange(&mut a, &mut b);
    undo(&mut a, put);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), Some(record(&[("y", 2.into())])));
}

#[test]
fn an_undone_delete_brings_the_record_back_unless_another_deleted_it_too() {
    let (mut a, mut b) = start();
    let before = a.get("k");
    let delete = a.write(Operation::Delete("k".into())).unwrap();
    exchange(&mut a, &mut b);
    undo(&mut a, delete);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), before);

    let delete = a.write(Operation::Delete("k".into())).unwrap();
    b.delete("k");
    exchange(&mut a, &mut b);
    undo(&mut a, delete);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), None);
}

#[test]
fn an_undo_can_be_undone() {
    let (mut a, mut b) = start();
    let patch = edit_everything(&mut a);
    let after = a.get("k");
    exchange(&mut a, &mut b);
    let back = undo(&mut a, patch);
    exchange(&mut a, &mut b);
    undo(&mut b, back);
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k"), after);
}

#[test]
fn a_change_of_elsewhere_is_refused() {
    let (mut a, mut b) = start();
    let unknown = vec![(a.partition(), ChangeHash([9; 32]))];
    let error = a.write(Operation::Undo(unknown)).unwrap_err();
    assert!(matches!(error, WriteError::NothingToUndo { .. }), "{error}");
    let root = vec![(a.db.id().root(), a.db.heads()[&a.db.id().root()][0])];
    let error = a.write(Operation::Undo(root)).unwrap_err();
    assert!(matches!(error, WriteError::NothingToUndo { .. }), "{error}");
    exchange(&mut a, &mut b);
    assert_eq!(a.db.keys(NOTES).len(), 1);
}

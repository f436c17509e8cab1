//! Taking back a write, and nothing that anyone did since.

use crate::replica::{ID, NOTES, Replica, exchange, pair, record};
use automerge::transaction::CommitOptions;
use automerge::{ActorId, ChangeHash, ReadDoc as _};
use headwater_core::{
    Author, CollectionSchema, Database, Edit, Operation, Policy, Settlement, Value, Write,
    WriteContext, WriteError, Written,
};

pub(super) fn undo(replica: &mut Replica, written: Written) -> Written {
    try_undo(replica, &written).unwrap()
}

fn try_undo(replica: &mut Replica, written: &Written) -> Result<Written, WriteError> {
    let changes = written.changes.iter().copied().collect();
    replica.write(Operation::Undo(changes))
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(super) fn ints(items: &[i64]) -> Value {
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
        let by = if undone_by_first { &mut a } else { &mut b };
        undo(by, undone);
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

    let (mut a, mut b) = pair(CollectionSchema::new());
    let map = Value::Map(record(&[("x", 1.into())]));
    let put = a.put("k", &[("m", map)]);
    exchange(&mut a, &mut b);
    let inner = [("y".to_owned(), Edit::Set(2.into()))];
    b.patch("k", vec![("m", Edit::Merge(inner.into()))])
        .unwrap();
    exchange(&mut a, &mut b);
    undo(&mut a, put);
    exchange(&mut a, &mut b);
    let left = Value::Map(record(&[("y", 2.into())]));
    assert_eq!(b.get("k"), Some(record(&[("m", left)])));
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
    undo(&mut a, back);
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k"), after);
}

#[test]
fn what_is_undone_already_stays_as_it_is() {
    let (mut a, mut b) = start();
    let before = a.get("k");
    let patch = edit_everything(&mut a);
    undo(&mut a, patch.clone());
    let heads = a.db.heads();
    let again = undo(&mut a, patch);
    assert_eq!((again.unchanged, again.updated), (1, 0));
    assert_eq!(again.changes, []);
    assert_eq!((a.get("k"), a.db.heads()), (before, heads));
    exchange(&mut a, &mut b);
}

#[test]
fn what_was_done_again_is_undone_again() {
    let (mut a, mut b) = start();
    let before = a.get("k");
    let patch = edit_everything(&mut a);
    let after = a.get("k");
    let back = undo(&mut a, patch.clone());
    for _ in 0..2 {
        undo(&mut a, back.clone());
        assert_eq!(a.get("k"), after);
        assert_eq!(undo(&mut a, back.clone()).unchanged, 1);
        undo(&mut a, patch.clone());
        assert_eq!(a.get("k"), before);
        assert_eq!(undo(&mut a, patch.clone()).unchanged, 1);
    }
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), before);
}

#[test]
fn a_creation_and_a_delete_are_undone_again() {
    let (mut a, _) = pair(CollectionSchema::new());
    let put = a.put("k", &[("x", 1.into())]);
    let record = a.get("k");
    let back = undo(&mut a, put.clone());
    undo(&mut a, back);
    assert_eq!(a.get("k"), record);
    undo(&mut a, put);
    assert_eq!(a.get("k"), None);

    let (mut a, _) = start();
    let record = a.get("k");
    let delete = a.write(Operation::Delete("k".into())).unwrap();
    let back = undo(&mut a, delete.clone());
    undo(&mut a, back);
    assert_eq!(a.get("k"), None);
    undo(&mut a, delete);
    assert_eq!(a.get("k"), record);
}

#[test]
fn of_two_edits_of_a_field_each_is_undone_alone() {
    let set = |value: &str| {
        vec![
            ("title", Edit::Set(value.into())),
            ("n", Edit::Increment(1)),
        ]
    };
    let (mut a, _) = start();
    let first = a.patch("k", set("first")).unwrap();
    let second = a.patch("k", set("second")).unwrap();
    undo(&mut a, first.clone());
    let now = |a: &Replica| (a.value("k", "title"), a.value("k", "n"));
    assert_eq!(now(&a), ("second".into(), Value::Counter(11)));
    undo(&mut a, second);
    assert_eq!(now(&a), ("first".into(), Value::Counter(10)));
    assert_eq!(undo(&mut a, first).unchanged, 1);
}

#[test]
fn an_undone_edit_that_settled_its_field_takes_back_what_it_edited() {
    let map = |x: i64| Value::Map(record(&[("x", x.into())]));
    let kinds = [
        (text("one"), text("two"), text("and more")),
        (ints(&[1]), ints(&[2]), ints(&[3, 4])),
        (1.into(), Value::Counter(2), Value::Int(7)),
        (1.into(), map(2), map(3)),
    ];
    for (of_a, of_b, set) in kinds {
        let (mut a, mut b) = pair(CollectionSchema::new().partitions(1));
        // The second is the later write.
        a.put("k", &[("f", of_a)]);
        b.put("k", &[("other", 1.into())]);
        b.set("k", "f", of_b.clone());
        exchange(&mut a, &mut b);
        assert_eq!((a.value("k", "f"), a.open().len()), (of_b.clone(), 1));
        let before = a.get("k");
        let edit = a.patch("k", vec![("f", Edit::Set(set))]).unwrap();
        assert_ne!(a.get("k"), before);
        assert_eq!(a.open(), []);
        let back = undo(&mut a, edit.clone());
        assert_eq!(a.get("k"), before);
        undo(&mut a, back);
        undo(&mut a, edit);
        exchange(&mut a, &mut b);
        assert_eq!(b.get("k"), before);
    }
}

#[test]
fn an_undone_settlement_leaves_what_others_did_in_what_it_kept() {
    let map = |fields: &[(&str, Value)]| Value::Map(record(fields));
    let splice = |insert: &str| Edit::Splice {
        at: 3,
        delete: 0,
        insert: insert.into(),
    };
    let items = Edit::SpliceList {
        at: 1,
        delete: 0,
        insert: vec![3.into()],
    };
    let field = Edit::Merge([("y".to_owned(), Edit::Set(3.into()))].into());
    let kinds = [
        (text("two"), splice(", three"), text("two, three")),
        (ints(&[2]), items, ints(&[2, 3])),
        (Value::Counter(2), Edit::Increment(1), Value::Counter(3)),
        (
            map(&[("x", 2.into())]),
            field,
            map(&[("x", 2.into()), ("y", 3.into())]),
        ),
    ];
    for (kept, edit, left) in kinds {
        let (mut a, mut b) = start();
        a.set("k", "f", "lost");
        // The second is the later write.
        b.set("k", "title", "b's");
        b.set("k", "f", kept.clone());
        exchange(&mut a, &mut b);
        assert_eq!((a.value("k", "f"), a.open().len()), (kept, 1));
        let accept = Operation::Settle("k".into(), vec!["f".into()], Settlement::Accept);
        let accepted = a.write(accept).unwrap();
        exchange(&mut a, &mut b);
        b.patch("k", vec![("f", edit)]).unwrap();
        exchange(&mut a, &mut b);
        undo(&mut a, accepted);
        exchange(&mut a, &mut b);
        assert_eq!((b.value("k", "f"), b.open()), (left, vec![]));
    }
}

#[test]
fn a_redone_delete_leaves_a_record_that_others_have_written_in() {
    let (mut a, mut b) = start();
    let delete = a.write(Operation::Delete("k".into())).unwrap();
    exchange(&mut a, &mut b);
    let revival = undo(&mut a, delete);
    exchange(&mut a, &mut b);
    b.set("k", "title", "b's");
    exchange(&mut a, &mut b);
    let before = a.get("k");
    undo(&mut a, revival);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), before);
}

#[test]
fn a_store_that_was_opened_again_undoes_what_it_did_before() {
    let (mut a, _) = start();
    let before = a.get("k");
    let patch = edit_everything(&mut a);
    let reopen = |a: &mut Replica, session: u8| {
        let mut actor = [1; 16];
        actor[8..].fill(session);
        let stored = a.documents().into_iter();
        let stored = stored.map(|(document, bytes)| (document, vec![bytes]));
        let restored = Database::restore(ID, ActorId::from(actor), stored);
        a.db = restored.unwrap().0;
    };
    reopen(&mut a, 50);
    undo(&mut a, patch.clone());
    assert_eq!(a.get("k"), before);
    reopen(&mut a, 51);
    assert_eq!(undo(&mut a, patch).unchanged, 1);
    assert_eq!(a.get("k"), before);
}

#[test]
fn another_authors_change_is_refused() {
    let (mut a, mut b) = start();
    let patch = edit_everything(&mut a);
    exchange(&mut a, &mut b);
    let after = b.get("k");
    let Err(WriteError::NotTheAuthor { author, .. }) = try_undo(&mut b, &patch) else {
        panic!("b undid what a did");
    };
    assert_eq!(author, Author::Store(vec![1; 8]));
    assert_eq!(b.get("k"), after);

    // A user is the author on any device.
    let write = |replica: &mut Replica, user: &str, operation: Operation| {
        let context = WriteContext {
            user: Some(user.into()),
            ..WriteContext::default()
        };
        let collection = NOTES.to_owned();
        let local = replica.db.write(Write {
            collection,
            operation,
            context,
        })?;
        let sent = local.changes.iter();
        let sent = sent.map(|(document, change)| (*document, change.raw_bytes().to_vec()));
        replica.out.extend(sent);
        Ok::<_, WriteError>(local.written)
    };
    let patch = [("title".to_owned(), Edit::Set("ann's".into()))].into();
    let of_ann = write(&mut a, "ann", Operation::Patch("k".into(), patch)).unwrap();
    exchange(&mut a, &mut b);
    let undone = Operation::Undo(of_ann.changes.iter().copied().collect());
    let refused = write(&mut a, "bob", undone.clone()).unwrap_err();
    assert!(
        refused.to_string().contains("the user \"ann\""),
        "{refused}"
    );
    write(&mut b, "ann", undone).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "title"), "a's".into());
}

#[test]
fn what_others_did_inside_of_an_undone_value_stays() {
    let (mut a, mut b) = pair(CollectionSchema::new().policy("tags", Policy::Union));
    a.put("k", &[("x", 1.into())]);
    exchange(&mut a, &mut b);
    let map = Value::Map(record(&[("x", 1.into())]));
    let created = vec![
        ("n", Edit::Increment(5)),
        ("m", Edit::Set(map)),
        ("text", Edit::Set(text("ab"))),
        ("tags", Edit::Add(vec!["red".into(), "blue".into()])),
    ];
    let created = a.patch("k", created).unwrap();
    exchange(&mut a, &mut b);
    let splice = Edit::Splice {
        at: 1,
        delete: 0,
        insert: "-".into(),
    };
    let edits = vec![
        ("n", Edit::Increment(100)),
        (
            "m",
            Edit::Merge([("y".to_owned(), Edit::Set(2.into()))].into()),
        ),
        ("text", splice),
        ("tags", Edit::Add(vec!["red".into(), "black".into()])),
    ];
    b.patch("k", edits).unwrap();
    exchange(&mut a, &mut b);
    undo(&mut a, created);
    exchange(&mut a, &mut b);
    let expected = [
        ("x", 1.into()),
        ("n", Value::Counter(100)),
        ("m", Value::Map(record(&[("y", 2.into())]))),
        ("text", text("-")),
        ("tags", Value::List(vec!["black".into(), "red".into()])),
    ];
    assert_eq!(b.get("k"), Some(record(&expected)));
}

#[test]
fn an_undone_reset_shows_again_what_the_policy_chose() {
    let schema = CollectionSchema::new().policy("best", Policy::Max);
    let (mut a, mut b) = pair(schema.policy("all", Policy::KeepAll));
    a.put("k", &[("best", 1.into()), ("all", 1.into())]);
    exchange(&mut a, &mut b);
    for (replica, best) in [(&mut a, 9), (&mut b, 5)] {
        let edits = vec![
            ("best", Edit::Set(best.into())),
            ("all", Edit::Set(best.into())),
        ];
        replica.patch("k", edits).unwrap();
    }
    exchange(&mut a, &mut b);
    let before = b.get("k");
    let edits = vec![
        ("best", Edit::Reset(2.into())),
        ("all", Edit::Set(2.into())),
    ];
    let reset = a.patch("k", edits).unwrap();
    undo(&mut a, reset);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), before);
}

#[test]
fn a_write_is_undone_as_a_whole_when_its_record_has_moved() {
    let (mut a, mut b) = start();
    let before = a.get("k");
    let patch = edit_everything(&mut a);
    let after = a.get("k");
    a.declare(CollectionSchema::new().partitions(7));
    exchange(&mut a, &mut b);
    let back = undo(&mut a, patch.clone());
    assert_eq!(a.get("k"), before);
    undo(&mut a, back);
    assert_eq!(a.get("k"), after);
    a.set("k", "other", 1);
    undo(&mut a, patch);
    a.patch("k", vec![("other", Edit::Remove)]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), before);
}

#[test]
fn a_change_of_elsewhere_is_refused() {
    let (mut a, mut b) = start();
    let unknown = [(a.partition(), ChangeHash([9; 32]))].into();
    let error = a.write(Operation::Undo(unknown)).unwrap_err();
    assert!(matches!(error, WriteError::NothingToUndo { .. }), "{error}");
    let root = [(a.db.id().root(), a.db.heads()[&a.db.id().root()][0])].into();
    let error = a.write(Operation::Undo(root)).unwrap_err();
    assert!(matches!(error, WriteError::NothingToUndo { .. }), "{error}");
    exchange(&mut a, &mut b);
    assert_eq!(a.db.keys(NOTES).len(), 1);
}

/// Anyone can send a change that says it takes another one back.
#[test]
fn a_false_claim_to_undo_anothers_change_takes_nothing_back() {
    let (mut a, mut b) = start();
    let before = a.get("k");
    let patch = edit_everything(&mut a);
    let after = a.get("k");
    exchange(&mut a, &mut b);

    let document = a.partition();
    let mut forged = b.db.document(&document).unwrap().clone();
    forged.set_actor(ActorId::from([3; 16]));
    let message = format!("{{\"at\":1,\"undoes\":\"{}\"}}", patch.changes[0].1);
    let claim = CommitOptions::default().with_message(message);
    let hash = forged.empty_commit(claim);
    let forged = forged.get_change_by_hash(&hash).unwrap();
    let forged = [(document, forged.raw_bytes().to_vec())];
    a.receive(&forged);
    b.receive(&forged);

    assert_eq!(a.get("k"), after);
    assert_eq!(undo(&mut a, patch).updated, 1);
    assert_eq!(a.get("k"), before);
    exchange(&mut a, &mut b);
}

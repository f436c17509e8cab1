//! What lost is listed, told and settled.

use crate::replica::{Replica, exchange, pair, record, records};
use headwater_core::{
    CollectionSchema, Conflict, ConflictKind, DeleteRule, Edit, Event, MAX_RECORD_BYTES, Operation,
    Policy, Settlement, Value, WriteError,
};

/// Two that set `title` apart from each other; B's write has the higher op id.
fn contested() -> (Replica, Replica) {
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("title", "start".into()), ("other", 1.into())]);
    exchange(&mut a, &mut b);
    a.set("k", "title", "a's");
    b.set("k", "title", "b's");
    exchange(&mut a, &mut b);
    (a, b)
}

fn only(replica: &Replica) -> Conflict {
    let open = replica.open();
    assert_eq!(open.len(), 1, "{open:#?}");
    open.into_iter().next().unwrap()
}

fn loser(conflict: &Conflict) -> (&Option<Value>, Settlement) {
    let [loser] = conflict.losers.as_slice() else {
        panic!("one loser: {conflict:#?}")
    };
    (&loser.value, Settlement::Keep(loser.id.clone()))
}

#[test]
fn the_value_that_lost_is_listed_with_who_wrote_it_and_when() {
    let (a, b) = contested();
    let conflict = only(&a);
    assert_eq!(
        (conflict.collection.as_str(), conflict.key.as_str()),
        ("notes", "k")
    );
    assert_eq!(conflict.field, ["title"]);
    assert_eq!(conflict.kind, ConflictKind::Values);
    assert_eq!(conflict.policy, "last-writer");
    assert_eq!(conflict.shown, Some("b's".into()));
    assert!(conflict.resolved);
    let winner = conflict.winner.as_ref().unwrap();
    assert_eq!(winner.value, Some("b's".into()));
    assert_eq!(winner.by.as_ref().unwrap().actor, *b.db.actor());
    let loser = &conflict.losers[0];
    assert_eq!(loser.value, Some("a's".into()));
    let by = loser.by.as_ref().unwrap();
    assert_eq!(by.actor, *a.db.actor());
    assert_eq!(by.provenance.origin.as_deref(), Some("test"));
    assert_eq!(by.provenance.at, 1_000);
    assert_eq!(a.db.conflicts_of("notes", "k"), [conflict]);
    assert_eq!(a.db.conflicts_of("notes", "absent"), []);
}

#[test]
fn keeping_the_loser_shows_it_everywhere_and_closes_the_conflict() {
    let (mut a, mut b) = contested();
    let conflict = only(&b);
    let (value, keep) = loser(&conflict);
    assert_eq!(*value, Some("a's".into()));
    b.settle("k", &["title"], keep.clone()).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "title"), "a's".into());
    assert_eq!(a.value("k", "other"), 1.into());
    assert_eq!(a.open(), []);
    // Whoever comes late is told.
    let late = a.settle("k", &["title"], keep).unwrap_err();
    assert!(matches!(late, WriteError::NothingToSettle { .. }), "{late}");
}

#[test]
fn accepting_changes_nothing_that_is_shown_and_another_value_can_be_written() {
    let (mut a, mut b) = contested();
    a.settle("k", &["title"], Settlement::Accept).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!((b.value("k", "title"), b.open()), ("b's".into(), vec![]));

    let (mut a, mut b) = contested();
    let both = Settlement::Write("a's and b's".into());
    a.settle("k", &["title"], both).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(
        (b.value("k", "title"), b.open()),
        ("a's and b's".into(), vec![])
    );
}

#[test]
fn an_edit_that_the_settler_had_not_seen_stays_in_the_ledger() {
    let (mut a, mut b) = contested();
    a.settle("k", &["title"], Settlement::Write("settled".into()))
        .unwrap();
    b.set("k", "title", "later");
    exchange(&mut a, &mut b);
    let conflict = only(&a);
    let values: Vec<_> = conflict.losers.iter().chain(&conflict.winner).collect();
    assert_eq!(values.len(), 2);
    assert!(
        values
            .iter()
            .any(|claim| claim.value == Some("later".into()))
    );
}

#[test]
fn the_same_value_from_two_is_no_conflict() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("title", "start".into())]);
    exchange(&mut a, &mut b);
    a.set("k", "title", "same");
    b.set("k", "title", "same");
    exchange(&mut a, &mut b);
    assert_eq!(a.open(), []);
}

#[test]
fn a_subscriber_hears_of_what_lost_even_if_the_record_shows_the_same() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("title", "start".into())]);
    exchange(&mut a, &mut b);
    a.set("k", "title", "a's");
    b.set("k", "title", "b's");
    let from_a = std::mem::take(&mut a.out);
    let events = b.receive(&from_a);
    assert_eq!(
        records(&events),
        Vec::<&_>::new(),
        "B shows its own value as before"
    );
    let [Event::Conflicts(event)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((event.key.as_str(), event.open.len()), ("k", 1));
    b.settle("k", &["title"], Settlement::Accept).unwrap();
    let Some(Event::Conflicts(event)) = b.told.last() else {
        panic!("{:?}", b.told)
    };
    assert_eq!(event.open, []);
}

#[test]
fn what_two_created_under_one_key_loses_only_what_cannot_be_merged() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    let text = |text: &str| Value::Text(text.into());
    a.put(
        "k",
        &[
            ("notes", text("from a")),
            ("a", 1.into()),
            ("n", Value::Counter(2)),
        ],
    );
    b.put(
        "k",
        &[
            ("notes", text("from b")),
            ("b", 2.into()),
            ("n", Value::Counter(3)),
        ],
    );
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "n"), Value::Counter(5));
    let conflict = only(&a);
    assert_eq!(conflict.field, ["notes"]);
    let (value, _) = loser(&conflict);
    assert_eq!(*value, Some(text("from a")));
    // The text that stays is the same text: what is typed into it meanwhile is merged.
    a.settle("k", &["notes"], Settlement::Accept).unwrap();
    let splice = Edit::Splice {
        at: 6,
        delete: 0,
        insert: "!".into(),
    };
    b.patch("k", vec![("notes", splice)]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!((a.value("k", "notes"), a.open()), (text("from b!"), vec![]));
}

#[test]
fn conflicts_inside_nested_maps_have_a_path_and_are_settled_there() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    let map = |fields: &[(&str, Value)]| Value::Map(record(fields));
    a.put(
        "k",
        &[(
            "m",
            map(&[("in", map(&[("x", 0.into()), ("y", 0.into())]))]),
        )],
    );
    exchange(&mut a, &mut b);
    let edit = |value: i64| {
        let inner = Edit::Merge([("x".to_owned(), Edit::Set(value.into()))].into());
        vec![("m", Edit::Merge([("in".to_owned(), inner)].into()))]
    };
    a.patch("k", edit(1)).unwrap();
    b.patch("k", edit(2)).unwrap();
    exchange(&mut a, &mut b);
    let conflict = only(&a);
    assert_eq!(conflict.field, ["m", "in", "x"]);
    let (_, keep) = loser(&conflict);
    a.settle("k", &["m", "in", "x"], keep).unwrap();
    exchange(&mut a, &mut b);
    let settled = map(&[("in", map(&[("x", 1.into()), ("y", 0.into())]))]);
    assert_eq!((b.value("k", "m"), b.open()), (settled, vec![]));
}

#[test]
fn values_of_different_kinds_meet_as_whole_values() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("f", 0.into())]);
    exchange(&mut a, &mut b);
    a.set("k", "f", Value::Map(record(&[("x", 1.into())])));
    b.set("k", "f", "text");
    exchange(&mut a, &mut b);
    let conflict = only(&a);
    let (_, keep) = loser(&conflict);
    a.settle("k", &["f"], keep).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(
        (b.value("k", "f"), b.open()),
        (Value::Map(record(&[("x", 1.into())])), vec![])
    );
}

/// A deletes the record, and B, not knowing of it, edits it.
fn deleted_and_edited(rule: DeleteRule) -> (Replica, Replica) {
    let (mut a, mut b) = pair(CollectionSchema::new().delete(rule));
    a.put("k", &[("title", "start".into()), ("n", 1.into())]);
    exchange(&mut a, &mut b);
    a.delete("k");
    b.set("k", "title", "edited");
    exchange(&mut a, &mut b);
    (a, b)
}

#[test]
fn an_edit_that_lost_to_a_delete_is_listed_and_can_be_brought_back() {
    let (mut a, mut b) = deleted_and_edited(DeleteRule::DeleteWins);
    assert_eq!(a.get("k"), None);
    let conflict = only(&a);
    assert_eq!(
        (conflict.kind, conflict.policy.as_str()),
        (ConflictKind::EditLost, "delete-wins")
    );
    assert_eq!((conflict.field.len(), &conflict.shown), (0, &None));
    assert_eq!(
        conflict.winner.as_ref().unwrap().by.as_ref().unwrap().actor,
        *a.db.actor()
    );
    let edited = record(&[("n", 1.into()), ("title", "edited".into())]);
    let (value, keep) = loser(&conflict);
    assert_eq!(*value, Some(Value::Map(edited.clone())));
    assert_eq!(conflict.losers[0].by.as_ref().unwrap().actor, *b.db.actor());
    a.settle("k", &[], keep).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!((b.get("k"), b.open()), (Some(edited), vec![]));

    let (mut a, mut b) = deleted_and_edited(DeleteRule::DeleteWins);
    a.settle("k", &[], Settlement::Accept).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!((b.get("k"), b.open()), (None, vec![]));
}

#[test]
fn a_delete_that_lost_to_an_edit_is_listed_and_can_be_carried_out() {
    let (mut a, mut b) = deleted_and_edited(DeleteRule::EditWins);
    assert_eq!(a.value("k", "title"), "edited".into());
    let conflict = only(&b);
    assert_eq!(
        (conflict.kind, conflict.policy.as_str()),
        (ConflictKind::DeleteLost, "edit-wins")
    );
    let (value, keep) = loser(&conflict);
    assert_eq!(*value, None);
    b.settle("k", &[], keep).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!((a.get("k"), a.open()), (None, vec![]));

    let (mut a, mut b) = deleted_and_edited(DeleteRule::EditWins);
    a.settle("k", &[], Settlement::Accept).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!((b.value("k", "title"), b.open()), ("edited".into(), vec![]));
}

#[test]
fn who_wrote_each_field_is_known() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    let map = Value::Map(record(&[("x", 1.into())]));
    let text = Value::Text("abc".into());
    a.put(
        "k",
        &[
            ("title", 1.into()),
            ("m", map),
            ("t", text),
            ("n", Value::Counter(1)),
        ],
    );
    exchange(&mut a, &mut b);
    b.set("k", "title", 2);
    let splice = Edit::Splice {
        at: 3,
        delete: 0,
        insert: "d".into(),
    };
    b.patch("k", vec![("t", splice)]).unwrap();
    exchange(&mut a, &mut b);
    let writers: Vec<(String, bool)> =
        a.db.provenance("notes", "k")
            .into_iter()
            .map(|(path, by)| (path.join("."), by.actor == *b.db.actor()))
            .collect();
    let expected = [("m.x", false), ("n", false), ("t", true), ("title", true)];
    assert_eq!(
        writers,
        expected.map(|(path, by_b)| (path.to_owned(), by_b))
    );
    assert!(a.db.provenance("notes", "absent").is_empty());
}

#[test]
fn a_record_that_was_deleted_by_someone_who_saw_everything_is_no_conflict() {
    for rule in [DeleteRule::EditWins, DeleteRule::DeleteWins] {
        let (mut a, mut b) = pair(CollectionSchema::new().delete(rule));
        a.put("k", &[("title", "start".into())]);
        exchange(&mut a, &mut b);
        a.delete("k");
        exchange(&mut a, &mut b);
        assert_eq!(a.open(), []);
        let error = a.settle("k", &[], Settlement::Accept).unwrap_err();
        assert!(
            matches!(error, WriteError::NothingToSettle { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_settlement_that_waited_for_an_earlier_change_is_told_when_that_arrives() {
    let (mut a, mut b) = contested();
    let mut c = Replica::new(3);
    c.receive(&a.documents());
    assert_eq!(c.open().len(), 1);
    // The settlement depends on a change of another record, which arrives after it and sets it free.
    a.put("elsewhere", &[("x", 1.into())]);
    let first = std::mem::take(&mut a.out);
    a.settle("k", &["title"], Settlement::Accept).unwrap();
    let second = std::mem::take(&mut a.out);
    assert_eq!(c.receive(&second), []);
    let events = c.receive(&first);
    assert_eq!(c.open(), []);
    let told = events.iter().any(|event| {
        matches!(event, Event::Conflicts(event) if event.key == "k" && event.open.is_empty())
    });
    assert!(told, "{events:#?}");
    b.receive(&first);
    b.receive(&second);
    assert_eq!(b.open(), []);
}

#[test]
fn the_writer_of_a_field_is_the_one_whose_value_its_policy_chose() {
    let (mut a, mut b) = pair(CollectionSchema::new().policy("f", Policy::Min));
    a.put("k", &[("f", 9.into())]);
    exchange(&mut a, &mut b);
    a.set("k", "f", 5);
    b.patch(
        "k",
        vec![("f", Edit::Reset(Value::Map(record(&[("x", 1.into())]))))],
    )
    .unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "f"), 5.into());
    let writers = b.db.provenance("notes", "k");
    let paths: Vec<String> = writers.keys().map(|path| path.join(".")).collect();
    assert_eq!(paths, ["f"], "not a field of the map that lost");
    assert_eq!(writers[&vec!["f".to_owned()]].actor, *a.db.actor());
}

/// Maps that lost to something else are listed one by one, so one can be kept without the other.
#[test]
fn a_map_that_is_kept_is_not_merged_with_another_that_lost_too() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    let mut c = Replica::new(3);
    a.put("k", &[("f", 0.into())]);
    exchange(&mut a, &mut b);
    c.receive(&a.documents());
    let map = |n: i64| Value::Map(record(&[("x", n.into())]));
    a.set("k", "f", map(1));
    b.set("k", "f", map(2));
    c.put("k", &[("f", 3.into()), ("later", 1.into())]);
    c.set("k", "f", 4);
    exchange(&mut a, &mut b);
    a.receive(&c.out);
    let conflict = only(&a);
    assert_eq!(
        (conflict.losers.len(), &conflict.shown),
        (2, &Some(4.into()))
    );
    let first = &conflict.losers[0];
    assert_eq!(first.value, Some(map(1)));
    a.settle("k", &["f"], Settlement::Keep(first.id.clone()))
        .unwrap();
    assert_eq!((a.value("k", "f"), a.open()), (map(1), vec![]));
}

#[test]
fn a_copy_of_a_collection_has_its_deleted_records_and_its_conflicts() {
    let (mut a, mut b) = contested();
    a.put("gone", &[("n", 1.into())]);
    a.delete("gone");
    a.put("plain", &[("n", 1.into())]);
    exchange(&mut a, &mut b);
    let standings = b.db.standings("notes");
    let keys: Vec<_> = standings.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["gone", "k", "plain"]);
    for one in standings {
        assert_eq!(one.record, b.get(&one.key), "{}", one.key);
        assert_eq!(one.conflicts, b.db.conflicts_of("notes", &one.key));
        assert_eq!(one.conflicts.len(), usize::from(one.key == "k"));
    }
}

#[test]
fn the_path_of_a_field_is_a_text_that_no_other_has() {
    let (a, _) = contested();
    let mut conflict = only(&a);
    let mut path = |names: &[&str]| {
        conflict.field = names.iter().map(|name| (*name).to_owned()).collect();
        conflict.path()
    };
    assert_eq!(path(&[]), "");
    assert_eq!(path(&["title"]), "title");
    assert_eq!(path(&["m", "in x"]), "m.in x");
    assert_eq!(path(&["m.in"]), r#""m.in""#);
    assert_eq!(path(&[""]), r#""""#);
    assert_eq!(path(&["a\"b", "c\nd"]), r#""a\"b"."c\nd""#);
}

/// A record stands against a delete by one edit alone, which loses to a value that the deleter had seen.
#[test]
fn settling_a_field_of_a_record_that_met_a_delete_does_not_delete_it() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("title", "start".into())]);
    exchange(&mut a, &mut b);
    b.set("k", "title", "b's");
    a.set("k", "title", "a's");
    a.delete("k");
    exchange(&mut a, &mut b);
    let open = a.open();
    let values = open.iter().find(|one| !one.field.is_empty()).unwrap();
    let mut claims = values.losers.iter().chain(&values.winner);
    let seen = claims.find(|claim| claim.value == Some("a's".into()));
    let keep = Settlement::Keep(seen.unwrap().id.clone());
    a.settle("k", &["title"], keep).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!((b.value("k", "title"), b.open()), ("a's".into(), vec![]));
}

/// Everything of one kind that can be edited in place, as A and B write it apart from each other, and a later value.
fn kinds() -> [[Value; 3]; 4] {
    let text = |text: &str| Value::Text(text.into());
    let list = |n: i64| Value::List(vec![0.into(), n.into()]);
    let map = |n: i64| Value::Map(record(&[("x", n.into())]));
    [
        [text("a's"), text("b's"), "later".into()],
        [list(1), list(2), list(3)],
        ["a's".into(), map(2), map(3)],
        ["a's".into(), Value::Counter(2), 3.into()],
    ]
}

#[test]
fn a_later_set_settles_what_lost_to_a_text_a_list_a_map_or_a_counter() {
    for [first, second, later] in kinds() {
        let (mut a, mut b) = pair(CollectionSchema::new());
        a.put("k", &[("f", Value::Null)]);
        exchange(&mut a, &mut b);
        a.set("k", "f", first);
        b.set("k", "f", second.clone());
        exchange(&mut a, &mut b);
        assert_eq!(a.value("k", "f"), second, "{:#?}", a.open());
        only(&a);
        a.set("k", "f", later.clone());
        exchange(&mut a, &mut b);
        let shown = match (second, later) {
            (Value::Text(_), Value::String(text)) => Value::Text(text),
            (Value::Counter(_), Value::Int(n)) => Value::Counter(n),
            (_, later) => later,
        };
        assert_eq!((b.value("k", "f"), b.open()), (shown, vec![]));
    }
}

/// Two create the record, so that what is shown stands alone in its map and can stay what it is.
#[test]
fn what_stays_when_a_later_set_settles_it_still_merges_with_what_others_do_in_it() {
    let text = |text: &str| Value::Text(text.into());
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("t", text("from a"))]);
    b.put("k", &[("t", text("from b"))]);
    exchange(&mut a, &mut b);
    let splice = Edit::Splice {
        at: 0,
        delete: 0,
        insert: "still ".into(),
    };
    b.patch("k", vec![("t", splice)]).unwrap();
    a.set("k", "t", "from both");
    exchange(&mut a, &mut b);
    let shown = a.value("k", "t");
    assert!(
        shown.as_str().unwrap().starts_with("still from b"),
        "{shown:?}"
    );
    assert_eq!(a.open(), []);
}

#[test]
fn a_writer_that_knows_some_fields_keeps_the_others_when_it_settles_a_map() {
    #[derive(serde::Deserialize)]
    struct Inner {
        #[allow(dead_code)]
        x: i64,
    }
    #[derive(serde::Deserialize)]
    struct Outer {
        #[allow(dead_code)]
        f: Inner,
    }
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("f", Value::Null)]);
    exchange(&mut a, &mut b);
    a.set("k", "f", "a's");
    let map = |n: i64| Value::Map(record(&[("x", n.into()), ("unknown", 7.into())]));
    b.set("k", "f", map(1));
    exchange(&mut a, &mut b);
    let known = headwater_core::typed::Known::of::<Outer>();
    let new = record(&[("f", Value::Map(record(&[("x", 2.into())])))]);
    let put = Operation::PutKnown([("k".into(), new)].into(), known.into());
    a.write(put).unwrap();
    assert_eq!((a.value("k", "f"), a.open()), (map(2), vec![]));
}

#[test]
fn accepting_all_of_several_values_is_refused_if_together_they_are_too_large() {
    let (mut a, mut b) = pair(CollectionSchema::new().policy("f", Policy::KeepAll));
    a.put("k", &[("f", 0.into())]);
    exchange(&mut a, &mut b);
    let large = |c: &str| c.repeat(MAX_RECORD_BYTES * 2 / 3);
    a.set("k", "f", large("a"));
    b.set("k", "f", large("b"));
    exchange(&mut a, &mut b);
    let (shown, heads) = (a.get("k"), a.db.heads());
    let error = a.settle("k", &["f"], Settlement::Accept).unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { .. }), "{error}");
    assert_eq!((a.get("k"), a.db.heads()), (shown, heads));
    a.settle("k", &["f"], Settlement::Write("short".into()))
        .unwrap();
}

/// A deletes the record; B and C, not knowing of it, edit the same field.
fn deleted_and_edited_twice() -> (Replica, Replica) {
    let (mut a, mut b) = pair(CollectionSchema::new().delete(DeleteRule::DeleteWins));
    let mut c = Replica::new(3);
    a.put("k", &[("title", "start".into()), ("n", 1.into())]);
    exchange(&mut a, &mut b);
    c.receive(&a.documents());
    a.delete("k");
    b.set("k", "title", "b's");
    c.set("k", "title", "c's");
    exchange(&mut a, &mut b);
    a.receive(&c.out);
    b.receive(&c.out);
    (a, b)
}

#[test]
fn both_of_two_edits_that_met_in_a_deleted_record_are_listed_and_either_can_be_brought_back() {
    let (mut a, mut b) = deleted_and_edited_twice();
    assert_eq!(a.get("k"), None);
    let [whole, field] = a.open().try_into().unwrap();
    let last = record(&[("n", 1.into()), ("title", "c's".into())]);
    assert_eq!(whole.losers[0].value, Some(Value::Map(last.clone())));
    assert_eq!(field.field, ["title"]);
    assert_eq!((field.kind, field.shown), (ConflictKind::EditLost, None));
    assert_eq!(field.losers[0].value, Some("b's".into()));
    let by = field.losers[0].by.as_ref().unwrap();
    assert_eq!(by.actor, *b.db.actor());
    let keep = Settlement::Keep(field.losers[0].id.clone());
    a.settle("k", &["title"], keep).unwrap();
    exchange(&mut a, &mut b);
    let kept = record(&[("n", 1.into()), ("title", "b's".into())]);
    assert_eq!((b.get("k"), b.open()), (Some(kept), vec![]));

    // Who accepts that it is gone settles all of it.
    for path in [&[][..], &["title"]] {
        let (mut a, mut b) = deleted_and_edited_twice();
        a.settle("k", path, Settlement::Accept).unwrap();
        exchange(&mut a, &mut b);
        assert_eq!((b.get("k"), b.open()), (None, vec![]));
    }
    // Brought back as a whole, it has the conflict of its field.
    let (mut a, mut b) = deleted_and_edited_twice();
    let keep = Settlement::Keep(a.open()[0].losers[0].id.clone());
    a.settle("k", &[], keep).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), Some(last));
    assert_eq!(only(&b).kind, ConflictKind::Values);
}

//! Taking back a write of a record that others created too, apart from its writer.

use crate::replica::{Replica, exchange, pair, record};
use crate::undo::{ints, undo};
use headwater_core::{CollectionSchema, DeleteRule, Edit, Policy, Value};

#[test]
fn of_two_who_created_a_counter_or_map_each_takes_back_their_own() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("x", 1.into())]);
    exchange(&mut a, &mut b);
    let create = |replica: &mut Replica, n: i64, name: &str| {
        let map = [(name.to_owned(), Edit::Set(n.into()))].into();
        let edits = vec![("n", Edit::Increment(n)), ("m", Edit::Merge(map))];
        replica.patch("k", edits).unwrap()
    };
    let of_a = create(&mut a, 5, "a");
    create(&mut b, 100, "b");
    exchange(&mut a, &mut b);
    let back = undo(&mut a, of_a);
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "n"), Value::Counter(100));
    assert_eq!(a.value("k", "m"), Value::Map(record(&[("b", 100.into())])));
    undo(&mut a, back);
    assert_eq!(a.value("k", "n"), Value::Counter(105));
}

#[test]
fn an_undone_creation_leaves_what_another_wrote_under_another_partition_count() {
    let (mut a, mut b) = (Replica::single(1), Replica::new(2));
    let theirs = b.put("k", &[("odd", 5.into())]);
    undo(&mut b, theirs);
    let ours = a.put("k", &[("last", 1.into())]);
    exchange(&mut a, &mut b);
    // The delete had not seen the creation, and so loses to it.
    let both = record(&[("last", 1.into()), ("odd", 5.into())]);
    assert_eq!(a.get("k"), Some(both));
    undo(&mut a, ours);
    assert_eq!(a.get("k"), Some(record(&[("odd", 5.into())])));
    exchange(&mut a, &mut b);
}

#[test]
fn an_undone_removal_leaves_what_another_wrote_under_another_partition_count() {
    let (mut a, mut b) = (Replica::single(1), Replica::new(2));
    b.put("k", &[("f", "b's".into())]);
    let removal = b.patch("k", vec![("f", Edit::Remove)]).unwrap();
    a.put("k", &[("f", "a's".into())]);
    exchange(&mut a, &mut b);
    assert_eq!(b.value("k", "f"), "a's".into());
    undo(&mut b, removal);
    exchange(&mut a, &mut b);
    // Of two documents the one of the larger count shows its value.
    assert_eq!(a.value("k", "f"), "b's".into());
    let open = a.open();
    let lost: Vec<_> = open.iter().flat_map(|one| &one.losers).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].value, Some("a's".into()));
}

#[test]
fn of_a_record_that_two_created_each_takes_back_their_own_again() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    b.put("k", &[("f", "b's".into())]);
    // The later write.
    a.put("k", &[("other", 1.into())]);
    let ours = a.patch("k", vec![("f", Edit::Set("a's".into()))]).unwrap();
    exchange(&mut a, &mut b);
    let open = a.open();
    assert_eq!((a.value("k", "f"), open.len()), ("a's".into(), 1));
    let back = undo(&mut a, ours);
    assert_eq!((a.value("k", "f"), a.open()), ("b's".into(), vec![]));
    undo(&mut a, back);
    exchange(&mut a, &mut b);
    assert_eq!(b.value("k", "f"), "a's".into());
    assert_eq!(b.open()[0].losers, open[0].losers);
}

#[test]
fn a_list_that_is_put_back_into_a_field_of_sets_is_a_list() {
    let (mut a, mut b) = (Replica::single(1), Replica::single(2));
    b.declare(CollectionSchema::new().policy("tags", Policy::Union));
    b.put("k", &[("tags", ints(&[2]))]);
    // The later write, by one who does not know that it is a set.
    a.put("k", &[("other", 1.into())]);
    a.set("k", "tags", ints(&[1]));
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "tags"), ints(&[1]));
    let set = a.patch("k", vec![("tags", Edit::Set(ints(&[3])))]).unwrap();
    undo(&mut a, set);
    exchange(&mut a, &mut b);
    assert_eq!(b.value("k", "tags"), ints(&[1]));
}

#[test]
fn a_creation_that_was_done_again_is_undone_again_beside_what_another_wrote_meanwhile() {
    use DeleteRule::{DeleteWins, EditWins};
    for (rule, by_redo) in [(EditWins, false), (DeleteWins, false), (DeleteWins, true)] {
        let (mut a, mut b) = pair(CollectionSchema::new().delete(rule));
        let ours = a.put("k", &[("ours", 1.into())]);
        exchange(&mut a, &mut b);
        let back = undo(&mut a, ours.clone());
        b.set("k", "theirs", 2);
        exchange(&mut a, &mut b);
        let again = undo(&mut a, back);
        let both = record(&[("ours", 1.into()), ("theirs", 2.into())]);
        assert_eq!(a.get("k"), Some(both), "{rule:?}");
        undo(&mut a, if by_redo { again } else { ours });
        exchange(&mut a, &mut b);
        assert_eq!(
            b.get("k"),
            Some(record(&[("theirs", 2.into())])),
            "{rule:?}"
        );
    }
}

#[test]
fn a_revival_is_undone_beside_what_was_written_under_another_partition_count_since() {
    let mut a = Replica::single(1);
    let put = a.put("k", &[("f", 1.into())]);
    let back = undo(&mut a, put);
    let again = undo(&mut a, back);
    a.declare(CollectionSchema::new().partitions(2));
    a.patch("k", vec![("since", Edit::Set(2.into()))]).unwrap();
    undo(&mut a, again);
    assert_eq!(a.get("k"), Some(record(&[("since", 2.into())])));
}

#[test]
fn an_undone_edit_shows_what_a_delete_had_lost_to_another_document() {
    let (mut a, mut b) = (Replica::single(1), Replica::new(2));
    b.put("k", &[("f", 1.into())]);
    b.delete("k");
    a.put("k", &[("other", 1.into())]);
    exchange(&mut a, &mut b);
    let before = b.get("k");
    assert_eq!(b.value("k", "f"), 1.into());
    let edit = b.patch("k", vec![("f", Edit::Set(2.into()))]).unwrap();
    undo(&mut b, edit);
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k"), before);
}

#[test]
fn of_a_revival_that_changed_nothing_nothing_is_taken_back() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    let ours = a.put("k", &[("ours", 1.into())]);
    exchange(&mut a, &mut b);
    let back = undo(&mut a, ours);
    b.set("k", "theirs", 2);
    exchange(&mut a, &mut b);
    let before = a.get("k");
    let again = undo(&mut a, back);
    undo(&mut a, again);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), before);
}

//! Several writes made together or not at all, each as of a version that its writer had read.

use crate::replica::{NOTES, Replica, exchange, pair, record};
use headwater_core::{
    CollectionSchema, Edit, KeyChange, KeyWrite, LocalWrite, Patch, Policy, Settlement,
    Transaction, Value, Version, WriteContext, WriteError,
};
use proptest::prelude::*;

fn write(key: &str, change: KeyChange, version: Option<&Version>) -> KeyWrite {
    KeyWrite {
        collection: NOTES.into(),
        key: key.into(),
        change,
        version: version.cloned(),
        unchanged: false,
    }
}

fn patch(edits: &[(&str, Edit)]) -> KeyChange {
    let named = edits.iter();
    KeyChange::Patch(
        named
            .map(|(name, edit)| ((*name).to_owned(), edit.clone()))
            .collect::<Patch>(),
    )
}

fn put(fields: &[(&str, Value)]) -> KeyChange {
    KeyChange::Put(record(fields))
}

fn transact(
    replica: &mut Replica,
    writes: Vec<KeyWrite>,
) -> Result<(LocalWrite, Vec<Version>), WriteError> {
    let done = replica.db.transact(&Transaction {
        writes,
        context: WriteContext::default(),
        request: Some("request 1".into()),
    })?;
    for (document, change) in &done.0.changes {
        replica.out.push((*document, change.raw_bytes().to_vec()));
    }
    Ok(done)
}

#[test]
fn what_is_written_as_of_a_version_and_what_came_since_are_concurrent() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("title", "start".into()), ("n", 1.into())]);
    let read = a.db.version_of(NOTES, "k");
    a.set("k", "title", "since");
    let title = [
        ("title", Edit::Set("as of".into())),
        ("note", Edit::Set(1.into())),
    ];
    transact(&mut a, vec![write("k", patch(&title), Some(&read))]).unwrap();
    exchange(&mut a, &mut b);

    assert_eq!(b.value("k", "note"), 1.into());
    let open = b.open();
    assert_eq!(open.len(), 1, "{open:#?}");
    let mut both = vec![open[0].losers[0].value.clone(), open[0].shown.clone()];
    both.sort_by_key(|value| format!("{value:?}"));
    assert_eq!(both, [Some("as of".into()), Some("since".into())]);
}

/// The one who writes as of a version does what a peer would that had nothing but that.
#[test]
fn a_write_as_of_a_version_merges_as_that_of_a_peer_that_had_seen_no_more() {
    let schema = CollectionSchema::new()
        .policy("best", Policy::Max)
        .policy("tags", Policy::Union);
    let (mut a, mut b) = pair(schema);
    let list = |items: &[i64]| Value::List(items.iter().map(|n| Value::Int(*n)).collect());
    a.put(
        "k",
        &[
            ("best", 1.into()),
            ("tags", list(&[1])),
            ("n", Value::Counter(1)),
            ("text", Value::Text("middle".into())),
        ],
    );
    exchange(&mut a, &mut b);
    let read = a.db.version_of(NOTES, "k");
    let insert = |at: usize, text: &str| Edit::Splice {
        at,
        delete: 0,
        insert: text.into(),
    };
    let since = vec![
        ("best", Edit::Set(7.into())),
        ("tags", Edit::Add(vec![2.into()])),
        ("n", Edit::Increment(10)),
        ("text", insert(6, " end")),
    ];
    a.patch("k", since.clone()).unwrap();
    let as_of = [
        ("best", Edit::Set(5.into())),
        ("tags", Edit::Discard(vec![1.into()])),
        ("n", Edit::Increment(100)),
        ("text", insert(0, "start ")),
    ];
    b.patch("k", as_of.to_vec()).unwrap();
    let mut apart = Replica::new(3);
    apart.receive(&a.documents());
    apart.receive(&b.documents());

    transact(&mut a, vec![write("k", patch(&as_of), Some(&read))]).unwrap();
    assert_eq!(a.get("k"), apart.get("k"));
    assert_eq!(a.value("k", "text"), Value::Text("start middle end".into()));
}

#[test]
fn of_writes_of_which_one_cannot_be_done_none_is() {
    let (mut a, _) = pair(CollectionSchema::new());
    a.put("k", &[("n", 1.into())]);
    let (heads, shown) = (a.db.heads(), a.db.to_json());
    let writes = vec![
        write("new", put(&[("n", 1.into())]), None),
        write("k", put(&[("n", 2.into())]), None),
        write("missing", patch(&[("n", Edit::Set(1.into()))]), None),
    ];
    let error = transact(&mut a, writes).unwrap_err();
    assert!(
        matches!(error, WriteError::OneOf { index: 2, .. }),
        "{error}"
    );
    assert_eq!((a.db.heads(), a.db.to_json()), (heads, shown));

    let twice = vec![write("k", KeyChange::Delete, None); 2];
    let error = transact(&mut a, twice).unwrap_err();
    assert!(error.to_string().contains("written twice"), "{error}");
}

#[test]
fn a_write_that_asks_for_it_fails_if_its_record_has_changed_and_only_then() {
    let (mut a, _) = pair(CollectionSchema::new());
    a.put("k", &[("n", 1.into())]);
    let read = a.db.version_of(NOTES, "k");
    let unchanged = |n: i64| KeyWrite {
        unchanged: true,
        ..write("k", put(&[("n", n.into())]), Some(&read))
    };
    // Another record of the same document.
    a.put("other", &[("n", 1.into())]);
    transact(&mut a, vec![unchanged(2)]).unwrap();
    assert_eq!(a.value("k", "n"), 2.into());
    let error = transact(&mut a, vec![unchanged(3)]).unwrap_err();
    assert!(
        error.to_string().contains("changed since the version"),
        "{error}"
    );
    assert_eq!(a.value("k", "n"), 2.into());

    // Without a version: that there is no such record.
    let create = |key: &str| KeyWrite {
        unchanged: true,
        ..write(key, put(&[("n", 9.into())]), None)
    };
    transact(&mut a, vec![create("fresh")]).unwrap();
    transact(&mut a, vec![create("fresh")]).unwrap_err();
}

#[test]
fn a_patch_can_leave_out_what_was_deleted_meanwhile() {
    let (mut a, _) = pair(CollectionSchema::new());
    a.put("k", &[("n", 1.into())]);
    a.put("gone", &[("n", 1.into())]);
    let read = a.db.version_of(NOTES, "gone");
    a.delete("gone");
    let if_there = |key, version| {
        let edit = Edit::Set(2.into());
        let patch = Patch::from([("n".to_owned(), edit)]);
        write(key, KeyChange::PatchIfThere(patch), version)
    };
    let writes = vec![if_there("gone", None), if_there("k", None)];
    let (local, _) = transact(&mut a, writes).unwrap();
    assert_eq!((local.written.updated, local.written.unchanged), (1, 1));
    assert_eq!((a.get("gone"), a.value("k", "n")), (None, 2.into()));
    // As of when it was there it meets the delete, which the ledger tells.
    transact(&mut a, vec![if_there("gone", Some(&read))]).unwrap();
    assert_eq!(a.open().len(), 1);
}

/// A third one wrote the same, and that arrives after the conflict of the first two was read.
fn met_late() -> (Replica, Vec<Value>, Version) {
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("title", "start".into())]);
    exchange(&mut a, &mut b);
    let mut late = Replica::new(3);
    late.receive(&a.documents());
    a.set("k", "title", "of a");
    b.set("k", "title", "of b");
    late.set("k", "title", "late");
    exchange(&mut a, &mut b);
    let open = a.open();
    let shown = open[0].shown.clone().unwrap();
    let lost = open[0].losers[0].value.clone().unwrap();
    let read = a.db.version_of(NOTES, "k");
    a.receive(&late.out);
    (a, vec![shown, lost], read)
}

#[test]
fn a_settlement_as_of_a_version_leaves_open_what_it_has_not_seen() {
    for keep_the_loser in [false, true] {
        let (mut a, mut values, read) = met_late();
        let path = vec!["title".to_owned()];
        let how = match keep_the_loser {
            false => Settlement::Accept,
            true => {
                values.reverse();
                Settlement::Write(values[0].clone())
            }
        };
        let settle = KeyChange::Settle(path, how);
        transact(&mut a, vec![write("k", settle, Some(&read))]).unwrap();
        let open = a.open();
        assert_eq!(open.len(), 1, "{open:#?}");
        let losers = open[0].losers.iter().map(|loser| loser.value.clone());
        let mut standing: Vec<_> = losers.chain([open[0].shown.clone()]).flatten().collect();
        standing.sort_by_key(|value| format!("{value:?}"));
        let mut wanted = vec![values[0].clone(), "late".into()];
        wanted.sort_by_key(|value| format!("{value:?}"));
        assert_eq!(standing, wanted);
    }
}

#[test]
fn a_settlement_that_asks_for_it_fails_if_more_was_written() {
    let (mut a, _, read) = met_late();
    let settle = |version: Version| KeyWrite {
        unchanged: true,
        ..write(
            "k",
            KeyChange::Settle(vec!["title".into()], Settlement::Accept),
            Some(&version),
        )
    };
    let error = transact(&mut a, vec![settle(read)]).unwrap_err();
    assert!(error.to_string().contains("changed since"), "{error}");
    assert_eq!(a.open()[0].losers.len(), 2);
    let now = a.db.version_of(NOTES, "k");
    transact(&mut a, vec![settle(now)]).unwrap();
    assert_eq!(a.open(), []);
}

#[test]
fn the_version_after_a_write_has_seen_it() {
    let (mut a, _) = pair(CollectionSchema::new());
    a.put("k", &[("n", 1.into())]);
    let read = a.db.version_of(NOTES, "k");
    a.set("k", "n", 2);
    // It has seen its own write, and not the one that it did not read.
    let (_, versions) = transact(
        &mut a,
        vec![write("k", put(&[("n", 3.into())]), Some(&read))],
    )
    .unwrap();
    transact(
        &mut a,
        vec![write("k", put(&[("n", 4.into())]), Some(&versions[0]))],
    )
    .unwrap();
    let open = a.open();
    let mut values = vec![open[0].shown.clone(), open[0].losers[0].value.clone()];
    values.sort_by_key(|value| format!("{value:?}"));
    assert_eq!(values, [Some(2.into()), Some(4.into())]);
}

#[test]
fn what_a_request_made_is_found_by_its_name() {
    let (mut a, mut b) = pair(CollectionSchema::new());
    let before = a.db.heads();
    let (local, _) = transact(&mut a, vec![write("k", put(&[("n", 1.into())]), None)]).unwrap();
    a.set("k", "n", 2);
    exchange(&mut a, &mut b);
    let made = b.db.made_for("request 1", &before);
    let hashes: Vec<_> = made.values().flatten().copied().collect();
    assert_eq!(hashes, [local.written.changes[0].1]);
    assert!(b.db.made_for("request 2", &before).is_empty());
    assert!(b.db.made_for("request 1", &b.db.heads()).is_empty());
}

#[test]
fn a_version_of_elsewhere_is_refused() {
    let (mut a, _) = pair(CollectionSchema::new());
    let mut other = Replica::single(9);
    a.put("k", &[("n", 1.into())]);
    other.put("k", &[("n", 1.into())]);
    let theirs = other.db.version_of(NOTES, "k");
    let write = write("k", put(&[("n", 2.into())]), Some(&theirs));
    let error = transact(&mut a, vec![write]).unwrap_err();
    assert!(error.to_string().contains("never had"), "{error}");
    assert_eq!(a.value("k", "n"), 1.into());
}

#[test]
fn the_text_of_a_version_gives_it_back() {
    let (mut a, _) = pair(CollectionSchema::new());
    a.put("k", &[("n", 1.into())]);
    let version = a.db.version_of(NOTES, "k");
    assert_eq!(version.to_string().parse(), Ok(version));
}

proptest! {
    #[test]
    fn no_text_that_is_given_as_a_version_does_harm(text in "v?[A-Za-z0-9_-]{0,120}|\\PC{0,40}") {
        if let Ok(version) = text.parse::<Version>() {
            prop_assert_eq!(version.to_string().parse(), Ok(version.clone()));
            let (mut a, _) = pair(CollectionSchema::new());
            a.put("k", &[("n", 1.into())]);
            // It is refused, or has seen nothing of the record.
            let write = write("k", put(&[("n", 2.into())]), Some(&version));
            if transact(&mut a, vec![write]).is_err() {
                prop_assert_eq!(a.value("k", "n"), 1.into());
            }
        }
    }
}

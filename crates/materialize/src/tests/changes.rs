//! The change feed: what it tells, and that it tells everything once.

use super::*;
use crate::{ChangeEvent, Cursor};
use automerge::{ActorId, ChangeHash};
use headwater_core::{Attribution, Provenance, RecordChange};
use proptest::prelude::*;

fn by(n: u8) -> Attribution {
    Attribution {
        hash: ChangeHash([n; 32]),
        actor: ActorId::from([n; 2]),
        provenance: Provenance {
            origin: Some("field".into()),
            user: Some(format!("user {n}")),
            at: 1_000 + i64::from(n),
        },
    }
}

fn put_by(key: &str, value: i64, n: u8) -> RowChange {
    RowChange {
        by: Some(by(n)),
        ..put("t", key, record([("v", value.into())]))
    }
}

fn all(lake: &Lake) -> Vec<ChangeEvent> {
    lake.feed("t", None, usize::MAX).unwrap()
}

/// Rows that were there before the log began.
fn begun(root: &Path) -> Lake {
    let mut lake = open(root);
    lake.apply(put("t", "old", record([("v", 0.into())])));
    lake.publish().unwrap();
    lake
}

#[test]
fn inserts_updates_and_deletes_are_told_with_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = begun(dir.path());
    assert_eq!(all(&lake), [], "what was there at first is no event");
    lake.apply(put_by("k", 1, 1));
    lake.publish().unwrap();
    lake.apply(put_by("k", 2, 2));
    lake.apply(put_by("k", 2, 2));
    lake.publish().unwrap();
    lake.apply(put_by("k", 2, 3));
    lake.publish().unwrap();
    lake.apply(RowChange {
        by: Some(by(4)),
        ..delete("t", "k")
    });
    lake.apply(delete("t", "never"));
    lake.publish().unwrap();
    let events = all(&lake);
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let value = |record: &Option<Record>| record.as_ref().map(|record| record["v"].clone());
            (event.change, value(&event.before), value(&event.after))
        })
        .collect();
    let [one, two] = [Value::from(1), Value::from(2)];
    assert_eq!(
        told,
        [
            (RecordChange::Insert, None, Some(one.clone())),
            (RecordChange::Update, Some(one), Some(two.clone())),
            (RecordChange::Delete, Some(two), None),
        ]
    );
    let claims = events[1].by.as_ref().unwrap();
    assert_eq!(claims.user.as_deref(), Some("user 2"));
    assert_eq!(
        (claims.origin.as_deref(), claims.at),
        (Some("field"), 1_002)
    );
    assert_eq!(claims.change, "02".repeat(32));
    assert!(
        events
            .iter()
            .all(|event| event.key == "k" && event.database == database(1))
    );
    let visible = Visible::read(dir.path(), "t_changes");
    assert_eq!(visible.kind("before"), "STRUCT<`v` BIGINT>");
    assert_eq!(visible.kind("_commit_timestamp"), "TIMESTAMP");
    let rows: BTreeMap<_, _> = visible
        .rows
        .values()
        .map(|row| (row["_cursor"].to_string(), row))
        .collect();
    let kinds: Vec<_> = rows
        .values()
        .map(|row| row["_change_type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["insert", "update", "delete"]);
    let update = rows.values().nth(1).unwrap();
    assert_eq!(
        (&update["before"]["v"], &update["after"]["v"]),
        (&1.into(), &2.into())
    );
    assert_eq!(update["_user"], "user 2");
    assert_eq!(update["_event_id"], events[1].id.as_str());
}

#[test]
fn the_feed_goes_on_from_any_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = begun(dir.path());
    for n in 0..100u8 {
        lake.apply(put_by(&format!("a{n}"), n.into(), n));
        lake.apply(put_by(&format!("b{n}"), n.into(), n));
        lake.publish().unwrap();
    }
    let events = all(&lake);
    assert_eq!(events.len(), 200);
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), 200, "each event has an id of its own");
    assert!(events.is_sorted_by_key(|event| event.cursor));
    for (at, event) in events.iter().enumerate() {
        let text = event.cursor.to_string();
        let rest = lake.feed("t", Some(text.parse().unwrap()), 7).unwrap();
        assert_eq!(rest, events[at + 1..(at + 8).min(200)]);
    }
    drop(lake);
    let lake = open(dir.path());
    assert_eq!(all(&lake), events, "a restart changes nothing");
    let files = Visible::read(dir.path(), "t_changes").files;
    assert!(files.len() <= 64, "{} files", files.len());
    let other = Cursor {
        epoch: lake.epoch() + 1,
        ..events[0].cursor
    };
    let error = lake.feed("t", Some(other), 1).unwrap_err();
    assert!(
        error.to_string().contains("read the table as a snapshot"),
        "{error}"
    );
    for text in ["", "x", "0-0-0", &"f".repeat(38)] {
        text.parse::<Cursor>().unwrap_err();
    }
}

#[test]
fn events_leave_the_feed_when_their_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = begun(dir.path());
    lake.apply(put_by("k", 1, 1));
    lake.publish().unwrap();
    let first = all(&lake)[0].cursor;
    drop(lake);
    let options = LakeOptions {
        keep_changes: Duration::ZERO,
        ..no_grace()
    };
    let mut lake = Lake::open(dir.path(), options).unwrap();
    while !all(&lake).is_empty() {
        std::thread::yield_now();
        lake.publish().unwrap();
    }
    let cursor = Cursor {
        version: first.version - 1,
        event: Cursor::END,
        ..first
    };
    assert!(matches!(
        lake.feed("t", Some(cursor), 1),
        Err(LakeError::ExpiredCursor { .. })
    ));
    let end = Cursor {
        event: Cursor::END,
        ..first
    };
    assert_eq!(lake.feed("t", Some(end), 1).unwrap(), []);
    assert_eq!(Visible::read(dir.path(), "t_changes").rows.len(), 0);
}

/// The rows that a feed leads to.
fn replay(rows: &mut BTreeMap<String, Record>, events: &[ChangeEvent]) {
    for event in events {
        assert_eq!(rows.get(&event.key), event.before.as_ref(), "{event:?}");
        match &event.after {
            Some(after) => rows.insert(event.key.clone(), after.clone()),
            None => rows.remove(&event.key),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// However changes come, whatever fails and when the process dies: the feed leads from the first rows to the last.
    #[test]
    fn the_feed_leads_to_the_rows(
        rounds in proptest::collection::vec((
            proptest::collection::vec((0u8..12, proptest::option::weighted(0.7, 0i64..4)), 1..6),
            proptest::option::weighted(0.4, 0u64..60),
            any::<bool>(),
        ), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut lake = begun(dir.path());
        let mut rows = BTreeMap::from([("old".to_owned(), record([("v", 0.into())]))]);
        let mut wanted = rows.clone();
        for (changes, dies, killed) in rounds {
            for (key, value) in &changes {
                let key = format!("k{key}");
                match value {
                    Some(value) => wanted.insert(key, record([("v", (*value).into())])),
                    None => wanted.remove(&key),
                };
            }
            let apply = |lake: &mut Lake| {
                for n in 0..12u8 {
                    let key = format!("k{n}");
                    let record = wanted.get(&key).cloned();
                    lake.apply(RowChange { record, ..delete("t", &key) });
                }
            };
            apply(&mut lake);
            lake.disk().fuse.set(dies);
            let result = lake.publish();
            lake.disk().fuse.set(None);
            if killed {
                drop(lake);
                lake = open(dir.path());
            }
            if killed || result.is_err() {
                apply(&mut lake);
            }
            lake.publish().unwrap();
        }
        let events = all(&lake);
        replay(&mut rows, &events);
        prop_assert_eq!(&rows, &wanted);
        let ids: std::collections::BTreeSet<_> = events.iter().map(|event| &event.id).collect();
        prop_assert_eq!(ids.len(), events.len());
        let visible = Visible::read(dir.path(), "t");
        prop_assert_eq!(visible.rows.len(), wanted.len());
        prop_assert_eq!(Visible::read(dir.path(), "t_changes").rows.len(), events.len());
    }
}

//! What an application that embeds the crate relies on, with a store in a folder.

use headwater::{
    Collection, Edit, Options, Patch, Peer, Record, RecordChange, Scan, Text, Value,
    storage::Fault, storage::MemoryDisk,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    title: String,
    body: Text,
    stars: Option<i64>,
}

fn note(title: &str) -> Note {
    Note {
        title: title.to_owned(),
        body: Text("a body".to_owned()),
        stars: None,
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::open(Options::folder(folder.path())).await.unwrap();
    let db = peer.create(Some("notes")).await.unwrap();
    let notes = db.collection("notes").typed::<Note>();
    notes.put("a", &note("first")).await.unwrap();
    let patch = Patch::from([("stars".to_owned(), Edit::Set(Value::Int(3)))]);
    notes.patch("a", patch).await.unwrap();
    notes.put("b", &note("second")).await.unwrap();
    notes.delete("b").await.unwrap();
    let (id, json) = (db.id(), db.to_json());
    assert_eq!(
        db.unsynced(),
        4 + 1,
        "four edits and the collection's declaration"
    );
    peer.close().await.unwrap();

    let peer = Peer::open(Options::folder(folder.path())).await.unwrap();
    let db = peer.open_named("notes").await.unwrap();
    assert_eq!((db.id(), db.to_json()), (id, json));
    assert_eq!(db.unsynced(), 5);
    let notes = db.collection("notes").typed::<Note>();
    let read = notes.get("a").unwrap().unwrap();
    assert_eq!((read.title.as_str(), read.stars), ("first", Some(3)));
    assert_eq!(notes.scan(&Scan::default()).unwrap().len(), 1);
    assert!(peer.open_named("other").await.is_err());
    assert!(peer.create(Some("notes")).await.is_err());
}

#[tokio::test]
async fn a_subscription_tells_what_changed_and_who_did_it() {
    let peer = Peer::open(Options::memory().origin("app").user("ann"))
        .await
        .unwrap();
    let db = peer.create(None).await.unwrap();
    let notes = db.collection("notes");
    let mut events = notes.subscribe();
    let record = Record::from([("x".to_owned(), Value::Int(1))]);
    notes.put("k", record.clone()).await.unwrap();
    notes.delete("k").await.unwrap();
    let inserted = events.next().await.unwrap().unwrap();
    assert_eq!(inserted.change(), RecordChange::Insert);
    assert_eq!((inserted.key.as_str(), inserted.after), ("k", Some(record)));
    let by = inserted.by.unwrap().provenance;
    assert_eq!(by.origin.as_deref(), Some("app"));
    assert_eq!(by.user.as_deref(), Some("ann"));
    let deleted = events.next().await.unwrap().unwrap();
    assert_eq!(deleted.change(), RecordChange::Delete);
    assert!(deleted.local);
}

#[tokio::test]
async fn a_write_that_is_not_stored_is_an_error_and_is_not_there_afterwards() {
    let disk = MemoryDisk::default();
    let peer = Peer::open(Options::memory_disk(disk.clone()))
        .await
        .unwrap();
    let db = peer.create(None).await.unwrap();
    let notes = db.collection("notes");
    let record = Record::from([("x".to_owned(), Value::Int(1))]);
    notes.put("kept", record.clone()).await.unwrap();
    disk.fail_all(Some(Fault::Full));
    let error = notes.put("lost", record.clone()).await.unwrap_err();
    assert!(error.to_string().contains("not saved"), "{error}");
    assert!(peer.storage_failure().is_some());
    disk.fail_all(None);
    // A write that was made while storage failed waits until it works again.
    notes.put("later", record).await.unwrap();
    assert_eq!(peer.storage_failure(), None);
    assert!(notes.get("kept").is_some());
    assert!(notes.get("lost").is_none());
    assert!(notes.get("later").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_closed_has_stored_exactly_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::open(Options::folder(folder.path())).await.unwrap();
    let db = peer.create(Some("notes")).await.unwrap();
    let put = |n: usize| {
        let notes = db.collection("notes");
        let record = Record::from([("n".to_owned(), Value::Int(n as i64))]);
        async move { notes.put(&format!("k{n:04}"), record).await }
    };
    // More than one batch takes: some are stored, some wait.
    let writes: Vec<_> = (0..2_000).map(|n| tokio::spawn(put(n))).collect();
    while db.collection("notes").get("k0000").is_none() {
        tokio::task::yield_now().await;
    }
    peer.close().await.unwrap();
    let mut acknowledged = Vec::new();
    for (n, write) in writes.into_iter().enumerate() {
        if write.await.unwrap().is_ok() {
            acknowledged.push(format!("k{n:04}"));
        }
    }
    assert!(put(9_999).await.is_err(), "it is closed");
    // Handles that are left show what is stored, and nothing beyond.
    let shown = db.inspect_durable(|core| core.to_json());
    let shown = tokio::time::timeout(Duration::from_secs(10), shown);
    let shown = shown.await.expect("it rests").unwrap();

    let again = Peer::open(Options::folder(folder.path())).await.unwrap();
    let stored = again.open_named("notes").await.unwrap();
    let keys = stored.collection("notes").scan(&Scan::default());
    let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, acknowledged);
    assert_eq!(stored.to_json(), shown);
}

#[tokio::test]
async fn a_user_undoes_their_own_writes_once_and_those_of_others_never() {
    let disk = MemoryDisk::default();
    let open = |user: &str| {
        let options = Options::memory_disk(disk.clone()).user(user);
        async move {
            let peer = Peer::open(options).await.unwrap();
            let db = match peer.open_named("notes").await {
                Ok(db) => db,
                Err(_) => peer.create(Some("notes")).await.unwrap(),
            };
            (peer, db.collection("notes"))
        }
    };
    let add = |by: i64| Patch::from([("n".to_owned(), Edit::Increment(by))]);
    let n = |notes: &Collection| notes.get("k").unwrap()["n"].as_int();

    let (peer, notes) = open("ann").await;
    let put = Record::from([("n".to_owned(), Value::Counter(1))]);
    notes.put("k", put).await.unwrap();
    let mut edits = notes.patch("k", add(2)).await.unwrap();
    edits += notes.patch("k", add(4)).await.unwrap();
    peer.close().await.unwrap();

    let (peer, notes) = open("bob").await;
    let refused = notes.undo(&edits).await.unwrap_err();
    assert!(
        refused.to_string().contains("the user \"ann\""),
        "{refused}"
    );
    assert_eq!(n(&notes), Some(7));
    peer.close().await.unwrap();

    let (_peer, notes) = open("ann").await;
    let undone = notes.undo(&edits).await.unwrap();
    assert_eq!((undone.updated, n(&notes)), (2, Some(1)));
    let again = notes.undo(&edits).await.unwrap();
    assert_eq!((again.unchanged, n(&notes)), (2, Some(1)));
    notes.undo(&undone).await.unwrap();
    assert_eq!(n(&notes), Some(7));
}

#[tokio::test]
async fn a_preview_tells_what_a_put_would_do_and_does_nothing() {
    let peer = Peer::open(Options::memory()).await.unwrap();
    let db = peer.create(None).await.unwrap();
    let notes = db.collection("notes");
    let record = |n: i64| Record::from([("n".to_owned(), Value::Int(n))]);
    let rows =
        |range: std::ops::Range<i64>, add| range.map(move |n| (n.to_string(), record(n + add)));
    notes.put_many(rows(0..1_500, 0)).await.unwrap();
    let (json, unsynced) = (db.to_json(), db.unsynced());
    // More than fit into one change.
    let records = || rows(0..500, 1).chain(rows(500..2_100, 0));
    let would = notes.preview_put(records()).unwrap();
    assert_eq!(
        (would.inserted, would.updated, would.unchanged),
        (600, 500, 1_000)
    );
    assert_eq!((db.to_json(), db.unsynced()), (json, unsynced));
    let did = notes.put_many(records()).await.unwrap();
    assert_eq!(
        (did.inserted, did.updated, did.unchanged),
        (600, 500, 1_000)
    );
    assert!(db.collection("").preview_put(records()).is_err());
}

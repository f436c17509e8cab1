//! Two replicas that edit apart from each other, and what they see once they have each other's changes.

use headwater_core::{
    Database, DatabaseId, Edit, Event, Observe, Operation, Patch, Record, Scan, Value, Write,
    WriteContext, WriteError, Written,
};

const ID: DatabaseId = DatabaseId::from_bytes([7; 16]);

struct Replica {
    db: Database,
    /// What it wrote and has not sent yet.
    out: Vec<(headwater_core::DocumentId, Vec<u8>)>,
}

impl Replica {
    fn new(n: u8) -> Self {
        let actor = automerge::ActorId::from([n; 16]);
        let mut db = Database::new(ID, actor).unwrap();
        db.observe(Observe::Changes);
        Self {
            db,
            out: Vec::new(),
        }
    }

    fn write(&mut self, operation: Operation) -> Result<Written, WriteError> {
        let context = WriteContext {
            origin: Some("test".into()),
            user: None,
            at: 1_000,
        };
        let local = self.db.write(Write {
            collection: "notes".into(),
            operation,
            context,
        })?;
        for (document, mut change) in local.changes {
            self.out.push((document, change.bytes().into_owned()));
        }
        Ok(local.written)
    }

    fn put(&mut self, key: &str, fields: &[(&str, Value)]) -> Written {
        self.write(Operation::Put([(key.to_owned(), record(fields))].into()))
            .unwrap()
    }

    fn patch(&mut self, key: &str, edits: Vec<(&str, Edit)>) -> Result<Written, WriteError> {
        let patch: Patch = edits.into_iter().map(|(n, e)| (n.to_owned(), e)).collect();
        self.write(Operation::Patch(key.to_owned(), patch))
    }

    fn delete(&mut self, key: &str) {
        self.write(Operation::Delete(key.to_owned())).unwrap();
    }

    fn get(&self, key: &str) -> Option<Record> {
        self.db.get("notes", key)
    }

    fn receive(&mut self, changes: &[(headwater_core::DocumentId, Vec<u8>)]) -> Vec<Event> {
        let mut documents: Vec<_> = changes.iter().map(|(id, _)| *id).collect();
        documents.dedup();
        let mut events = Vec::new();
        for document in documents {
            let chunks: Vec<&[u8]> = changes
                .iter()
                .filter(|(id, _)| *id == document)
                .map(|(_, bytes)| bytes.as_slice())
                .collect();
            events.extend(self.db.apply(document, &chunks).unwrap().events);
        }
        events
    }
}

fn record(fields: &[(&str, Value)]) -> Record {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn exchange(a: &mut Replica, b: &mut Replica) {
    let (from_a, from_b) = (std::mem::take(&mut a.out), std::mem::take(&mut b.out));
    b.receive(&from_a);
    a.receive(&from_b);
    assert_eq!(a.db.heads(), b.db.heads());
    assert_eq!(a.db.to_json(), b.db.to_json());
}

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

#[test]
fn events_tell_before_and_after_with_origin() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.put("k", &[("x", 1.into())]);
    a.patch("k", vec![("x", Edit::Set(2.into()))]).unwrap();
    let events = b.receive(&std::mem::take(&mut a.out));
    let records: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Record(event) => Some(event),
            Event::Catalog { .. } => None,
        })
        .collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].before, None);
    assert_eq!(records[1].before, Some(record(&[("x", 1.into())])));
    assert_eq!(records[1].after, Some(record(&[("x", 2.into())])));
    let by = records[1].by.as_ref().unwrap();
    assert_eq!(by.provenance.origin.as_deref(), Some("test"));
    assert_eq!(by.actor, automerge::ActorId::from([1; 16]));
}

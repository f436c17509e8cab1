//! A peer of the tests: a database, and what it has written and not sent yet.

use headwater_core::{
    CollectionSchema, Conflict, Database, DatabaseId, DocumentId, Edit, Event, Observe, Operation,
    Patch, Record, RecordEvent, Scan, Settlement, Value, Write, WriteContext, WriteError, Written,
};

pub const ID: DatabaseId = DatabaseId::from_bytes([7; 16]);
pub const NOTES: &str = "notes";

pub struct Replica {
    pub db: Database,
    /// What it wrote and has not sent yet.
    pub out: Vec<(DocumentId, Vec<u8>)>,
    /// What it was told of its own writes.
    pub told: Vec<Event>,
}

impl Replica {
    pub fn new(n: u8) -> Self {
        let actor = automerge::ActorId::from([n; 16]);
        let mut db = Database::new(ID, actor).unwrap();
        db.observe(Observe::Changes);
        Self {
            db,
            out: Vec::new(),
            told: Vec::new(),
        }
    }

    /// One whose collection has a single partition, so that its records share a document.
    pub fn single(n: u8) -> Self {
        let mut replica = Self::new(n);
        replica.declare(CollectionSchema::new().partitions(1));
        replica
    }

    pub fn write(&mut self, operation: Operation) -> Result<Written, WriteError> {
        let context = WriteContext {
            origin: Some("test".into()),
            user: None,
            at: 1_000,
        };
        let local = self.db.write(Write {
            collection: NOTES.into(),
            operation,
            context,
        })?;
        for (document, change) in local.changes {
            self.out.push((document, change.raw_bytes().to_vec()));
        }
        self.told.extend(local.events);
        Ok(local.written)
    }

    pub fn declare(&mut self, schema: CollectionSchema) {
        self.write(Operation::Declare(schema)).unwrap();
    }

    pub fn put(&mut self, key: &str, fields: &[(&str, Value)]) -> Written {
        self.try_put(key, fields).unwrap()
    }

    pub fn try_put(&mut self, key: &str, fields: &[(&str, Value)]) -> Result<Written, WriteError> {
        self.write(Operation::Put([(key.to_owned(), record(fields))].into()))
    }

    pub fn patch(&mut self, key: &str, edits: Vec<(&str, Edit)>) -> Result<Written, WriteError> {
        let patch: Patch = edits.into_iter().map(|(n, e)| (n.to_owned(), e)).collect();
        self.write(Operation::Patch(key.to_owned(), patch))
    }

    pub fn delete(&mut self, key: &str) {
        self.write(Operation::Delete(key.to_owned())).unwrap();
    }

    pub fn get(&self, key: &str) -> Option<Record> {
        self.db.get(NOTES, key)
    }

    /// All that lost.
    pub fn open(&self) -> Vec<Conflict> {
        self.db.conflicts(NOTES, &Scan::default())
    }

    /// Settles the conflict of a field, or of the record itself.
    pub fn settle(&mut self, key: &str, field: &[&str], how: Settlement) -> Result<(), WriteError> {
        let path = field.iter().map(|name| (*name).to_owned()).collect();
        self.write(Operation::Settle(key.to_owned(), path, how))
            .map(drop)
    }

    /// One field of a record that is there.
    pub fn value(&self, key: &str, field: &str) -> Value {
        self.get(key).unwrap()[field].clone()
    }

    /// Sets one field.
    pub fn set(&mut self, key: &str, field: &str, value: impl Into<Value>) {
        self.patch(key, vec![(field, Edit::Set(value.into()))])
            .unwrap();
    }

    /// Takes in changes, those of each document at once.
    pub fn receive(&mut self, changes: &[(DocumentId, Vec<u8>)]) -> Vec<Event> {
        let mut documents: Vec<_> = changes.iter().map(|(id, _)| *id).collect();
        documents.sort();
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

    /// Everything that it has, as a peer that meets it gets it: each document as one chunk.
    pub fn documents(&self) -> Vec<(DocumentId, Vec<u8>)> {
        let ids = self.db.documents();
        ids.into_iter()
            .map(|id| (id, self.db.document(&id).unwrap().save()))
            .collect()
    }

    /// The only document with records.
    pub fn partition(&self) -> DocumentId {
        let documents = self.db.documents();
        assert_eq!(documents.len(), 2, "the root and one partition");
        documents[1]
    }
}

pub fn record(fields: &[(&str, Value)]) -> Record {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

pub fn records(events: &[Event]) -> Vec<&RecordEvent> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Record(event) => Some(event),
            Event::Catalog { .. } | Event::Conflicts(_) => None,
        })
        .collect()
}

/// Both send what they wrote, and must show the same then.
pub fn exchange(a: &mut Replica, b: &mut Replica) {
    let (from_a, from_b) = (std::mem::take(&mut a.out), std::mem::take(&mut b.out));
    b.receive(&from_a);
    a.receive(&from_b);
    assert_eq!(a.db.heads(), b.db.heads());
    assert_eq!(a.db.to_json(), b.db.to_json());
    assert_eq!(a.open(), b.open());
}

/// Two that have the same collection with one partition, declared by `schema`.
pub fn pair(schema: CollectionSchema) -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.declare(schema.partitions(1));
    exchange(&mut a, &mut b);
    (a, b)
}

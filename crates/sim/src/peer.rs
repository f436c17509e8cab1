//! One simulated peer: a database, what it has stored of it, and what its subscriber was told.

use crate::laws::{Shown, ledger};
use crate::rng::Rng;
use crate::ruled::resolvers;
use automerge::{ActorId, ChangeHash};
use headwater_core::policy::Policies;
use headwater_core::{
    Applied, Conflict, Database, DatabaseId, DeleteRule, DocumentId, Event, LocalWrite, Observe,
    Record, Scan, Write, WriteError,
};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// The database that all peers have.
pub const ID: DatabaseId = DatabaseId::from_bytes(*b"headwater-sim/v1");

/// One change on its way, or in a store.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Of which document.
    pub document: DocumentId,
    /// Which change.
    pub hash: ChangeHash,
    /// Its bytes.
    pub bytes: Rc<[u8]>,
    /// Whether it is the document's genesis.
    pub genesis: bool,
}

/// A subscriber's copy of one collection, kept by events alone.
#[derive(Debug, Default)]
struct Told {
    rule: DeleteRule,
    policies: Policies,
    records: BTreeMap<String, Record>,
    open: BTreeMap<String, Vec<Conflict>>,
}

/// A peer.
pub struct Peer {
    /// The database.
    pub db: Database,
    /// Changes that were sent to it and have not arrived.
    pub inbox: Vec<Chunk>,
    /// The changes that it has, its own too.
    pub seen: HashSet<ChangeHash>,
    /// What all its actors begin with.
    store: [u8; 8],
    stored: BTreeMap<DocumentId, Vec<Vec<u8>>>,
    observe: Observe,
    told: BTreeMap<String, Told>,
}

impl Peer {
    /// A peer that has nothing yet.
    pub fn new(rng: &mut Rng) -> Result<Self, String> {
        let actor = rng.bytes();
        let mut store = [0; 8];
        store.copy_from_slice(&actor[..8]);
        let mut db = Database::new(ID, ActorId::from(actor)).map_err(|e| e.to_string())?;
        let observe = *rng.pick(&[Observe::Changes, Observe::Batches]);
        db.observe(observe);
        db.resolvers(resolvers());
        Ok(Self {
            db,
            inbox: Vec::new(),
            seen: HashSet::new(),
            store,
            stored: BTreeMap::new(),
            observe,
            told: BTreeMap::new(),
        })
    }

    /// A local write; what it changed is stored. A refused one must leave no trace.
    pub fn write(&mut self, write: Write) -> Result<Result<LocalWrite, WriteError>, String> {
        let heads = self.db.heads();
        let local = match self.db.write(write) {
            Ok(local) => local,
            Err(_) if self.db.heads() != heads => {
                return Err("a refused write changed the database".into());
            }
            Err(error) => return Ok(Err(error)),
        };
        for (document, change) in &local.changes {
            self.seen.insert(change.hash());
            let bytes = change.raw_bytes().to_vec();
            self.stored.entry(*document).or_default().push(bytes);
        }
        self.listen(&local.events)?;
        Ok(Ok(local))
    }

    /// Takes in chunks of one document; what is new is stored.
    pub fn receive(&mut self, document: DocumentId, chunks: &[&[u8]]) -> Result<Applied, String> {
        let applied = self
            .db
            .apply(document, chunks)
            .map_err(|error| format!("refused honest changes: {error}"))?;
        for change in &applied.changes {
            if !self.seen.insert(change.hash()) {
                return Err(format!("told twice that {} is new", change.hash()));
            }
            let bytes = change.raw_bytes().to_vec();
            self.stored.entry(document).or_default().push(bytes);
        }
        self.listen(&applied.events)?;
        Ok(applied)
    }

    /// Another peer as a restart would give it, from this one's store in any order.
    pub fn restored(&self, rng: &mut Rng) -> Result<Database, String> {
        let mut documents: Vec<_> = self.stored.clone().into_iter().collect();
        rng.shuffle(&mut documents);
        for (_, chunks) in &mut documents {
            rng.shuffle(chunks);
        }
        let mut actor = rng.bytes();
        actor[..8].copy_from_slice(&self.store);
        let actor = ActorId::from(actor);
        let (mut db, quarantined) =
            Database::restore(ID, actor, documents).map_err(|error| error.to_string())?;
        match quarantined.first() {
            Some(bad) => Err(format!("could not restore {}: {}", bad.document, bad.error)),
            None => {
                db.resolvers(resolvers());
                Ok(db)
            }
        }
    }

    /// Restarts from the store with a new actor.
    pub fn restart(&mut self, rng: &mut Rng) -> Result<(), String> {
        let mut db = self.restored(rng)?;
        if db.to_json() != self.db.to_json() {
            let (now, was) = (db.to_json(), self.db.to_json());
            return Err(format!("restarted with {now} instead of {was}"));
        }
        db.observe(self.observe);
        self.db = db;
        Ok(())
    }

    /// Follows events, each of which must fit what was told before it.
    fn listen(&mut self, events: &[Event]) -> Result<(), String> {
        for event in events {
            match event {
                Event::Conflicts(event) => {
                    let told = self.told.entry(event.collection.clone()).or_default();
                    match event.open.is_empty() {
                        true => told.open.remove(&event.key),
                        false => told.open.insert(event.key.clone(), event.open.clone()),
                    };
                }
                Event::Catalog { collection } => {
                    let known = self.db.collections().get(collection);
                    let (rule, policies) = known
                        .map(|known| (known.delete, known.policies.clone()))
                        .unwrap_or_default();
                    let told = self.told.entry(collection.clone()).or_default();
                    if rule != told.rule || policies != told.policies {
                        let records = self.db.scan(collection, &Scan::default());
                        told.records = records.into_iter().collect();
                        told.open = ledger(&self.db, collection);
                        (told.rule, told.policies) = (rule, policies);
                    }
                }
                Event::Record(event) => {
                    let told = self.told.entry(event.collection.clone()).or_default();
                    let before = match &event.after {
                        Some(after) => told.records.insert(event.key.clone(), after.clone()),
                        None => told.records.remove(&event.key),
                    };
                    if before != event.before {
                        return Err(format!(
                            "an event's `before` is not what was told last, {before:?}: {event:?}"
                        ));
                    }
                    if event.before == event.after {
                        return Err(format!("an event of nothing: {event:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// What the events told must be what is shown when it is read anew.
    pub fn check_told(&self, shown: &Shown) -> Result<(), String> {
        let nothing = Told::default();
        for (collection, records) in &shown.records {
            let told = self.told.get(collection).unwrap_or(&nothing);
            if told.records != *records {
                return Err(format!(
                    "events told {:?}\n but {collection} holds {records:?}",
                    told.records
                ));
            }
            if Some(&told.open) != shown.open.get(collection) {
                return Err(format!(
                    "events told the conflicts {:#?}\n but {collection} has {:#?}",
                    told.open,
                    shown.open.get(collection)
                ));
            }
        }
        Ok(())
    }
}

//! A database in memory: its catalog and the partitions of its collections.

use crate::bounds::Limits;
use crate::catalog::{Collection, DEFAULT_PARTITIONS, DeleteRule};
use crate::conflict::Conflict;
use crate::document::{Document, DocumentError, parse};
use crate::event::Observe;
use crate::genesis::{Header, bucket_object};
use crate::id::{BUCKETS, DatabaseId, DocumentId, Partition, Placement};
use crate::json;
use crate::policy::{Resolvers, Rules};
use crate::read::{Cell, Entry, Reader, Source, View, maps_under};
use crate::tombstone;
use crate::value::Record;
use automerge::{ActorId, Automerge, AutomergeError, ChangeHash, ObjId, ReadDoc as _};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Batches above this many changes are told as one event for each record, not for each change.
pub const LARGE_BATCH: usize = 256;

/// All documents of one database, and the records that they make.
///
/// Everything it shows is a function of its documents' heads.
#[derive(Debug)]
pub struct Database {
    pub(crate) id: DatabaseId,
    pub(crate) actor: ActorId,
    pub(crate) limits: Limits,
    pub(crate) observe: Observe,
    pub(crate) root: Document,
    pub(crate) partitions: BTreeMap<Partition, Document>,
    pub(crate) placed: HashMap<DocumentId, Partition>,
    /// Documents that hold nothing but a genesis that no one has been told of yet.
    pub(crate) fresh: BTreeSet<DocumentId>,
    /// The catalog, with the partition counts of the documents at hand added.
    pub(crate) collections: BTreeMap<String, Collection>,
    pub(crate) resolvers: Resolvers,
}

/// Which records a scan gives, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl Scan {
    fn wants(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && self.after.as_ref().is_none_or(|after| key > after.as_str())
    }
}

/// A document that could not be restored; the others were.
#[derive(Debug)]
pub struct Quarantined {
    /// Which document.
    pub document: DocumentId,
    /// Why.
    pub error: DocumentError,
}

/// What a collection holds under one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The key.
    pub key: String,
    /// The record; `None` if it is deleted.
    pub record: Option<Record>,
    /// What lost in it and is not settled.
    pub conflicts: Vec<Conflict>,
}

/// A key's state over the documents that may hold it.
pub(crate) struct Found {
    pub sources: Vec<Source>,
    pub record: Option<Record>,
    /// Whether it carries a delete marker, which may not count.
    pub marked: bool,
    /// Whether anything may have lost to something else.
    pub contested: bool,
}

impl Database {
    /// A database that holds nothing yet, as `open` of an id gives it before anything has been synced.
    ///
    /// `actor` must never have been used before, not even by this replica: every open takes a fresh one.
    pub fn new(id: DatabaseId, actor: ActorId) -> Result<Self, AutomergeError> {
        Ok(Self {
            id,
            actor,
            limits: Limits::default(),
            observe: Observe::default(),
            root: Document::new(&Header::Catalog(id))?,
            partitions: BTreeMap::new(),
            placed: HashMap::new(),
            fresh: BTreeSet::from([id.root()]),
            collections: BTreeMap::new(),
            resolvers: Resolvers::default(),
        })
    }

    /// A database from what was stored of it: for each document its chunks, in any order.
    ///
    /// A document that cannot be read is left out and named; the rest is usable.
    pub fn restore(
        id: DatabaseId,
        actor: ActorId,
        documents: impl IntoIterator<Item = (DocumentId, Vec<Vec<u8>>)>,
    ) -> Result<(Self, Vec<Quarantined>), AutomergeError> {
        let mut database = Self::new(id, actor)?;
        let mut quarantined = Vec::new();
        for (document, chunks) in documents {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            match database.restore_document(document, &chunks) {
                Ok(()) => {
                    database.fresh.remove(&document);
                }
                Err(error) => quarantined.push(Quarantined { document, error }),
            }
        }
        database.read_catalog();
        Ok((database, quarantined))
    }

    fn restore_document(
        &mut self,
        document: DocumentId,
        chunks: &[&[u8]],
    ) -> Result<(), DocumentError> {
        let parsed = parse(chunks, &Limits::stored())?;
        self.place(document, parsed.first())?;
        let (whole, changes) = self.whole_and_changes(document, parsed, 0)?;
        let mut unknown = self.unknown(document, changes)?;
        if let (Some(whole), Some(target)) = (whole, self.document_mut(document)) {
            target.swap(whole.doc);
            unknown = self.unknown(document, unknown)?;
        }
        match self.document_mut(document) {
            Some(target) => target.restore(unknown),
            None => Ok(()),
        }
    }

    /// The id.
    pub fn id(&self) -> DatabaseId {
        self.id
    }

    /// The actor of this replica's changes since it was opened.
    pub fn actor(&self) -> &ActorId {
        &self.actor
    }

    /// How closely changes are followed from now on.
    pub fn observe(&mut self, observe: Observe) {
        self.observe = observe;
    }

    /// The documents at hand, the root first.
    pub fn documents(&self) -> Vec<DocumentId> {
        let mut partitions: Vec<_> = self.placed.keys().copied().collect();
        partitions.sort();
        std::iter::once(self.id.root()).chain(partitions).collect()
    }

    /// One document as automerge has it.
    pub fn document(&self, document: &DocumentId) -> Option<&Automerge> {
        self.stored(document).map(|document| &document.doc)
    }

    /// The heads of every document at hand.
    pub fn heads(&self) -> BTreeMap<DocumentId, Vec<ChangeHash>> {
        self.documents()
            .into_iter()
            .filter_map(|id| Some((id, self.stored(&id)?.heads())))
            .collect()
    }

    pub(crate) fn stored(&self, document: &DocumentId) -> Option<&Document> {
        if *document == self.id.root() {
            return Some(&self.root);
        }
        self.partitions.get(self.placed.get(document)?)
    }

    pub(crate) fn document_mut(&mut self, document: DocumentId) -> Option<&mut Document> {
        if document == self.id.root() {
            return Some(&mut self.root);
        }
        self.partitions.get_mut(self.placed.get(&document)?)
    }

    /// The collections that the catalog names or that a document at hand belongs to.
    pub fn collections(&self) -> &BTreeMap<String, Collection> {
        &self.collections
    }

    /// One record; `None` if there is none, or it is deleted.
    pub fn get(&self, collection: &str, key: &str) -> Option<Record> {
        let (_, views) = self.views(collection, key);
        self.find(collection, &views, key).record
    }

    /// Records in the order of their keys.
    pub fn scan(&self, collection: &str, scan: &Scan) -> Vec<(String, Record)> {
        self.found(collection, scan, |key, found, _, _| {
            Some((key, found.record?))
        })
        .flatten()
        .take(scan.limit.unwrap_or(usize::MAX))
        .collect()
    }

    /// All of a collection for who keeps a copy: every key that a record was ever written under, in order, with the record
    /// that stands there, if any, and what lost in it. Costs little more than [`Self::scan`] where nothing did.
    pub fn standings(&self, collection: &str) -> Vec<Standing> {
        self.standing(collection, &Scan::default()).collect()
    }

    /// As [`Self::standings`], of the keys that `scan` chooses.
    pub(crate) fn standing(&self, collection: &str, scan: &Scan) -> impl Iterator<Item = Standing> {
        self.found(collection, scan, |key, found, views, counts| Standing {
            conflicts: self.ledger(collection, &key, &found, views, counts),
            record: found.record,
            key,
        })
    }

    /// What `make` makes of each key that `scan` chooses, of deleted records too: it is given what was found, the documents
    /// that it was found in and their partition counts. Where a record was created once, which is nearly always, this is
    /// cheaper than [`Self::find`].
    fn found<T>(
        &self,
        collection: &str,
        scan: &Scan,
        make: impl Fn(String, Found, &[View<'_>], &[u32]) -> T,
    ) -> impl Iterator<Item = T> {
        let rule = self.delete_rule(collection);
        let places = self.places(collection, |key| scan.wants(key));
        places.into_iter().map(move |(key, place)| match place {
            Place::One(partition, document, object) => {
                let source = Source { rank: 0, object };
                let views = [View::now(&document.doc)];
                let reader = self.reader(collection, &views);
                let found = read(reader, &key, vec![source], rule);
                make(key, found, &views, &[partition.count])
            }
            Place::Several => {
                let (partitions, views) = self.views(collection, &key);
                let counts: Vec<u32> = partitions.iter().map(|one| one.count).collect();
                let found = self.find(collection, &views, &key);
                make(key, found, &views, &counts)
            }
        })
    }

    /// Every key that a record was ever written under, deleted ones too.
    pub fn keys(&self, collection: &str) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for (partition, document) in self.partitions_of(collection) {
            for bucket in 0..BUCKETS {
                keys.extend(entries_in(partition, document, bucket).map(|entry| entry.name));
            }
        }
        keys
    }

    /// Where the records of the `wanted` keys are.
    fn places(
        &self,
        collection: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, Place<'_>> {
        let mut places = BTreeMap::new();
        for (partition, document) in self.partitions_of(collection) {
            for bucket in 0..BUCKETS {
                for entry in entries_in(partition, document, bucket) {
                    if !wanted(&entry.name) {
                        continue;
                    }
                    let place = match entry.cell {
                        Cell::Map if !entry.conflict => Place::One(partition, document, entry.id),
                        _ => Place::Several,
                    };
                    places
                        .entry(entry.name)
                        .and_modify(|place| *place = Place::Several)
                        .or_insert(place);
                }
            }
        }
        places
    }

    fn partitions_of(&self, collection: &str) -> impl Iterator<Item = (&Partition, &Document)> {
        let first = Partition {
            collection: collection.to_owned(),
            count: 0,
            index: 0,
        };
        let name = first.collection.clone();
        self.partitions
            .range(first..)
            .take_while(move |(partition, _)| partition.collection == name)
    }

    /// Canonical JSON of all records: equal heads give equal text.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{");
        for (i, collection) in self.collections.keys().enumerate() {
            if i > 0 {
                out.push(',');
            }
            json::write_string(&mut out, collection);
            out.push_str(":{");
            for (j, (key, record)) in self.scan(collection, &Scan::default()).iter().enumerate() {
                if j > 0 {
                    out.push(',');
                }
                json::write_string(&mut out, key);
                out.push(':');
                out.push_str(&json::record_to_json(record));
            }
            out.push('}');
        }
        out.push('}');
        out
    }

    /// The documents that may hold `key`, in the order of their rank: of the declared partition counts, the largest
    /// last.
    pub(crate) fn views(&self, collection: &str, key: &str) -> (Vec<&Partition>, Vec<View<'_>>) {
        let placement = Placement::of(key);
        let counts = self.collections.get(collection).map(|c| &c.partitions);
        counts
            .into_iter()
            .flatten()
            .filter_map(|&count| {
                let partition = Partition {
                    collection: collection.to_owned(),
                    count,
                    index: placement.partition(count),
                };
                let (partition, document) = self.partitions.get_key_value(&partition)?;
                Some((partition, View::now(&document.doc)))
            })
            .unzip()
    }

    pub(crate) fn find(&self, collection: &str, views: &[View<'_>], key: &str) -> Found {
        let rule = self.delete_rule(collection);
        find(self.reader(collection, views), key, rule)
    }

    /// Reads a collection's records by its rules.
    pub(crate) fn reader<'a>(&'a self, collection: &str, views: &'a [View<'a>]) -> Reader<'a> {
        let declared = self.collections.get(collection);
        let rules = declared.filter(|declared| !declared.policies.is_empty());
        Reader {
            views,
            rules: rules.map(|collection| Rules {
                collection,
                resolvers: &self.resolvers,
            }),
        }
    }

    /// The functions for fields whose policy names one. Records that hold conflicts may show something else from now on,
    /// without an event.
    pub fn resolvers(&mut self, resolvers: Resolvers) {
        self.resolvers = resolvers;
    }

    pub(crate) fn delete_rule(&self, collection: &str) -> DeleteRule {
        self.collections
            .get(collection)
            .map(|collection| collection.delete)
            .unwrap_or_default()
    }

    /// The partition that new records of `key` go to.
    pub(crate) fn home(&self, collection: &str, key: &str) -> Partition {
        let count = self
            .collections
            .get(collection)
            .and_then(|c| c.partitions.last().copied())
            .unwrap_or(DEFAULT_PARTITIONS);
        Partition {
            collection: collection.to_owned(),
            count,
            index: Placement::of(key).partition(count),
        }
    }

    /// Adds an empty document for `partition`, unless it is there.
    pub(crate) fn ensure(&mut self, partition: &Partition) -> Result<(), AutomergeError> {
        if !self.partitions.contains_key(partition) {
            let header = Header::Partition(self.id, partition.clone());
            self.add(partition.clone(), Document::new(&header)?);
        }
        Ok(())
    }

    /// Adds the empty document of `partition`, which is not there yet.
    pub(crate) fn add(&mut self, partition: Partition, document: Document) {
        let id = partition.document(&self.id);
        self.collections
            .entry(partition.collection.clone())
            .or_default()
            .partitions
            .insert(partition.count);
        self.placed.insert(id, partition.clone());
        self.fresh.insert(id);
        self.partitions.insert(partition, document);
    }

    /// Reads the whole catalog.
    fn read_catalog(&mut self) {
        let buckets = 0..BUCKETS;
        let named = buckets.flat_map(|bucket| self.root.doc.keys(bucket_object(bucket)));
        let placed = self.partitions.keys();
        let names: BTreeSet<String> = named
            .chain(placed.map(|partition| partition.collection.clone()))
            .collect();
        self.refresh_catalog(names);
    }

    /// Reads what the catalog says of the collections `names`, and returns those of which it says something else than before.
    pub(crate) fn refresh_catalog(
        &mut self,
        names: impl IntoIterator<Item = String>,
    ) -> Vec<String> {
        let mut changed = Vec::new();
        for name in names {
            let new = self.catalogued(&name);
            if self.collections.get(&name) != new.as_ref() {
                match new {
                    Some(new) => self.collections.insert(name.clone(), new),
                    None => self.collections.remove(&name),
                };
                changed.push(name);
            }
        }
        changed
    }

    /// What the catalog says of a collection, and the partition counts that documents have without its saying so.
    fn catalogued(&self, name: &str) -> Option<Collection> {
        let views = [View::now(&self.root.doc)];
        let declared = crate::edit::check_collection(name)
            .ok()
            .and_then(|()| find(Reader::plain(&views), name, Default::default()).record)
            .map(|record| Collection::read(&record));
        let placed = self.partitions.keys();
        let mut counts = placed
            .filter(|partition| partition.collection == name)
            .map(|partition| partition.count)
            .peekable();
        if declared.is_none() && counts.peek().is_none() {
            return None;
        }
        let mut collection = declared.unwrap_or_default();
        collection.partitions.extend(counts);
        Some(collection)
    }
}

/// Where a record is.
enum Place<'a> {
    /// In this map of this document alone.
    One(&'a Partition, &'a Document, ObjId),
    /// Created more than once.
    Several,
}

/// What stands in one bucket of a partition. A key elsewhere than its hash says is not a record: `get` would not find it.
fn entries_in<'a>(
    partition: &'a Partition,
    document: &'a Document,
    bucket: u8,
) -> impl Iterator<Item = Entry> + 'a {
    let entries = View::now(&document.doc).entries(&bucket_object(bucket));
    entries.into_iter().filter(move |entry| {
        let placement = Placement::of(&entry.name);
        placement.bucket() == bucket && placement.partition(partition.count) == partition.index
    })
}

/// The keys in one bucket of a partition.
pub(crate) fn keys_in<'a>(
    partition: &'a Partition,
    document: &'a Document,
    bucket: u8,
) -> impl Iterator<Item = String> + 'a {
    entries_in(partition, document, bucket).map(|entry| entry.name)
}

/// Reads `key` out of the documents that may hold it.
pub(crate) fn find(reader: Reader<'_>, key: &str, rule: DeleteRule) -> Found {
    let bucket = bucket_object(Placement::of(key).bucket());
    let buckets: Vec<Source> = (0..reader.views.len())
        .map(|rank| Source {
            rank,
            object: bucket.clone(),
        })
        .collect();
    read(reader, key, maps_under(reader.views, &buckets, key), rule)
}

/// The record that these maps are.
fn read(reader: Reader<'_>, key: &str, sources: Vec<Source>, rule: DeleteRule) -> Found {
    if sources.is_empty() {
        return Found {
            sources,
            record: None,
            marked: false,
            contested: false,
        };
    }
    let merged = reader.merge(&sources, 0);
    let deleted = merged.marked && tombstone::is_deleted(reader.views, &sources, key, rule);
    Found {
        sources,
        contested: merged.contested || merged.marked,
        marked: merged.marked,
        record: (!deleted).then_some(merged.record),
    }
}

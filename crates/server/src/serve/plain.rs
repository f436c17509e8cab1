//! Plain documents that the configuration maps to collections, as rows.

use super::config::PlainCollection;
use headwater::DocumentId;
use headwater::plain::PlainStore;
use headwater_core::{DatabaseId, plain};
use headwater_materialize::RowChange;
use std::collections::{BTreeMap, BTreeSet};

/// The mapped documents, and the keys of the rows that each last had.
#[derive(Debug)]
pub(super) struct Mapping {
    store: PlainStore,
    documents: BTreeMap<DocumentId, Vec<Mapped>>,
}

#[derive(Debug)]
struct Mapped {
    collection: PlainCollection,
    keys: BTreeSet<String>,
}

impl Mapping {
    pub fn new(store: PlainStore, collections: &[PlainCollection]) -> Self {
        let mut documents: BTreeMap<DocumentId, Vec<Mapped>> = BTreeMap::new();
        for collection in collections {
            documents
                .entry(collection.document)
                .or_default()
                .push(Mapped {
                    collection: collection.clone(),
                    keys: BTreeSet::new(),
                });
        }
        Self { store, documents }
    }

    pub fn documents(&self) -> impl Iterator<Item = DocumentId> {
        self.documents.keys().copied()
    }

    pub fn collections(&self) -> impl Iterator<Item = &str> {
        let all = self.documents.values().flatten();
        all.map(|mapped| mapped.collection.collection.as_str())
    }

    /// All rows of a document, and the deletion of those that it had and has no longer. The document is its own database.
    pub fn rows(&mut self, document: DocumentId) -> Vec<RowChange> {
        let database = DatabaseId::from_bytes(*document.as_bytes());
        let mut changes = Vec::new();
        for mapped in self.documents.get_mut(&document).into_iter().flatten() {
            let PlainCollection {
                collection,
                root,
                key,
                ..
            } = &mapped.collection;
            let read = |doc: &_| plain::records(doc, root, key.as_deref());
            let records = self.store.read(&document, read).unwrap_or_default();
            let keys: BTreeSet<String> = records.iter().map(|(key, _)| key.clone()).collect();
            let change = |key, record| RowChange {
                database,
                collection: collection.clone(),
                key,
                record,
            };
            let gone = mapped.keys.difference(&keys).cloned();
            changes.extend(gone.map(|key| change(key, None)));
            let rows = records.into_iter();
            changes.extend(rows.map(|(key, record)| change(key, Some(record))));
            mapped.keys = keys;
        }
        changes
    }
}

//! Plain documents that the configuration maps to collections, as rows.

use super::config::PlainCollection;
use headwater::DocumentId;
use headwater::plain::PlainStore;
use headwater_core::{DatabaseId, plain};
use headwater_materialize::{Heads, Lake, LakeError, RowChange};
use std::collections::{BTreeMap, BTreeSet};

/// The mapped documents.
#[derive(Debug)]
pub(super) struct Mapping {
    store: PlainStore,
    documents: BTreeMap<DocumentId, Vec<PlainCollection>>,
}

impl Mapping {
    pub fn new(store: PlainStore, collections: &[PlainCollection]) -> Self {
        let mut documents: BTreeMap<DocumentId, Vec<PlainCollection>> = BTreeMap::new();
        for collection in collections {
            let mapped = documents.entry(collection.document).or_default();
            mapped.push(collection.clone());
        }
        Self { store, documents }
    }

    pub fn documents(&self) -> impl Iterator<Item = DocumentId> {
        self.documents.keys().copied()
    }

    pub fn collections(&self) -> impl Iterator<Item = &str> {
        let all = self.documents.values().flatten();
        all.map(|mapped| mapped.collection.as_str())
    }

    /// Whether a document is mapped to a collection.
    pub fn maps(&self, document: DocumentId, collection: &str) -> bool {
        let mut mapped = self.documents.get(&document).into_iter().flatten();
        mapped.any(|mapped| mapped.collection == collection)
    }

    /// The heads of a document as it is now.
    pub fn heads(&self, document: DocumentId) -> Heads {
        let heads = self.store.read(&document, |doc| doc.get_heads());
        Heads::from([(document, heads.unwrap_or_default())])
    }

    /// All rows of a document, and the deletion of those that the lake has and it has no longer. The document is its own database.
    pub fn rows(&self, document: DocumentId, lake: &Lake) -> Result<Vec<RowChange>, LakeError> {
        let database = DatabaseId::from_bytes(*document.as_bytes());
        let mut changes = Vec::new();
        for mapped in self.documents.get(&document).into_iter().flatten() {
            let PlainCollection {
                collection,
                root,
                key,
                ..
            } = mapped;
            let read = |doc: &_| plain::records(doc, root, key.as_deref());
            let records = self.store.read(&document, read).unwrap_or_default();
            let keys: BTreeSet<String> = records.iter().map(|(key, _)| key.clone()).collect();
            let change = |key, record| RowChange {
                database,
                collection: collection.clone(),
                key,
                record,
                by: None,
            };
            let rows = lake.rows_of(database, collection, None, usize::MAX)?;
            let gone = rows
                .into_iter()
                .map(|(key, _)| key)
                .filter(|key| !keys.contains(key));
            changes.extend(gone.map(|key| change(key, None)));
            let rows = records.into_iter();
            changes.extend(rows.map(|(key, record)| change(key, Some(record))));
        }
        Ok(changes)
    }
}

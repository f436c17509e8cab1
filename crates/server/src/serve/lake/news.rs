//! What a publication is about.

use headwater::{DatabaseId, DocumentId};
use headwater_core::Attribution;
use std::collections::{BTreeMap, BTreeSet};

/// How many origins of one collection are told apart; with more, it is not known whose changes they are.
const MAX_ORIGINS: usize = 16;

/// Who changed records: by database, collection and origin. None: it is not known who.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changed(BTreeMap<DatabaseId, BTreeMap<String, BTreeSet<Option<String>>>>);

impl Changed {
    /// A record was changed.
    pub fn note(&mut self, database: DatabaseId, collection: &str, by: Option<&Attribution>) {
        let origin = by.and_then(|by| by.provenance.origin.as_ref());
        let collections = self.0.entry(database).or_default();
        // Most changes are of a collection and an origin that are there already, and cost no memory.
        let origins = match collections.get_mut(collection) {
            Some(origins) => origins,
            None => collections.entry(collection.to_owned()).or_default(),
        };
        let known = origins.iter().any(|known| known.as_ref() == origin);
        if !known {
            let told_apart = origins.len() < MAX_ORIGINS;
            origins.insert(origin.filter(|_| told_apart).cloned());
        }
    }

    /// Something in a plain document changed.
    pub fn note_plain(&mut self, document: DocumentId, collections: impl Iterator<Item = String>) {
        let database = DatabaseId::from_bytes(*document.as_bytes());
        for collection in collections {
            self.note(database, &collection, None);
        }
    }

    pub fn extend(&mut self, other: Self) {
        for (database, collections) in other.0 {
            let ours = self.0.entry(database).or_default();
            for (collection, origins) in collections {
                ours.entry(collection).or_default().extend(origins);
            }
        }
    }
}

/// A publication.
#[derive(Debug)]
pub(crate) struct News {
    /// The lake's version.
    pub version: u64,
    pub changed: Changed,
}

impl News {
    /// Each collection that changed, with each origin of a change.
    pub fn changes(&self) -> impl Iterator<Item = (&DatabaseId, &str, Option<&str>)> {
        self.changed.0.iter().flat_map(|(database, collections)| {
            collections.iter().flat_map(move |(collection, origins)| {
                let origins = origins.iter();
                origins.map(move |origin| (database, collection.as_str(), origin.as_deref()))
            })
        })
    }
}

//! What someone missed who followed a database up to some heads: for who keeps a copy of its records.

use crate::catalog::{Collection, DeleteRule, FieldType};
use crate::database::{Database, Standing};
use crate::event::Attribution;
use crate::id::DocumentId;
use crate::policy::Policies;
use crate::touched::touched;
use automerge::ChangeHash;
use std::collections::{BTreeMap, BTreeSet};

/// What decides in a collection what its records show: who keeps them reads all of them again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadRules {
    policies: Policies,
    /// The fields whose values are ordered as decimal numbers.
    decimals: BTreeSet<String>,
    delete: DeleteRule,
}

impl ReadRules {
    /// Those of a collection.
    pub fn of(collection: &Collection) -> Self {
        Self {
            policies: collection.policies.clone(),
            decimals: (collection.fields.iter())
                .filter(|(_, declared)| matches!(declared, FieldType::Decimal { .. }))
                .map(|(field, _)| field)
                .filter(|field| collection.policies.contains_key(*field))
                .cloned()
                .collect(),
            delete: collection.delete,
        }
    }
}

/// The records that changes touched, by collection and key, each with the last change that did.
pub type Missed = BTreeMap<(String, String), Attribution>;

impl Database {
    /// One record and what lost in it, also of a key that nothing was ever written under.
    pub fn standing_of(&self, collection: &str, key: &str) -> Standing {
        let look = self.look(collection, key);
        Standing {
            key: key.to_owned(),
            record: look.record,
            conflicts: look.conflicts,
        }
    }

    /// The records that were touched since these heads. Nothing if that cannot be told: the catalog is not what it was then, so that
    /// other rules may decide, or a document does not have those heads (any more).
    ///
    /// Costs in proportion to the changes since, and to the documents.
    pub fn missed_since(&self, heads: &BTreeMap<DocumentId, Vec<ChangeHash>>) -> Option<Missed> {
        if heads.get(&self.id().root())? != &self.stored(&self.id().root())?.heads() {
            return None;
        }
        let mut missed = Missed::new();
        for document in heads.keys() {
            self.stored(document)?;
        }
        for (document, partition) in &self.placed {
            let doc = &self.stored(document)?.doc;
            let had = heads.get(document).map_or(&[][..], Vec::as_slice);
            if had == doc.get_heads() {
                continue;
            }
            if !had
                .iter()
                .all(|head| doc.get_change_meta_by_hash(head).is_some())
            {
                return None;
            }
            let changes = doc.get_changes(had);
            for (key, last) in touched(doc, &changes) {
                if let Some(change) = changes.get(last) {
                    let row = (partition.collection.clone(), key);
                    missed.insert(row, Attribution::of(change));
                }
            }
        }
        Some(missed)
    }
}

//! Which records a change touches, without asking automerge for a diff (which costs in proportion to the document).

use crate::genesis::bucket_of_object;
use crate::id::Placement;
use crate::value::MAX_DEPTH;
use automerge::legacy::{Key, ObjectId, OpId, OpType};
use automerge::{Automerge, Change, ObjId, Prop, ReadDoc as _};
use std::collections::{BTreeMap, HashMap};

/// The keys that `changes` touch, each with the index of the last change that does. `doc` may hold the changes or not.
pub(crate) fn touched(doc: &Automerge, changes: &[Change]) -> BTreeMap<String, usize> {
    let mut walk = Walk {
        doc,
        made: HashMap::new(),
        known: HashMap::new(),
    };
    let changes: Vec<_> = changes.iter().map(Change::decode).collect();
    // All first: changes may come before those that made the objects they edit.
    for change in &changes {
        for (op, counter) in change.operations.iter().zip(change.start_op.get()..) {
            if matches!(op.action, OpType::Make(_)) {
                let id = OpId(counter, change.actor_id.clone());
                walk.made.insert(id, (op.obj.clone(), op.key.clone()));
            }
        }
    }
    let mut keys = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        for op in &change.operations {
            if let Some(key) = walk.key_of(&op.obj, &op.key) {
                keys.insert(key, index);
            }
        }
    }
    keys
}

struct Walk<'a> {
    doc: &'a Automerge,
    /// Where the objects stand that these changes make; the document may not have them yet.
    made: HashMap<OpId, (ObjectId, Key)>,
    /// Which record the objects met so far belong to.
    known: HashMap<OpId, Option<String>>,
}

impl Walk<'_> {
    /// The record that an op on `key` of `object` belongs to.
    fn key_of(&mut self, object: &ObjectId, key: &Key) -> Option<String> {
        let (mut object, mut key) = (object.clone(), key.clone());
        let mut path = Vec::new();
        let found = loop {
            let ObjectId::Id(id) = object else {
                break None;
            };
            if let Some(bucket) = bucket_of_object(id.counter(), id.actor()) {
                break match key {
                    Key::Map(key) => placed(key.as_str(), bucket),
                    Key::Seq(_) => None,
                };
            }
            if let Some(known) = self.known.get(&id) {
                break known.clone();
            }
            // A made object is only ever inside an older one, so this ends.
            match self.made.remove(&id) {
                Some(parent) => {
                    (object, key) = parent.clone();
                    path.push((id, Some(parent)));
                }
                None => {
                    let found = self.key_in_document(&id);
                    path.push((id, None));
                    break found;
                }
            }
        };
        for (id, parent) in path {
            if let Some(parent) = parent {
                self.made.insert(id.clone(), parent);
            }
            self.known.insert(id, found.clone());
        }
        found
    }

    fn key_in_document(&self, id: &OpId) -> Option<String> {
        let object = ObjId::Id(id.counter(), id.actor().clone(), 0);
        let parents = self.doc.parents(&object).ok()?;
        // What is nested deeper than that is never shown.
        let mut near = parents.take(MAX_DEPTH + 3);
        near.find_map(|parent| match (parent.obj, parent.prop) {
            (ObjId::Id(counter, actor, _), Prop::Map(key)) => {
                placed(&key, bucket_of_object(counter, &actor)?)
            }
            _ => None,
        })
    }
}

/// A key stands in the bucket that its hash chooses; elsewhere nobody reads it.
fn placed(key: &str, bucket: u8) -> Option<String> {
    (Placement::of(key).bucket() == bucket).then(|| key.to_owned())
}

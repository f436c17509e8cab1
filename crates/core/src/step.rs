//! The operations of a write as automerge carries them out, and values as it takes them.

use crate::names;
use crate::value::{Record, Value};
use automerge::transaction::{Transactable, Transaction};
use automerge::{ActorId, Automerge, AutomergeError, ObjId, ReadDoc as _, ScalarValue, hydrate};
use std::collections::{BTreeMap, HashMap};

/// One operation on a document.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put(ObjId, String, hydrate::Value),
    Delete(ObjId, String),
    Increment(ObjId, String, i64),
    UpdateText(ObjId, String),
    SpliceText(ObjId, usize, usize, String),
    SpliceList(ObjId, usize, usize, Vec<hydrate::Value>),
}

impl Step {
    /// How many operations it is at most.
    pub fn ops(&self, doc: Option<&Automerge>) -> usize {
        match self {
            Self::Put(_, _, value) => ops_of(value),
            Self::Delete(..) | Self::Increment(..) => 1,
            Self::UpdateText(object, text) => {
                let old = doc.and_then(|doc| doc.text(object).ok());
                changed_characters(old.as_deref().unwrap_or_default(), text)
            }
            Self::SpliceText(_, _, delete, insert) => delete + insert.chars().count(),
            Self::SpliceList(_, _, delete, insert) => {
                delete + insert.iter().map(ops_of).sum::<usize>()
            }
        }
    }

    pub fn run(self, tx: &mut Transaction<'_>) -> Result<(), AutomergeError> {
        match self {
            Self::Put(object, name, hydrate::Value::Scalar(value)) => tx.put(object, name, value),
            Self::Put(object, name, value) => tx
                .batch_create_object(object, name, &value, false)
                .map(drop),
            Self::Delete(object, name) => tx.delete(object, name),
            Self::Increment(object, name, by) => tx.increment(object, name, by),
            Self::UpdateText(object, text) => tx.update_text(&object, text),
            Self::SpliceText(object, at, delete, insert) => {
                // Both come from a length that was checked against the text, so they fit.
                tx.splice_text(object, at, delete as isize, &insert)
            }
            Self::SpliceList(object, at, delete, insert) => {
                for _ in 0..delete {
                    tx.delete(&object, at)?;
                }
                for (offset, value) in insert.into_iter().enumerate() {
                    match value {
                        hydrate::Value::Scalar(value) => tx.insert(&object, at + offset, value)?,
                        value => {
                            tx.batch_create_object(&object, at + offset, &value, true)?;
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

fn ops_of(value: &hydrate::Value) -> usize {
    1 + match value {
        hydrate::Value::Scalar(_) => 0,
        hydrate::Value::Map(map) => map.iter().map(|(_, entry)| ops_of(&entry.value)).sum(),
        hydrate::Value::List(list) => list.iter().map(|item| ops_of(&item.value)).sum(),
        hydrate::Value::Text(text) => text.to_string().chars().count(),
    }
}

/// The characters between what two texts have in common at their beginnings and at their ends.
fn changed_characters(old: &str, new: &str) -> usize {
    let common = |(a, b): &(char, char)| a == b;
    let prefix = old.chars().zip(new.chars()).take_while(common).count();
    let (old, new) = (old.chars().skip(prefix), new.chars().skip(prefix));
    let (old, new): (Vec<_>, Vec<_>) = (old.collect(), new.collect());
    let reversed = || old.iter().rev().copied().zip(new.iter().rev().copied());
    let suffix = reversed().take_while(common).count();
    old.len() + new.len() - 2 * suffix
}

pub(crate) fn map_value(fields: BTreeMap<String, hydrate::Value>) -> hydrate::Value {
    let fields: HashMap<String, hydrate::Value> = fields.into_iter().collect();
    hydrate::Value::Map(fields.into())
}

/// A record as a new map object.
pub(crate) fn record_to_hydrate(record: &Record, actor: &ActorId) -> hydrate::Value {
    map_value(
        record
            .iter()
            .map(|(name, value)| (names::stored(name).into_owned(), to_hydrate(value, actor)))
            .collect(),
    )
}

pub(crate) fn to_hydrate(value: &Value, actor: &ActorId) -> hydrate::Value {
    use automerge::TextEncoding;
    match value {
        Value::Null => hydrate::Value::Scalar(ScalarValue::Null),
        Value::Bool(b) => hydrate::Value::scalar(*b),
        Value::Int(n) => hydrate::Value::scalar(*n),
        Value::Uint(n) => hydrate::Value::scalar(*n),
        Value::Float(f) => hydrate::Value::scalar(*f),
        Value::String(s) => hydrate::Value::scalar(s.as_str()),
        Value::Text(s) => hydrate::Value::text(TextEncoding::UnicodeCodePoint, s),
        Value::Bytes(b) => hydrate::Value::scalar(b.clone()),
        Value::Timestamp(ms) => hydrate::Value::Scalar(ScalarValue::Timestamp(*ms)),
        Value::Counter(n) => {
            let entry = format!("{}{}", names::COUNTER, actor.to_hex_string());
            map_value(BTreeMap::from([(
                entry,
                hydrate::Value::Scalar(ScalarValue::counter(*n)),
            )]))
        }
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| to_hydrate(item, actor)).collect();
            hydrate::Value::from(items)
        }
        Value::Map(map) => record_to_hydrate(map, actor),
    }
}

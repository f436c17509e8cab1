//! What a write makes of the one record that its writer sees, without automerge.

use headwater_core::{Edit, Operation, Patch, Record, Value};

/// The record under `key` after `operation`, if it was `before`; the operation is one that is not refused.
pub fn apply(before: Option<&Record>, key: &str, operation: &Operation) -> Option<Record> {
    match operation {
        Operation::Put(records) => records.get(key).cloned().or_else(|| before.cloned()),
        Operation::Patch(name, patch) if name == key => before.cloned().map(|mut record| {
            edit(&mut record, patch);
            record
        }),
        Operation::Delete(name) if name == key => None,
        Operation::Patch(..)
        | Operation::Delete(_)
        | Operation::Declare(_)
        | Operation::PutKnown(..)
        | Operation::Undo(_)
        | Operation::Settle(..) => before.cloned(),
    }
}

fn edit(record: &mut Record, patch: &Patch) {
    for (name, edit) in patch {
        match edit {
            Edit::Remove => {
                record.remove(name);
            }
            Edit::Set(value) | Edit::Reset(value) => {
                record.insert(name.clone(), value.clone());
            }
            edit => {
                let value = edited(record.remove(name), edit);
                record.insert(name.clone(), value);
            }
        }
    }
}

fn edited(value: Option<Value>, change: &Edit) -> Value {
    match change {
        Edit::Increment(by) => {
            let old = value.as_ref().and_then(Value::as_int).unwrap_or(0);
            Value::Counter(old + by)
        }
        Edit::Splice { at, delete, insert } => {
            let old = value.as_ref().and_then(Value::as_str).unwrap_or_default();
            let mut chars: Vec<char> = old.chars().collect();
            chars.splice(*at..at + delete, insert.chars());
            Value::Text(chars.into_iter().collect())
        }
        Edit::SpliceList { at, delete, insert } => {
            let mut items = match value {
                Some(Value::List(items)) => items,
                _ => Vec::new(),
            };
            items.splice(*at..at + delete, insert.iter().cloned());
            Value::List(items)
        }
        Edit::Merge(patch) => {
            let mut map = match value {
                Some(Value::Map(map)) => map,
                _ => Record::new(),
            };
            edit(&mut map, patch);
            Value::Map(map)
        }
        // Sets are in no program yet.
        Edit::Set(_) | Edit::Reset(_) | Edit::Remove | Edit::Add(_) | Edit::Discard(_) => {
            Value::Null
        }
    }
}

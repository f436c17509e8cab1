//! What a write makes of the one record that its writer sees, without automerge.

use crate::acts::knows;
use crate::order::{prefers, spread};
use headwater_core::policy::Policies;
use headwater_core::{
    ClaimId, Conflict, Edit, Operation, Patch, Policy, Record, Settlement, Value,
};

/// What the writer of an operation sees of one record.
pub struct Seen<'a> {
    /// The record.
    pub record: Option<&'a Record>,
    /// What lost in it.
    pub open: &'a [Conflict],
    /// The declared policies.
    pub policies: &'a Policies,
}

impl Seen<'_> {
    /// The record under `key` after `operation`, which is one that is not refused.
    pub fn after(&self, key: &str, operation: &Operation) -> Option<Record> {
        match operation {
            Operation::Put(records) => match records.get(key) {
                Some(record) => Some(self.put(record)),
                None => self.record.cloned(),
            },
            Operation::Patch(name, patch) if name == key => {
                self.record.cloned().map(|mut record| {
                    edit(&mut record, patch, Some(self.policies));
                    record
                })
            }
            Operation::Delete(name) if name == key => None,
            Operation::Settle(name, path, how) if name == key => self.settled(path, how),
            Operation::PutKnown(records, known) if records.contains_key(key) => {
                // Over a deleted record it writes a new one, of which it knows all.
                let old = self.record.into_iter().flatten();
                let unknown = old.filter(|(name, _)| !knows(known, name));
                let unknown = unknown.map(|(name, value)| (name.clone(), value.clone()));
                Some(unknown.chain(self.put(&records[key])).collect())
            }
            Operation::Patch(..)
            | Operation::Delete(_)
            | Operation::Declare(_)
            | Operation::PutKnown(..)
            | Operation::Undo(_)
            | Operation::Settle(..) => self.record.cloned(),
        }
    }

    /// The record that lost to a delete, which comes back when a field of it is settled.
    fn lost(&self) -> Option<&Record> {
        let mut of_records = self.open.iter().filter(|one| one.field.is_empty());
        let claims = of_records.find_map(|one| one.losers.first())?;
        match &claims.value {
            Some(Value::Map(record)) => Some(record),
            _ => None,
        }
    }

    fn put(&self, record: &Record) -> Record {
        let fields = record.iter().map(|(name, value)| {
            let old = self.record.and_then(|old| old.get(name));
            (name.clone(), set(self.policies.get(name), old, value))
        });
        fields.collect()
    }

    fn settled(&self, path: &[String], how: &Settlement) -> Option<Record> {
        let kept = |id: &ClaimId| {
            let here = self.open.iter().filter(|conflict| conflict.field == path);
            let mut claims = here.flat_map(|one| one.losers.iter().chain(&one.winner));
            claims.find(|claim| claim.id == *id)
        };
        let value = match how {
            Settlement::Accept => return self.record.cloned(),
            Settlement::Keep(id) => match (path, kept(id)?.value.clone()?) {
                ([], Value::Map(record)) if self.record.is_none() => return Some(record),
                // Who keeps an edit keeps all of what is shown.
                ([], _) => return self.record.cloned(),
                (_, value) => value,
            },
            Settlement::Write(value) => value.clone(),
        };
        let mut record = self.record.or_else(|| self.lost()).cloned();
        match path {
            [] => match value {
                Value::Map(record) => return Some(self.put(&record)),
                _ => return None,
            },
            [name] => record.as_mut()?.insert(name.clone(), value),
            path => {
                let mut inner = record.as_mut()?;
                for name in &path[..path.len() - 1] {
                    match inner.get_mut(name)? {
                        Value::Map(map) => inner = map,
                        _ => return None,
                    }
                }
                inner.insert(path[path.len() - 1].clone(), value)
            }
        };
        record
    }
}

/// What a field shows after it was set to `new`.
fn set(policy: Option<&Policy>, old: Option<&Value>, new: &Value) -> Value {
    match (policy, old) {
        (Some(policy @ (Policy::Max | Policy::Min)), Some(old)) if !prefers(policy, new, old) => {
            old.clone()
        }
        (Some(Policy::KeepAll), _) => Value::List(spread([new])),
        (Some(Policy::Union), _) => match new {
            Value::List(items) => Value::List(as_set(items.clone())),
            other => other.clone(),
        },
        _ => new.clone(),
    }
}

/// A list as the set that it becomes, also one to which two have added the same.
fn as_set(mut items: Vec<Value>) -> Vec<Value> {
    // Elements are single digits, whose order is that of their JSON.
    items.sort_by_key(Value::as_int);
    items.dedup();
    items
}

/// `policies` is for fields of the record; nested ones have none.
fn edit(record: &mut Record, patch: &Patch, policies: Option<&Policies>) {
    for (name, edit) in patch {
        let policy = policies.and_then(|policies| policies.get(name));
        match edit {
            Edit::Remove => {
                record.remove(name);
            }
            Edit::Set(value) => {
                let value = set(policy, record.get(name), value);
                record.insert(name.clone(), value);
            }
            Edit::Reset(value) => {
                record.insert(name.clone(), set(policy, None, value));
            }
            Edit::Discard(_) if !record.contains_key(name) => {}
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
            edit(&mut map, patch, None);
            Value::Map(map)
        }
        Edit::Add(more) | Edit::Discard(more) => {
            let mut items = match value {
                Some(Value::List(items)) => items,
                _ => Vec::new(),
            };
            items.retain(|item| !more.contains(item));
            if matches!(change, Edit::Add(_)) {
                items.extend(more.iter().cloned());
            }
            Value::List(as_set(items))
        }
        Edit::Set(_) | Edit::Reset(_) | Edit::Remove => Value::Null,
    }
}

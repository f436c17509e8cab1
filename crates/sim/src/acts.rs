//! What an operation does to each field of one record that holds a value written as a whole.

use crate::generate::{MAP, PLAIN};
use crate::ruled::{RULED, UNION};
use headwater_core::typed::Known;
use headwater_core::{Edit, Operation, Patch, Record, Settlement, Value};

/// A field, from the record inwards.
pub type Path = Vec<String>;

/// What is done to one field.
#[derive(Debug, Clone)]
pub enum Act {
    /// The field is set, by the rules of its policy.
    Set(Value),
    /// The field is written whatever it holds; it was reset.
    Reset(Value),
    /// The field is written whatever it holds, or where there was none.
    Anew(Value),
    /// The field is removed.
    Remove,
    /// One of the values that stand is kept, or what they make.
    Keep,
    /// Elements are added.
    Add(Vec<Value>),
    /// Elements are removed.
    Discard(Vec<Value>),
}

/// What an operation does to a record.
#[derive(Debug, Default)]
pub struct Acts {
    /// To its fields.
    pub fields: Vec<(Path, Act)>,
    /// Whether everything that stood is replaced: the record is new.
    pub fresh: bool,
    /// Whether the nested map is removed.
    pub torn: bool,
}

/// Whether the values of this field are written as a whole.
fn is_whole(name: &str) -> bool {
    PLAIN.contains(&name) || RULED.contains(&name)
}

/// Whether a writer who knows `known` knows the field `name`.
pub fn knows(known: &Known, name: &str) -> bool {
    match known {
        Known::All => true,
        Known::Fields(fields) => fields.contains_key(name),
    }
}

impl Acts {
    /// Of `operation` on `key`, whose record its writer saw as `before`.
    pub fn of(operation: &Operation, key: &str, before: Option<&Record>) -> Self {
        let mut acts = Self::default();
        match operation {
            Operation::Put(records) => {
                if let Some(record) = records.get(key) {
                    acts.put(before, record, &Known::All);
                }
            }
            Operation::Patch(_, patch) => acts.patch(before, patch),
            Operation::Settle(_, path, how) => acts.settle(before, path, how),
            Operation::Delete(_) | Operation::Declare(_) => {}
            Operation::PutKnown(records, known) => {
                if let Some(record) = records.get(key) {
                    acts.put(before, record, known);
                }
            }
            // What it writes depends on all that was written; the oracle is told what it may have written.
            Operation::Undo(_) => {}
        }
        acts
    }

    fn put(&mut self, before: Option<&Record>, record: &Record, known: &Known) {
        self.fresh = before.is_none();
        let none = Record::new();
        let before = before.unwrap_or(&none);
        for name in before
            .keys()
            .chain(record.keys().filter(|name| !before.contains_key(*name)))
        {
            match (before.get(name), record.get(name)) {
                (old, Some(new)) => self.set(name, old, new),
                _ if !knows(known, name) => {}
                _ => self.remove(name, before.get(name)),
            }
        }
    }

    fn set(&mut self, name: &str, old: Option<&Value>, new: &Value) {
        if is_whole(name) {
            self.fields
                .push((vec![name.to_owned()], Act::Set(new.clone())));
        }
        let (MAP, Value::Map(new)) = (name, new) else {
            return;
        };
        let none = Record::new();
        let old = match old {
            Some(Value::Map(old)) => old,
            _ => &none,
        };
        for inner in old.keys().filter(|inner| !new.contains_key(*inner)) {
            self.nested(inner, Act::Remove);
        }
        for (inner, value) in new {
            self.nested(inner, Act::Set(value.clone()));
        }
    }

    fn remove(&mut self, name: &str, old: Option<&Value>) {
        if is_whole(name) {
            self.fields.push((vec![name.to_owned()], Act::Remove));
        }
        if let (MAP, Some(Value::Map(old))) = (name, old) {
            self.torn = true;
            for inner in old.keys() {
                self.nested(inner, Act::Remove);
            }
        }
    }

    fn nested(&mut self, inner: &str, act: Act) {
        self.fields
            .push((vec![MAP.to_owned(), inner.to_owned()], act));
    }

    fn patch(&mut self, before: Option<&Record>, patch: &Patch) {
        for (name, edit) in patch {
            let old = before.and_then(|before| before.get(name));
            let act = match edit {
                Edit::Set(new) => {
                    self.set(name, old, new);
                    continue;
                }
                Edit::Remove => {
                    self.remove(name, old);
                    continue;
                }
                Edit::Merge(inner) if name == MAP => {
                    for (inner, edit) in inner {
                        match edit {
                            Edit::Set(value) => self.nested(inner, Act::Set(value.clone())),
                            _ => self.nested(inner, Act::Remove),
                        }
                    }
                    continue;
                }
                Edit::Reset(value) => Act::Reset(value.clone()),
                Edit::Add(items) => Act::Add(items.clone()),
                Edit::Discard(items) => Act::Discard(items.clone()),
                _ => continue,
            };
            self.fields.push((vec![name.clone()], act));
        }
    }

    fn settle(&mut self, before: Option<&Record>, path: &[String], how: &Settlement) {
        let whole = match path {
            [] => {
                if let Settlement::Write(Value::Map(record)) = how {
                    self.put(before, record, &Known::All);
                }
                return;
            }
            [name] => is_whole(name),
            [outer, _] => outer == MAP,
            _ => false,
        };
        if whole {
            let act = match how {
                Settlement::Write(value) => Act::Anew(value.clone()),
                _ => Act::Keep,
            };
            self.fields.push((path.to_vec(), act));
        }
    }

    /// What is done to the field of sets.
    pub fn of_union(&self) -> impl Iterator<Item = &Act> {
        let is_union = |path: &Path| path.len() == 1 && path[0] == UNION;
        let acts = self.fields.iter().filter(move |(path, _)| is_union(path));
        acts.map(|(_, act)| act)
    }
}

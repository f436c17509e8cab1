//! Choosing operations that fit what their writer sees, on few keys and fields, so that real conflicts come about.
//!
//! Every plain value is written once only, so that the value a field shows tells which write it came from.

use crate::rng::Rng;
use headwater_core::{
    CollectionSchema, Database, DeleteRule, Edit, FieldType, Operation, Patch, Record, Value,
};
use std::collections::BTreeMap;

/// The keys that records have.
pub const KEYS: [&str; 3] = ["k0", "k1", "$k2"];
/// Fields that hold integers, each replaced as a whole.
pub const PLAIN: [&str; 3] = ["a", "$b", ""];
/// The nested map, whose fields are [`INNER`].
pub const MAP: &str = "m";
/// The fields of the nested map.
pub const INNER: [&str; 2] = ["x", "y"];
/// The counter.
pub const COUNTER: &str = "n";
/// The text.
pub const TEXT: &str = "t";
/// The list.
pub const LIST: &str = "l";
/// A field that holds values of any kind.
pub const MIXED: &str = "mix";

const FIELDS: [&str; 8] = ["a", "$b", "", MAP, COUNTER, TEXT, LIST, MIXED];

/// Draws operations.
pub struct Generator {
    unique: i64,
}

impl Generator {
    /// One that has drawn nothing yet.
    pub fn new() -> Self {
        Self { unique: 1000 }
    }

    /// An integer that was not drawn before.
    fn unique(&mut self) -> i64 {
        self.unique += 1;
        self.unique
    }

    /// An operation on records that `db` accepts.
    pub fn operation(&mut self, rng: &mut Rng, db: &Database, collection: &str) -> Operation {
        let key = *rng.pick(&KEYS);
        let before = db.get(collection, key);
        match before {
            Some(before) if rng.chance(62) => {
                Operation::Patch(key.to_owned(), self.patch(rng, &before))
            }
            Some(_) if rng.chance(60) => Operation::Delete(key.to_owned()),
            _ => {
                let mut records = BTreeMap::new();
                records.insert(key.to_owned(), self.record(rng, before.as_ref()));
                let other = *rng.pick(&KEYS);
                if other != key && rng.chance(10) {
                    let before = db.get(collection, other);
                    records.insert(other.to_owned(), self.record(rng, before.as_ref()));
                }
                Operation::Put(records)
            }
        }
    }

    /// An operation that has to be refused, whatever the database holds.
    pub fn refused(&mut self, rng: &mut Rng) -> Operation {
        let beyond = Edit::Splice {
            at: 1 << 20,
            delete: 1,
            insert: String::new(),
        };
        let patch = Patch::from([(TEXT.to_owned(), beyond)]);
        rng.pick(&[
            Operation::Patch("nobody has this".to_owned(), Patch::new()),
            Operation::Patch(KEYS[0].to_owned(), patch),
            Operation::Delete(String::new()),
            Operation::Declare(CollectionSchema::new().partitions(0)),
        ])
        .clone()
    }

    /// A declaration that may name a count out of `counts`.
    pub fn declaration(&mut self, rng: &mut Rng, counts: &[u32]) -> CollectionSchema {
        let mut schema = CollectionSchema::new();
        schema.partitions = rng.chance(70).then(|| *rng.pick(counts));
        let types = [
            (PLAIN[0], FieldType::Int),
            (MAP, FieldType::Map),
            (COUNTER, FieldType::Counter),
            (TEXT, FieldType::Text),
            (LIST, FieldType::List),
        ];
        for (name, kind) in types {
            if rng.chance(30) {
                schema = schema.field(name, kind);
            }
        }
        if rng.chance(15) {
            schema.delete = Some(*rng.pick(&[DeleteRule::EditWins, DeleteRule::DeleteWins]));
        }
        schema
    }

    /// A whole record, made of the one that is there.
    fn record(&mut self, rng: &mut Rng, before: Option<&Record>) -> Record {
        let mut record = before.cloned().unwrap_or_default();
        for field in FIELDS {
            let old = record.get(field).cloned();
            let keep_kind = !PLAIN.contains(&field) && field != MIXED;
            let (change, drop) = match (&old, keep_kind) {
                (None, _) => (55, 0),
                (Some(_), true) => (25, 2),
                (Some(_), false) => (35, 10),
            };
            if rng.chance(drop) {
                record.remove(field);
            } else if rng.chance(change) {
                let value = self.value(rng, field, old.as_ref());
                record.insert(field.to_owned(), value);
            }
        }
        record
    }

    /// A new value for `field`, which grows out of the old one where there is one.
    fn value(&mut self, rng: &mut Rng, field: &str, old: Option<&Value>) -> Value {
        match (field, old) {
            (MAP, old) => {
                let mut map = match old {
                    Some(Value::Map(map)) => map.clone(),
                    _ => Record::new(),
                };
                let name = *rng.pick(&INNER);
                if rng.chance(15) {
                    map.remove(name);
                } else {
                    map.insert(name.to_owned(), self.unique().into());
                }
                map.into()
            }
            (COUNTER, Some(old)) => (old.as_int().unwrap_or(0) + rng.below(9) as i64 - 3).into(),
            (COUNTER, None) => Value::Counter(rng.below(9) as i64),
            (TEXT, Some(old)) => {
                let mut chars: Vec<char> = old.as_str().unwrap_or_default().chars().collect();
                let at = rng.below(chars.len() + 1);
                chars.splice(at..at, self.token().chars());
                Value::String(chars.into_iter().collect())
            }
            (TEXT, None) => Value::Text(self.token()),
            (LIST, Some(Value::List(items))) => {
                let mut items = items.clone();
                let at = rng.below(items.len() + 1);
                if at < items.len() && rng.chance(30) {
                    items.remove(at);
                } else {
                    items.insert(at, self.unique().into());
                }
                items.into()
            }
            (LIST, _) => Value::List(vec![self.unique().into()]),
            (MIXED, _) => self.mixed(rng, 0),
            _ => self.unique().into(),
        }
    }

    /// What a text grows by; it holds a character beyond ASCII and one beyond 16 bits.
    fn token(&mut self) -> String {
        format!("é{}😀", self.unique())
    }

    fn mixed(&mut self, rng: &mut Rng, depth: usize) -> Value {
        let unique = self.unique();
        match rng.below(if depth < 2 { 12 } else { 10 }) {
            0 => Value::Null,
            1 => Value::Bool(rng.chance(50)),
            2 => Value::Int(rng.below(2) as i64),
            3 => Value::Uint(u64::MAX),
            4 => Value::Float(rng.below(3) as f64 / 2.0),
            5 => Value::String(format!("s{}", rng.below(2))),
            6 => Value::Text(format!("t{unique}")),
            7 => Value::Bytes(vec![1, 2]),
            8 => Value::Timestamp(unique),
            9 => Value::Counter(rng.below(3) as i64),
            10 => {
                let items = (0..rng.below(3)).map(|_| self.mixed(rng, depth + 1));
                Value::List(items.collect())
            }
            _ => {
                let names = ["z", "$deleted", "$counter:00"];
                let fields = (0..rng.below(3))
                    .map(|_| ((*rng.pick(&names)).to_owned(), self.mixed(rng, depth + 1)))
                    .collect();
                Value::Map(fields)
            }
        }
    }

    fn patch(&mut self, rng: &mut Rng, before: &Record) -> Patch {
        let mut patch = Patch::new();
        for _ in 0..1 + rng.below(2) {
            let field = *rng.pick(&FIELDS);
            let edit = self.edit(rng, field, before.get(field));
            patch.insert(field.to_owned(), edit);
        }
        patch
    }

    fn edit(&mut self, rng: &mut Rng, field: &str, old: Option<&Value>) -> Edit {
        let often = if PLAIN.contains(&field) || field == MIXED {
            12
        } else {
            2
        };
        if old.is_some() && rng.chance(often) {
            return Edit::Remove;
        }
        match (field, old) {
            (MAP, _) if rng.chance(70) => self.merge(rng, old),
            (COUNTER, _) | (MIXED, Some(Value::Counter(_))) if rng.chance(70) => {
                Edit::Increment(1 + rng.below(9) as i64 * if rng.chance(30) { -2 } else { 1 })
            }
            (TEXT, None) => Edit::Splice {
                at: 0,
                delete: 0,
                insert: self.token(),
            },
            (TEXT, Some(Value::Text(text))) if rng.chance(75) => {
                let length = text.chars().count();
                let at = rng.below(length + 1);
                let delete = if rng.chance(6) {
                    (length - at).min(2)
                } else {
                    0
                };
                let insert = self.token();
                Edit::Splice { at, delete, insert }
            }
            (LIST, Some(Value::List(items))) if rng.chance(75) => {
                let at = rng.below(items.len() + 1);
                let delete = usize::from(at < items.len() && rng.chance(25));
                let insert = (0..rng.below(3)).map(|_| self.unique().into()).collect();
                Edit::SpliceList { at, delete, insert }
            }
            _ => Edit::Set(self.value(rng, field, old)),
        }
    }

    fn merge(&mut self, rng: &mut Rng, old: Option<&Value>) -> Edit {
        let name = *rng.pick(&INNER);
        let there = matches!(old, Some(Value::Map(map)) if map.contains_key(name));
        let edit = if there && rng.chance(15) {
            Edit::Remove
        } else {
            Edit::Set(self.unique().into())
        };
        Edit::Merge(Patch::from([(name.to_owned(), edit)]))
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self::new()
    }
}

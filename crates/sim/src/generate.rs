//! Choosing operations that fit what their writer sees, on few keys and fields, so that real conflicts come about.
//!
//! Every plain value is written once only, so that the value a field shows tells which write it came from.

use crate::rng::Rng;
use crate::ruled::{self, RULED, UNION};
use headwater_core::policy::Policies;
use headwater_core::typed::Known;
use headwater_core::{
    Claim, CollectionSchema, Conflict, Database, DeleteRule, Edit, FieldType, Operation, Patch,
    Record, Settlement, Value,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The keys that records have.
pub const KEYS: [&str; 3] = ["k0", "k1", "$k2"];
/// Fields that hold integers, each replaced as a whole.
pub const PLAIN: [&str; 3] = ["a", "$b", ""];
/// The nested map, of integers.
pub const MAP: &str = "m";
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
    /// The keys of this program.
    keys: &'static [&'static str],
    /// The fields of this program's records.
    fields: Vec<&'static str>,
    /// The fields of the nested map, some of which have the name of a field that a policy is declared for.
    inner: Vec<&'static str>,
}

impl Generator {
    /// One that has drawn nothing yet. Some programs are about all that merges by itself, and most about two fields with
    /// a policy each.
    pub fn new(rng: &mut Rng) -> Self {
        let mut generator = Self {
            unique: 1000,
            keys: &KEYS,
            fields: FIELDS.to_vec(),
            inner: vec!["x", "y"],
        };
        if rng.chance(75) {
            let mut ruled = RULED.to_vec();
            rng.shuffle(&mut ruled);
            let more: [&[&str]; 6] = [&[MAP], &[MAP], &[COUNTER], &[TEXT], &[PLAIN[0]], &[]];
            generator.keys = &KEYS[..1 + usize::from(rng.chance(15))];
            generator.fields = [&ruled[..2], *rng.pick(&more)].concat();
            generator.inner = vec![ruled[0], if rng.chance(20) { "x" } else { ruled[0] }];
        }
        generator
    }

    /// Whether the programs' records have all that merges by itself.
    pub fn is_broad(&self) -> bool {
        self.fields.len() == FIELDS.len()
    }

    /// The keys of the records.
    pub fn keys(&self) -> &'static [&'static str] {
        self.keys
    }

    /// The fields of the records.
    pub fn fields(&self) -> &[&'static str] {
        &self.fields
    }

    /// An integer that was not drawn before.
    fn unique(&mut self) -> i64 {
        self.unique += 1;
        self.unique
    }

    /// An operation on records that `db` accepts.
    pub fn operation(&mut self, rng: &mut Rng, db: &Database, collection: &str) -> Operation {
        let key = *rng.pick(self.keys);
        let before = db.get(collection, key);
        let none = Policies::new();
        let declared = db.collections().get(collection);
        let policies = declared.map_or(&none, |declared| &declared.policies);
        let open = db.conflicts_of(collection, key);
        if !open.is_empty() && rng.chance(if self.is_broad() { 15 } else { 55 }) {
            let at = rng.below(open.len());
            return self.settle(rng, &open[at], policies, before.as_ref());
        }
        let broad = self.is_broad();
        match before {
            Some(before) if rng.chance(if broad { 62 } else { 72 }) => {
                Operation::Patch(key.to_owned(), self.patch(rng, &before, policies))
            }
            Some(_) if rng.chance(if broad { 60 } else { 45 }) => Operation::Delete(key.to_owned()),
            _ => {
                let mut records = BTreeMap::new();
                records.insert(key.to_owned(), self.record(rng, before.as_ref(), policies));
                let other = *rng.pick(self.keys);
                if other != key && rng.chance(10) {
                    let before = db.get(collection, other);
                    let record = self.record(rng, before.as_ref(), policies);
                    records.insert(other.to_owned(), record);
                }
                Operation::Put(records)
            }
        }
    }

    /// A put by an older writer, who knows some of the fields.
    pub fn put_known(&mut self, rng: &mut Rng, db: &Database, collection: &str) -> Operation {
        let key = *rng.pick(self.keys);
        let before = db.get(collection, key);
        let none = Policies::new();
        let declared = db.collections().get(collection);
        let policies = declared.map_or(&none, |declared| &declared.policies);
        let mut record = self.record(rng, before.as_ref(), policies);
        let known = self.fields.iter().filter(|_| rng.chance(50));
        let known: BTreeMap<String, Known> =
            known.map(|name| ((*name).to_owned(), Known::All)).collect();
        record.retain(|name, _| known.contains_key(name));
        let records = BTreeMap::from([(key.to_owned(), record)]);
        Operation::PutKnown(records, Arc::new(Known::Fields(known)))
    }

    /// Settles one of the conflicts that are open.
    fn settle(
        &mut self,
        rng: &mut Rng,
        conflict: &Conflict,
        policies: &Policies,
        before: Option<&Record>,
    ) -> Operation {
        let claims: Vec<&Claim> = conflict.losers.iter().chain(&conflict.winner).collect();
        let how = match rng.below(100) {
            0..35 => Settlement::Accept,
            35..75 if !claims.is_empty() => Settlement::Keep(rng.pick(&claims).id.clone()),
            _ => Settlement::Write(match conflict.field.as_slice() {
                [] => Value::Map(self.record(rng, before, policies)),
                [name] => self.value(rng, name, conflict.shown.as_ref(), policies),
                _ => self.unique().into(),
            }),
        };
        Operation::Settle(conflict.key.clone(), conflict.field.clone(), how)
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
        schema = ruled::declare(rng, &self.fields, schema);
        if rng.chance(15) {
            schema.delete = Some(*rng.pick(&[DeleteRule::EditWins, DeleteRule::DeleteWins]));
        }
        schema
    }

    /// A whole record, made of the one that is there.
    fn record(&mut self, rng: &mut Rng, before: Option<&Record>, policies: &Policies) -> Record {
        let mut record = before.cloned().unwrap_or_default();
        for field in self.fields.clone() {
            let old = record.get(field).cloned();
            let keep_kind = !is_replaced(field);
            let (change, drop) = match (&old, keep_kind) {
                (None, _) => (55, 0),
                (Some(_), true) => (25, 2),
                (Some(_), false) => (35, 10),
            };
            if rng.chance(drop) {
                record.remove(field);
            } else if rng.chance(change) {
                let value = self.value(rng, field, old.as_ref(), policies);
                record.insert(field.to_owned(), value);
            }
        }
        record
    }

    /// A new value for `field`, which grows out of the old one where there is one.
    fn value(
        &mut self,
        rng: &mut Rng,
        field: &str,
        old: Option<&Value>,
        policies: &Policies,
    ) -> Value {
        if RULED.contains(&field) {
            let unique = self.unique();
            return ruled::value(rng, field, policies.get(field), old, unique);
        }
        match (field, old) {
            (MAP, old) => {
                let mut map = match old {
                    Some(Value::Map(map)) => map.clone(),
                    _ => Record::new(),
                };
                let name = *rng.pick(&self.inner);
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

    fn patch(&mut self, rng: &mut Rng, before: &Record, policies: &Policies) -> Patch {
        let mut patch = Patch::new();
        for _ in 0..1 + rng.below(2) {
            let field = *rng.pick(&self.fields);
            let edit = self.edit(rng, field, before.get(field), policies);
            patch.insert(field.to_owned(), edit);
        }
        patch
    }

    fn edit(
        &mut self,
        rng: &mut Rng,
        field: &str,
        old: Option<&Value>,
        policies: &Policies,
    ) -> Edit {
        let often = match is_replaced(field) {
            true => 12,
            false if self.is_broad() => 2,
            false => 8,
        };
        if old.is_some() && rng.chance(often) {
            return Edit::Remove;
        }
        if RULED.contains(&field) {
            let unique = self.unique();
            if let Some(edit) = ruled::edit(rng, field, policies.get(field), old, unique) {
                return edit;
            }
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
            _ => Edit::Set(self.value(rng, field, old, policies)),
        }
    }

    fn merge(&mut self, rng: &mut Rng, old: Option<&Value>) -> Edit {
        let name = *rng.pick(&self.inner);
        let there = matches!(old, Some(Value::Map(map)) if map.contains_key(name));
        let edit = if there && rng.chance(15) {
            Edit::Remove
        } else {
            Edit::Set(self.unique().into())
        };
        Edit::Merge(Patch::from([(name.to_owned(), edit)]))
    }
}

/// Whether each value of this field takes the place of the one before as a whole.
fn is_replaced(field: &str) -> bool {
    PLAIN.contains(&field) || field == MIXED || (RULED.contains(&field) && field != UNION)
}

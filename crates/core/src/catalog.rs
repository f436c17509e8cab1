//! What a database knows of its collections. The catalog is records in the root document, so it merges as records do.

use crate::policy::{Policies, Policy};
use crate::value::{Record, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Into how many partitions a collection is spread unless it is declared otherwise.
pub const DEFAULT_PARTITIONS: u32 = 4;
/// The most partitions that a collection can be declared with.
pub const MAX_PARTITIONS: u32 = 4096;

/// What becomes of a record that one peer deletes while another, not knowing of it, edits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeleteRule {
    /// The record stays, with the edit: no offline edit is ever lost to a delete that had not seen it.
    #[default]
    EditWins,
    /// The record is deleted; the edit stays in the history.
    DeleteWins,
}

impl DeleteRule {
    /// The name under which the catalog keeps it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EditWins => "edit-wins",
            Self::DeleteWins => "delete-wins",
        }
    }
}

/// The declared type of a field, which decides how plain JSON is written into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    /// True or false.
    Bool,
    /// A 64-bit integer.
    Int,
    /// A double.
    Float,
    /// A string that writers replace as a whole.
    String,
    /// A string that concurrent writers edit together.
    Text,
    /// A number that concurrent writers add to.
    Counter,
    /// Milliseconds since 1970.
    Timestamp,
    /// Bytes.
    Bytes,
    /// A list.
    List,
    /// A nested map.
    Map,
    /// A type that this version does not know, kept as it was declared.
    Other(String),
}

const TYPES: [(&str, FieldType); 10] = [
    ("bool", FieldType::Bool),
    ("int", FieldType::Int),
    ("float", FieldType::Float),
    ("string", FieldType::String),
    ("text", FieldType::Text),
    ("counter", FieldType::Counter),
    ("timestamp", FieldType::Timestamp),
    ("bytes", FieldType::Bytes),
    ("list", FieldType::List),
    ("map", FieldType::Map),
];

impl FieldType {
    /// The name under which the catalog keeps it.
    pub fn name(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => TYPES
                .iter()
                .find(|(_, kind)| kind == known)
                .map_or("", |(name, _)| name),
        }
    }

    /// The type of this name; [`FieldType::Other`] if this version does not know it.
    pub fn of_name(name: &str) -> Self {
        TYPES
            .iter()
            .find(|(known, _)| *known == name)
            .map_or_else(|| Self::Other(name.to_owned()), |(_, kind)| kind.clone())
    }

    /// `value` as this type, where that loses nothing. A null fits every type.
    pub fn fit(&self, value: Value) -> Result<Value, Value> {
        const EXACT: i64 = 1 << 53;
        Ok(match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Text, Value::String(s)) => Value::Text(s),
            (Self::String, Value::Text(s)) => Value::String(s),
            (Self::Counter, Value::Int(n)) => Value::Counter(n),
            (Self::Int, Value::Counter(n)) => Value::Int(n),
            (Self::Timestamp, Value::Int(n)) => Value::Timestamp(n),
            (Self::Float, Value::Int(n)) if (-EXACT..=EXACT).contains(&n) => Value::Float(n as f64),
            (Self::Int, Value::Float(f))
                if f.fract() == 0.0
                    && f.abs() <= EXACT as f64
                    && !(f == 0.0 && f.is_sign_negative()) =>
            {
                Value::Int(f as i64)
            }
            (Self::Other(_), value) => value,
            (kind, value) if kind.name() == value.kind() => value,
            (_, value) => return Err(value),
        })
    }
}

/// What is declared of one collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectionSchema {
    /// Into how many partitions new records are spread, from 1 to [`MAX_PARTITIONS`]; `None` leaves it as it is,
    /// [`DEFAULT_PARTITIONS`] for a new collection.
    pub partitions: Option<u32>,
    /// The types of the fields that have one.
    pub fields: BTreeMap<String, FieldType>,
    /// What decides between concurrent values of the fields that have a policy.
    pub policies: Policies,
    /// What becomes of an edit that met a delete; `None` leaves it as it is.
    pub delete: Option<DeleteRule>,
    /// The application's number for this schema. The catalog keeps the greatest that anyone declared.
    pub version: Option<u32>,
}

impl CollectionSchema {
    /// One that declares nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares the type of a field.
    pub fn field(mut self, name: impl Into<String>, kind: FieldType) -> Self {
        self.fields.insert(name.into(), kind);
        self
    }

    /// Declares what decides between concurrent values of a field.
    pub fn policy(mut self, name: impl Into<String>, policy: Policy) -> Self {
        self.policies.insert(name.into(), policy);
        self
    }

    /// Declares the application's number for this schema.
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }

    /// Declares into how many partitions new records are spread.
    pub fn partitions(mut self, count: u32) -> Self {
        self.partitions = Some(count);
        self
    }

    /// Declares what becomes of an edit that met a delete.
    pub fn delete(mut self, rule: DeleteRule) -> Self {
        self.delete = Some(rule);
        self
    }
}

/// One collection as the merged catalog has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collection {
    /// Every partition count that any peer declared or wrote with. A key is read from each and written to the largest.
    pub partitions: BTreeSet<u32>,
    /// The declared types.
    pub fields: BTreeMap<String, FieldType>,
    /// The declared policies.
    pub policies: Policies,
    /// The delete rule.
    pub delete: DeleteRule,
    /// The greatest schema version that anyone declared; 0 if no one did.
    pub version: u32,
}

impl Collection {
    /// Reads the catalog's record of a collection. What does not fit is left out: a peer of another version wrote it.
    pub(crate) fn read(record: &Record) -> Self {
        let map = |name: &str| match record.get(name) {
            Some(Value::Map(map)) => Some(map),
            _ => None,
        };
        let declared = |what: &'static str| {
            let fields = map("fields").into_iter().flatten();
            fields.filter_map(move |(name, field)| match field {
                Value::Map(field) => Some((name.clone(), field.get(what)?.as_str()?)),
                _ => None,
            })
        };
        Self {
            partitions: map("partitions")
                .into_iter()
                .flat_map(Record::keys)
                .filter_map(|count| count.parse().ok())
                .filter(|count| (1..=MAX_PARTITIONS).contains(count))
                .collect(),
            fields: declared("type")
                .map(|(field, name)| (field, FieldType::of_name(name)))
                .collect(),
            policies: declared("policy")
                .map(|(field, name)| (field, Policy::of_name(name)))
                .collect(),
            version: map("versions")
                .into_iter()
                .flat_map(Record::keys)
                .filter_map(|version| version.parse().ok())
                .max()
                .unwrap_or(0),
            delete: match record.get("delete").and_then(Value::as_str) {
                Some("delete-wins") => DeleteRule::DeleteWins,
                _ => DeleteRule::EditWins,
            },
        }
    }

    /// The fields of the catalog's record that declaring `schema` sets.
    pub(crate) fn declaration(schema: &CollectionSchema) -> Record {
        let mut record = Record::new();
        // Numbers as names of a map: what two declare apart from each other adds up.
        for (name, number) in [
            ("partitions", schema.partitions),
            ("versions", schema.version),
        ] {
            if let Some(number) = number {
                let numbers = Record::from([(number.to_string(), Value::Bool(true))]);
                record.insert(name.to_owned(), Value::Map(numbers));
            }
        }
        let mut fields: BTreeMap<String, Record> = BTreeMap::new();
        for (name, kind) in &schema.fields {
            let field = fields.entry(name.clone()).or_default();
            field.insert("type".to_owned(), Value::from(kind.name()));
        }
        for (name, policy) in &schema.policies {
            let field = fields.entry(name.clone()).or_default();
            field.insert("policy".to_owned(), Value::String(policy.to_string()));
        }
        if !fields.is_empty() {
            let fields = fields
                .into_iter()
                .map(|(name, field)| (name, Value::Map(field)));
            record.insert("fields".to_owned(), Value::Map(fields.collect()));
        }
        if let Some(rule) = schema.delete {
            record.insert("delete".to_owned(), Value::from(rule.name()));
        }
        record
    }
}

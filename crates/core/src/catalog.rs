//! What a database knows of its collections. The catalog is records in the root document, so it merges as records do.

use crate::date::is_date;
use crate::decimal::{Decimal, MAX_PRECISION};
use crate::policy::{Policies, Policy};
use crate::value::{Record, Value};
use std::borrow::Cow;
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
    /// A decimal number: a string such as `-12.50`, or an integer or a float that is exactly one.
    Decimal {
        /// How many digits it has at most, from 1 to [`MAX_PRECISION`].
        precision: u8,
        /// How many of them stand after the point.
        scale: u8,
    },
    /// A calendar day: a string `yyyy-MM-dd`, of the years 1 to 9999.
    Date,
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

const TYPES: [(&str, FieldType); 11] = [
    ("bool", FieldType::Bool),
    ("int", FieldType::Int),
    ("float", FieldType::Float),
    ("string", FieldType::String),
    ("text", FieldType::Text),
    ("counter", FieldType::Counter),
    ("date", FieldType::Date),
    ("timestamp", FieldType::Timestamp),
    ("bytes", FieldType::Bytes),
    ("list", FieldType::List),
    ("map", FieldType::Map),
];

/// The names of all types, for messages.
pub const TYPE_NAMES: &str = "bool, int, float, decimal(PRECISION,SCALE), string, text, counter, date, timestamp, bytes, list or map";

impl FieldType {
    /// The name under which the catalog keeps it.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Other(name) => Cow::Borrowed(name),
            Self::Decimal { precision, scale } => {
                Cow::Owned(format!("decimal({precision},{scale})"))
            }
            known => TYPES
                .iter()
                .find(|(_, kind)| kind == known)
                .map_or(Cow::Borrowed(""), |(name, _)| Cow::Borrowed(*name)),
        }
    }

    /// The type of this name; [`FieldType::Other`] if this version does not know it.
    pub fn of_name(name: &str) -> Self {
        TYPES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| kind.clone())
            .or_else(|| Self::decimal(name))
            .unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    /// The type `decimal(PRECISION,SCALE)`, which has one spelling only.
    fn decimal(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("decimal(")?.strip_suffix(')')?;
        let (precision, scale) = digits.split_once(',')?;
        let decimal = Self::Decimal {
            precision: precision
                .parse()
                .ok()
                .filter(|precision| (1..=MAX_PRECISION).contains(precision))?,
            scale: scale.parse().ok()?,
        };
        let possible = matches!(decimal, Self::Decimal { precision, scale } if scale <= precision);
        (possible && decimal.name() == name).then_some(decimal)
    }

    /// Whether [`FieldType::fit`] takes `value`.
    pub fn fits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Other(_), _) | (_, Value::Null) => true,
            (Self::Text, Value::String(_))
            | (Self::String, Value::Text(_))
            | (Self::Counter, Value::Int(_))
            | (Self::Int, Value::Counter(_))
            | (Self::Timestamp, Value::Int(_)) => true,
            (Self::Float, Value::Int(n)) => (-EXACT..=EXACT).contains(n),
            (Self::Int, Value::Float(f)) => {
                f.fract() == 0.0 && f.abs() <= EXACT as f64 && !(*f == 0.0 && f.is_sign_negative())
            }
            (Self::Date, value) => value.as_str().is_some_and(is_date),
            (Self::Decimal { precision, scale }, value) => {
                Decimal::of_value(value, |decimal| decimal.fits(*precision, *scale))
                    .unwrap_or(false)
            }
            (kind, value) => kind.name() == value.kind(),
        }
    }

    /// `value` as this type, where that loses nothing. A null fits every type.
    pub fn fit(&self, value: Value) -> Result<Value, Value> {
        if !self.fits(&value) {
            return Err(value);
        }
        Ok(match (self, value) {
            (Self::Text, Value::String(s)) => Value::Text(s),
            (Self::String | Self::Date | Self::Decimal { .. }, Value::Text(s)) => Value::String(s),
            (Self::Counter, Value::Int(n)) => Value::Counter(n),
            (Self::Int | Self::Decimal { .. }, Value::Counter(n)) => Value::Int(n),
            (Self::Timestamp, Value::Int(n)) => Value::Timestamp(n),
            (Self::Float, Value::Int(n)) => Value::Float(n as f64),
            (Self::Int, Value::Float(f)) => Value::Int(f as i64),
            (_, value) => value,
        })
    }
}

/// Integers up to this size are all exactly floats.
const EXACT: i64 = 1 << 53;

/// What a field has in the tables that Drill queries, if it is not a column of its own name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum LakeColumn {
    /// A column of this name, as far as Drill can hold it.
    Named(String),
    /// No column: it is in the records only.
    Hidden,
}

impl LakeColumn {
    /// What the catalog keeps.
    fn to_value(&self) -> Value {
        match self {
            Self::Named(name) => Value::from(name.as_str()),
            Self::Hidden => Value::Bool(false),
        }
    }

    fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(false) => Some(Self::Hidden),
            value => value.as_str().map(Self::from),
        }
    }
}

impl From<&str> for LakeColumn {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<String> for LakeColumn {
    fn from(name: String) -> Self {
        Self::Named(name)
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
    /// What fields have in the tables that Drill queries, if not a column of their own name.
    pub columns: BTreeMap<String, LakeColumn>,
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

    /// Declares what a field has in the tables that Drill queries: a column of another name, or none
    /// ([`LakeColumn::Hidden`]). A field that is declared with its own name has the column that it has by itself.
    pub fn column(mut self, name: impl Into<String>, column: impl Into<LakeColumn>) -> Self {
        self.columns.insert(name.into(), column.into());
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
    /// What fields have in the tables that Drill queries, if that is declared.
    pub columns: BTreeMap<String, LakeColumn>,
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
                Value::Map(field) => Some((name.clone(), field.get(what)?)),
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
                .filter_map(|(field, name)| Some((field, FieldType::of_name(name.as_str()?))))
                .collect(),
            policies: declared("policy")
                .filter_map(|(field, name)| Some((field, Policy::of_name(name.as_str()?))))
                .collect(),
            columns: declared("column")
                .filter_map(|(field, column)| Some((field, LakeColumn::of_value(column)?)))
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
            field.insert("type".to_owned(), Value::from(kind.name().as_ref()));
        }
        for (name, policy) in &schema.policies {
            let field = fields.entry(name.clone()).or_default();
            field.insert("policy".to_owned(), Value::String(policy.to_string()));
        }
        for (name, column) in &schema.columns {
            let field = fields.entry(name.clone()).or_default();
            field.insert("column".to_owned(), column.to_value());
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

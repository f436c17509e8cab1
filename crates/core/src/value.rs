//! Field values, and their canonical JSON.

use std::collections::BTreeMap;

/// The fields of one record by name.
pub type Record = BTreeMap<String, Value>;

/// How deep lists and maps may nest in one field.
pub const MAX_DEPTH: usize = 64;

/// One field's value.
///
/// Equality is bit for bit on floats (a NaN equals itself, `0.0` differs from `-0.0`), because it decides whether a
/// write changes anything.
#[derive(Debug, Clone)]
pub enum Value {
    /// An explicit null; a field that is absent has no value at all.
    Null,
    /// True or false.
    Bool(bool),
    /// A 64-bit signed integer.
    Int(i64),
    /// An integer above `i64::MAX`. Smaller ones are always [`Value::Int`].
    Uint(u64),
    /// A double.
    Float(f64),
    /// A string that concurrent writers replace as a whole.
    String(String),
    /// A string that concurrent writers edit together, character by character.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A point in time, milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A number that concurrent writers add to; the sum of all increments.
    Counter(i64),
    /// A list; concurrent edits of one list merge by element.
    List(Vec<Value>),
    /// A nested map; concurrent edits merge field by field.
    Map(Record),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b))
            | (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::Counter(a), Self::Counter(b)) => a == b,
            (Self::Uint(a), Self::Uint(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => {
                a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
            }
            (Self::String(a), Self::String(b)) | (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Value {
    /// The kind's name, as the catalog and error messages write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Uint(_) => "int",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "timestamp",
            Self::Counter(_) => "counter",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// About how many bytes of memory it takes.
    pub fn size(&self) -> usize {
        std::mem::size_of::<Self>()
            + match self {
                Self::String(text) | Self::Text(text) => text.len(),
                Self::Bytes(bytes) => bytes.len(),
                Self::List(items) => items.iter().map(Self::size).sum(),
                Self::Map(fields) => fields
                    .iter()
                    .map(|(name, it)| 32 + name.len() + it.size())
                    .sum(),
                _ => 0,
            }
    }

    /// How many levels of lists and maps this value has; 0 for a scalar.
    pub fn depth(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(fields) => 1 + fields.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The string, for [`Value::String`] and [`Value::Text`].
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) | Self::Text(s) => Some(s),
            _ => None,
        }
    }

    /// The integer, for [`Value::Int`] and [`Value::Counter`].
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) | Self::Counter(n) => Some(*n),
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Uint(value), Self::Int)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Self {
        Self::List(value)
    }
}

impl From<Record> for Value {
    fn from(value: Record) -> Self {
        Self::Map(value)
    }
}

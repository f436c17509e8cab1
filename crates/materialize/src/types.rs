//! What a column can hold: inferred from values, and only ever widened.

use headwater_core::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Integers up to this size are all exactly representable as doubles.
const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// The timestamps that Drill holds: the years 1 to 9999, in milliseconds since 1970.
pub(crate) const TIMESTAMPS: std::ops::RangeInclusive<i64> =
    -62_135_596_800_000..=253_402_300_799_999;

/// The type of a column, of a struct's member or of a list's elements.
///
/// The types form a join semilattice with [`Type::Null`] below and [`Type::Text`] above all others, so the order in which
/// values are seen makes no difference.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// Nothing but nulls so far.
    #[default]
    Null,
    /// `BOOLEAN`.
    Bool,
    /// `BIGINT`. `wide`: one of them is not exactly a double.
    Int {
        /// Whether an integer beyond ±2^53 is among them.
        wide: bool,
    },
    /// `DOUBLE`.
    Double,
    /// `TIMESTAMP`, to the millisecond, without a zone.
    Timestamp,
    /// `VARBINARY`.
    Bytes,
    /// `VARCHAR`, which holds whatever fits nothing else.
    Text,
    /// `STRUCT`, by the member's name in the record.
    Struct(BTreeMap<String, Member>),
    /// `ARRAY` of scalars or of structs.
    List(Box<Type>),
}

/// One member of a [`Type::Struct`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name in the table; empty until one was assigned.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: Type,
}

/// A type that the catalog declares for a field: the least that its column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredType {
    /// `bool`.
    Bool,
    /// `int` and `counter`.
    Int,
    /// `float`.
    Float,
    /// `string` and `text`.
    Text,
    /// `timestamp`.
    Timestamp,
    /// `bytes`.
    Bytes,
}

/// A name that is not one of the catalog's types with a column type of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no column type; known are bool, int, counter, float, string, text, timestamp and bytes"
)]
pub struct UnknownType(String);

impl std::str::FromStr for DeclaredType {
    type Err = UnknownType;

    fn from_str(name: &str) -> Result<Self, UnknownType> {
        Ok(match name {
            "bool" => Self::Bool,
            "int" | "counter" => Self::Int,
            "float" => Self::Float,
            "string" | "text" => Self::Text,
            "timestamp" => Self::Timestamp,
            "bytes" => Self::Bytes,
            _ => return Err(UnknownType(name.chars().take(64).collect())),
        })
    }
}

impl From<DeclaredType> for Type {
    fn from(declared: DeclaredType) -> Self {
        match declared {
            DeclaredType::Bool => Self::Bool,
            DeclaredType::Int => Self::Int { wide: false },
            DeclaredType::Float => Self::Double,
            DeclaredType::Text => Self::Text,
            DeclaredType::Timestamp => Self::Timestamp,
            DeclaredType::Bytes => Self::Bytes,
        }
    }
}

impl Type {
    /// The least type that holds `value`.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Int(n) | Value::Counter(n) => Self::Int {
                wide: n.unsigned_abs() > EXACT_IN_DOUBLE,
            },
            Value::Float(_) => Self::Double,
            Value::Timestamp(ms) if TIMESTAMPS.contains(ms) => Self::Timestamp,
            Value::Bytes(_) => Self::Bytes,
            Value::String(_) | Value::Text(_) | Value::Uint(_) | Value::Timestamp(_) => Self::Text,
            Value::List(items) => {
                let mut elements = Self::Null;
                for item in items {
                    match join_elements(elements, Self::of(item), item) {
                        Some(joined) => elements = joined,
                        None => return Self::Text,
                    }
                }
                Self::List(Box::new(elements))
            }
            Value::Map(_) => {
                let mut kind = Self::Struct(BTreeMap::new());
                kind.widen(value);
                kind
            }
        }
    }

    /// Widens so that `value` fits as well.
    pub fn widen(&mut self, value: &Value) {
        match (&mut *self, value) {
            (_, Value::Null)
            | (Self::Text, _)
            | (Self::Bool, Value::Bool(_))
            | (Self::Double, Value::Float(_)) => {}
            (Self::Struct(members), Value::Map(fields)) => {
                for (field, value) in fields {
                    match members.get_mut(field) {
                        Some(member) => member.kind.widen(value),
                        None => {
                            let member = Member {
                                name: String::new(),
                                kind: Self::of(value),
                            };
                            members.insert(field.clone(), member);
                        }
                    }
                }
            }
            _ => {
                let kind = std::mem::take(self);
                *self = kind.join(Self::of(value));
            }
        }
    }

    /// The least type that holds all that either holds.
    pub fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Int { wide: a }, Self::Int { wide: b }) => Self::Int { wide: a || b },
            (Self::Int { wide: false }, Self::Double)
            | (Self::Double, Self::Int { wide: false }) => Self::Double,
            (Self::Struct(mut members), Self::Struct(others)) => {
                for (field, other) in others {
                    match members.get_mut(&field) {
                        Some(member) => {
                            let kind = std::mem::take(&mut member.kind);
                            member.kind = kind.join(other.kind);
                        }
                        None => {
                            members.insert(field, other);
                        }
                    }
                }
                Self::Struct(members)
            }
            (Self::List(a), Self::List(b)) => match join_same_elements(*a, *b) {
                Some(elements) => Self::List(Box::new(elements)),
                None => Self::Text,
            },
            (a, b) if a == b => a,
            _ => Self::Text,
        }
    }

    /// Whether Drill must be shown the members by a typing row: a struct, or a list of structs.
    pub(crate) fn is_nested(&self) -> bool {
        match self {
            Self::Struct(members) => !members.is_empty(),
            Self::List(elements) => elements.is_nested(),
            _ => false,
        }
    }

    /// Whether cells are written as text: what is text, and a map or list of maps of which no member is known yet.
    pub(crate) fn is_text(&self) -> bool {
        match self {
            Self::Text => true,
            Self::Struct(members) => members.is_empty(),
            Self::List(elements) => {
                matches!(&**elements, Self::Struct(members) if members.is_empty())
            }
            _ => false,
        }
    }

    /// How many scalars or lists of scalars it has.
    pub(crate) fn leaves(&self) -> usize {
        match self {
            Self::Struct(members) => members.values().map(|member| member.kind.leaves()).sum(),
            Self::List(elements) => elements.leaves(),
            _ => 1,
        }
    }

    /// Whether rows written for this type read the same when written for `wider`.
    pub(crate) fn renders_like(&self, wider: &Self) -> bool {
        match (self, wider) {
            (Self::Null, wider) => !wider.is_nested(),
            (Self::Int { .. }, Self::Int { .. } | Self::Double) => true,
            (Self::List(a), Self::List(b)) => {
                a == b || (!b.is_nested() && !wider.is_text() && a.renders_like(b))
            }
            _ => self == wider,
        }
    }
}

/// The type of elements when one more is seen, or nothing if a list of both is no array.
fn join_elements(elements: Type, other: Type, item: &Value) -> Option<Type> {
    // Drill's arrays hold no nulls (they read as "" and 0), and arrays of arrays are told apart by nothing.
    if matches!(item, Value::Null | Value::List(_)) {
        return None;
    }
    join_same_elements(elements, other)
}

fn join_same_elements(a: Type, b: Type) -> Option<Type> {
    let both_text = matches!(a, Type::Text | Type::Null) && matches!(b, Type::Text | Type::Null);
    match a.join(b) {
        Type::Text if !both_text => None,
        joined => Some(joined),
    }
}

//! What a column can hold: inferred from values, and only ever widened.

use crate::number::Number;
use headwater_core::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// `BIGINT`, `DOUBLE` or `DECIMAL`, whichever holds all of these numbers exactly.
    Number(Number),
    /// `DECIMAL` of the declared digits. Only declared, never inferred.
    Decimal {
        /// How many digits it has.
        precision: u8,
        /// How many of them stand after the point.
        scale: u8,
    },
    /// `DATE`. Only declared, never inferred.
    Date,
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

impl Type {
    /// The least type that holds `value`.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Timestamp(ms) if TIMESTAMPS.contains(ms) => Self::Timestamp,
            Value::Bytes(_) => Self::Bytes,
            Value::String(_) | Value::Text(_) | Value::Timestamp(_) => Self::Text,
            Value::Int(_) | Value::Uint(_) | Value::Counter(_) | Value::Float(_) => {
                Self::Number(Number::of(value))
            }
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
            (_, Value::Null) | (Self::Text, _) | (Self::Bool, Value::Bool(_)) => {}
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
            (Self::Number(a), Self::Number(b)) => a.join(b).map_or(Self::Text, Self::Number),
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
            (Self::Number(a), Self::Number(b)) => a.shape().renders_like(b.shape()),
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

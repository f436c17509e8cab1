//! Records as Rust types, through serde.
//!
//! [`to_record`] and [`from_record`] go straight between a type and [`Value`], so nothing is rounded or dropped on the
//! way: integers are exact, NaN stays NaN, bytes stay bytes. The shapes are those of serde_json: structs and maps
//! become maps, `None` becomes null, an enum's variant becomes its name or a map with that one name. What serde has no
//! word for has a wrapper type here: [`Text`], [`Counter`], [`Timestamp`], [`Bytes`]; [`Value`] itself stands for a
//! field of any kind. Under another serializer all of them take the canonical JSON form (see [`crate::json`]).
//!
//! Reading is as tolerant as serde_json: a float field takes an integer, an integer field takes a float without a
//! fraction, a counter or a timestamp; strings and texts are alike. Where serde buffers a value before it knows the
//! type (`flatten`, `untagged`, `tag = …`) it gets the canonical JSON form: a timestamp is tagged there, so take
//! [`Timestamp`], not `i64`; texts and counters are plain, which a field that holds one takes back as an edit of it.

mod de;
mod known;
mod ser;
mod special;

pub use known::Known;
pub use special::{Bytes, Counter, Text, Timestamp};

use crate::value::{MAX_DEPTH, Record, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Why a Rust value is not a record, or a record not of a Rust type; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", Place(path))]
pub struct TypedError {
    path: String,
    problem: TypedProblem,
}

/// What is wrong at [`TypedError::path`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedProblem {
    /// Only a struct, a map or an enum variant with content is a record.
    #[error("a record must be a struct or a map, not a {found}")]
    NotARecord {
        /// The kind that it became.
        found: &'static str,
    },
    /// A map key that cannot be a field name.
    #[error(
        "a {found} cannot be a field name; use strings, integers, booleans or characters as keys"
    )]
    Key {
        /// What the key was.
        found: &'static str,
    },
    /// Two entries of a map, or two flattened fields, with one name.
    #[error("two fields have this name, so one would be lost")]
    DuplicateName,
    /// An integer outside 64 bits.
    #[error("the integer {number} does not fit into 64 bits; use a string or a float")]
    IntegerRange {
        /// The integer in decimal.
        number: String,
    },
    /// Lists and maps nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels; flatten the type")]
    TooDeep,
    /// What the type's own `Serialize` or `Deserialize` says, such as a missing field or another type.
    #[error("{0}")]
    Type(String),
}

/// A path as the beginning of a message; the record itself has none.
struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "field `{}`: ", self.0)
    }
}

impl TypedError {
    /// The field, such as `address.lines[2]`; empty for the record as a whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    pub fn problem(&self) -> &TypedProblem {
        &self.problem
    }

    fn new(problem: TypedProblem) -> Self {
        Self {
            path: String::new(),
            problem,
        }
    }

    // The path grows from the inside out while the error travels up, so that success costs nothing.
    fn in_field(mut self, name: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    fn in_item(mut self, index: usize) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("[{index}]{dot}{}", self.path);
        self
    }
}

impl serde::ser::Error for TypedError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(TypedProblem::Type(message.to_string()))
    }
}

impl serde::de::Error for TypedError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(TypedProblem::Type(message.to_string()))
    }
}

/// The record that a struct, a map or an enum stands for.
pub fn to_record<T: Serialize + ?Sized>(value: &T) -> Result<Record, TypedError> {
    match value.serialize(ser::ValueSerializer::record())? {
        Value::Map(record) => Ok(record),
        other => Err(TypedError::new(TypedProblem::NotARecord {
            found: other.kind(),
        })),
    }
}

/// The field value that a Rust value stands for.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, TypedError> {
    value.serialize(ser::ValueSerializer::field())
}

/// A record as a Rust type.
pub fn from_record<T: DeserializeOwned>(record: &Record) -> Result<T, TypedError> {
    T::deserialize(de::RecordDeserializer(record))
}

/// A field value as a Rust type.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, TypedError> {
    T::deserialize(de::ValueDeserializer(value))
}

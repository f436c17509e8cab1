//! The values that serde has no word for, and [`Value`] itself.
//!
//! Each serializes under a name that this module's serializer recognises, around content that is the canonical JSON
//! form: any other serializer ignores the name and writes the content.

use crate::json;
use crate::value::{Record, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use std::fmt;

/// A struct of this name holds one field, the tag.
pub(super) const TAGGED: &str = "$headwater::tagged";
/// Asked for under this name, a value comes with its kind, in canonical form.
pub(super) const ANY: &str = "$headwater::any";
const TEXT: &str = "$headwater::text";
const COUNTER: &str = "$headwater::counter";
/// A map whose names are escaped as in canonical JSON.
const MAP: &str = "$headwater::map";

/// A string that concurrent writers edit together, character by character: [`Value::Text`].
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub String);

/// A number that concurrent writers add to: [`Value::Counter`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter(pub i64);

/// A point in time, milliseconds since 1970-01-01T00:00:00Z: [`Value::Timestamp`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Bytes: [`Value::Bytes`]. A plain `Vec<u8>` is a list of integers.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

/// What a newtype of this name makes of its content.
pub(super) fn marked(name: &str, content: Value) -> Value {
    match (name, content) {
        (TEXT, Value::String(text)) => Value::Text(text),
        (COUNTER, Value::Int(n)) => Value::Counter(n),
        (MAP, Value::Map(escaped)) => Value::Map(unescape(escaped)),
        (_, content) => content,
    }
}

fn unescape(escaped: Record) -> Record {
    let unescaped = |name: String| match name.strip_prefix('$') {
        Some(rest) => rest.to_owned(),
        None => name,
    };
    let fields = escaped.into_iter();
    fields.map(|(n, v)| (unescaped(n), v)).collect()
}

fn tag<S: Serializer, T: Serialize>(
    s: S,
    tag: &'static str,
    content: T,
) -> Result<S::Ok, S::Error> {
    let mut object = s.serialize_struct(TAGGED, 1)?;
    object.serialize_field(tag, &content)?;
    object.end()
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(TEXT, &self.0)
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(COUNTER, &self.0)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        tag(serializer, "$timestamp", self.0)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        tag(serializer, "$bytes", BASE64.encode(&self.0))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Int(n) => serializer.serialize_i64(*n),
            Value::Uint(n) => serializer.serialize_u64(*n),
            Value::Float(f) if f.is_nan() => tag(serializer, "$float", "NaN"),
            Value::Float(f64::INFINITY) => tag(serializer, "$float", "Infinity"),
            Value::Float(f64::NEG_INFINITY) => tag(serializer, "$float", "-Infinity"),
            Value::Float(f) => serializer.serialize_f64(*f),
            Value::String(s) => serializer.serialize_str(s),
            Value::Text(s) => serializer.serialize_newtype_struct(TEXT, s),
            Value::Bytes(b) => tag(serializer, "$bytes", BASE64.encode(b)),
            Value::Timestamp(ms) => Timestamp(*ms).serialize(serializer),
            Value::Counter(n) => Counter(*n).serialize(serializer),
            Value::List(items) => items.serialize(serializer),
            Value::Map(fields) => serializer.serialize_newtype_struct(MAP, &Escaped(fields)),
        }
    }
}

/// A map with the user's names that begin with `$` doubled.
struct Escaped<'a>(&'a Record);

impl Serialize for Escaped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            match name.starts_with('$') {
                true => map.serialize_entry(&format!("${name}"), value)?,
                false => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) | Value::Text(text) => Ok(Self(text)),
            other => Err(unexpected(&other, "a text")),
        }
    }
}

impl<'de> Deserialize<'de> for Counter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Int(n) | Value::Counter(n) => Ok(Self(n)),
            other => Err(unexpected(&other, "a counter")),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Int(ms) | Value::Timestamp(ms) => Ok(Self(ms)),
            other => Err(unexpected(&other, "a timestamp in milliseconds")),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bytes(bytes) => Ok(Self(bytes)),
            other => Err(unexpected(&other, "bytes")),
        }
    }
}

fn unexpected<E: serde::de::Error>(found: &Value, expected: &str) -> E {
    E::custom(format_args!("expected {expected}, not a {}", found.kind()))
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ANY, ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that Headwater can hold")
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }
    fn visit_bytes<E>(self, v: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(v.to_vec()))
    }
    fn visit_byte_buf<E>(self, v: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(v))
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        Value::deserialize(d)
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        json::object(fields).map_err(A::Error::custom)
    }
}

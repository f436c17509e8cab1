//! Canonical JSON of values and records, and reading it back.
//!
//! Plain JSON wherever JSON has the type. What it lacks is an object with one reserved key: `{"$bytes": base64}`,
//! `{"$timestamp": milliseconds}`, `{"$float": "NaN" | "Infinity" | "-Infinity"}`; on input also `{"$text": string}` and
//! `{"$counter": integer}`, which output writes as a plain string and integer, since a field that holds a text or a
//! counter keeps that kind. A name of a user's that begins with `$` is written with one more.

use crate::value::{MAX_DEPTH, Record, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// Why a JSON value is not a Headwater value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A record must be an object.
    #[error(
        "a record must be a JSON object, not {found}; wrap the value in an object with a field name"
    )]
    NotAnObject {
        /// What stood there.
        found: &'static str,
    },
    /// An object with a reserved key that is not one of the known forms.
    #[error(
        "the name {name:?} is reserved: names that begin with `$` mark special values ($bytes, $timestamp, $float, $text, $counter); \
         write a field of your own with one more `$`"
    )]
    ReservedName {
        /// The name as found.
        name: String,
    },
    /// A tagged value whose content does not fit its tag.
    #[error("{tag} needs {expected}")]
    BadTag {
        /// The tag as found.
        tag: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A number that neither a 64-bit integer nor a double holds.
    #[error(
        "the number {number} is outside what can be stored exactly: integers have 64 bits; write it as a string, \
         or with a point or an exponent if the nearest double will do"
    )]
    NumberOutOfRange {
        /// The number as found, shortened.
        number: String,
    },
    /// One name twice in one object.
    #[error("the name {name:?} stands twice in one object; keep one of them")]
    DuplicateName {
        /// The name as found.
        name: String,
    },
    /// Lists and maps nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels; flatten the record")]
    TooDeep,
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Syntax(String),
}

/// Canonical JSON of a record: names in byte order, no blanks. Equal records give equal text.
pub fn record_to_json(record: &Record) -> String {
    let mut out = String::new();
    write_map(&mut out, record);
    out
}

/// Canonical JSON of one value.
pub fn value_to_json(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // All that needs no escape goes as one piece. What needs one is a single byte, and no byte of a longer character.
    while let Some(at) = rest
        .bytes()
        .position(|b| b < 0x20 || b == b'"' || b == b'\\')
    {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b => {
                let _ = write!(out, "\\u{b:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends canonical JSON of one value.
pub fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) | Value::Counter(n) => {
            let _ = write!(out, "{n}");
        }
        Value::Uint(n) => {
            let _ = write!(out, "{n}");
        }
        Value::Float(f) if f.is_nan() => out.push_str("{\"$float\":\"NaN\"}"),
        Value::Float(f) if f.is_infinite() => {
            let sign = if *f < 0.0 { "-" } else { "" };
            let _ = write!(out, "{{\"$float\":\"{sign}Infinity\"}}");
        }
        // Debug always writes a point or an exponent, so a double never reads back as an integer.
        Value::Float(f) => {
            let _ = write!(out, "{f:?}");
        }
        Value::String(s) | Value::Text(s) => write_string(out, s),
        Value::Bytes(b) => {
            let _ = write!(out, "{{\"$bytes\":\"{}\"}}", BASE64.encode(b));
        }
        Value::Timestamp(ms) => {
            let _ = write!(out, "{{\"$timestamp\":{ms}}}");
        }
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Map(fields) => write_map(out, fields),
    }
}

fn write_map(out: &mut String, fields: &Record) {
    out.push('{');
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if name.starts_with('$') {
            write_string(out, &format!("${name}"));
        } else {
            write_string(out, name);
        }
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

/// Reads a record from parsed JSON.
pub fn record_from_json(json: &serde_json::Value) -> Result<Record, JsonError> {
    record_from_str(&json.to_string())
}

/// Reads a record from JSON text, exactly: see [`value_from_str`].
pub fn record_from_str(text: &str) -> Result<Record, JsonError> {
    match read_text(text, 0)? {
        Value::Map(record) => Ok(record),
        other => Err(JsonError::NotAnObject {
            found: other.kind(),
        }),
    }
}

/// Reads a value from parsed JSON.
pub fn value_from_json(json: &serde_json::Value) -> Result<Value, JsonError> {
    value_from_str(&json.to_string())
}

/// Reads a value from JSON text. A number without point and exponent is an integer and exact, or an error outside 64
/// bits; every other number is the nearest double, or an error beyond the largest one. A name that an object holds
/// twice is an error, since one of its values would vanish.
pub fn value_from_str(text: &str) -> Result<Value, JsonError> {
    read_text(text, 1)
}

// Through `RawValue`, because serde_json's own tree rounds large integers to doubles and keeps the last of two equal
// names. Each level is scanned once more than the one above it, which MAX_DEPTH bounds.
fn read_text(text: &str, depth: usize) -> Result<Value, JsonError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(syntax)?;
    read_raw(raw, depth)
}

fn read_raw(raw: &RawValue, depth: usize) -> Result<Value, JsonError> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'"') => Value::String(serde_json::from_str(text).map_err(syntax)?),
        Some(b'[' | b'{') if depth > MAX_DEPTH => return Err(JsonError::TooDeep),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(syntax)?;
            let items = items.into_iter().map(|item| read_raw(item, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        Some(b'{') => {
            let Fields(fields) = serde_json::from_str(text).map_err(syntax)?;
            let fields = fields
                .into_iter()
                .map(|(name, raw)| Ok((name, read_raw(raw, depth + 1)?)));
            return object(fields.collect::<Result<_, _>>()?);
        }
        _ => return read_number(text),
    })
}

fn read_number(text: &str) -> Result<Value, JsonError> {
    let out_of_range = || JsonError::NumberOutOfRange {
        // Long enough to recognise it; a number may be as long as the file.
        number: text.chars().take(40).collect(),
    };
    if text.contains(['.', 'e', 'E']) {
        return match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Value::Float(float)),
            _ => Err(out_of_range()),
        };
    }
    if text == "-0" {
        return Ok(Value::Float(-0.0));
    }
    text.parse()
        .map(Value::Int)
        .or_else(|_| text.parse().map(Value::Uint))
        .map_err(|_| out_of_range())
}

fn syntax(error: serde_json::Error) -> JsonError {
    JsonError::Syntax(error.to_string())
}

/// An object's fields in the order of the text, equal names included.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Fields<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// The value that an object with these fields stands for: a tagged value, or a map with its names unescaped.
pub(crate) fn object(mut fields: Vec<(String, Value)>) -> Result<Value, JsonError> {
    if let [(tag, _)] = fields.as_slice()
        && tag.starts_with('$')
        && !tag.starts_with("$$")
        && let Some((tag, content)) = fields.pop()
    {
        return tagged(tag, content);
    }
    let mut record = Record::new();
    for (name, value) in fields {
        let name = match name.strip_prefix('$') {
            Some(rest) if rest.starts_with('$') => rest.to_owned(),
            Some(_) => return Err(JsonError::ReservedName { name }),
            None => name,
        };
        if record.contains_key(&name) {
            return Err(JsonError::DuplicateName { name });
        }
        record.insert(name, value);
    }
    Ok(Value::Map(record))
}

fn tagged(tag: String, content: Value) -> Result<Value, JsonError> {
    let expected = match (tag.as_str(), content) {
        ("$timestamp", Value::Int(ms)) => return Ok(Value::Timestamp(ms)),
        ("$counter", Value::Int(n)) => return Ok(Value::Counter(n)),
        ("$text", Value::String(text)) => return Ok(Value::Text(text)),
        ("$bytes", Value::String(text)) => match BASE64.decode(text) {
            Ok(bytes) => return Ok(Value::Bytes(bytes)),
            Err(_) => "a base64 string",
        },
        ("$float", Value::String(name)) => match name.as_str() {
            "NaN" => return Ok(Value::Float(f64::NAN)),
            "Infinity" => return Ok(Value::Float(f64::INFINITY)),
            "-Infinity" => return Ok(Value::Float(f64::NEG_INFINITY)),
            _ => "\"NaN\", \"Infinity\" or \"-Infinity\"",
        },
        ("$timestamp", _) => "milliseconds since 1970 as a 64-bit integer",
        ("$counter", _) => "a 64-bit integer",
        ("$text", _) => "a string",
        ("$bytes", _) => "a base64 string",
        ("$float", _) => "\"NaN\", \"Infinity\" or \"-Infinity\"",
        _ => return Err(JsonError::ReservedName { name: tag }),
    };
    Err(JsonError::BadTag { tag, expected })
}

//! Canonical JSON of values and records, and reading it back.
//!
//! Plain JSON wherever JSON has the type. What it lacks is an object with one reserved key: `{"$bytes": base64}`,
//! `{"$timestamp": milliseconds}`, `{"$float": "NaN" | "Infinity" | "-Infinity"}`; on input also `{"$text": string}` and
//! `{"$counter": integer}`, which output writes as a plain string and integer, since a field that holds a text or a
//! counter keeps that kind. A name of a user's that begins with `$` is written with one more.

use crate::value::{MAX_DEPTH, Record, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
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
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn write_value(out: &mut String, value: &Value) {
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
    match value_from_json(json)? {
        Value::Map(record) => Ok(record),
        other => Err(JsonError::NotAnObject {
            found: other.kind(),
        }),
    }
}

/// Reads a record from JSON text.
pub fn record_from_str(text: &str) -> Result<Record, JsonError> {
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| JsonError::Syntax(error.to_string()))?;
    record_from_json(&json)
}

/// Reads a value from parsed JSON. Integers stay integers (exact up to 64 bits), everything else with a point or an
/// exponent is a double.
pub fn value_from_json(json: &serde_json::Value) -> Result<Value, JsonError> {
    read_value(json, 0)
}

fn read_value(json: &serde_json::Value, depth: usize) -> Result<Value, JsonError> {
    use serde_json::Value as Json;
    if depth > MAX_DEPTH {
        return Err(JsonError::TooDeep);
    }
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(n)) => Value::Uint(n),
            (None, None) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::String(s.clone()),
        Json::Array(items) => Value::List(
            items
                .iter()
                .map(|item| read_value(item, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Json::Object(fields) => return read_object(fields, depth),
    })
}

fn read_object(
    fields: &serde_json::Map<String, serde_json::Value>,
    depth: usize,
) -> Result<Value, JsonError> {
    if let (1, Some((tag, content))) = (fields.len(), fields.iter().next())
        && tag.starts_with('$')
        && !tag.starts_with("$$")
    {
        return read_tagged(tag, content);
    }
    let mut record = Record::new();
    for (name, value) in fields {
        let name = match name.strip_prefix('$') {
            Some(rest) if rest.starts_with('$') => rest,
            Some(_) => {
                return Err(JsonError::ReservedName { name: name.clone() });
            }
            None => name,
        };
        record.insert(name.to_owned(), read_value(value, depth + 1)?);
    }
    Ok(Value::Map(record))
}

fn read_tagged(tag: &str, content: &serde_json::Value) -> Result<Value, JsonError> {
    let bad = |expected| JsonError::BadTag {
        tag: tag.to_owned(),
        expected,
    };
    match tag {
        "$bytes" => content
            .as_str()
            .and_then(|text| BASE64.decode(text).ok())
            .map(Value::Bytes)
            .ok_or_else(|| bad("a base64 string")),
        "$timestamp" => content
            .as_i64()
            .map(Value::Timestamp)
            .ok_or_else(|| bad("milliseconds since 1970 as an integer")),
        "$counter" => content
            .as_i64()
            .map(Value::Counter)
            .ok_or_else(|| bad("an integer")),
        "$text" => content
            .as_str()
            .map(|text| Value::Text(text.to_owned()))
            .ok_or_else(|| bad("a string")),
        "$float" => match content.as_str() {
            Some("NaN") => Ok(Value::Float(f64::NAN)),
            Some("Infinity") => Ok(Value::Float(f64::INFINITY)),
            Some("-Infinity") => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => Err(bad("\"NaN\", \"Infinity\" or \"-Infinity\"")),
        },
        _ => Err(JsonError::ReservedName {
            name: tag.to_owned(),
        }),
    }
}

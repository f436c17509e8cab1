//! The values of a result, by Drill's types of its columns.

use crate::drill::{date_time, time_of_day};
use crate::import::{cell, json::fit};
use headwater_core::{FieldType, Record, Value, json};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};

/// What a column or a member of a struct holds. In an array it is what the elements are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Float,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    Struct(BTreeMap<String, Kind>),
    /// Drill's name of what has no form as a value here, or of a struct of which no member was seen.
    Other(String),
}

impl Kind {
    /// The kind of Drill's type in a result's metadata, such as `VARDECIMAL(20, 4)`.
    pub(super) fn of(name: &str) -> Self {
        let (base, _) = name.split_once('(').unwrap_or((name, ""));
        match base {
            "BIT" => Self::Bool,
            "TINYINT" | "SMALLINT" | "INT" | "BIGINT" | "UINT1" | "UINT2" | "UINT4" | "UINT8" => {
                Self::Int
            }
            "FLOAT4" | "FLOAT8" => Self::Float,
            "VARDECIMAL" | "DECIMAL9" | "DECIMAL18" | "DECIMAL28SPARSE" | "DECIMAL38SPARSE" => {
                Self::Decimal
            }
            "VARCHAR" | "VAR16CHAR" | "INTERVAL" | "INTERVALDAY" | "INTERVALYEAR" => Self::Text,
            "VARBINARY" => Self::Bytes,
            "DATE" => Self::Date,
            "TIME" => Self::Time,
            "TIMESTAMP" => Self::Timestamp,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// Whether it is a struct, or an array of which the metadata does not tell the elements.
    pub(super) fn is_nested(&self) -> bool {
        matches!(self, Self::Other(name) if matches!(name.as_str(), "MAP" | "DICT" | "LIST"))
    }

    /// Whether Drill gives it as a number that depends on its time zone.
    pub(super) fn has_zone(&self) -> bool {
        match self {
            Self::Date | Self::Time | Self::Timestamp => true,
            Self::Struct(members) => members.values().any(Self::has_zone),
            _ => false,
        }
    }

    /// The value that Drill wrote as `raw`; a struct of nothing but nulls and empty arrays is null, as Drill has no other null
    /// struct.
    pub(super) fn value(&self, raw: &RawValue) -> Result<Value, String> {
        let empty = |value: &Value| matches!(value, Value::List(items) if items.is_empty());
        match self.item(raw)? {
            Value::Map(fields) if fields.values().all(empty) => Ok(Value::Null),
            value => Ok(value),
        }
    }

    fn item(&self, raw: &RawValue) -> Result<Value, String> {
        let text = raw.get();
        let unfit = || format!("{} is no {self}", shortened(text));
        if text == "null" {
            return Ok(Value::Null);
        }
        if text.starts_with('[') {
            let items: Vec<&RawValue> = parsed(text)?;
            let items = items.into_iter().map(|item| self.item(item));
            return Ok(Value::List(items.collect::<Result<_, _>>()?));
        }
        match self {
            Self::Bool => parsed(text).map(Value::Bool),
            Self::Int => match text.parse() {
                Ok(n) => Ok(Value::Int(n)),
                Err(_) => text.parse().map(Value::Uint).map_err(|_| unfit()),
            },
            Self::Float => {
                let number = text.trim_matches('"');
                let float = cell::parse(number, &FieldType::Float);
                float.map_err(|error| error.to_string())
            }
            Self::Decimal => plain(text).map(Value::String).ok_or_else(unfit),
            Self::Text => parsed(text).map(Value::String),
            Self::Bytes => {
                json::value_from_str(&format!("{{\"$bytes\":{text}}}")).map_err(|_| unfit())
            }
            Self::Date => {
                let day = text.parse().ok().and_then(date_time);
                let day = day.and_then(|day| day.split(' ').next().map(Value::from));
                day.ok_or_else(unfit)
            }
            Self::Time => {
                let time = text.parse().ok().and_then(time_of_day);
                time.map(Value::String).ok_or_else(unfit)
            }
            Self::Timestamp => text.parse().map(Value::Timestamp).map_err(|_| unfit()),
            Self::Struct(members) => fields(members, text).map(Value::Map),
            Self::Other(name) if name == "MAP" => fields(&BTreeMap::new(), text).map(Value::Map),
            Self::Other(_) => Err(unfit()),
        }
    }

    /// `value`, which is of this kind, as one of the field's declared type. A decimal and a text are read as it, which is how
    /// Drill has what it has no type for.
    pub(super) fn fit(
        &self,
        name: &str,
        declared: &FieldType,
        value: Value,
    ) -> Result<Value, String> {
        let is_text = matches!(
            declared,
            FieldType::String | FieldType::Text | FieldType::Other(_)
        );
        let text = match &value {
            Value::String(text) if !is_text => text,
            _ => return fit(name, declared, value),
        };
        let number = match (self, declared) {
            (Self::Decimal, FieldType::Int | FieldType::Counter) if text.contains('.') => {
                text.trim_end_matches('0').trim_end_matches('.')
            }
            _ => text,
        };
        match cell::parse(number, declared) {
            Ok(Value::Null) => Err(format!("field {name:?}: an empty text")),
            Ok(value) => Ok(value),
            Err(error) => Err(format!("field {name:?}: {error}")),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bool => "BOOLEAN",
            Self::Int => "BIGINT",
            Self::Float => "DOUBLE",
            Self::Decimal => "DECIMAL",
            Self::Text => "VARCHAR",
            Self::Bytes => "VARBINARY",
            Self::Date => "DATE",
            Self::Time => "TIME",
            Self::Timestamp => "TIMESTAMP",
            Self::Struct(_) => "STRUCT",
            Self::Other(name) => name,
        })
    }
}

/// A struct's members that are not null.
fn fields(members: &BTreeMap<String, Kind>, text: &str) -> Result<Record, String> {
    let mut record = Record::new();
    for (name, raw) in parsed::<HashMap<String, &RawValue>>(text)? {
        let value = match members.get(&name) {
            Some(kind) => kind.value(raw)?,
            None if raw.get() == "null" => Value::Null,
            None => return Err(format!("the type of the member {name:?} is not known")),
        };
        if value != Value::Null {
            record.insert(name, value);
        }
    }
    Ok(record)
}

/// A decimal without an exponent, which Drill writes for small ones: `1.00E-7` is `0.000000100`.
fn plain(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['E', 'e']) {
        None => return text.parse::<f64>().ok().map(|_| text.to_owned()),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    // Drill's decimals have at most 38 digits.
    if digits.is_empty()
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
        || exponent.abs() > 100
    {
        return None;
    }
    let point = whole.len() as i32 + exponent;
    let length = digits.len() as i32;
    Some(match point {
        ..=0 => format!(
            "{sign}0.{}{digits}",
            "0".repeat(point.unsigned_abs() as usize)
        ),
        _ if point >= length => format!("{sign}{digits}{}", "0".repeat((point - length) as usize)),
        _ => {
            let (whole, fraction) = digits.split_at(point as usize);
            format!("{sign}{whole}.{fraction}")
        }
    })
}

pub(super) fn parsed<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{}: {error}", shortened(text)))
}

/// Enough to find it by.
fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

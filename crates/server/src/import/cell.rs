//! The text of one CSV cell as a value of the declared type.

use headwater_core::catalog::TYPE_NAMES;
use headwater_core::{FieldType, Value, json};

/// A text that is not of its declared type, or not the name of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct CellError {
    text: String,
    expected: String,
}

/// The field type of this name.
///
/// # Errors
/// If there is no such type.
pub fn parse_field_type(name: &str) -> Result<FieldType, CellError> {
    match FieldType::of_name(name) {
        FieldType::Other(_) => Err(wrong(name, &format!("a type: {TYPE_NAMES}"))),
        kind => Ok(kind),
    }
}

fn wrong(text: &str, expected: &str) -> CellError {
    CellError {
        // Enough to find it by.
        text: text.chars().take(60).collect(),
        expected: expected.to_owned(),
    }
}

/// An empty cell is the empty string where the type is a string or a text, null for every other type.
pub(super) fn parse(text: &str, kind: &FieldType) -> Result<Value, CellError> {
    match kind {
        FieldType::String | FieldType::Other(_) => return Ok(Value::String(text.to_owned())),
        FieldType::Text => return Ok(Value::Text(text.to_owned())),
        _ if text.is_empty() => return Ok(Value::Null),
        _ => {}
    }
    let expected = match kind {
        FieldType::Bool => "true or false",
        FieldType::Int => "a 64-bit integer",
        FieldType::Float => "a number",
        FieldType::Counter => "a signed 64-bit integer",
        FieldType::Timestamp => {
            "a time: milliseconds since 1970, or such as 2026-11-22, 2026-11-22T10:00:00.123 (UTC) or …T10:00:00+02:00"
        }
        FieldType::Bytes => "base64",
        FieldType::Date => "a day such as 2026-11-22",
        FieldType::Decimal { .. } => &format!("a {}", kind.name()),
        FieldType::List => "a JSON array",
        _ => "a JSON object",
    };
    let value = match kind {
        FieldType::Bool => boolean(text),
        FieldType::Int => match text.parse() {
            Ok(n) => Some(Value::Int(n)),
            Err(_) => text.parse().ok().map(Value::Uint),
        },
        FieldType::Float => float(text),
        FieldType::Counter => text.parse().ok().map(Value::Counter),
        FieldType::Timestamp => timestamp(text).map(Value::Timestamp),
        FieldType::Bytes => {
            let mut tagged = String::from("{\"$bytes\":");
            json::write_string(&mut tagged, text);
            tagged.push('}');
            json::value_from_str(&tagged).ok()
        }
        FieldType::Date | FieldType::Decimal { .. } => {
            Some(Value::from(text)).filter(|value| kind.fits(value))
        }
        _ => json::value_from_str(text)
            .ok()
            .filter(|value| value.kind() == kind.name()),
    };
    value.ok_or_else(|| wrong(text, expected))
}

fn boolean(text: &str) -> Option<Value> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(Value::Bool(true)),
        "false" | "0" => Some(Value::Bool(false)),
        _ => None,
    }
}

fn float(text: &str) -> Option<Value> {
    let float: f64 = text.parse().ok()?;
    // Only what says so is not finite: 1e999 is a number that a double does not hold.
    let spelled = matches!(text, "NaN" | "Infinity" | "-Infinity");
    (float.is_finite() || spelled).then_some(Value::Float(float))
}

fn timestamp(text: &str) -> Option<i64> {
    if let Ok(ms) = text.parse() {
        return Some(ms);
    }
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let utc = jiff::tz::TimeZone::UTC;
        Some(civil.to_zoned(utc).ok()?.timestamp())
    })?;
    // A finer time would be rounded.
    (time.subsec_nanosecond() % 1_000_000 == 0).then(|| time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_field_type};
    use headwater_core::Value;

    fn cell(text: &str, kind: &str) -> Option<Value> {
        parse(text, &parse_field_type(kind).expect("a type")).ok()
    }

    #[test]
    fn cells_are_of_their_declared_type() {
        for (text, kind, value) in [
            ("", "string", Value::String(String::new())),
            ("", "text", Value::Text(String::new())),
            ("", "int", Value::Null),
            ("007", "string", Value::String("007".into())),
            ("-9223372036854775808", "int", Value::Int(i64::MIN)),
            ("18446744073709551615", "int", Value::Uint(u64::MAX)),
            ("0.1", "float", Value::Float(0.1)),
            ("3", "float", Value::Float(3.0)),
            ("-Infinity", "float", Value::Float(f64::NEG_INFINITY)),
            ("TRUE", "bool", Value::Bool(true)),
            ("0", "bool", Value::Bool(false)),
            ("-4", "counter", Value::Counter(-4)),
            ("AP8=", "bytes", Value::Bytes(vec![0, 255])),
            ("[1]", "list", Value::List(vec![Value::Int(1)])),
            ("", "date", Value::Null),
            ("2024-02-29", "date", "2024-02-29".into()),
            ("1.50", "decimal(3,1)", "1.50".into()),
            ("1500", "timestamp", Value::Timestamp(1500)),
            ("1970-01-02", "timestamp", Value::Timestamp(86_400_000)),
            ("1970-01-01T00:00:01.5", "timestamp", Value::Timestamp(1500)),
            (
                "1970-01-01T01:00:01+01:00",
                "timestamp",
                Value::Timestamp(1000),
            ),
        ] {
            assert_eq!(cell(text, kind), Some(value), "{text:?} as {kind}");
        }
    }

    #[test]
    fn what_does_not_fit_exactly_is_refused() {
        for (text, kind) in [
            ("1.5", "int"),
            (" 1", "int"),
            ("18446744073709551616", "int"),
            ("9223372036854775808", "counter"),
            ("1e999", "float"),
            ("nan", "float"),
            ("1,5", "float"),
            ("yes", "bool"),
            ("{}", "list"),
            ("[1", "list"),
            ("AP8", "bytes"),
            ("2023-02-29", "date"),
            ("1.55", "decimal(3,1)"),
            ("1e2", "decimal(3,1)"),
            ("22.11.2026", "timestamp"),
            ("2026-02-30", "timestamp"),
            ("2026-11-22T10:00:00.1234", "timestamp"),
        ] {
            assert_eq!(cell(text, kind), None, "{text:?} as {kind}");
        }
        assert!(parse_field_type("integer").is_err());
    }
}

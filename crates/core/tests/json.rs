//! Reading JSON: exact, or an error that names what is wrong.

use headwater_core::Value;
use headwater_core::json::{
    JsonError, record_from_str, record_to_json, value_from_str, value_to_json,
};
use headwater_core::value::MAX_DEPTH;

#[test]
fn integers_are_exact_or_refused() {
    for (text, value) in [
        ("9223372036854775807", Value::Int(i64::MAX)),
        ("-9223372036854775808", Value::Int(i64::MIN)),
        ("18446744073709551615", Value::Uint(u64::MAX)),
        ("9007199254740993", Value::Int(9_007_199_254_740_993)),
    ] {
        assert_eq!(value_from_str(text), Ok(value.clone()));
        assert_eq!(value_to_json(&value), text);
    }
    for text in ["18446744073709551616", "-9223372036854775809"] {
        assert_eq!(
            value_from_str(&format!("[{{\"n\":{text}}}]")),
            Err(JsonError::NumberOutOfRange {
                number: text.to_owned()
            })
        );
    }
}

#[test]
fn floats_are_the_nearest_double_or_refused() {
    // The shortest texts of these are read one unit off by parsers that do not round correctly.
    for text in [
        "2.2250738585072014e-308",
        "5e-324",
        "1.7976931348623157e308",
        "0.000013183754",
        "1e23",
        "-0",
    ] {
        let expected: f64 = text.parse().expect("a float");
        assert_eq!(value_from_str(text), Ok(Value::Float(expected)), "{text}");
    }
    assert_eq!(value_from_str("1e2"), Ok(Value::Float(100.0)));
    assert!(matches!(
        value_from_str("1e999"),
        Err(JsonError::NumberOutOfRange { .. })
    ));
}

#[test]
fn a_name_twice_is_refused_because_one_value_would_vanish() {
    assert_eq!(
        record_from_str(r#"{"a":1,"b":2,"a":3}"#),
        Err(JsonError::DuplicateName { name: "a".into() })
    );
}

#[test]
fn names_of_the_users_that_begin_with_a_dollar_come_back() {
    let text = r#"{"$$a":1,"$$timestamp":{"$$x":{"$timestamp":5}}}"#;
    let record = record_from_str(text).expect("a record");
    assert_eq!(record["$a"], Value::Int(1));
    assert_eq!(record_to_json(&record), text);
    for text in [r#"{"$a":1}"#, r#"{"$timestamp":1,"b":2}"#] {
        assert!(matches!(
            record_from_str(text),
            Err(JsonError::ReservedName { .. })
        ));
    }
    assert!(matches!(
        record_from_str(r#"{"at":{"$timestamp":1.5}}"#),
        Err(JsonError::BadTag { .. })
    ));
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    let record = record_from_str(&nested(MAX_DEPTH)).expect("as deep as allowed");
    assert_eq!(record["a"].depth(), MAX_DEPTH);
    assert_eq!(
        record_from_str(&nested(MAX_DEPTH + 1)),
        Err(JsonError::TooDeep)
    );
    assert!(record_from_str(&nested(1_000_000)).is_err());
}

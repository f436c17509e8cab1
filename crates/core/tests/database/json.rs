//! Canonical JSON.

use headwater_core::json::{record_from_str, record_to_json};
use headwater_core::{Record, Value};
use proptest::prelude::*;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::Float),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        ".{0,8}".prop_map(Value::String),
        any::<String>().prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i64>().prop_map(Value::Counter),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[$]{0,3}[a-c]{0,2}",
        "[$](bytes|float|text|counter|timestamp)",
        any::<String>()
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let value = scalar().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(name(), inner, 0..4).prop_map(Value::Map),
        ]
    });
    prop::collection::btree_map(name(), value, 0..5)
}

/// A value as JSON gives it back: a text as a string, a counter as an integer.
fn plain(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::String(text),
        Value::Counter(n) => Value::Int(n),
        Value::List(items) => Value::List(items.into_iter().map(plain).collect()),
        Value::Map(map) => Value::Map(map.into_iter().map(|(n, v)| (n, plain(v))).collect()),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_record_comes_back_from_its_json_bit_for_bit(record in record()) {
        let json = record_to_json(&record);
        let expected = record.into_iter().map(|(name, value)| (name, plain(value))).collect();
        prop_assert_eq!(record_from_str(&json), Ok(expected), "{}", json);
    }
}

#[test]
fn json_is_plain_where_json_has_the_type() {
    let fields = [
        ("b", Value::Bytes(vec![0, 255])),
        ("c", Value::Counter(-3)),
        ("f", Value::Float(1.0)),
        ("i", Value::Int(1)),
        ("nan", Value::Float(f64::NAN)),
        ("t", Value::Timestamp(1_000)),
        ("text", Value::Text("a\"\u{1}é".into())),
        ("u", Value::Uint(u64::MAX)),
        ("$x", Value::Null),
    ];
    assert_eq!(
        record_to_json(&crate::replica::record(&fields)),
        "{\"$$x\":null,\"b\":{\"$bytes\":\"AP8=\"},\"c\":-3,\"f\":1.0,\"i\":1,\"nan\":{\"$float\":\"NaN\"},\
         \"t\":{\"$timestamp\":1000},\"text\":\"a\\\"\\u0001é\",\"u\":18446744073709551615}"
    );
}

#[test]
fn json_that_is_no_record_is_refused_with_a_reason() {
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    for (text, reason) in [
        ("[1]", "must be a JSON object"),
        ("{\"$bytes\":\"AP8=\"}", "must be a JSON object"),
        ("{\"x\":{\"$bytes\":1}}", "base64"),
        ("{\"x\":{\"$bytes\":\"AP8=\",\"y\":1}}", "reserved"),
        ("{\"$y\":1}", "reserved"),
        ("{\"x\":{\"$float\":1.5}}", "NaN"),
        ("{", "not JSON"),
        (deep.as_str(), "flatten"),
    ] {
        let error = record_from_str(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

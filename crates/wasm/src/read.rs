//! Headwater's values as JavaScript's.

use headwater::{Attribution, Record, RecordChange, RecordEvent, Value};
use js_sys::{Array, BigInt, Date, Object, Uint8Array};
use wasm_bindgen::JsValue;

const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// An object with these properties, also with names such as `__proto__`.
pub(crate) fn object<N: AsRef<str>>(properties: impl IntoIterator<Item = (N, JsValue)>) -> JsValue {
    let entries = Array::new();
    for (name, value) in properties {
        entries.push(&Array::of2(&JsValue::from_str(name.as_ref()), &value));
    }
    // Pairs are all that this asks for.
    Object::from_entries(&entries).map_or(JsValue::NULL, JsValue::from)
}

/// A record as a plain object.
pub(crate) fn record(record: &Record) -> JsValue {
    object(record.iter().map(|(name, field)| (name, value(field))))
}

/// A record that may not be there.
pub(crate) fn optional(found: Option<&Record>) -> JsValue {
    found.map_or(JsValue::UNDEFINED, record)
}

/// One value.
pub(crate) fn value(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(n) | Value::Counter(n) => integer(*n),
        Value::Uint(n) => BigInt::from(*n).into(),
        Value::Float(f) => (*f).into(),
        Value::String(s) | Value::Text(s) => s.into(),
        Value::Bytes(bytes) => Uint8Array::from(bytes.as_slice()).into(),
        Value::Timestamp(at) => Date::new(&(*at as f64).into()).into(),
        Value::List(items) => items.iter().map(self::value).collect::<Array>().into(),
        Value::Map(fields) => record(fields),
    }
}

fn integer(n: i64) -> JsValue {
    if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&n) {
        (n as f64).into()
    } else {
        BigInt::from(n).into()
    }
}

/// What a subscriber is told.
pub(crate) fn event(event: &RecordEvent) -> JsValue {
    let change = match event.change() {
        RecordChange::Insert => "insert",
        RecordChange::Update => "update",
        RecordChange::Delete => "delete",
    };
    object([
        ("change", change.into()),
        ("collection", (&event.collection).into()),
        ("key", (&event.key).into()),
        ("before", optional(event.before.as_ref())),
        ("after", optional(event.after.as_ref())),
        ("local", event.local.into()),
        ("by", event.by.as_ref().map_or(JsValue::UNDEFINED, author)),
    ])
}

/// Who made a change, as they claim.
pub(crate) fn author(by: &Attribution) -> JsValue {
    let claimed = &by.provenance;
    let optional = |text: &Option<String>| text.as_ref().map_or(JsValue::UNDEFINED, JsValue::from);
    object([
        ("change", by.hash.to_string().into()),
        ("actor", by.actor.to_hex_string().into()),
        ("origin", optional(&claimed.origin)),
        ("user", optional(&claimed.user)),
        ("at", Date::new(&(claimed.at as f64).into()).into()),
    ])
}

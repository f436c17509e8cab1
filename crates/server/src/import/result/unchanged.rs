//! What Drill shows alike is left as it is.

use headwater_core::json::value_to_json;
use headwater_core::{Record, Value};

/// The row `new` over the record `current`: where both look the same in a table, the current value. For Drill has no null
/// structs and arrays, a column of integers and fractions shows 1 as 1.0, and one of numbers and texts shows 1 as `1`; none
/// of that is a change that somebody made. `is_column` tells of which fields the row speaks at all.
pub fn unchanged(new: Record, current: &Record, is_column: impl Fn(&str) -> bool) -> Record {
    let is_nothing_new =
        |name: &String, value: &Value| !current.contains_key(name) && is_empty_list(value);
    let mut record = new;
    record.retain(|name, value| !is_nothing_new(name, value));
    for (name, current) in current {
        match record.remove(name) {
            Some(new) => {
                record.insert(name.clone(), value(new, current));
            }
            None if is_column(name) && is_nothing(current) => {
                record.insert(name.clone(), current.clone());
            }
            None => {}
        }
    }
    record
}

fn value(new: Value, current: &Value) -> Value {
    const EXACT: f64 = (1_u64 << 53) as f64;
    match (new, current) {
        (Value::Float(f), Value::Int(n) | Value::Counter(n))
            if f.abs() <= EXACT && f == *n as f64 =>
        {
            current.clone()
        }
        (Value::List(new), Value::Null) if new.is_empty() => Value::Null,
        (Value::List(new), Value::List(old)) if new.len() == old.len() => {
            let items = new.into_iter().zip(old);
            Value::List(items.map(|(new, old)| value(new, old)).collect())
        }
        (Value::Map(new), Value::Map(old)) => Value::Map(unchanged(new, old, |_| true)),
        (Value::String(new), old)
            if !matches!(old, Value::String(_) | Value::Text(_)) && value_to_json(old) == new =>
        {
            old.clone()
        }
        (new, _) => new,
    }
}

fn is_empty_list(value: &Value) -> bool {
    matches!(value, Value::List(items) if items.is_empty())
}

/// Whether a table shows nothing for it.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Map(members) => members.values().all(is_nothing),
        _ => false,
    }
}

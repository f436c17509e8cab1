//! What the page about conflicts says of the order of values, and what policies show: written again, from that page alone.

use crate::ruled::sum;
use headwater_core::{Policy, Value, json};
use std::cmp::Ordering;

/// Whether neither max nor min prefers this to anything.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Float(float) => float.is_nan(),
        _ => false,
    }
}

/// Orders two values of the kinds that programs write.
fn order(a: &Value, b: &Value) -> Ordering {
    let class = |value: &Value| match value {
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Counter(_) => 2,
        Value::Timestamp(_) => 3,
        Value::String(_) | Value::Text(_) => 4,
        Value::Bytes(_) => 5,
        Value::List(_) => 6,
        Value::Map(_) => 7,
        Value::Null => 0,
    };
    class(a).cmp(&class(b)).then_with(|| match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        // Lists of one number each, and maps of one field that is named after its number.
        (Value::List(a), Value::List(b)) => {
            let order = a
                .iter()
                .zip(b)
                .map(|(a, b)| order(a, b))
                .find(|o| o.is_ne());
            order.unwrap_or(a.len().cmp(&b.len()))
        }
        (Value::Map(a), Value::Map(b)) => a.keys().cmp(b.keys()),
        (a, b) => number(a).total_cmp(&number(b)),
    })
}

/// The numbers that programs write are far apart from each other, or small: a double tells them apart, but for the two
/// integers at the end of 64 bits.
fn number(value: &Value) -> f64 {
    match value {
        Value::Int(n) | Value::Counter(n) => *n as f64,
        Value::Uint(u64::MAX) => 2e19,
        Value::Uint(_) => 1.9e19,
        Value::Float(f) => *f,
        _ => 0.0,
    }
}

/// Whether `policy`, max or min, prefers `a` to `b`.
pub fn prefers(policy: &Policy, a: &Value, b: &Value) -> bool {
    match (is_nothing(a), is_nothing(b)) {
        // Between null and NaN, NaN is the greater.
        (true, true) => {
            let nan = |value: &Value| !matches!(value, Value::Null);
            match policy {
                Policy::Min => nan(b) && !nan(a),
                _ => nan(a) && !nan(b),
            }
        }
        (true, false) => false,
        (false, true) => true,
        (false, false) => match policy {
            Policy::Min => order(a, b).is_lt(),
            _ => order(a, b).is_gt(),
        },
    }
}

/// The values that a keep-all field makes of these, in their order.
pub fn spread<'v>(values: impl IntoIterator<Item = &'v Value>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for value in values {
        let items = match value {
            Value::List(items) => items.as_slice(),
            value => std::slice::from_ref(value),
        };
        for item in items {
            if !all
                .iter()
                .any(|one| json::value_to_json(one) == json::value_to_json(item))
            {
                all.push(item.clone());
            }
        }
    }
    all
}

/// Whether a field may show `shown` if just these values stand, at least one; the order in which they stand is not known.
pub fn may_show(policy: Option<&Policy>, standing: &[&Value], shown: &Value) -> bool {
    match policy {
        Some(policy @ (Policy::Max | Policy::Min)) => {
            standing.contains(&shown) && !standing.iter().any(|one| prefers(policy, one, shown))
        }
        Some(Policy::KeepAll) => {
            let expected = spread(standing.iter().copied());
            let Value::List(items) = shown else {
                return false;
            };
            items.len() == expected.len() && expected.iter().all(|item| items.contains(item))
        }
        Some(Policy::Custom { name, .. }) if name == "sum" && standing.len() > 1 => {
            *shown == sum(standing.iter().copied())
        }
        Some(Policy::Custom { .. }) => standing.contains(&shown),
        _ => match shown {
            Value::Map(shown) => {
                // Concurrent maps merge.
                let maps = standing.iter().filter_map(|one| match one {
                    Value::Map(map) => Some(map),
                    _ => None,
                });
                let merged: std::collections::BTreeMap<_, _> = maps.flatten().collect();
                merged.into_iter().eq(shown)
            }
            shown => standing.contains(&shown),
        },
    }
}

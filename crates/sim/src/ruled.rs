//! The fields that policies decide over: what is declared of them, and the values that are written into them.

use crate::rng::Rng;
use headwater_core::policy::Resolvers;
use headwater_core::{CollectionSchema, Edit, Policy, Record, Value};
use std::sync::Arc;

/// The names of the fields, each of which is mostly declared with the policy that its name says.
pub const RULED: [&str; 8] = ["last", "max", "min", "union", "all", "sum", "odd", "other"];
/// The field whose values are sets.
pub const UNION: &str = "union";

/// The policy that the field of this name is mostly declared with.
pub fn usual(name: &str) -> Policy {
    match name {
        "max" => Policy::Max,
        "min" => Policy::Min,
        UNION => Policy::Union,
        "all" => Policy::KeepAll,
        "sum" | "odd" => Policy::Custom {
            name: name.to_owned(),
            version: 1,
        },
        "other" => Policy::Other("median".to_owned()),
        _ => Policy::LastWriter,
    }
}

/// The function `sum`, which all peers have; `odd` is one that none has.
pub fn resolvers() -> Resolvers {
    let mut resolvers = Resolvers::default();
    resolvers.register(
        "sum",
        1,
        Arc::new(|values: &[Value]| Some(sum(values.iter()))),
    );
    resolvers
}

/// What `sum` makes of values, in whatever order.
pub fn sum<'v>(values: impl Iterator<Item = &'v Value>) -> Value {
    let ints = values.filter_map(Value::as_int);
    Value::Int(ints.fold(0, i64::wrapping_add))
}

/// Adds the policies of some of `fields` to a declaration; some are not the usual ones.
pub fn declare(
    rng: &mut Rng,
    fields: &[&'static str],
    schema: CollectionSchema,
) -> CollectionSchema {
    let ruled = fields.iter().filter(|name| RULED.contains(name));
    ruled.fold(schema, |schema, &name| match rng.below(100) {
        0..60 => schema.policy(name, usual(name)),
        // A set is no value that another policy could choose.
        60..80 if name != UNION => {
            let other = *rng.pick(&["last", "max", "min", "all", "sum", "odd", "other"]);
            schema.policy(name, usual(other))
        }
        _ => schema,
    })
}

/// Whether the policy chooses between whole values, so that nothing is edited in place.
pub fn chooses(policy: Option<&Policy>) -> bool {
    use Policy::{Custom, KeepAll, Max, Min};
    matches!(policy, Some(Max | Min | KeepAll | Custom { .. }))
}

/// A new value of a ruled field that shows `old`, by a writer who knows of `policy`.
pub fn value(
    rng: &mut Rng,
    name: &str,
    policy: Option<&Policy>,
    old: Option<&Value>,
    unique: i64,
) -> Value {
    if name == UNION {
        return items(rng, 4).into();
    }
    let is_whole = !matches!(old, Some(Value::Map(_) | Value::List(_)));
    match rng.below(100) {
        0..6 => Value::Null,
        6..10 => Value::Bool(rng.chance(50)),
        10..16 => Value::Float(*rng.pick(&[f64::NAN, 0.5, -0.5, 7.0, 1e300])),
        16..22 => Value::String((*rng.pick(&["a", "b", "c"])).to_owned()),
        22..26 => Value::Timestamp(rng.below(5) as i64),
        26..29 => Value::Bytes(vec![rng.below(5) as u8]),
        29..32 => Value::Uint(u64::MAX - rng.below(2) as u64),
        // A map or list that is set where one stands is edited in place, unless a policy chooses.
        32..40 if is_whole || chooses(policy) => {
            Value::Map(Record::from([(format!("u{unique}"), unique.into())]))
        }
        40..46 if is_whole || chooses(policy) => Value::List(vec![unique.into()]),
        _ => Value::Int(rng.below(60) as i64 - 30),
    }
}

/// An edit of a ruled field, if it is one that only such a field has.
pub fn edit(
    rng: &mut Rng,
    name: &str,
    policy: Option<&Policy>,
    old: Option<&Value>,
    unique: i64,
) -> Option<Edit> {
    if name == UNION {
        return match rng.below(100) {
            0..45 => Some(Edit::Add(items(rng, 2))),
            45..80 => Some(Edit::Discard(items(rng, 2))),
            _ => None,
        };
    }
    let resets = chooses(policy) && rng.chance(18);
    resets.then(|| Edit::Reset(value(rng, name, policy, old, unique)))
}

/// At least one and at most `most` of ten elements, in the order in which a set shows them.
fn items(rng: &mut Rng, most: usize) -> Vec<Value> {
    let mut items: Vec<i64> = (0..1 + rng.below(most))
        .map(|_| rng.below(10) as i64)
        .collect();
    items.sort_unstable();
    items.dedup();
    items.into_iter().map(Value::Int).collect()
}

//! How the values that stand concurrently in one field become the one that is shown.
//!
//! A policy is a pure function of the candidates in the order in which later ones win: of op ids, which every peer has
//! alike. No clock decides anything. Nothing that a policy passes over is lost: it stays in the document until someone
//! who has seen it writes the field, and [`Conflict`](crate::Conflict)s list it.

use crate::catalog::{Collection, FieldType};
use crate::decimal::Decimal;
use crate::json;
use crate::value::{MAX_DEPTH, Record, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What decides between the values that concurrent writers gave a field.
///
/// Texts, counters, nested maps and sets need none: concurrent edits of one merge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Policy {
    /// The value of the highest op id; no clock.
    #[default]
    LastWriter,
    /// The greatest value. A write that does not exceed what its writer sees is no write; lowering is a
    /// [`Reset`](crate::Edit::Reset).
    Max,
    /// The least value, as for `Max`.
    Min,
    /// The union of sets: what anyone added and no one who had seen it removed.
    Union,
    /// All of them, as a list in the order of op ids. A write replaces what its writer has seen.
    KeepAll,
    /// The result of a registered function. A peer that lacks it shows the last writer's value, and says so.
    Custom {
        /// The function's name.
        name: String,
        /// Its version: another one may give other results.
        version: u32,
    },
    /// A policy that this version does not know, kept as it was declared; the last writer's value is shown.
    Other(String),
}

const NAMES: [(&str, Policy); 5] = [
    ("last-writer", Policy::LastWriter),
    ("max", Policy::Max),
    ("min", Policy::Min),
    ("union", Policy::Union),
    ("keep-all", Policy::KeepAll),
];

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom { name, version } => write!(f, "custom:{name}@{version}"),
            Self::Other(name) => f.write_str(name),
            known => f.write_str(
                NAMES
                    .iter()
                    .find(|(_, policy)| policy == known)
                    .map_or("", |(name, _)| name),
            ),
        }
    }
}

impl Policy {
    /// Whether it chooses between whole values, so that nothing merges inside of one.
    pub(crate) fn is_register(&self) -> bool {
        matches!(
            self,
            Self::Max | Self::Min | Self::KeepAll | Self::Custom { .. }
        )
    }

    /// The policy that the catalog keeps as `name`; [`Policy::Other`] if this version does not know it.
    pub fn of_name(name: &str) -> Self {
        if let Some((_, policy)) = NAMES.iter().find(|(known, _)| *known == name) {
            return policy.clone();
        }
        let custom = name
            .strip_prefix("custom:")
            .and_then(|custom| custom.rsplit_once('@'))
            .and_then(|(name, version)| Some((name, version.parse().ok()?)));
        match custom {
            Some((function, version)) if !function.is_empty() => Self::Custom {
                name: function.to_owned(),
                version,
            },
            _ => Self::Other(name.to_owned()),
        }
    }
}

/// The declared policies of a collection's fields.
pub type Policies = BTreeMap<String, Policy>;

/// A function that makes one value of several, in the order in which later ones would win; `None` if it can make nothing of
/// them, which leaves the conflict unresolved. It must depend on nothing but them, on every peer.
#[cfg(not(target_arch = "wasm32"))]
pub type Resolver = Arc<dyn Fn(&[Value]) -> Option<Value> + Send + Sync>;
/// A function that makes one value of several, in the order in which later ones would win; `None` if it can make nothing of
/// them, which leaves the conflict unresolved. It must depend on nothing but them, on every peer.
#[cfg(target_arch = "wasm32")]
pub type Resolver = Arc<dyn Fn(&[Value]) -> Option<Value>>;

/// The functions that a peer has registered, by name and version.
#[derive(Clone, Default)]
pub struct Resolvers {
    functions: BTreeMap<(String, u32), Resolver>,
}

impl fmt::Debug for Resolvers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.functions.keys()).finish()
    }
}

impl Resolvers {
    /// Registers a function; one of the same name and version is replaced.
    pub fn register(&mut self, name: impl Into<String>, version: u32, function: Resolver) {
        self.functions.insert((name.into(), version), function);
    }

    fn get(&self, name: &str, version: u32) -> Option<&Resolver> {
        self.functions.get(&(name.to_owned(), version))
    }
}

/// What decides over the fields of one collection.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub collection: &'a Collection,
    pub resolvers: &'a Resolvers,
}

impl<'a> Rules<'a> {
    /// What decides over a field, if anything is declared of it.
    pub fn of(self, field: &str) -> Option<Rule<'a>> {
        let declared = self.collection.fields.get(field);
        Some(Rule {
            policy: self.collection.policies.get(field)?,
            decimal: matches!(declared, Some(FieldType::Decimal { .. })),
            resolvers: Some(self.resolvers),
        })
    }
}

/// What decides over one field.
#[derive(Clone, Copy)]
pub(crate) struct Rule<'a> {
    pub policy: &'a Policy,
    /// Whether its values are decimal numbers, also where they are written as strings.
    decimal: bool,
    resolvers: Option<&'a Resolvers>,
}

/// What a policy makes of concurrent values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub value: Value,
    /// Which of the values it is; `None` if it is made of several.
    pub index: Option<usize>,
    /// Whether the policy could be carried out.
    pub carried_out: bool,
}

impl Rule<'_> {
    /// What decides where nothing is declared.
    pub const LAST_WRITER: Self = Self {
        policy: &Policy::LastWriter,
        decimal: false,
        resolvers: None,
    };

    /// Resolves `values`, of which there is at least one, the last writer's last.
    pub fn resolve(self, mut values: Vec<Value>) -> Option<Resolved> {
        let last = values.len().checked_sub(1)?;
        let pick = |values: &mut Vec<Value>, index: usize, carried_out| Resolved {
            value: values.swap_remove(index),
            index: Some(index),
            carried_out,
        };
        Some(match self.policy {
            Policy::LastWriter | Policy::Union => pick(&mut values, last, true),
            Policy::Other(_) => pick(&mut values, last, false),
            Policy::Max | Policy::Min => {
                let index = (0..values.len()).max_by(|a, b| self.prefer(&values[*a], &values[*b]));
                pick(&mut values, index.unwrap_or(last), true)
            }
            Policy::KeepAll => Resolved {
                value: Value::List(distinct(values)),
                index: None,
                carried_out: true,
            },
            Policy::Custom { name, version } => {
                let function = self.resolvers.and_then(|all| all.get(name, *version));
                // One value is itself: only several need the function.
                if values.len() == 1 {
                    return Some(pick(&mut values, last, true));
                }
                // What could not be written must not be shown either: accepting would write it.
                let made = function
                    .and_then(|function| function(&values))
                    .filter(|value| value.depth() <= MAX_DEPTH);
                match made {
                    Some(value) => Resolved {
                        index: values.iter().position(|candidate| *candidate == value),
                        value,
                        carried_out: true,
                    },
                    None => pick(&mut values, last, false),
                }
            }
        })
    }

    /// Whether writing `new` where `shown` stands changes anything.
    pub fn exceeds(self, new: &Value, shown: &Value) -> bool {
        match self.policy {
            Policy::Max | Policy::Min => self.prefer(new, shown) == Ordering::Greater,
            _ => new != shown,
        }
    }

    /// Orders values by how much max or min prefers them. Null and NaN are preferred to nothing by either, and where decimal
    /// numbers are declared, what is none is preferred to none of them.
    fn prefer(self, a: &Value, b: &Value) -> Ordering {
        let fits = |value: &Value| match value {
            Value::Null => 0,
            Value::Float(f) if f.is_nan() => 0,
            value if self.decimal && Decimal::of_value(value, |_| ()).is_none() => 1,
            _ => 2,
        };
        let (low, high) = match self.policy {
            Policy::Min => (b, a),
            _ => (a, b),
        };
        fits(a).cmp(&fits(b)).then_with(|| {
            let as_decimals =
                || Decimal::of_value(low, |low| Decimal::of_value(high, |high| low.cmp(&high)))?;
            let decimals = self.decimal.then(as_decimals).flatten();
            decimals.unwrap_or_else(|| order_of(low, high))
        })
    }
}

/// The values that a keep-all field holds: lists are spread out, and what stands twice is shown once, where it came first.
pub(crate) fn distinct(values: Vec<Value>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for value in values {
        match value {
            Value::List(items) => all.extend(items),
            value => all.push(value),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|value| seen.insert(json::value_to_json(value)));
    all
}

/// A total order over values: nothing (null, NaN) < booleans < numbers by their exact value < timestamps < strings and texts
/// by their bytes < bytes < lists, element by element < maps, by names and then values.
///
/// Numbers of different kinds that are equal, and a string and a text of equal characters, are equal here.
pub fn order_of(a: &Value, b: &Value) -> Ordering {
    class(a).cmp(&class(b)).then_with(|| match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::List(a), Value::List(b)) => order_of_all(a.iter(), b.iter()),
        (Value::Map(a), Value::Map(b)) => order_of_maps(a, b),
        (a, b) => match (a.as_str(), b.as_str()) {
            (Some(a), Some(b)) => a.cmp(b),
            _ => order_of_numbers(a, b),
        },
    })
}

fn class(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Float(f) if f.is_nan() => 1,
        Value::Bool(_) => 2,
        Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Counter(_) => 3,
        Value::Timestamp(_) => 4,
        Value::String(_) | Value::Text(_) => 5,
        Value::Bytes(_) => 6,
        Value::List(_) => 7,
        Value::Map(_) => 8,
    }
}

fn order_of_all<'a>(
    mut a: impl Iterator<Item = &'a Value>,
    mut b: impl Iterator<Item = &'a Value>,
) -> Ordering {
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) => match order_of(a, b) {
                Ordering::Equal => {}
                order => return order,
            },
            (a, b) => return a.is_some().cmp(&b.is_some()),
        }
    }
}

fn order_of_maps(a: &Record, b: &Record) -> Ordering {
    let names = a.keys().cmp(b.keys());
    names.then_with(|| order_of_all(a.values(), b.values()))
}

/// By exact value: a double is compared with an integer without rounding either.
fn order_of_numbers(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::Float(a), b) => order_of_float(*a, integer(b)),
        (a, Value::Float(b)) => order_of_float(*b, integer(a)).reverse(),
        (a, b) => integer(a).cmp(&integer(b)),
    }
}

fn integer(value: &Value) -> i128 {
    match value {
        Value::Int(n) | Value::Counter(n) => i128::from(*n),
        Value::Uint(n) => i128::from(*n),
        _ => 0,
    }
}

fn order_of_float(float: f64, integer: i128) -> Ordering {
    // Beyond ±2^65 every integer here is nearer to zero; up to there a truncated double is exact in 128 bits.
    const LIMIT: f64 = 36_893_488_147_419_103_232.0;
    if float.abs() >= LIMIT {
        return if float > 0.0 {
            Ordering::Greater
        } else {
            Ordering::Less
        };
    }
    let whole = float.trunc();
    (whole as i128)
        .cmp(&integer)
        .then_with(|| float.partial_cmp(&whole).unwrap_or(Ordering::Equal))
}

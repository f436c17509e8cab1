//! Numbers of one column: which of Drill's types holds them all exactly.

use headwater_core::Value;
use headwater_core::decimal::{Decimal, MAX_PRECISION};
use serde::{Deserialize, Serialize};

/// Integers up to this size are all exactly representable as doubles.
const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// What is known of the numbers that were seen. Joining two only ever sets more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Number {
    /// Whether a float is among them.
    float: bool,
    /// The largest integer.
    integer: Integer,
    /// How many digits the numbers have, if all of them are decimal numbers.
    digits: Digits,
}

/// How large the integers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Integer {
    /// Within ±2^53, as all doubles up to there are exact; or there is none.
    #[default]
    InDouble,
    /// 64 bits with a sign.
    InBigint,
    /// Above 2^63 − 1.
    Large,
}

/// The most digits before and after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Digits {
    AtMost {
        whole: u8,
        fraction: u8,
    },
    /// One is no decimal number, or there is none of [`MAX_PRECISION`] digits that holds all.
    TooMany,
}

impl Default for Digits {
    fn default() -> Self {
        Self::AtMost {
            whole: 0,
            fraction: 0,
        }
    }
}

/// Drill's type for numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Bigint,
    Double,
    /// With [`MAX_PRECISION`] digits, so many of them after the point.
    Decimal(u8),
}

impl Shape {
    /// Whether cells written for this read the same as `wider`.
    pub(crate) fn renders_like(self, wider: Self) -> bool {
        match (self, wider) {
            (Self::Bigint, Self::Double) | (Self::Decimal(_), Self::Decimal(_)) => true,
            _ => self == wider,
        }
    }
}

impl Number {
    /// Integers of 64 bits with a sign.
    pub(crate) const INT: Self = Self {
        float: false,
        integer: Integer::InBigint,
        digits: Digits::TooMany,
    };

    /// Floats.
    pub(crate) const FLOAT: Self = Self {
        float: true,
        integer: Integer::InDouble,
        digits: Digits::TooMany,
    };

    /// What is known of `value` alone, which is a number.
    pub(crate) fn of(value: &Value) -> Self {
        let integer = match value {
            Value::Int(n) | Value::Counter(n) if n.unsigned_abs() > EXACT_IN_DOUBLE => {
                Integer::InBigint
            }
            Value::Uint(_) => Integer::Large,
            _ => Integer::InDouble,
        };
        // Every integer of 64 bits is a decimal number, whose digits need not be written to be counted.
        let whole = |n: u64| Some((n.checked_ilog10().map_or(0, |log| log as usize + 1), 0));
        let digits = match value {
            Value::Int(n) | Value::Counter(n) => whole(n.unsigned_abs()),
            Value::Uint(n) => whole(*n),
            _ => Decimal::of_value(value, |decimal| decimal.digits()),
        };
        Self {
            float: matches!(value, Value::Float(_)),
            integer,
            digits: digits.map_or(Digits::TooMany, |(whole, fraction)| {
                Digits::of(whole, fraction)
            }),
        }
    }

    /// What is known of both; nothing if they are text together.
    pub(crate) fn join(self, other: Self) -> Option<Self> {
        let joined = Self {
            float: self.float || other.float,
            integer: self.integer.max(other.integer),
            digits: self.digits.join(other.digits),
        };
        let text = joined.needs_decimal() && joined.digits == Digits::TooMany;
        (!text).then_some(joined)
    }

    fn needs_decimal(self) -> bool {
        match self.integer {
            Integer::InDouble => false,
            Integer::InBigint => self.float,
            Integer::Large => true,
        }
    }

    /// The type that holds them all.
    pub(crate) fn shape(self) -> Shape {
        match self.digits {
            Digits::AtMost { fraction, .. } if self.needs_decimal() => Shape::Decimal(fraction),
            _ if self.float => Shape::Double,
            _ => Shape::Bigint,
        }
    }
}

impl Digits {
    fn of(whole: usize, fraction: usize) -> Self {
        match (u8::try_from(whole), u8::try_from(fraction)) {
            (Ok(whole), Ok(fraction)) if whole.saturating_add(fraction) <= MAX_PRECISION => {
                Self::AtMost { whole, fraction }
            }
            _ => Self::TooMany,
        }
    }

    fn join(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::AtMost { whole, fraction },
                Self::AtMost {
                    whole: other_whole,
                    fraction: other_fraction,
                },
            ) => Self::of(
                whole.max(other_whole).into(),
                fraction.max(other_fraction).into(),
            ),
            _ => Self::TooMany,
        }
    }
}

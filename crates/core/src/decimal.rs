//! Decimal numbers as fields hold them: in strings, and in integers and floats that are exactly one.

use crate::value::Value;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// The most digits that a decimal number has.
pub const MAX_PRECISION: u8 = 38;

/// A decimal number in its digits, without zeros that say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    /// Reads digits with an optional `-` before them and an optional point between them: `-12.50`. Nothing else is one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let (whole, fraction) = (
            whole.trim_start_matches('0'),
            fraction.trim_end_matches('0'),
        );
        Some(Self {
            negative: digits.len() < text.len() && !(whole.is_empty() && fraction.is_empty()),
            whole,
            fraction,
        })
    }

    /// What `look` makes of the decimal number that `value` is; nothing if it is none. A float is the decimal number that its
    /// shortest text spells, which reads back as the same float; -0.0, NaN and the infinities are none.
    pub fn of_value<T>(value: &Value, look: impl FnOnce(Decimal<'_>) -> T) -> Option<T> {
        let mut text = Digits::default();
        let written = match value {
            Value::String(text) | Value::Text(text) => return Decimal::parse(text).map(look),
            Value::Int(n) | Value::Counter(n) => write!(text, "{n}"),
            Value::Uint(n) => write!(text, "{n}"),
            Value::Float(f) if *f == 0.0 && f.is_sign_negative() => return None,
            Value::Float(f) if f.is_finite() => write!(text, "{f}"),
            _ => return None,
        };
        written.ok()?;
        Decimal::parse(text.as_str()).map(look)
    }

    /// How many digits stand before the point and after it.
    pub fn digits(&self) -> (usize, usize) {
        (self.whole.len(), self.fraction.len())
    }

    /// Whether a decimal number of `precision` digits, `scale` of them after the point, can be exactly this.
    pub fn fits(&self, precision: u8, scale: u8) -> bool {
        let (whole, fraction) = self.digits();
        fraction <= usize::from(scale) && whole + usize::from(scale) <= usize::from(precision)
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Without zeros that say nothing, more digits before the point are more, and digits compare from the left.
        let size = |number: &Self| (number.whole.len(), number.whole, number.fraction);
        match (self.negative, other.negative) {
            (false, false) => size(self).cmp(&size(other)),
            (true, true) => size(other).cmp(&size(self)),
            (negative, _) => match negative {
                true => Ordering::Less,
                false => Ordering::Greater,
            },
        }
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_char('-')?;
        }
        f.write_str(if self.whole.is_empty() {
            "0"
        } else {
            self.whole
        })?;
        if !self.fraction.is_empty() {
            f.write_char('.')?;
            f.write_str(self.fraction)?;
        }
        Ok(())
    }
}

/// Room for the text of any number with at most [`MAX_PRECISION`] digits on each side of the point; what is longer is none.
struct Digits {
    bytes: [u8; 80],
    len: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self {
            bytes: [0; 80],
            len: 0,
        }
    }
}

impl Digits {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;
    use crate::value::Value;

    fn text(value: impl Into<Value>) -> Option<String> {
        Decimal::of_value(&value.into(), |decimal| decimal.to_string())
    }

    #[test]
    fn numbers_are_read_without_loss() {
        for (written, read) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007.50", "7.5"),
            ("-0.1", "-0.1"),
            ("100", "100"),
            (
                "-12345678901234567890123456789012345678.9",
                "-12345678901234567890123456789012345678.9",
            ),
        ] {
            assert_eq!(text(written).as_deref(), Some(read));
        }
        assert_eq!(text(i64::MIN).as_deref(), Some("-9223372036854775808"));
        assert_eq!(text(u64::MAX).as_deref(), Some("18446744073709551615"));
        assert_eq!(text(0.1).as_deref(), Some("0.1"));
        assert_eq!(text(-1e21).as_deref(), Some("-1000000000000000000000"));
        assert_eq!(text(1e-7).as_deref(), Some("0.0000001"));
    }

    #[test]
    fn numbers_are_ordered_by_their_value() {
        let ordered = [
            "-10", "-9.5", "-0.5", "-0.49", "0", "0.049", "0.05", "0.5", "0.51", "9.50", "10",
            "10.01",
        ];
        let parsed = ordered.map(|text| Decimal::parse(text).unwrap());
        for pair in parsed.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
            assert!(pair[1] > pair[0], "{pair:?}");
        }
        assert!(Decimal::parse("-0.0") == Decimal::parse("00"));
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for written in [
            "", "-", ".5", "5.", "+1", "1e3", "1,5", " 1", "--1", "1.2.3", "NaN", "٣",
        ] {
            assert_eq!(text(written), None, "{written:?}");
        }
        for float in [-0.0, f64::NAN, f64::NEG_INFINITY, f64::MAX, 5e-324] {
            assert_eq!(text(float), None, "{float}");
        }
        assert_eq!(text(true), None);
    }

    #[test]
    fn precision_and_scale_bound_the_digits() {
        let fits = |text, precision, scale| Decimal::parse(text).unwrap().fits(precision, scale);
        assert!(fits("123.45", 5, 2) && fits("123.450", 5, 2) && fits("-0.5", 1, 1));
        assert!(!fits("123.45", 5, 1) && !fits("1234.5", 5, 2) && !fits("1", 2, 2));
    }
}

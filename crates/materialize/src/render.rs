//! Rows as lines of JSON that Drill reads exactly, given the column's type.

use crate::names::{DATABASE, KEY, MORE};
use crate::rejected::Rejected;
use crate::schema::Schema;
use crate::types::{TIMESTAMPS, Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use headwater_core::json::{record_to_json, value_to_json, write_string};
use headwater_core::{Record, Value};
use std::borrow::Cow;
use std::fmt::Write as _;

/// A view that types a column as `VARCHAR` cuts its texts after so many characters, silently.
pub(crate) const MAX_VARCHAR: usize = 65_535;

/// Writes rows for one schema, and notes the columns whose texts are too long for `VARCHAR`.
pub(crate) struct Renderer<'a> {
    schema: &'a Schema,
    pub long: Long,
}

/// Where a text longer than [`MAX_VARCHAR`] was written.
#[derive(Debug, Default)]
pub(crate) struct Long {
    /// By column.
    pub columns: Vec<bool>,
    pub keys: bool,
    pub more: bool,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(schema: &'a Schema) -> Self {
        Self {
            schema,
            long: Long {
                columns: vec![false; schema.columns.len()],
                ..Long::default()
            },
        }
    }

    /// The first line of a file of a nested or empty table: a row without key (the view leaves it out) that has every
    /// member of every nested column, because Drill loses, in silence, members that no row of a file has.
    pub(crate) fn typing_row(&self, out: &mut String) {
        out.push('{');
        write_string(out, KEY);
        out.push_str(":null");
        for column in self
            .schema
            .columns
            .iter()
            .filter(|column| column.kind.is_nested())
        {
            out.push(',');
            write_string(out, &column.name);
            out.push(':');
            typing_cell(out, &column.kind);
        }
        out.push_str("}\n");
    }

    /// One row. Nulls are left out. Gives the values that have no place in it.
    pub(crate) fn row(
        &mut self,
        out: &mut String,
        database: &str,
        key: &str,
        record: &Record,
    ) -> Vec<Rejected> {
        out.push('{');
        write_string(out, KEY);
        out.push(':');
        write_string(out, key);
        self.long.keys |= key.len() > MAX_VARCHAR;
        out.push(',');
        write_string(out, DATABASE);
        let _ = write!(out, ":\"{database}\"");
        let mut more = Record::new();
        for (field, value) in record {
            if matches!(value, Value::Null) {
                continue;
            }
            let Some((at, column)) = self.schema.column(field) else {
                more.insert(field.clone(), value.clone());
                continue;
            };
            out.push(',');
            write_string(out, &column.name);
            out.push(':');
            if column.kind.is_text() {
                let text = text(value);
                self.long.columns[at] |= text.len() > MAX_VARCHAR;
                write_string(out, &text);
            } else {
                cell(out, &column.kind, value);
            }
        }
        if !more.is_empty() {
            let text = record_to_json(&more);
            self.long.more |= text.len() > MAX_VARCHAR;
            out.push(',');
            write_string(out, MORE);
            out.push(':');
            write_string(out, &text);
        }
        out.push_str("}\n");
        Vec::new()
    }
}

fn typing_cell(out: &mut String, kind: &Type) {
    match kind {
        Type::Struct(members) if !members.is_empty() => {
            for (i, member) in members.values().enumerate() {
                out.push(if i == 0 { '{' } else { ',' });
                write_string(out, &member.name);
                out.push(':');
                typing_cell(out, &member.kind);
            }
            out.push('}');
        }
        Type::List(elements) if elements.is_nested() => {
            out.push('[');
            typing_cell(out, elements);
            out.push(']');
        }
        Type::List(_) if !kind.is_text() => out.push_str("[]"),
        _ => out.push_str("null"),
    }
}

fn cell(out: &mut String, kind: &Type, value: &Value) {
    match (kind, value) {
        (kind, value) if kind.is_text() && !matches!(value, Value::Null) => {
            write_string(out, &text(value))
        }
        (Type::Struct(members), Value::Map(fields)) => {
            out.push('{');
            let mut first = true;
            for (field, value) in fields {
                if let Some(member) = members.get(field).filter(|_| !matches!(value, Value::Null)) {
                    if !std::mem::take(&mut first) {
                        out.push(',');
                    }
                    write_string(out, &member.name);
                    out.push(':');
                    cell(out, &member.kind, value);
                }
            }
            out.push('}');
        }
        (Type::List(elements), Value::List(items)) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                cell(out, elements, item);
            }
            out.push(']');
        }
        (Type::Double, Value::Float(f)) if !f.is_finite() => write_string(out, &text(value)),
        (Type::Bool, Value::Bool(_))
        | (Type::Int { .. } | Type::Double, Value::Int(_) | Value::Counter(_))
        | (Type::Double, Value::Float(_)) => out.push_str(&text(value)),
        (Type::Timestamp, Value::Timestamp(_)) | (Type::Bytes, Value::Bytes(_)) => {
            write_string(out, &text(value))
        }
        // The schema was widened by every value it is used for, so only null is left.
        _ => out.push_str("null"),
    }
}

/// What a text column holds of a value that is not null.
pub(crate) fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(s) | Value::Text(s) => Cow::Borrowed(s),
        Value::Bytes(bytes) => Cow::Owned(BASE64.encode(bytes)),
        Value::Float(f) if f.is_nan() => Cow::Borrowed("NaN"),
        Value::Float(f) if f.is_infinite() => {
            Cow::Borrowed(if *f > 0.0 { "Infinity" } else { "-Infinity" })
        }
        Value::Timestamp(ms) if TIMESTAMPS.contains(ms) => Cow::Owned(timestamp(*ms)),
        other => Cow::Owned(value_to_json(other)),
    }
}

/// `yyyy-MM-ddTHH:mm:ss.SSS` of milliseconds since 1970, in the proleptic Gregorian calendar.
fn timestamp(ms: i64) -> String {
    const DAY: i64 = 86_400_000;
    let (days, time) = (ms.div_euclid(DAY), ms.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}",
        time / 3_600_000,
        time / 60_000 % 60,
        time / 1_000 % 60,
        time % 1_000
    )
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months counted from March, so that the leap day is the year's last.
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

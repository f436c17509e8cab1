//! Rows as lines of JSON that Drill reads exactly, given the column's type.

use crate::names::{DATABASE, KEY, MORE};
use crate::number::Shape;
use crate::rejected::Rejected;
use crate::schema::{Column, Schema};
use crate::types::{TIMESTAMPS, Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use headwater_core::decimal::Decimal;
use headwater_core::json::{record_to_json, write_string, write_value};
use headwater_core::{DatabaseId, Record, Value};
use std::fmt::Write as _;

/// A view that types a column as `VARCHAR` cuts its texts after so many characters, silently.
pub(crate) const MAX_VARCHAR: usize = 65_535;

/// Writes rows for one schema, and notes the columns whose texts are too long for `VARCHAR`.
pub(crate) struct Renderer<'a> {
    schema: &'a Schema,
    /// In byte order of their names, as records have them.
    fields: Vec<Field<'a>>,
    /// The last row's database, which is most often the next one's too.
    database: Option<(DatabaseId, String)>,
    scratch: String,
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

struct Field<'a> {
    /// Its place among the schema's columns.
    at: usize,
    column: &'a Column,
    /// What stands before its cell.
    before: String,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(schema: &'a Schema) -> Self {
        let mut fields: Vec<_> = (schema.columns.iter().enumerate())
            .map(|(at, column)| {
                let mut before = String::from(",");
                write_string(&mut before, &column.name);
                before.push(':');
                Field { at, column, before }
            })
            .collect();
        fields.sort_by(|a, b| a.column.field.cmp(&b.column.field));
        Self {
            schema,
            fields,
            database: None,
            scratch: String::new(),
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
        for column in self.schema.shown().filter(|column| column.kind.is_nested()) {
            out.push(',');
            write_string(out, &column.name);
            out.push(':');
            typing_cell(out, &column.kind);
        }
        out.push_str("}\n");
    }

    /// One row, with a line's end. Nulls are left out, and so are values that do not fit their declared types: these are
    /// returned. Nothing is allocated unless there are such, or fields that go into `_more`.
    pub(crate) fn row(
        &mut self,
        out: &mut String,
        database: DatabaseId,
        key: &str,
        record: &Record,
    ) -> Vec<Rejected> {
        self.keys(out, database, key);
        let mut rejected = Vec::new();
        let mut more = Record::new();
        let mut from = 0;
        for (name, value) in record {
            if matches!(value, Value::Null) {
                continue;
            }
            let Some(found) = position(&self.fields[from..], name) else {
                if !self.schema.hides(name) {
                    more.insert(name.clone(), value.clone());
                }
                continue;
            };
            let field = &self.fields[from + found];
            from += found + 1;
            if field.column.is_hidden() {
                continue;
            }
            if let Some(declared) = field.column.declared
                && !declared.fits(value)
            {
                rejected.push(Rejected::new(name, value, declared));
                continue;
            }
            out.push_str(&field.before);
            if field.column.kind.is_text() {
                let length = text(out, &mut self.scratch, value);
                self.long.columns[field.at] |= length > MAX_VARCHAR;
            } else {
                cell(out, &mut self.scratch, &field.column.kind, value);
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
        rejected
    }

    /// A row's beginning: its key and its database.
    fn keys(&mut self, out: &mut String, database: DatabaseId, key: &str) {
        out.push('{');
        write_string(out, KEY);
        out.push(':');
        write_string(out, key);
        self.long.keys |= key.len() > MAX_VARCHAR;
        match &self.database {
            Some((last, text)) if *last == database => out.push_str(text),
            _ => {
                let mut text = String::from(",");
                write_string(&mut text, DATABASE);
                let _ = write!(text, ":\"{database}\"");
                out.push_str(&text);
                self.database = Some((database, text));
            }
        }
    }
}

/// Where the field `name` is. Most often it is the first, as rows tend to have all fields.
fn position(fields: &[Field<'_>], name: &str) -> Option<usize> {
    if fields.first()?.column.field == name {
        return Some(0);
    }
    fields
        .binary_search_by(|field| field.column.field.as_str().cmp(name))
        .ok()
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

fn cell(out: &mut String, scratch: &mut String, kind: &Type, value: &Value) {
    match (kind, value) {
        (_, Value::Null) => out.push_str("null"),
        (kind, value) if kind.is_text() => {
            text(out, scratch, value);
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
                    cell(out, scratch, &member.kind, value);
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
                cell(out, scratch, elements, item);
            }
            out.push(']');
        }
        (Type::Number(number), value) => number_cell(out, scratch, number.shape(), value),
        (Type::Decimal { .. }, value) => decimal(out, value),
        (Type::Bool, Value::Bool(_)) => write_value(out, value),
        (Type::Timestamp, Value::Timestamp(ms) | Value::Int(ms)) => {
            out.push('"');
            timestamp(out, *ms);
            out.push('"');
        }
        (Type::Bytes, Value::Bytes(_)) | (Type::Date, Value::String(_) | Value::Text(_)) => {
            text(out, scratch, value);
        }
        // The schema was widened by every value that is not rejected, so nothing is left.
        _ => out.push_str("null"),
    }
}

fn number_cell(out: &mut String, scratch: &mut String, shape: Shape, value: &Value) {
    match (shape, value) {
        (Shape::Decimal(_), value) => decimal(out, value),
        // It is declared an integer, and this is one.
        (Shape::Bigint, Value::Float(f)) => write_value(out, &Value::Int(*f as i64)),
        (Shape::Double, Value::Float(f)) if !f.is_finite() => {
            text(out, scratch, value);
        }
        _ => write_value(out, value),
    }
}

/// A decimal number, as a string. Drill reads a bare number as exactly, given the column's type, but without it refuses integers
/// beyond 64 bits, and other readers round.
fn decimal(out: &mut String, value: &Value) {
    let written = Decimal::of_value(value, |decimal| {
        let _ = write!(out, "\"{decimal}\"");
    });
    if written.is_none() {
        out.push_str("null");
    }
}

/// Writes what a text column holds of a value that is not null. Returns how long the text is, in bytes.
fn text(out: &mut String, scratch: &mut String, value: &Value) -> usize {
    scratch.clear();
    match value {
        Value::String(s) | Value::Text(s) => {
            write_string(out, s);
            return s.len();
        }
        Value::Bytes(bytes) => BASE64.encode_string(bytes, scratch),
        Value::Float(f) if f.is_nan() => scratch.push_str("NaN"),
        Value::Float(f) if f.is_infinite() => {
            scratch.push_str(if *f > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Value::Timestamp(ms) if TIMESTAMPS.contains(ms) => timestamp(scratch, *ms),
        other => write_value(scratch, other),
    }
    write_string(out, scratch);
    scratch.len()
}

/// `yyyy-MM-ddTHH:mm:ss.SSS` of milliseconds since 1970, in the proleptic Gregorian calendar.
fn timestamp(out: &mut String, ms: i64) {
    const DAY: i64 = 86_400_000;
    let (days, time) = (ms.div_euclid(DAY), ms.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}",
        time / 3_600_000,
        time / 60_000 % 60,
        time / 1_000 % 60,
        time % 1_000
    );
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

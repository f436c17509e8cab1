//! The result of a query of Drill's as records, each column of its exact type.
//!
//! Drill's answer is copied to a temporary file ([`ask`]) and read three times: for what is nested in it, for every row that
//! cannot be a record ([`QueryResult::check`]), and for the writer ([`QueryResult::records`]). Only a row and a few dozen bytes
//! for each row's key are held in memory, so a result may be larger than that.

mod answer;
mod kind;
mod shape;
mod unchanged;

#[cfg(test)]
mod tests;

use super::keys::fingerprint;
use super::{BadRow, BadRows, ImportError, Progress, Source};
use crate::drill::{self, DrillError, QueryOptions};
use answer::AnswerRows;
use headwater_core::{FieldType, Record, Value, check_put, json};
use headwater_materialize::{DATABASE, KEY, MORE};
use kind::{Kind, parsed};
use serde_json::value::RawValue;
use shape::{Shape, quoted};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufWriter, Write as _};

pub use shape::MAX_MEMBERS;
pub use unchanged::unchanged;

/// What the temporary file is called in messages.
const NAME: &str = "Drill's answer";

/// A query, and how its result becomes records.
#[derive(Debug, Clone)]
pub struct ResultOptions {
    /// The Drillbit, `http://HOST:PORT`.
    pub url: String,
    /// The query.
    pub sql: String,
    /// How long each question to Drill may take, and how large the answer may be; the rows are not limited.
    pub limits: QueryOptions,
    /// The column that holds the records' keys.
    pub key: String,
    /// The types of fields, as the collection declares them.
    pub declared: BTreeMap<String, FieldType>,
}

/// Why a result is not written. Nothing was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// Drill cannot be asked, or failed the query.
    #[error(transparent)]
    Drill(#[from] DrillError),
    /// The answer is no answer, or its copy cannot be read.
    #[error(transparent)]
    Answer(#[from] ImportError),
    /// The result does not have the key column.
    #[error(
        "the result has no column {key:?} for the key, only {}; choose one of them or have the query name one so",
        columns.join(", ")
    )]
    NoKey {
        /// The column that was named.
        key: String,
        /// Those there are.
        columns: Vec<String>,
    },
    /// A value that is not JSON.
    #[error("{NAME} cannot be read: {message}")]
    Value {
        /// Which, and why.
        message: String,
    },
    /// Structs with too many members.
    #[error(
        "the structs of the result have more than {MAX_MEMBERS} members; select those that you need"
    )]
    TooManyMembers,
    /// The Drillbit's times cannot be told exactly.
    #[error(
        "the Drill at {url} is not in UTC, so its dates and times cannot be told exactly: start it with -Duser.timezone=UTC (as \
         `headwater drill start` does), or select them as text, CAST(x AS VARCHAR)"
    )]
    Zone {
        /// The Drillbit.
        url: String,
    },
    /// Rows that cannot be records.
    #[error(
        "{} of the {rows} rows of the result cannot be written, so nothing was; change the query, or what the collection \
         declares:{bad}",
        bad.total()
    )]
    BadRows {
        /// How many rows there are.
        rows: u64,
        /// Those that are bad.
        bad: BadRows,
    },
}

/// Has Drill run the query, and keeps its answer in a temporary file.
///
/// # Errors
/// [`ResultError::Drill`] if Drill does not answer, or the file cannot be written. Whether the query succeeded is told by
/// [`QueryResult::check`].
pub fn ask(options: &ResultOptions) -> Result<Source, ResultError> {
    let folder = std::env::temp_dir();
    let failed = |source: io::Error| DrillError::Io {
        action: "keep Drill's answer in",
        path: folder.clone(),
        source,
    };
    let file = tempfile::tempfile().map_err(failed)?;
    let mut writer = BufWriter::new(&file);
    drill::copy_answer(
        &options.url,
        &options.sql,
        &options.limits,
        &mut writer,
        &folder,
    )?;
    writer.flush().map_err(failed)?;
    drop(writer);
    Ok(Source::of(NAME, file))
}

/// A column and the field that it becomes.
#[derive(Debug)]
struct Column {
    name: String,
    kind: Kind,
}

/// A result that was read through and can be written.
#[derive(Debug)]
pub struct QueryResult {
    source: Source,
    columns: Vec<Column>,
    key: String,
    declared: BTreeMap<String, FieldType>,
    rows: u64,
}

impl QueryResult {
    /// Reads the whole answer to the query of `options` and checks every row. Asks Drill for the types of what is nested, if
    /// there is such, which runs the query's plan without its rows.
    ///
    /// # Errors
    /// [`DrillError::Failed`] if the query failed, at its start or half way; [`ResultError::BadRows`] names the rows that
    /// cannot be records: without a key, with one that another row has, or with a value that does not fit.
    pub fn check(
        source: Source,
        options: &ResultOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, ResultError> {
        let mut result = Self {
            columns: columns(&source, options)?,
            source,
            key: options.key.clone(),
            declared: options.declared.clone(),
            rows: 0,
        };
        if !result
            .columns
            .iter()
            .any(|column| column.name == result.key)
        {
            return Err(ResultError::NoKey {
                key: result.key,
                columns: result
                    .columns
                    .into_iter()
                    .map(|column| column.name)
                    .collect(),
            });
        }
        if result.columns.iter().any(|column| column.kind.has_zone()) {
            check_zone(options)?;
        }
        let mut bad = BadRows::by("row");
        let mut seen = HashMap::new();
        let mut rows = AnswerRows::open(result.source.input()?)?;
        while let Some(row) = rows.next_row()? {
            result.rows += 1;
            let number = result.rows;
            let checked = result.record(&row).and_then(|(key, record)| {
                check_put(&key, &record).map_err(|error| error.to_string())?;
                match *seen.entry(fingerprint(&key)).or_insert(number) {
                    first if first == number => Ok(()),
                    first => Err(format!(
                        "the key {key:?} is also that of row {first}; choose a column that is different in every row, or \
                         GROUP BY it"
                    )),
                }
            });
            if let Err(message) = checked {
                let line = number;
                bad.add(BadRow { line, message });
            }
            progress(rows.input().progress());
        }
        drop(rows);
        match bad.total() {
            0 => Ok(result),
            _ => Err(ResultError::BadRows {
                rows: result.rows,
                bad,
            }),
        }
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The fields that the columns become: all but the lake's `_key`, `_database` and `_more`, whose members are fields
    /// too.
    pub fn fields(&self) -> impl Iterator<Item = String> {
        let names = self.columns.iter().map(|column| &column.name);
        names.filter(|name| !is_ours(name)).cloned()
    }

    /// Reads the answer again, record by record.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub fn records(&self) -> Result<Records<'_>, ResultError> {
        Ok(Records {
            result: self,
            rows: AnswerRows::open(self.source.input()?)?,
        })
    }

    /// The record of a row and its key, or why there is none.
    fn record(&self, row: &RawValue) -> Result<(String, Record), String> {
        let mut cells: HashMap<String, &RawValue> = parsed(row.get())?;
        let mut key = None;
        let mut record = Record::new();
        for Column { name, kind } in &self.columns {
            let value = match cells.remove(name) {
                Some(raw) => kind
                    .value(raw)
                    .map_err(|error| format!("column {name:?}: {error}"))?,
                None => Value::Null,
            };
            if *name == self.key {
                key = Some(key_text(name, &value)?);
            }
            match (name.as_str(), value) {
                (KEY | DATABASE, _) | (_, Value::Null) => {}
                (MORE, value) => self.unpack(value, &mut record)?,
                (_, value) => self.add(name, kind, value, &mut record)?,
            }
        }
        Ok((key.unwrap_or_default(), record))
    }

    fn add(
        &self,
        name: &str,
        kind: &Kind,
        value: Value,
        record: &mut Record,
    ) -> Result<(), String> {
        let value = match self.declared.get(name) {
            Some(declared) => kind.fit(name, declared, value)?,
            None => value,
        };
        match record.insert(name.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(format!(
                "the field {name:?} is a column and stands in {MORE:?} too"
            )),
        }
    }

    /// The fields for which the lake has no column.
    fn unpack(&self, more: Value, record: &mut Record) -> Result<(), String> {
        let more = more.as_str().unwrap_or_default();
        let more = json::record_from_str(more).map_err(|error| {
            format!(
                "column {MORE:?} holds the lake's further fields as JSON, and here not: {error}"
            )
        })?;
        // Canonical JSON tells the types of its values, so none is like a decimal.
        more.into_iter()
            .try_for_each(|(name, value)| self.add(&name, &Kind::Text, value, record))
    }
}

/// The records of a [`QueryResult`] with their keys, in the order of the result.
#[derive(Debug)]
pub struct Records<'a> {
    result: &'a QueryResult,
    rows: AnswerRows<'a>,
}

impl Iterator for Records<'_> {
    type Item = Result<(String, Record), ResultError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next_row().transpose()?;
        Some(row.map_err(ResultError::from).and_then(|row| {
            let record = self.result.record(&row);
            record.map_err(|message| ResultError::Value { message })
        }))
    }
}

/// Whether the lake gives each table a column of this name, which is no field.
fn is_ours(column: &str) -> bool {
    matches!(column, KEY | DATABASE | MORE)
}

/// Reads the answer through: whether the query succeeded, and the columns with their kinds.
fn columns(source: &Source, options: &ResultOptions) -> Result<Vec<Column>, ResultError> {
    let mut rows = AnswerRows::open(source.input()?)?;
    let mut kinds = rows.about.kinds.iter().map(|name| Kind::of(name));
    let names = rows.about.columns.iter().cloned();
    let mut columns: Vec<Column> = names
        .map(|name| Column {
            name,
            kind: kinds.next().unwrap_or(Kind::Other("unknown".to_owned())),
        })
        .collect();
    let mut nested: Vec<(&mut Column, Shape)> = columns
        .iter_mut()
        .filter(|column| column.kind.is_nested())
        .map(|column| (column, Shape::default()))
        .collect();
    let mut left = MAX_MEMBERS;
    while let Some(row) = rows.next_row()? {
        if nested.is_empty() {
            continue;
        }
        let cells: HashMap<String, &RawValue> =
            parsed(row.get()).map_err(|message| ResultError::Value { message })?;
        for (column, shape) in &mut nested {
            if let Some(raw) = cells.get(&column.name) {
                shape.note(raw, &mut left)?;
            }
        }
    }
    let about = &rows.about;
    drill::completed(
        &options.url,
        about.state.as_deref(),
        about.error.as_deref(),
        about.exception.as_deref(),
    )?;
    if !nested.is_empty() {
        tell_members(options, nested)?;
    }
    Ok(columns)
}

/// Asks Drill for the types of what is nested.
fn tell_members(
    options: &ResultOptions,
    nested: Vec<(&mut Column, Shape)>,
) -> Result<(), ResultError> {
    let mut expressions = Vec::new();
    for (column, shape) in &nested {
        shape.expressions(&format!("q.{}", quoted(&column.name)), &mut expressions);
    }
    let named = expressions.iter().enumerate();
    let named: Vec<_> = named.map(|(n, path)| format!("{path} AS c{n}")).collect();
    // The query may end in a comment, so the bracket stands on a line of its own.
    let sql = format!(
        "SELECT {} FROM (\n{}\n) q LIMIT 0",
        named.join(", "),
        drill::statement(&options.sql)
    );
    let answer = drill::query_with(&options.url, &sql, &options.limits)?;
    let mut kinds = answer.columns().iter().map(|column| Kind::of(&column.kind));
    for (column, shape) in nested {
        column.kind = shape.kind(&mut kinds).ok_or_else(|| ResultError::Value {
            message: format!("Drill does not tell the types in {:?}", column.name),
        })?;
    }
    Ok(())
}

/// That Drill's milliseconds are in UTC, in winter and in summer.
fn check_zone(options: &ResultOptions) -> Result<(), ResultError> {
    let sql = "SELECT TIMESTAMP '1970-01-01 00:00:00' w, TIMESTAMP '2000-07-15 00:00:00' s FROM (VALUES (1))";
    let answer = drill::query_with(&options.url, sql, &options.limits)?;
    let row = answer.rows().first().map(Vec::as_slice).unwrap_or_default();
    let cells: Vec<_> = row.iter().map(|raw| raw.get()).collect();
    match cells == ["0", "963619200000"] {
        true => Ok(()),
        false => Err(ResultError::Zone {
            url: options.url.clone(),
        }),
    }
}

/// The key that a value stands for.
fn key_text(column: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Err(format!("the key column {column:?} is null")),
        Value::String(text) if text.is_empty() => {
            Err(format!("the key column {column:?} is empty"))
        }
        Value::String(text) => Ok(text.clone()),
        Value::Int(n) => Ok(n.to_string()),
        Value::Uint(n) => Ok(n.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Timestamp(ms) => {
            let text = drill::date_time(*ms);
            text.ok_or_else(|| format!("the key column {column:?} is out of range"))
        }
        other => Err(format!(
            "the key column {column:?} holds a {}, which has no exact text of its own; CAST it to VARCHAR",
            other.kind()
        )),
    }
}

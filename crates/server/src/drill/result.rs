//! What a query returns, exactly as Drill wrote it.

use super::DrillError;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use jiff::civil::Time;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

/// A column of a [`QueryResult`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Column {
    /// Its name; Drill renames the second of two equal ones.
    pub name: String,
    /// Drill's type, such as `VARCHAR`, `BIGINT`, `FLOAT8` (DOUBLE), `BIT` (BOOLEAN), `VARDECIMAL(20, 4)`, `TIMESTAMP`,
    /// `MAP` (STRUCT) or `LIST`. Of an array it is the type of the elements.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The rows of a query, each value as the JSON text that Drill sent, so that no number is rounded on its way:
/// - BIGINT and DECIMAL are numbers with all their digits; FLOAT8 is a number, or `"NaN"`, `"Infinity"`, `"-Infinity"`;
/// - BIT is a boolean; VARCHAR a string; VARBINARY a string in base64; INTERVAL a string (ISO 8601);
/// - TIMESTAMP and DATE are integers, milliseconds since 1970 in the Drillbit's zone (UTC if [`start`](super::start)
///   runs it), TIME milliseconds of the day, also inside of structs and arrays;
/// - a struct is an object, an array an array; a missing struct is an object of nulls, a missing array empty.
#[derive(Debug, Clone)]
pub struct QueryResult {
    columns: Vec<Column>,
    rows: Vec<Vec<Box<RawValue>>>,
    truncated: bool,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "queryState")]
    state: Option<Cow<'a, str>>,
    #[serde(rename = "errorMessage")]
    error: Option<Cow<'a, str>>,
    exception: Option<Cow<'a, str>>,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    metadata: Vec<String>,
    #[serde(default)]
    rows: Vec<HashMap<String, Box<RawValue>>>,
}

impl QueryResult {
    /// Reads Drill's answer to a query, which comes with HTTP status 200 also if the query failed.
    pub(super) fn parse(url: &str, answer: &str) -> Result<Self, DrillError> {
        let unexpected = |reason: String| DrillError::Unexpected {
            url: url.to_owned(),
            reason,
        };
        let answer: Answer = serde_json::from_str(answer)
            .map_err(|error| unexpected(format!("not a query's answer: {error}")))?;
        let (error, exception) = (answer.error.as_deref(), answer.exception.as_deref());
        completed(url, answer.state.as_deref(), error, exception)?;
        // Statements without a result, such as USE, may have no metadata.
        let mut kinds = answer.metadata.into_iter();
        let columns: Vec<Column> = answer
            .columns
            .into_iter()
            .map(|name| Column {
                name,
                kind: kinds.next().unwrap_or_default(),
            })
            .collect();
        let rows = answer
            .rows
            .into_iter()
            .map(|mut row| {
                let cell = |column: &Column| {
                    row.remove(&column.name)
                        .unwrap_or_else(|| RawValue::NULL.to_owned())
                };
                columns.iter().map(cell).collect()
            })
            .collect();
        Ok(Self {
            columns,
            rows,
            truncated: false,
        })
    }

    /// Keeps the first `rows` rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.truncated = self.rows.len() > rows;
        self.rows.truncate(rows);
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The rows; each has a value for each column.
    pub fn rows(&self) -> &[Vec<Box<RawValue>>] {
        &self.rows
    }

    /// Whether there are more rows than [`QueryOptions::rows`](super::QueryOptions::rows) allowed.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// A table for people: `NULL` for null, dates and times as text, control characters escaped, nested values as JSON.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(self.columns.iter().map(|column| escape(&column.name)));
        for row in &self.rows {
            let cells = row.iter().zip(&self.columns);
            table.add_row(cells.map(|(value, column)| text(value, &column.kind)));
        }
        table.to_string()
    }
}

/// `{"columns": [{"name", "type"}], "rows": [{COLUMN: VALUE}], "truncated": false}`, the values as Drill sent them.
impl Serialize for QueryResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut result = serializer.serialize_struct("QueryResult", 3)?;
        result.serialize_field("columns", &self.columns)?;
        result.serialize_field("rows", &Rows(self))?;
        result.serialize_field("truncated", &self.truncated)?;
        result.end()
    }
}

struct Rows<'a>(&'a QueryResult);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.rows.iter().map(|row| Row(&self.0.columns, row)))
    }
}

struct Row<'a>(&'a [Column], &'a [Box<RawValue>]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(Some(self.0.len()))?;
        for (column, value) in self.0.iter().zip(self.1) {
            row.serialize_entry(&column.name, value)?;
        }
        row.end()
    }
}

/// The table's cell for a value of a column of Drill's type `kind`.
fn text(value: &RawValue, kind: &str) -> String {
    let raw = value.get();
    if raw == "null" {
        return "NULL".to_owned();
    }
    if let Ok(string) = serde_json::from_str::<String>(raw) {
        return escape(&string);
    }
    let time = raw.parse().ok().and_then(|ms| match kind {
        "TIMESTAMP" => date_time(ms),
        "DATE" => date_time(ms)?.split(' ').next().map(str::to_owned),
        "TIME" => time_of_day(ms),
        _ => None,
    });
    time.unwrap_or_else(|| raw.to_owned())
}

/// `yyyy-MM-dd HH:mm:ss`, with the fraction of the second if there is one, of milliseconds since 1970; in the years -9999 to
/// 9999.
pub(crate) fn date_time(ms: i64) -> Option<String> {
    let timestamp = Timestamp::from_millisecond(ms).ok()?;
    Some(timestamp.strftime("%Y-%m-%d %H:%M:%S%.f").to_string())
}

/// `HH:mm:ss`, with the fraction of the second if there is one, of milliseconds since midnight.
pub(crate) fn time_of_day(ms: i64) -> Option<String> {
    let time = Time::midnight().checked_add(Duration::from_millis(ms.try_into().ok()?));
    Some(time.ok()?.strftime("%H:%M:%S%.f").to_string())
}

/// Control characters could move the cursor or recolour the terminal.
fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Whether the query came to its end, by what the answer says of it.
pub(crate) fn completed(
    url: &str,
    state: Option<&str>,
    error: Option<&str>,
    exception: Option<&str>,
) -> Result<(), DrillError> {
    let state = match state {
        Some("COMPLETED") => return Ok(()),
        Some(state) => state,
        None => {
            return Err(DrillError::Unexpected {
                url: url.to_owned(),
                reason: "no query state".to_owned(),
            });
        }
    };
    let message = match error {
        Some(message) => explain(message, exception.unwrap_or_default()),
        None => format!(
            "the query is {state}; to see why: ALTER SYSTEM SET `drill.exec.http.rest.errors.verbose` = true"
        ),
    };
    Err(DrillError::Failed { message })
}

/// What Drill says, for people: it repeats the message of an error's cause (`X: X`), and the message of some exceptions
/// is but a word, such as the text that is no number.
fn explain(message: &str, exception: &str) -> String {
    let message = message.trim();
    let half = message.len().saturating_sub(2) / 2;
    let message = match (message.get(..half), message.get(half..)) {
        (Some(first), Some(rest)) if rest.strip_prefix(": ") == Some(first) => first,
        _ => message,
    };
    match exception.rsplit('.').next() {
        Some(name) if !name.is_empty() && !message.contains(' ') => format!("{name}: {message}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(answer: &str) -> Result<QueryResult, DrillError> {
        QueryResult::parse("http://drill", answer)
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        let result = parse(
            r#"{"queryId":"1","columns":["big","dec"],"metadata":["BIGINT","VARDECIMAL(38, 10)"],
                "rows":[{"dec":1234567890123456789012345678.0000000001,"big":9007199254740993}],"queryState":"COMPLETED"}"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            r#"{"columns":[{"name":"big","type":"BIGINT"},{"name":"dec","type":"VARDECIMAL(38, 10)"}],"rows":[{"big":9007199254740993,"dec":1234567890123456789012345678.0000000001}],"truncated":false}"#
        );
    }

    #[test]
    fn a_failed_query_is_an_error_with_the_message_once() {
        let answer = |error| {
            format!(r#"{{"columns":["a"],"rows":[{{"a":1}}]{error},"queryState":"FAILED"}}"#)
        };
        let error = parse(&answer(r#","errorMessage":"no table: no table""#)).unwrap_err();
        assert_eq!(error.to_string(), "Drill says: no table");
        let error = parse(&answer(
            r#","exception":"java.lang.NumberFormatException","errorMessage":"x""#,
        ))
        .unwrap_err();
        assert_eq!(error.to_string(), "Drill says: NumberFormatException: x");
        let error = parse(&answer("")).unwrap_err();
        assert!(error.to_string().contains("FAILED"), "{error}");
    }

    #[test]
    fn what_is_not_a_query_answer_is_an_error() {
        for answer in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"queryState":"COMPLETED","rows":7}"#,
        ] {
            assert!(
                matches!(parse(answer), Err(DrillError::Unexpected { .. })),
                "{answer}"
            );
        }
    }

    #[test]
    fn tables_show_times_as_text_and_no_control_characters() {
        let result = parse(
            r#"{"columns":["at","day","time","s","n","m"],"metadata":["TIMESTAMP","DATE","TIME","VARCHAR","VARCHAR","MAP"],
                "rows":[{"at":-11644473599999,"day":1582934400000,"time":36672123,"s":"a\u001b[31m\nb","n":null,"m":{"x":1}}],
                "queryState":"COMPLETED"}"#,
        )
        .unwrap();
        let table = result.table();
        for cell in [
            "1601-01-01 00:00:00.001",
            "2020-02-29",
            "10:11:12.123",
            r"a\u{1b}[31m\nb",
            "NULL",
            r#"{"x":1}"#,
        ] {
            assert!(table.contains(cell), "{cell} in\n{table}");
        }
        assert!(!table.contains('\u{1b}'), "{table}");
    }
}

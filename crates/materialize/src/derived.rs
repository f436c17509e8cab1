//! Views that show a change feed in other forms.

use crate::changes::{AFTER, BEFORE, CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, CURSOR};
use crate::names::{DATABASE, KEY, Place, Taken, companion};
use crate::schema::{Placed, Schema};
use crate::table::Table;
use crate::types::Type;
use crate::view::{View, field_type, quoted};
use serde_json::{Value as Json, json};

/// When a row began to be what it is, by the commit's time, and until when it was.
const VALID_FROM: &str = "_valid_from";
const VALID_TO: &str = "_valid_to";

/// Rows as they were at any time: each with when it began to be so and until when it was, which is null for those that still are.
/// `feed` selects the change feed `table` of the table `records`.
pub(crate) fn history(records: &str, feed: &View, table: &Table) -> View {
    let (text, time) = (
        || field_type(&Type::Text, true),
        || field_type(&Type::Timestamp, false),
    );
    let mut columns = vec![
        (KEY.to_owned(), text()),
        (DATABASE.to_owned(), text()),
        (VALID_FROM.to_owned(), time()),
        (VALID_TO.to_owned(), time()),
        (COMMIT_VERSION.to_owned(), json!({"type": "BIGINT"})),
    ];
    let mut taken = Taken::default();
    for (name, _) in &columns {
        taken.insert(name);
    }
    let mut picked = Vec::new();
    // Those of the records come last, as there will be more of them (see `Schema::placed`).
    for place in row(table) {
        let name = match taken.insert(&place.name) {
            true => place.name.clone(),
            false => taken.assign(&place.name, &place.field, Place::Column),
        };
        let from = match place.hidden {
            true => "CAST(NULL AS VARCHAR)".to_owned(),
            false => format!("`f`.{}.{}", quoted(AFTER), quoted(&place.name)),
        };
        picked.push(format!(", {from} AS {}", quoted(&name)));
        // Of texts in a struct it is not known how long they are.
        let long = place.kind.is_text();
        columns.push((name, field_type(&place.kind, long)));
    }
    let names: Vec<_> = columns.iter().map(|(name, _)| quoted(name)).collect();
    let at = quoted(COMMIT_TIMESTAMP);
    let sql = format!(
        "SELECT {} FROM (SELECT {}, {}, {at} AS {}, LEAD({at}) OVER (PARTITION BY {}, {} ORDER BY {}) AS {}, {}, {}{} FROM ({}) `f`) \
         WHERE {} <> 'delete'",
        names.join(", "),
        quoted(KEY),
        quoted(DATABASE),
        quoted(VALID_FROM),
        quoted(DATABASE),
        quoted(KEY),
        quoted(CURSOR),
        quoted(VALID_TO),
        quoted(COMMIT_VERSION),
        quoted(CHANGE_TYPE),
        picked.concat(),
        feed.sql(),
        quoted(CHANGE_TYPE),
    );
    View::new(companion(records, "history"), columns, sql)
}

/// The columns of a row of the feed; none if rows have so many that the feed shows them as text.
fn row(feed: &Table) -> &[Placed] {
    match feed.schema.column(AFTER).map(|column| &column.kind) {
        Some(Type::Struct(_)) => &feed.places,
        _ => &[],
    }
}

/// Events in the form of Debezium's envelope: `op` is `c`, `u` or `d`; what its `source` has is in columns of their own.
pub(crate) fn debezium(records: &str, feed: &View, schema: &Schema) -> View {
    let image = |name: &str| {
        let kind = schema.column(name).map(|column| &column.kind);
        field_type(kind.unwrap_or(&Type::Text), true)
    };
    let text = || json!({"type": "ANY"});
    let number = || json!({"type": "BIGINT"});
    let milliseconds = |column: &str| {
        format!(
            "CONVERT_FROM(CONVERT_TO({}, 'TIMESTAMP_EPOCH'), 'BIGINT')",
            quoted(column)
        )
    };
    let op = format!(
        "CASE {} WHEN 'insert' THEN 'c' WHEN 'update' THEN 'u' ELSE 'd' END",
        quoted(CHANGE_TYPE)
    );
    let columns: Vec<(&str, Json, String)> = vec![
        ("op", text(), op),
        ("ts_ms", number(), milliseconds(COMMIT_TIMESTAMP)),
        (BEFORE, image(BEFORE), quoted(BEFORE)),
        (AFTER, image(AFTER), quoted(AFTER)),
        ("source_db", text(), quoted(DATABASE)),
        ("source_table", text(), format!("'{records}'")),
        ("source_key", text(), quoted(KEY)),
        ("source_ts_ms", number(), milliseconds("_edited_at")),
        ("source_version", number(), quoted(COMMIT_VERSION)),
        ("source_sequence", text(), quoted(CURSOR)),
        ("source_event_id", text(), quoted("_event_id")),
        ("source_actor", text(), quoted("_actor")),
        ("source_user", text(), quoted("_user")),
        ("source_origin", text(), quoted("_origin")),
    ];
    let picked: Vec<_> = columns
        .iter()
        .map(|(name, _, from)| format!("{from} AS {}", quoted(name)))
        .collect();
    let sql = format!("SELECT {} FROM ({}) `f`", picked.join(", "), feed.sql());
    let columns = columns
        .into_iter()
        .map(|(name, field, _)| (name.to_owned(), field));
    View::new(companion(records, "debezium"), columns.collect(), sql)
}

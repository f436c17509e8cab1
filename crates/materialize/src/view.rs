//! The view file that makes a folder of parts a typed table.

use crate::names::{DATABASE, KEY, MORE};
use crate::number::Shape;
use crate::schema::Schema;
use crate::types::Type;
use headwater_core::decimal::MAX_PRECISION;
use serde_json::{Value as Json, json};

const VARCHAR: &str = "VARCHAR";

/// The view's file name. `table` is a name that [`crate::names`] gave.
pub(crate) fn file_name(table: &str) -> String {
    format!("{table}.view.drill")
}

/// A view's columns, what it selects and from where.
pub(crate) struct View {
    name: String,
    columns: Vec<(String, Json)>,
    sql: String,
}

impl View {
    pub(crate) fn new(name: String, columns: Vec<(String, Json)>, sql: String) -> Self {
        Self { name, columns, sql }
    }

    /// All columns of a table, out of the files in `folder`. `filter` leaves out typing rows.
    pub(crate) fn of(drill_schema: &str, folder: &str, schema: &Schema, filter: bool) -> Self {
        let text = |name: &str, long: bool| {
            let field = field_type(&Type::Text, long);
            (name.to_owned(), VARCHAR.to_owned(), field)
        };
        let mut columns = vec![text(KEY, schema.long_keys), text(DATABASE, false)];
        columns.extend(schema.placed().map(|place| {
            let field = field_type(&place.kind, place.long);
            let sql = match place.hidden && place.kind.is_nested() {
                // No row has members that could show Drill its type.
                true => VARCHAR.to_owned(),
                false => sql_type(&place.kind),
            };
            (place.name, sql, field)
        }));
        if schema.more {
            // There is one once there are as many columns as there may be, so none comes before it any more.
            columns.push(text(MORE, schema.long_more));
        }
        let names: Vec<_> = columns.iter().map(|(name, ..)| quoted(name)).collect();
        let typed: Vec<_> = columns
            .iter()
            .map(|(name, kind, _)| format!("{} {kind}", quoted(name)))
            .collect();
        let path: Vec<_> = drill_schema
            .split('.')
            .chain([folder])
            .map(quoted)
            .collect();
        let filter = match filter {
            true => format!(" WHERE {} IS NOT NULL", quoted(KEY)),
            false => String::new(),
        };
        let sql = format!(
            "SELECT {} FROM table({}(type=>'json', schema=>'inline=({})')){filter}",
            names.join(", "),
            path.join("."),
            typed.join(", "),
        );
        let columns = columns.into_iter().map(|(name, _, field)| (name, field));
        Self::new(schema.table.clone(), columns.collect(), sql)
    }

    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// The view's name, and the text of its file.
    pub(crate) fn into_text(self) -> (String, String) {
        let fields: Vec<_> = self
            .columns
            .into_iter()
            .map(|(name, mut field)| {
                field["name"] = name.into();
                field["isNullable"] = true.into();
                field
            })
            .collect();
        let (name, sql) = (self.name, self.sql);
        let view = json!({"name": name, "sql": sql, "fields": fields, "workspaceSchemaPath": []});
        (name, format!("{view:#}\n"))
    }
}

/// Which version's folder a view's text names, given the table's folder.
pub(crate) fn version(text: &str, table_folder: &str) -> Option<u64> {
    let view: serde_json::Value = serde_json::from_str(text).ok()?;
    let (_, rest) = view["sql"]
        .as_str()?
        .split_once(&format!("{table_folder}/"))?;
    rest.split_once('`')?.0.strip_prefix('v')?.parse().ok()
}

// Names hold no backquote, quote or backslash (see `names`), so quoting needs no escapes.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{name}`")
}

/// The type in the inline schema.
fn sql_type(kind: &Type) -> String {
    match kind {
        _ if kind.is_text() => "VARCHAR".to_owned(),
        Type::Null | Type::Text => "VARCHAR".to_owned(),
        Type::Bool => "BOOLEAN".to_owned(),
        Type::Number(number) => match number.shape() {
            Shape::Bigint => "BIGINT".to_owned(),
            Shape::Double => "DOUBLE".to_owned(),
            Shape::Decimal(scale) => decimal(MAX_PRECISION, scale),
        },
        Type::Decimal { precision, scale } => decimal(*precision, *scale),
        Type::Date => "DATE".to_owned(),
        Type::Timestamp => "TIMESTAMP".to_owned(),
        Type::Bytes => "VARBINARY".to_owned(),
        Type::Struct(members) => {
            let members: Vec<_> = members
                .values()
                .map(|member| format!("{} {}", quoted(&member.name), sql_type(&member.kind)))
                .collect();
            format!("STRUCT<{}>", members.join(", "))
        }
        Type::List(elements) => format!("ARRAY<{}>", sql_type(elements)),
    }
}

fn decimal(precision: u8, scale: u8) -> String {
    format!("DECIMAL({precision}, {scale})")
}

/// The type that the view shows, to which it casts. `ANY` casts nothing.
pub(crate) fn field_type(kind: &Type, long: bool) -> Json {
    let decimal = |precision: u8, scale: u8| json!({"type": "DECIMAL", "precision": precision, "scale": scale});
    let name = match kind {
        _ if long => "ANY",
        _ if kind.is_text() => "VARCHAR",
        Type::Null | Type::Text => "VARCHAR",
        Type::Bool => "BOOLEAN",
        Type::Number(number) => match number.shape() {
            Shape::Bigint => "BIGINT",
            Shape::Double => "DOUBLE",
            Shape::Decimal(scale) => return decimal(MAX_PRECISION, scale),
        },
        Type::Decimal { precision, scale } => return decimal(*precision, *scale),
        Type::Date => "DATE",
        Type::Timestamp => "TIMESTAMP",
        Type::Bytes => "VARBINARY",
        Type::Struct(_) | Type::List(_) => "ANY",
    };
    json!({ "type": name })
}

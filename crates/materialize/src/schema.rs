//! The columns of one table: what is recorded of them, and how they grow.

use crate::names::{DATABASE, KEY, MORE, Place, Taken};
use crate::render::Long;
use crate::types::{Member, Type};
use headwater_core::Record;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How many fields of a collection get a column. Those beyond go together into `_more`.
pub const MAX_COLUMNS: usize = 1_000;

/// How many scalars a column of structs may have. One with more (a map used as a dictionary) is JSON text.
pub const MAX_LEAVES: usize = 500;

/// The format of the recorded schema that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The field's name in the records.
    pub field: String,
    /// The column's name in the table; empty until the field was first published.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Whether a text longer than Drill's `VARCHAR` is among its cells; then the view types it as `ANY`.
    #[serde(default)]
    pub long: bool,
    /// The type for which the parts that exist were written.
    #[serde(skip)]
    rendered: Type,
}

/// The recorded schema of one table. It only ever grows and widens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schema {
    format: u32,
    /// The collection's name.
    pub collection: String,
    /// The table's name.
    pub table: String,
    /// Whether a key is longer than Drill's `VARCHAR`.
    #[serde(default)]
    pub long_keys: bool,
    /// Whether some fields are in `_more`.
    #[serde(default)]
    pub more: bool,
    /// Whether a cell of `_more` is longer than Drill's `VARCHAR`.
    #[serde(default)]
    pub long_more: bool,
    /// The columns in the table's order.
    pub columns: Vec<Column>,
    #[serde(skip)]
    index: HashMap<String, usize>,
}

impl Schema {
    pub(crate) fn new(collection: &str, table: String) -> Self {
        Self {
            format: FORMAT,
            collection: collection.to_owned(),
            table,
            long_keys: false,
            more: false,
            long_more: false,
            columns: Vec::new(),
            index: HashMap::new(),
        }
    }

    /// Reads a recorded schema; an error says what is wrong with it.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, SchemaError> {
        let parsed: serde_json::Value = serde_json::from_slice(json)
            .map_err(|error| SchemaError::Damaged(error.to_string()))?;
        match parsed["format"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(SchemaError::Newer(format)),
            None => return Err(SchemaError::Damaged("it has no format number".to_owned())),
        }
        let mut schema: Self = serde_json::from_value(parsed)
            .map_err(|error| SchemaError::Damaged(error.to_string()))?;
        schema.reindex();
        Ok(schema)
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and maps with string keys: nothing that serde_json could refuse.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// The column of `field`.
    pub(crate) fn column(&self, field: &str) -> Option<(usize, &Column)> {
        let at = *self.index.get(field)?;
        self.columns.get(at).map(|column| (at, column))
    }

    /// Widens the columns so that `record` fits.
    pub(crate) fn observe(&mut self, record: &Record) {
        for (field, value) in record {
            self.field(field).kind.widen(value);
        }
    }

    /// Widens the column of `field` to hold `kind`.
    pub(crate) fn declare(&mut self, field: &str, kind: Type) {
        let column = self.field(field);
        column.kind = std::mem::take(&mut column.kind).join(kind);
    }

    fn field(&mut self, field: &str) -> &mut Column {
        let at = match self.index.get(field) {
            Some(at) => *at,
            None => {
                let at = self.columns.len();
                self.index.insert(field.to_owned(), at);
                self.columns.push(Column {
                    field: field.to_owned(),
                    name: String::new(),
                    kind: Type::Null,
                    long: false,
                    rendered: Type::Null,
                });
                at
            }
        };
        &mut self.columns[at]
    }

    /// Gives new fields their columns and new members their names. Returns whether parts written before must be written anew.
    pub(crate) fn settle(&mut self) -> bool {
        let mut taken = Taken::default();
        for name in [KEY, DATABASE, MORE] {
            taken.insert(name);
        }
        let known = self
            .columns
            .iter()
            .take_while(|column| !column.name.is_empty())
            .count();
        for column in &self.columns[..known] {
            taken.insert(&column.name);
        }
        // New ones in byte order, whatever order the records came in.
        self.columns[known..].sort_by(|a, b| a.field.cmp(&b.field));
        if self.columns.len() > MAX_COLUMNS {
            self.columns.truncate(MAX_COLUMNS.max(known));
            self.more = true;
        }
        for column in &mut self.columns[known..] {
            column.name = taken.assign(&column.field, Place::Column);
        }
        let mut rewrite = false;
        for column in &mut self.columns {
            if column.kind.is_nested() && column.kind.leaves() > MAX_LEAVES {
                column.kind = Type::Text;
            }
            name_members(&mut column.kind);
            rewrite |= !column.rendered.renders_like(&column.kind);
        }
        self.reindex();
        rewrite
    }

    /// Notes that all parts are written for the present types.
    pub(crate) fn mark_rendered(&mut self) {
        for column in &mut self.columns {
            if column.rendered != column.kind {
                column.rendered = column.kind.clone();
            }
        }
    }

    /// Notes, by column, that longer texts than Drill's `VARCHAR` were written.
    pub(crate) fn note_long(&mut self, long: &Long) {
        for (column, long) in self.columns.iter_mut().zip(&long.columns) {
            column.long |= long;
        }
        self.long_keys |= long.keys;
        self.long_more |= long.more;
    }

    /// Makes the column of `field` one of this type and no other.
    pub(crate) fn set(&mut self, field: &str, kind: Type) {
        self.field(field).kind = kind;
    }

    /// What holds a row of this table in one column.
    pub(crate) fn as_struct(&self) -> Type {
        let member = |column: &Column| {
            let member = Member {
                name: column.name.clone(),
                kind: column.kind.clone(),
            };
            (column.field.clone(), member)
        };
        Type::Struct(self.columns.iter().map(member).collect())
    }

    /// Whether rows alone do not show Drill all members of its columns.
    pub(crate) fn is_nested(&self) -> bool {
        self.columns.iter().any(|column| column.kind.is_nested())
    }

    fn reindex(&mut self) {
        self.index = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| (column.field.clone(), at))
            .collect();
    }
}

/// Why a recorded schema cannot be used.
#[derive(Debug)]
pub(crate) enum SchemaError {
    Damaged(String),
    Newer(u64),
}

fn name_members(kind: &mut Type) {
    match kind {
        Type::Struct(members) => {
            if members.values().any(|member| member.name.is_empty()) {
                let mut taken = Taken::default();
                for member in members.values().filter(|member| !member.name.is_empty()) {
                    taken.insert(&member.name);
                }
                for (field, member) in members
                    .iter_mut()
                    .filter(|(_, member)| member.name.is_empty())
                {
                    member.name = taken.assign(field, Place::Member);
                }
            }
            for member in members.values_mut() {
                name_members(&mut member.kind);
            }
        }
        Type::List(elements) => name_members(elements),
        _ => {}
    }
}

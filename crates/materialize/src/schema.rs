//! The columns of one table: what is recorded of them, and how they grow.

use crate::declared::{Declaration, Declarations, DeclaredType};
use crate::names::{DATABASE, HIDDEN, KEY, MORE, Place, Taken};
use crate::render::Long;
use crate::types::{Member, Type};
use headwater_core::{LakeColumn, Record, Value};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How many fields of a collection get a column. Those beyond go together into `_more`.
pub const MAX_COLUMNS: usize = 1_000;

/// How many scalars a column of structs may have. One with more (a map used as a dictionary) is JSON text.
pub const MAX_LEAVES: usize = 500;

/// The format of the recorded schema that this version writes and reads.
pub(crate) const FORMAT: u32 = 2;

/// One column of a table.
///
/// What is recorded are its place, its name and what was ever seen in it. Its type is that and what the catalog declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The field's name in the records.
    pub field: String,
    /// The column's name in the table; empty until the field was first published, and while it is hidden.
    pub name: String,
    /// What the catalog called it when it got its name, if that is not the field's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    called: Option<String>,
    /// The name of what stands in its place while it is hidden; empty unless it was hidden after it had been shown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stand_in: String,
    seen: Seen,
    /// Whether a text longer than Drill's `VARCHAR` is among its cells; then the view types it as `ANY`.
    #[serde(default)]
    pub long: bool,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: Type,
    /// The type that the catalog declares. A value that does not fit it is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<DeclaredType>,
    /// What it holds whatever is seen.
    #[serde(skip)]
    set: Option<Type>,
    /// For what the parts that exist were written.
    #[serde(skip)]
    rendered: Rendered,
}

/// What was ever seen in a column, whatever was declared meanwhile: so it does not depend on when that was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    scalars: Type,
    lists: Type,
    maps: Type,
}

impl Seen {
    fn widen(&mut self, value: &Value) {
        match value {
            Value::List(_) => self.lists.widen(value),
            Value::Map(_) => self.maps.widen(value),
            _ => self.scalars.widen(value),
        }
    }

    /// Names new members, and makes what has too many of them text.
    fn settle(&mut self) {
        for kind in [&mut self.lists, &mut self.maps] {
            if kind.is_nested() && kind.leaves() > MAX_LEAVES {
                *kind = Type::Text;
            }
            name_members(kind);
        }
    }

    /// The column's type.
    fn kind(&self, declared: Option<DeclaredType>) -> Type {
        match (declared, declared.and_then(DeclaredType::kind)) {
            (_, Some(kind)) => kind,
            (Some(DeclaredType::List), None) => Type::List(Box::default()).join(self.lists.clone()),
            (Some(_), None) => Type::Struct(Default::default()).join(self.maps.clone()),
            (None, None) => {
                let nested = self.lists.clone().join(self.maps.clone());
                nested.join(self.scalars.clone())
            }
        }
    }
}

/// A place in a table's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub field: String,
    pub name: String,
    /// Whether its column is hidden, so that it holds nothing.
    pub hidden: bool,
    pub kind: Type,
    pub long: bool,
}

/// What decides how cells are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rendered {
    name: String,
    kind: Type,
    declared: Option<DeclaredType>,
}

impl Column {
    fn new(field: &str) -> Self {
        Self {
            field: field.to_owned(),
            name: String::new(),
            called: None,
            stand_in: String::new(),
            seen: Seen::default(),
            long: false,
            kind: Type::Null,
            declared: None,
            set: None,
            rendered: Rendered::default(),
        }
    }

    /// Whether no row shows it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.name.is_empty()
    }

    /// Whether it was ever shown.
    fn is_placed(&self) -> bool {
        !(self.name.is_empty() && self.stand_in.is_empty())
    }

    /// The name that it should have if Drill can hold it.
    fn wanted(&self) -> &str {
        self.called.as_deref().unwrap_or(&self.field)
    }

    /// Whether rows written before read the same now.
    fn is_rendered(&self) -> bool {
        let before = &self.rendered;
        if before.kind == Type::Null && before.declared.is_none() {
            // Only nulls so far, which are left out.
            return !self.kind.is_nested();
        }
        before.name == self.name
            && before.declared == self.declared
            && before.kind.renders_like(&self.kind)
    }

    fn mark_rendered(&mut self) {
        if self.rendered.kind != self.kind
            || self.rendered.name != self.name
            || self.rendered.declared != self.declared
        {
            self.rendered = Rendered {
                name: self.name.clone(),
                kind: self.kind.clone(),
                declared: self.declared,
            };
        }
    }
}

/// The recorded schema of one table. What is recorded only ever grows and widens.
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
    /// The columns in the table's order, hidden ones among them, then those that were never shown.
    pub columns: Vec<Column>,
    /// What the catalogs declare.
    #[serde(default, skip_serializing_if = "Declarations::is_empty")]
    declared: Declarations,
    /// Whether what they declare changed what `_more` holds since the parts were written.
    #[serde(skip)]
    more_changed: bool,
    /// How many columns have been published.
    #[serde(skip)]
    known: usize,
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
            declared: Declarations::new(),
            more_changed: false,
            known: 0,
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
        schema.known = schema.columns.len();
        schema.reindex();
        Ok(schema)
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and maps with string keys: nothing that serde_json could refuse.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// The columns that the table shows.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.is_hidden())
    }

    /// The places of the table's view, in order. None is ever given up: Drill reads a view twice while it plans a query, and
    /// takes columns by their numbers from the one to the other, so that after one that is gone it would show each under the
    /// name of its neighbour.
    pub(crate) fn placed(&self) -> impl Iterator<Item = Placed> {
        let placed = self.columns.iter().filter(|column| column.is_placed());
        placed.map(|column| Placed {
            field: column.field.clone(),
            name: match column.is_hidden() {
                true => column.stand_in.clone(),
                false => column.name.clone(),
            },
            hidden: column.is_hidden(),
            kind: column.kind.clone(),
            long: column.long,
        })
    }

    /// Whether the catalog hides `field`.
    pub(crate) fn hides(&self, field: &str) -> bool {
        is_hidden(&self.declared, field)
    }

    /// Widens the columns so that `record` fits.
    pub(crate) fn observe(&mut self, record: &Record) {
        for (field, value) in record {
            self.field(field).seen.widen(value);
        }
    }

    /// Takes in what the catalogs declare now, instead of what they did before. Returns whether that is anything else.
    pub(crate) fn declare(&mut self, declared: Declarations) -> bool {
        if self.declared == declared {
            return false;
        }
        self.declared = declared;
        self.more_changed = self.more;
        let typed = self.declared.iter().filter(|(_, one)| one.kind.is_some());
        let typed: Vec<_> = typed.map(|(field, _)| field.clone()).collect();
        for field in typed {
            if !self.hides(&field) {
                self.field(&field);
            }
        }
        true
    }

    /// The column of `field`.
    pub(crate) fn column(&self, field: &str) -> Option<&Column> {
        let at = *self.index.get(field)?;
        self.columns.get(at)
    }

    fn field(&mut self, field: &str) -> &mut Column {
        let at = match self.index.get(field) {
            Some(at) => *at,
            None => {
                let at = self.columns.len();
                self.index.insert(field.to_owned(), at);
                self.columns.push(Column::new(field));
                at
            }
        };
        &mut self.columns[at]
    }

    /// Gives all columns the types and names that they have now, new members theirs too. Returns whether parts written before
    /// must be written anew.
    pub(crate) fn settle(&mut self) -> bool {
        // New ones in byte order, whatever order the records came in.
        self.columns[self.known..].sort_by(|a, b| a.field.cmp(&b.field));
        if self.columns.len() > MAX_COLUMNS {
            self.columns.truncate(MAX_COLUMNS.max(self.known));
            self.more = true;
        }
        self.known = self.columns.len();
        // Those that have a place keep it; what is shown for the first time comes after them.
        self.columns.sort_by_key(|column| !column.is_placed());
        let placed = self.columns.partition_point(Column::is_placed);
        self.columns[placed..].sort_by(|a, b| a.field.cmp(&b.field));
        self.name_columns();
        self.columns[placed..].sort_by_key(|column| !column.is_placed());
        let mut rewrite = std::mem::take(&mut self.more_changed);
        for column in &mut self.columns {
            column.seen.settle();
            column.declared = self.declared.get(&column.field).and_then(|one| one.kind);
            let seen = || column.seen.kind(column.declared);
            column.kind = column.set.clone().unwrap_or_else(seen);
            rewrite |= !column.is_rendered();
        }
        self.reindex();
        rewrite
    }

    /// Names new columns and those that the catalog calls otherwise than before, in byte order of what they are called and of
    /// their fields. All others keep theirs.
    fn name_columns(&mut self) {
        let mut leaving = Vec::new();
        for (at, column) in self.columns.iter_mut().enumerate() {
            let declared = self.declared.get(&column.field);
            let called = match declared.and_then(|declared| declared.column.as_ref()) {
                Some(LakeColumn::Named(name)) => Some(name).filter(|name| **name != column.field),
                Some(LakeColumn::Hidden) => {
                    if column.is_placed() && column.stand_in.is_empty() {
                        leaving.push(at);
                    }
                    column.name.clear();
                    continue;
                }
                None => None,
            };
            if column.called.as_ref() != called {
                column.called = called.cloned();
                column.name.clear();
            }
        }
        let mut taken = Taken::default();
        for name in [KEY, DATABASE, MORE] {
            taken.insert(name);
        }
        for column in &self.columns {
            taken.insert(&column.name);
            taken.insert(&column.stand_in);
        }
        for at in leaving {
            let column = &mut self.columns[at];
            let name = format!("{HIDDEN}{}", at + 1);
            column.stand_in = taken.assign(&name, &column.field, Place::Column);
        }
        let declared = &self.declared;
        let mut unnamed: Vec<_> = (self.columns.iter_mut())
            .filter(|column| column.name.is_empty() && !is_hidden(declared, &column.field))
            .collect();
        unnamed.sort_by(|a, b| (a.wanted(), &a.field).cmp(&(b.wanted(), &b.field)));
        for column in unnamed {
            column.name = taken.assign(column.wanted(), &column.field, Place::Column);
        }
    }

    /// Notes that all parts are written for the present types.
    pub(crate) fn mark_rendered(&mut self) {
        self.columns.iter_mut().for_each(Column::mark_rendered);
    }

    /// Notes, by column, that longer texts than Drill's `VARCHAR` were written.
    pub(crate) fn note_long(&mut self, long: &Long) {
        for (column, long) in self.columns.iter_mut().zip(&long.columns) {
            column.long |= long;
        }
        self.long_keys |= long.keys;
        self.long_more |= long.more;
    }

    /// Makes the column of `field` one of this type, whatever is seen in it.
    pub(crate) fn set(&mut self, field: &str, kind: Type) {
        let kind = match kind.leaves() > MAX_LEAVES {
            true => Type::Text,
            false => kind,
        };
        self.field(field).set = Some(kind);
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
        Type::Struct(self.shown().map(member).collect())
    }

    /// Whether rows alone do not show Drill all members of its columns.
    pub(crate) fn is_nested(&self) -> bool {
        self.shown().any(|column| column.kind.is_nested())
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

fn is_hidden(declared: &Declarations, field: &str) -> bool {
    let declared: Option<&Declaration> = declared.get(field);
    declared.is_some_and(|declared| declared.column == Some(LakeColumn::Hidden))
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
                    member.name = taken.assign(field, field, Place::Member);
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

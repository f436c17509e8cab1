//! What catalogs declare of the columns: their types, their names, and which are hidden.

use crate::number::Number;
use crate::types::{TIMESTAMPS, Type};
use headwater_core::catalog::Collection;
use headwater_core::{DatabaseId, FieldType, LakeColumn, Policy, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A type that the catalog declares for a field, which is then that of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredType {
    /// `bool`.
    Bool,
    /// `int` and `counter`.
    Int,
    /// `float`.
    Float,
    /// `decimal(precision,scale)`.
    Decimal {
        /// How many digits it has.
        precision: u8,
        /// How many of them stand after the point.
        scale: u8,
    },
    /// `string` and `text`.
    Text,
    /// `date`.
    Date,
    /// `timestamp`.
    Timestamp,
    /// `bytes`.
    Bytes,
    /// `list`, of what is for the values to say.
    List,
    /// `map`, of what is for the values to say.
    Map,
}

impl DeclaredType {
    /// The one for a field type of the catalog; nothing for one that this version does not know.
    pub fn of(kind: &FieldType) -> Option<Self> {
        Some(match kind {
            FieldType::Bool => Self::Bool,
            FieldType::Int | FieldType::Counter => Self::Int,
            FieldType::Float => Self::Float,
            FieldType::Decimal { precision, scale } => Self::Decimal {
                precision: *precision,
                scale: *scale,
            },
            FieldType::String | FieldType::Text => Self::Text,
            FieldType::Date => Self::Date,
            FieldType::Timestamp => Self::Timestamp,
            FieldType::Bytes => Self::Bytes,
            FieldType::List => Self::List,
            FieldType::Map => Self::Map,
            FieldType::Other(_) => return None,
        })
    }

    /// Whether a column of this type holds `value` without loss: by the catalog's rules, a counter being an integer, if Drill's
    /// type has room for it.
    pub(crate) fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Int, Value::Uint(_)) => false,
            (Self::Timestamp, Value::Timestamp(ms) | Value::Int(ms)) => TIMESTAMPS.contains(ms),
            (_, Value::Counter(n)) => self.field_type().fits(&Value::Int(*n)),
            _ => self.field_type().fits(value),
        }
    }

    /// What a value that fits is, in plain English.
    pub(crate) fn described(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Int => "an int (an integer of 64 bits)".to_owned(),
            Self::Text => "a string".to_owned(),
            Self::Date => "a date (yyyy-MM-dd, of the years 1 to 9999)".to_owned(),
            Self::Timestamp => "a timestamp (of the years 1 to 9999)".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Float | Self::Decimal { .. } | Self::List | Self::Map => {
                format!("a {}", self.field_type().name())
            }
        }
    }

    fn field_type(self) -> FieldType {
        match self {
            Self::Bool => FieldType::Bool,
            Self::Int => FieldType::Int,
            Self::Float => FieldType::Float,
            Self::Decimal { precision, scale } => FieldType::Decimal { precision, scale },
            Self::Text => FieldType::String,
            Self::Date => FieldType::Date,
            Self::Timestamp => FieldType::Timestamp,
            Self::Bytes => FieldType::Bytes,
            Self::List => FieldType::List,
            Self::Map => FieldType::Map,
        }
    }

    /// The column's type; nothing for [`Self::List`] and [`Self::Map`], whose values say more.
    pub(crate) fn kind(self) -> Option<Type> {
        Some(match self {
            Self::Bool => Type::Bool,
            Self::Int => Type::Number(Number::INT),
            Self::Float => Type::Number(Number::FLOAT),
            Self::Decimal { precision, scale } => Type::Decimal { precision, scale },
            Self::Text => Type::Text,
            Self::Date => Type::Date,
            Self::Timestamp => Type::Timestamp,
            Self::Bytes => Type::Bytes,
            Self::List | Self::Map => return None,
        })
    }
}

/// What is declared of one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Declaration {
    /// Its column's type; without one it is inferred.
    pub kind: Option<DeclaredType>,
    /// Its column's name, or that it has none; without one it is the field's.
    pub column: Option<LakeColumn>,
}

/// What is declared of a collection's fields, by name.
pub type Declarations = BTreeMap<String, Declaration>;

/// What a database's catalog declares. A field that shows several values (by the policy `keep-all` or `union`) has the type of
/// a list if that is declared, else none: the declared one is that of each value.
pub fn declarations(collection: &Collection) -> Declarations {
    let mut declared = Declarations::new();
    for (field, kind) in &collection.fields {
        let several = matches!(
            collection.policies.get(field),
            Some(Policy::KeepAll | Policy::Union)
        );
        let kind = DeclaredType::of(kind).filter(|kind| !several || *kind == DeclaredType::List);
        declared.entry(field.clone()).or_default().kind = kind;
    }
    for (field, column) in &collection.columns {
        declared.entry(field.clone()).or_default().column = Some(column.clone());
    }
    declared
}

/// What the databases that share a table declare of it. Databases that declare the same share one copy.
#[derive(Debug, Default)]
pub(crate) struct Catalogs {
    by_database: BTreeMap<DatabaseId, Arc<Declarations>>,
    /// Each once, with the number of databases.
    distinct: BTreeMap<Arc<Declarations>, usize>,
}

impl Catalogs {
    /// Takes in what one database declares now. Returns what all together do if that may have changed.
    pub(crate) fn set(
        &mut self,
        database: DatabaseId,
        declared: Declarations,
    ) -> Option<Declarations> {
        let before = self.by_database.get(&database).cloned();
        if before.as_deref() == Some(&declared) {
            return None;
        }
        let declared = self.distinct.get_key_value(&declared).map_or_else(
            || Arc::new(declared.clone()),
            |(known, _)| Arc::clone(known),
        );
        *self.distinct.entry(Arc::clone(&declared)).or_default() += 1;
        self.by_database.insert(database, declared);
        if let Some(before) = before
            && let Some(count) = self.distinct.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.distinct.remove(&before);
            }
        }
        Some(self.merged())
    }

    /// A field is hidden if one hides it. Otherwise a type or a name counts if all that declare one declare the same.
    fn merged(&self) -> Declarations {
        let mut fields: BTreeMap<&String, Vec<&Declaration>> = BTreeMap::new();
        for (field, declaration) in self.distinct.keys().flat_map(|declared| declared.iter()) {
            fields.entry(field).or_default().push(declaration);
        }
        let merged = fields.into_iter().map(|(field, all)| {
            let columns = || all.iter().filter_map(|one| one.column.as_ref());
            let hidden = columns().any(|column| *column == LakeColumn::Hidden);
            let declaration = Declaration {
                kind: agreed(all.iter().filter_map(|one| one.kind.as_ref())).copied(),
                column: if hidden {
                    Some(LakeColumn::Hidden)
                } else {
                    agreed(columns()).cloned()
                },
            };
            (field.clone(), declaration)
        });
        merged.collect()
    }
}

/// The one thing that all are, if they are.
fn agreed<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

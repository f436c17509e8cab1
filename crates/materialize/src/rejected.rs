//! Values that do not fit the declared type of their field, as rows.

use crate::declared::DeclaredType;
use headwater_core::json::value_to_json;
use headwater_core::{Record, Value};

/// The columns of a table of rejected values. They have their types from the start, so that an empty one can be queried too.
pub(crate) const COLUMNS: [(&str, DeclaredType); 3] = [
    ("field", DeclaredType::Text),
    ("value", DeclaredType::Text),
    ("reason", DeclaredType::Text),
];

/// How many characters of a value its reason repeats.
const SHOWN: usize = 60;

/// A value that does not fit the declared type of its field. Its cell is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The field's name in the record.
    pub field: String,
    /// The value, as canonical JSON.
    pub value: String,
    /// Why it does not fit, in plain English.
    pub reason: String,
}

impl Rejected {
    pub(crate) fn new(field: &str, value: &Value, declared: DeclaredType) -> Self {
        let value = value_to_json(value);
        let mut shown: String = value.chars().take(SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self {
            field: field.to_owned(),
            reason: format!("{shown} is not {}", declared.described()),
            value,
        }
    }

    /// Its row, beside the record's key and database.
    pub fn row(self) -> Record {
        [
            ("field", self.field),
            ("value", self.value),
            ("reason", self.reason),
        ]
        .map(|(column, cell)| (column.to_owned(), Value::String(cell)))
        .into()
    }
}

//! Values that do not fit their column's declared type, as rows.
use crate::types::DeclaredType;
use headwater_core::Record;

/// The columns of a table of rejected values.
pub(crate) const COLUMNS: [(&str, DeclaredType); 3] = [
    ("field", DeclaredType::Text),
    ("value", DeclaredType::Text),
    ("reason", DeclaredType::Text),
];

/// A value that has no place in its column.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub field: String,
    pub value: String,
    pub reason: String,
}

impl Rejected {
    /// Its row.
    pub(crate) fn row(&self) -> Record {
        let cells = [("field", &self.field), ("value", &self.value), ("reason", &self.reason)];
        cells.into_iter().map(|(name, text)| (name.to_owned(), text.as_str().into())).collect()
    }
}

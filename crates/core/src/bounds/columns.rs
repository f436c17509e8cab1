//! The columns of a chunk: which there are, and where their bytes lie.

use std::borrow::Cow;

use super::chunk::Budget;
use super::{BoundsError, Reader};

/// The bit of a column's specification that says that it is compressed.
const DEFLATED: u8 = 0x08;

/// A kind of column: its specification (an id and a type in one number) and its name for errors.
pub(super) type Kind = (u8, &'static str);

/// The columns of one table, in the order of their specifications.
pub(super) struct Columns<'a> {
    columns: Vec<(u8, Cow<'a, [u8]>)>,
}

/// The specifications and lengths that come before the data of a table.
pub(super) struct Layout {
    lengths: Vec<(u8, u64)>,
}

impl Layout {
    /// Reads a layout that may hold the columns in `known` and no others.
    ///
    /// automerge drops columns that it does not know, which would change the hash of a change.
    pub(super) fn read(reader: &mut Reader<'_>, known: &[Kind]) -> Result<Self, BoundsError> {
        let count = reader.count(2)?;
        if count > known.len() {
            return Err(BoundsError::malformed("columns", "there are too many"));
        }
        let mut lengths = Vec::with_capacity(count);
        let mut last = None;
        for _ in 0..count {
            let spec = u8::try_from(reader.unsigned()?).unwrap_or(u8::MAX);
            let inflated = spec & !DEFLATED;
            if !known.iter().any(|(known, _)| *known == inflated) {
                return Err(BoundsError::malformed("columns", "there is an unknown one"));
            }
            if last >= Some(inflated) {
                return Err(BoundsError::malformed("columns", "they are out of order"));
            }
            last = Some(inflated);
            lengths.push((spec, reader.unsigned()?));
        }
        Ok(Self { lengths })
    }

    /// Reads the data of columns that must not be compressed or empty, as in a change.
    pub(super) fn plain<'a>(self, reader: &mut Reader<'a>) -> Result<Columns<'a>, BoundsError> {
        let mut columns = Vec::with_capacity(self.lengths.len());
        for (spec, len) in self.lengths {
            if spec & DEFLATED != 0 {
                return Err(BoundsError::malformed("change", "a column is compressed"));
            }
            if len == 0 {
                return Err(BoundsError::malformed("change", "a column is empty"));
            }
            columns.push((spec, Cow::Borrowed(reader.take(len)?)));
        }
        Ok(Columns { columns })
    }

    /// Reads the data of columns of which each may be compressed.
    pub(super) fn inflate<'a>(
        self,
        reader: &mut Reader<'a>,
        budget: &mut Budget<'_>,
    ) -> Result<Columns<'a>, BoundsError> {
        let mut columns = Vec::with_capacity(self.lengths.len());
        for (spec, len) in self.lengths {
            let bytes = reader.take(len)?;
            let bytes = match spec & DEFLATED {
                0 => Cow::Borrowed(bytes),
                _ => Cow::Owned(budget.inflate(bytes)?),
            };
            columns.push((spec & !DEFLATED, bytes));
        }
        Ok(Columns { columns })
    }
}

impl Columns<'_> {
    /// The bytes of a column; none if it is absent.
    pub(super) fn bytes(&self, (spec, _): Kind) -> &[u8] {
        let found = self.columns.iter().find(|(found, _)| *found == spec);
        found.map_or(&[], |(_, bytes)| bytes)
    }
}

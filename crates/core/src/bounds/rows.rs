//! Run-length encoded columns, read row by row.
//!
//! A reader asks for as many rows as there are operations or changes, a number that was counted and bounded before, and
//! then [`Rows::finish`] makes sure that none are left. So no run, however long, costs more than that number. Runs must be
//! in the one form that an encoder writes: automerge demands it of documents, and a change that is written otherwise would
//! be given another hash when automerge writes it again.

use super::columns::{Columns, Kind};
use super::{BoundsError, Reader};

/// What a column holds.
pub(super) trait Value<'a>: Copy + PartialEq {
    fn read(reader: &mut Reader<'a>) -> Result<Self, BoundsError>;
}

impl Value<'_> for u64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, BoundsError> {
        reader.unsigned()
    }
}

impl Value<'_> for i64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, BoundsError> {
        reader.signed()
    }
}

impl<'a> Value<'a> for &'a str {
    fn read(reader: &mut Reader<'a>) -> Result<Self, BoundsError> {
        std::str::from_utf8(reader.prefixed()?)
            .map_err(|_| BoundsError::malformed("text", "it is not UTF-8"))
    }
}

/// What the current run holds.
#[derive(Clone, Copy, PartialEq)]
enum Run<T> {
    /// Nothing was read yet.
    None,
    Null,
    Repeat(T),
    /// Values that follow one by one, the last one that was read or, before the first, the value that it must differ from.
    Literal(Option<T>),
}

/// A column of values or nulls. An absent column holds nulls without end.
pub(super) struct Rows<'a, T> {
    name: &'static str,
    reader: Reader<'a>,
    absent: bool,
    run: Run<T>,
    left: u64,
}

impl<'a, T: Value<'a>> Rows<'a, T> {
    pub(super) fn new(columns: &'a Columns<'_>, kind: Kind) -> Self {
        let bytes = columns.bytes(kind);
        Self {
            name: kind.1,
            reader: Reader::new(bytes),
            absent: bytes.is_empty(),
            run: Run::None,
            left: 0,
        }
    }

    /// How many rows there are, or an error when there are more than `limit`.
    pub(super) fn count(mut self, limit: u64) -> Result<u64, BoundsError> {
        let mut count = 0u64;
        while !self.reader.is_empty() || self.left > 0 {
            if self.left == 0 {
                self.start_run()?;
            }
            if let Run::Literal(_) = self.run {
                self.literal()?;
                self.left -= 1;
                count = count.saturating_add(1);
            } else {
                count = count.saturating_add(std::mem::take(&mut self.left));
            }
            super::chunk::at_most(self.name, count, limit)?;
        }
        Ok(count)
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<T>, BoundsError> {
        if self.absent {
            return Ok(None);
        }
        if self.left == 0 {
            self.start_run()?;
        }
        self.left -= 1;
        match self.run {
            Run::Repeat(value) => Ok(Some(value)),
            Run::Literal(_) => self.literal().map(Some),
            Run::Null | Run::None => Ok(None),
        }
    }

    /// The next row of a column without nulls.
    pub(super) fn value(&mut self) -> Result<T, BoundsError> {
        let value = self.next()?;
        value.ok_or(BoundsError::malformed(self.name, "a value is missing"))
    }

    /// Makes sure that no rows are left.
    pub(super) fn finish(&self) -> Result<(), BoundsError> {
        match self.left == 0 && self.reader.is_empty() {
            true => Ok(()),
            false => Err(BoundsError::malformed(self.name, "it has too many rows")),
        }
    }

    fn literal(&mut self) -> Result<T, BoundsError> {
        let value = T::read(&mut self.reader)?;
        if self.run == Run::Literal(Some(value)) {
            return Err(BoundsError::malformed(self.name, NOT_CANONICAL));
        }
        self.run = Run::Literal(Some(value));
        Ok(value)
    }

    fn start_run(&mut self) -> Result<(), BoundsError> {
        if self.reader.is_empty() {
            return Err(BoundsError::malformed(self.name, "it has too few rows"));
        }
        let header = self.reader.signed()?;
        let (run, left) = match header {
            0 => (Run::Null, self.reader.unsigned()?),
            1.. => (Run::Repeat(T::read(&mut self.reader)?), header as u64),
            _ => match self.run {
                Run::Repeat(value) => (Run::Literal(Some(value)), header.unsigned_abs()),
                _ => (Run::Literal(None), header.unsigned_abs()),
            },
        };
        let canonical = match (self.run, run) {
            (_, Run::Null) => self.run != Run::Null && left > 0,
            (Run::Repeat(last) | Run::Literal(Some(last)), Run::Repeat(value)) => {
                last != value && left > 1
            }
            (_, Run::Repeat(_)) => left > 1,
            (before, _) => !matches!(before, Run::Literal(_)),
        };
        if !canonical {
            return Err(BoundsError::malformed(self.name, NOT_CANONICAL));
        }
        (self.run, self.left) = (run, left);
        Ok(())
    }
}

const NOT_CANONICAL: &str = "its runs are not in the form that an encoder writes";

/// A column of numbers of which each is stored as the difference to the one before.
pub(super) struct Deltas<'a> {
    rows: Rows<'a, i64>,
    last: i64,
}

impl<'a> Deltas<'a> {
    pub(super) fn new(columns: &'a Columns<'_>, kind: Kind) -> Self {
        let rows = Rows::new(columns, kind);
        Self { rows, last: 0 }
    }

    /// The next number.
    pub(super) fn next_signed(&mut self) -> Result<Option<i64>, BoundsError> {
        let Some(delta) = self.rows.next()? else {
            return Ok(None);
        };
        let too_large = BoundsError::malformed(self.rows.name, TOO_LARGE);
        self.last = self.last.checked_add(delta).ok_or(too_large)?;
        Ok(Some(self.last))
    }

    /// The next number, which must fit automerge's counters.
    pub(super) fn next(&mut self) -> Result<Option<u32>, BoundsError> {
        let too_large = BoundsError::malformed(self.rows.name, TOO_LARGE);
        match self.next_signed()? {
            Some(number) => u32::try_from(number).map(Some).map_err(|_| too_large),
            None => Ok(None),
        }
    }

    /// The next number of a column without nulls.
    pub(super) fn value(&mut self) -> Result<u32, BoundsError> {
        let value = self.next()?;
        value.ok_or(BoundsError::malformed(self.rows.name, "a value is missing"))
    }

    pub(super) fn finish(&self) -> Result<(), BoundsError> {
        self.rows.finish()
    }
}

const TOO_LARGE: &str = "a number is negative or too large";

/// A column of booleans: the lengths of runs that alternate, beginning with false. An absent column is false without end.
pub(super) struct Booleans<'a> {
    name: &'static str,
    reader: Reader<'a>,
    absent: bool,
    first: bool,
    value: bool,
    left: u64,
}

impl<'a> Booleans<'a> {
    pub(super) fn new(columns: &'a Columns<'_>, kind: Kind) -> Self {
        let bytes = columns.bytes(kind);
        Self {
            name: kind.1,
            reader: Reader::new(bytes),
            absent: bytes.is_empty(),
            first: true,
            value: true,
            left: 0,
        }
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<bool, BoundsError> {
        if self.absent {
            return Ok(false);
        }
        while self.left == 0 {
            if self.reader.is_empty() {
                return Err(BoundsError::malformed(self.name, "it has too few rows"));
            }
            self.left = self.reader.unsigned()?;
            if self.left == 0 && !self.first {
                return Err(BoundsError::malformed(self.name, NOT_CANONICAL));
            }
            self.first = false;
            self.value = !self.value;
        }
        self.left -= 1;
        Ok(self.value)
    }

    pub(super) fn finish(&self) -> Result<(), BoundsError> {
        match self.left == 0 && self.reader.is_empty() {
            true => Ok(()),
            false => Err(BoundsError::malformed(self.name, "it has too many rows")),
        }
    }
}

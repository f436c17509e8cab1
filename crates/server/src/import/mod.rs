//! Files of JSON, newline-delimited JSON or CSV as records.
//!
//! A file is read twice: [`Import::check`] reads all of it and names every broken row before anything is written,
//! [`Import::records`] reads it again for the writer. Neither holds more than one row and a few dozen bytes for each
//! row's key, so a file may be larger than memory.

mod cell;
mod csv;
mod input;
mod json;
mod keys;
mod lines;
pub mod result;

pub use cell::{CellError, parse_field_type};
pub use input::Source;

use headwater_core::{FieldType, MAX_RECORD_BYTES, Record};
use input::Input;
use keys::{Admitted, Keys};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;

/// The longest row of a file, in bytes; escapes and quotes may make a row longer than its record.
pub const MAX_ROW_BYTES: usize = 4 * MAX_RECORD_BYTES;

/// How many broken rows an import names; the others are counted.
pub const MAX_NAMED_ROWS: usize = 100;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One array of objects, or one object.
    Json,
    /// An object on each line.
    Ndjson,
    /// A header with the field names, then a row for each record; RFC 4180, with either line ending.
    Csv,
}

impl Format {
    /// The format that a file name's extension tells: `json`; `ndjson` or `jsonl`; `csv`.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_ascii_lowercase().to_str()? {
            "json" => Some(Self::Json),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// Where the records' keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// From this field: a string, or an integer as its decimal text. The field stays in the record.
    Field(String),
    /// From the record: the first 32 hexadecimal digits of the SHA-256 of its canonical JSON, with `-2`, `-3`, … for
    /// the second and further equal rows. The same file gives the same keys again, and no row vanishes.
    Hash,
}

/// How to read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// How the file is written.
    pub format: Format,
    /// Where the keys come from.
    pub key: Key,
    /// The types of fields, which a CSV file must have.
    pub types: BTreeMap<String, FieldType>,
    /// The types of fields for which `types` has none, whether the file has them or not: what the collection declares.
    /// In CSV every field without a type is a string; in JSON every other value has its own.
    pub declared: BTreeMap<String, FieldType>,
    /// Further fields that a CSV file must have.
    pub required: BTreeSet<String>,
    /// Whether to leave broken rows out instead of importing nothing.
    pub skip_bad: bool,
}

/// A row that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The line on which it begins, or its number in a result, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

/// The broken rows of a file or a result: the first [`MAX_NAMED_ROWS`] by name, all of them by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRows {
    /// What their numbers count: `line` or `row`.
    unit: &'static str,
    named: Vec<BadRow>,
    total: u64,
}

impl BadRows {
    /// None yet; their numbers count `unit`.
    fn by(unit: &'static str) -> Self {
        Self {
            unit,
            named: Vec::new(),
            total: 0,
        }
    }

    /// The first of them.
    pub fn named(&self) -> &[BadRow] {
        &self.named
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn add(&mut self, row: BadRow) {
        self.total += 1;
        if self.named.len() < MAX_NAMED_ROWS {
            self.named.push(row);
        }
    }
}

impl fmt::Display for BadRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.named {
            write!(f, "\n  {} {}: {}", self.unit, row.line, row.message)?;
        }
        match self.total - self.named.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Why a file is not imported. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file as a whole is not of its format, so that its rows cannot be told apart.
    #[error("{name}, line {line}: {message}")]
    Malformed {
        /// The file.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A field that the options name and the file's header lacks.
    #[error("{name} has no field {field:?}; its header has {}", header.join(", "))]
    NoSuchField {
        /// The file.
        name: String,
        /// The field.
        field: String,
        /// The fields that it has.
        header: Vec<String>,
    },
    /// Rows that cannot be imported.
    #[error(
        "{name}: {} of {rows} rows cannot be imported, so nothing was; correct them, or leave them out with --skip-bad:{bad}",
        bad.total()
    )]
    BadRows {
        /// The file.
        name: String,
        /// How many rows it has.
        rows: u64,
        /// The rows.
        bad: BadRows,
    },
    /// The second reading found something else than the first.
    #[error("{name} was changed while it was imported; import it again when it is complete")]
    Changed {
        /// The file.
        name: String,
    },
}

/// How far a reading of the file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes of the file.
    pub total: u64,
}

/// A file that was read through and can be imported.
#[derive(Debug)]
pub struct Import {
    source: Source,
    options: ImportOptions,
    /// Both kinds of types of the options.
    types: BTreeMap<String, FieldType>,
    records: u64,
    repeated: u64,
    bad: BadRows,
}

impl Import {
    /// Reads the whole file and checks every row.
    ///
    /// # Errors
    /// [`ImportError::BadRows`] names the broken rows, unless the options leave them out; other errors concern the
    /// file as a whole.
    pub fn check(
        source: Source,
        options: ImportOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, ImportError> {
        let mut types = options.declared.clone();
        types.extend(options.types.clone());
        let mut import = Self {
            source,
            options,
            types,
            records: 0,
            repeated: 0,
            bad: BadRows::by("line"),
        };
        let (mut records, mut repeated, mut bad) = (0, 0, BadRows::by("line"));
        let mut rows = Rows::open(&import)?;
        while let Some(row) = rows.next_row()? {
            match row {
                Ok(Admitted::New(..)) => records += 1,
                Ok(Admitted::Repeated) => repeated += 1,
                Err(row) => bad.add(row),
            }
            progress(rows.progress());
        }
        drop(rows);
        if bad.total > 0 && !import.options.skip_bad {
            return Err(ImportError::BadRows {
                name: import.source.name().to_owned(),
                rows: records + repeated + bad.total,
                bad,
            });
        }
        (import.records, import.repeated, import.bad) = (records, repeated, bad);
        Ok(import)
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.records
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many rows were left out because an earlier one has the same key and the same fields.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// The broken rows that are left out.
    pub fn bad(&self) -> &BadRows {
        &self.bad
    }

    /// Reads the file again, record by record.
    ///
    /// # Errors
    /// If the file cannot be read; each item is an error if the file is not the one that was checked.
    pub fn records(&self) -> Result<Records<'_>, ImportError> {
        Ok(Records {
            import: self,
            rows: Rows::open(self)?,
            left: self.records,
            bad: self.bad.total,
        })
    }
}

/// The records of an [`Import`] with their keys, in the order of the file.
#[derive(Debug)]
pub struct Records<'a> {
    import: &'a Import,
    rows: Rows<'a>,
    left: u64,
    bad: u64,
}

impl Records<'_> {
    fn changed(&self) -> ImportError {
        ImportError::Changed {
            name: self.import.source.name().to_owned(),
        }
    }

    fn next_record(&mut self) -> Result<Option<(String, Record)>, ImportError> {
        while let Some(row) = self.rows.next_row()? {
            match row {
                Ok(Admitted::New(key, record)) => {
                    self.left = self.left.checked_sub(1).ok_or_else(|| self.changed())?;
                    return Ok(Some((key, record)));
                }
                Ok(Admitted::Repeated) => {}
                Err(_) => self.bad = self.bad.checked_sub(1).ok_or_else(|| self.changed())?,
            }
        }
        match (self.left, self.bad) {
            (0, 0) => Ok(None),
            _ => Err(self.changed()),
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(String, Record), ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// A row's record, or what is wrong with the row.
type Row = Result<(u64, Record), BadRow>;

#[derive(Debug)]
enum Reader<'a> {
    Json(json::JsonRows<'a>),
    Ndjson(lines::NdjsonRows<'a>),
    Csv(csv::CsvRows<'a>),
}

/// One reading of the file: parsed, typed, checked and with keys.
#[derive(Debug)]
struct Rows<'a> {
    reader: Reader<'a>,
    keys: Keys<'a>,
}

impl<'a> Rows<'a> {
    fn open(import: &'a Import) -> Result<Self, ImportError> {
        let Import { options, types, .. } = import;
        let input = import.source.input()?;
        let reader = match options.format {
            Format::Json => Reader::Json(json::JsonRows::new(input, types)),
            Format::Ndjson => Reader::Ndjson(lines::NdjsonRows::new(input, types)),
            Format::Csv => {
                let rows = csv::CsvRows::new(input, types)?;
                let key = match &options.key {
                    Key::Field(field) => Some(field),
                    Key::Hash => None,
                };
                for field in options.types.keys().chain(&options.required).chain(key) {
                    rows.require(field)?;
                }
                Reader::Csv(rows)
            }
        };
        Ok(Self {
            reader,
            keys: Keys::new(&options.key),
        })
    }

    fn input(&self) -> &Input<'a> {
        match &self.reader {
            Reader::Json(rows) => rows.input(),
            Reader::Ndjson(rows) => rows.input(),
            Reader::Csv(rows) => rows.input(),
        }
    }

    fn progress(&self) -> Progress {
        self.input().progress()
    }

    fn next_row(&mut self) -> Result<Option<Result<Admitted, BadRow>>, ImportError> {
        let row = match &mut self.reader {
            Reader::Json(rows) => rows.next_row()?,
            Reader::Ndjson(rows) => rows.next_row()?,
            Reader::Csv(rows) => rows.next_row()?,
        };
        Ok(row.map(|row| {
            let (line, record) = row?;
            let admitted = self.keys.admit(line, record);
            admitted.map_err(|message| BadRow { line, message })
        }))
    }
}

//! Reading a file with bounds, lines counted.

use super::{ImportError, MAX_ROW_BYTES, Progress};
use serde::Deserialize as _;
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What to import: a file, or a copy of what a pipe brought.
#[derive(Debug)]
pub struct Source {
    name: String,
    file: File,
}

impl Source {
    /// The file at `path`. What is not a regular file, such as a pipe, is first copied to a temporary file.
    ///
    /// # Errors
    /// [`ImportError::Read`].
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let name = path.display().to_string();
        let read = |source| ImportError::Read {
            name: name.clone(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        match file.metadata().map_err(read)?.is_file() {
            true => Ok(Self { name, file }),
            false => Self::copy(&name, file),
        }
    }

    /// What `reader` brings, copied to a temporary file, since it is read twice. `name` stands in error messages.
    ///
    /// # Errors
    /// [`ImportError::Read`] if it cannot be read, or the temporary file not written.
    pub fn copy(name: &str, mut reader: impl Read) -> Result<Self, ImportError> {
        let copy = || {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut reader, &mut file)?;
            Ok(file)
        };
        let read = |source| ImportError::Read {
            name: name.to_owned(),
            source,
        };
        let file = { copy }().map_err(read)?;
        Ok(Self::of(name, file))
    }

    /// A file that is read from its beginning. `name` stands in error messages.
    pub(super) fn of(name: &str, file: File) -> Self {
        Self {
            name: name.to_owned(),
            file,
        }
    }

    /// The file's name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From the beginning. Only one reading at a time: they share the position in the file.
    pub(super) fn input(&self) -> Result<Input<'_>, ImportError> {
        let begin = || {
            (&self.file).seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(1 << 16, &self.file);
            let mark = reader.fill_buf()?.starts_with(BOM);
            if mark {
                reader.consume(BOM.len());
            }
            Ok(Input {
                name: &self.name,
                reader,
                total: self.file.metadata()?.len(),
                bytes: if mark { BOM.len() as u64 } else { 0 },
                line: 1,
                left: MAX_ROW_BYTES,
            })
        };
        begin().map_err(|source| ImportError::Read {
            name: self.name.clone(),
            source,
        })
    }
}

/// One reading of a [`Source`], after the byte order mark if there is one.
#[derive(Debug)]
pub(super) struct Input<'a> {
    name: &'a str,
    reader: BufReader<&'a File>,
    total: u64,
    bytes: u64,
    line: u64,
    /// How many bytes the present row may still have when it is read through [`Read`].
    left: usize,
}

/// What [`Input::read_line`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, with its end if it has one.
    Read,
    /// A line longer than [`MAX_ROW_BYTES`], which was passed over.
    TooLong,
    /// The end of the file.
    End,
}

impl Input<'_> {
    /// How far the reading has come.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            bytes: self.bytes,
            total: self.total,
        }
    }

    /// The line of the next byte, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn malformed(&self, line: u64, message: impl Into<String>) -> ImportError {
        ImportError::Malformed {
            name: self.name.to_owned(),
            line,
            message: message.into(),
        }
    }

    pub(super) fn no_such_field(&self, field: &str, header: Vec<String>) -> ImportError {
        ImportError::NoSuchField {
            name: self.name.to_owned(),
            field: field.to_owned(),
            header,
        }
    }

    fn failed(&self, source: io::Error) -> ImportError {
        ImportError::Read {
            name: self.name.to_owned(),
            source,
        }
    }

    /// The next byte, left where it is.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, ImportError> {
        match self.reader.fill_buf() {
            Ok(buffer) => Ok(buffer.first().copied()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Passes over the byte that was peeked at.
    pub(super) fn pass(&mut self, byte: u8) {
        self.reader.consume(1);
        self.bytes += 1;
        self.line += u64::from(byte == b'\n');
    }

    /// Passes over blanks; gives the byte that follows them, left where it is.
    pub(super) fn skip_blanks(&mut self) -> Result<Option<u8>, ImportError> {
        loop {
            match self.peek()? {
                Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) => self.pass(byte),
                other => return Ok(other),
            }
        }
    }

    /// The JSON value that begins here, as text of at most [`MAX_ROW_BYTES`]. It must be an object, an array or a string:
    /// these end with a byte of their own, so the parser stops right after them.
    pub(super) fn raw_json(&mut self) -> serde_json::Result<Box<RawValue>> {
        self.left = MAX_ROW_BYTES;
        let mut parser = serde_json::Deserializer::from_reader(self);
        Box::<RawValue>::deserialize(&mut parser)
    }

    /// Replaces `line` with the next line.
    pub(super) fn read_line(&mut self, line: &mut Vec<u8>) -> Result<Line, ImportError> {
        line.clear();
        let mut length = 0;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) => return Err(self.failed(error)),
            };
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = end.map_or(buffer.len(), |end| end + 1);
            if length + part <= MAX_ROW_BYTES {
                line.extend_from_slice(&buffer[..part]);
            }
            self.reader.consume(part);
            self.bytes += part as u64;
            length += part;
            self.line += u64::from(end.is_some());
            if end.is_some() || part == 0 {
                return Ok(match length {
                    0 => Line::End,
                    1..=MAX_ROW_BYTES => Line::Read,
                    _ => Line::TooLong,
                });
            }
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let limit = MAX_ROW_BYTES >> 20;
            return Err(io::Error::other(format!(
                "a record longer than {limit} MiB"
            )));
        }
        let wanted = buffer.len().min(self.left);
        let read = self.reader.read(&mut buffer[..wanted])?;
        self.left -= read;
        self.bytes += read as u64;
        let ends = buffer[..read].iter().filter(|byte| **byte == b'\n');
        self.line += ends.count() as u64;
        Ok(read)
    }
}

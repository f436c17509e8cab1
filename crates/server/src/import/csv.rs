//! CSV, strictly as RFC 4180 has it.
//!
//! The csv crate reads broken quoting as best it can and does not say so; here a row that two readers could take
//! differently is an error with its line, and reading goes on at the next line.

use super::input::{Input, Line};
use super::{BadRow, ImportError, MAX_ROW_BYTES, Row, cell};
use headwater_core::{FieldType, Record};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const STRAY_QUOTE: &str =
    "a quote within an unquoted field; put quotes around the field and double those in it";
const AFTER_QUOTE: &str = "text after a closing quote; double the quotes within a field";
const NEVER_CLOSED: &str = "a quote is opened and never closed";
const TOO_LONG: &str = "longer than 16 MiB";
const _: () = assert!(MAX_ROW_BYTES == 16 << 20);

/// The rows after the header.
#[derive(Debug)]
pub(super) struct CsvRows<'a> {
    lines: Lines<'a>,
    header: Vec<(String, FieldType)>,
}

impl<'a> CsvRows<'a> {
    pub(super) fn new(
        input: Input<'a>,
        types: &BTreeMap<String, FieldType>,
    ) -> Result<Self, ImportError> {
        let mut lines = Lines::new(input);
        let malformed = |lines: &Lines<'_>, line, message| lines.input.malformed(line, message);
        let (line, cells) = match lines.next_row()? {
            None => return Err(malformed(&lines, 1, "the file is empty; it needs a header")),
            Some((line, Err(message))) => return Err(malformed(&lines, line, message)),
            Some((line, Ok(cells))) => (line, cells),
        };
        let mut names = BTreeSet::new();
        let mut header = Vec::with_capacity(cells.len());
        for bytes in cells {
            let Ok(name) = String::from_utf8(bytes) else {
                return Err(malformed(&lines, line, "the header is not UTF-8"));
            };
            let problem = match name.is_empty() {
                true => Some("a field without a name in the header".to_owned()),
                false if !names.insert(name.clone()) => {
                    Some(format!("the header has {name:?} twice"))
                }
                false => None,
            };
            if let Some(message) = problem {
                return Err(lines.input.malformed(line, message));
            }
            let kind = types.get(&name).cloned().unwrap_or(FieldType::String);
            header.push((name, kind));
        }
        Ok(Self { lines, header })
    }

    /// That the header has this field.
    pub(super) fn require(&self, field: &str) -> Result<(), ImportError> {
        if self.header.iter().any(|(name, _)| name == field) {
            return Ok(());
        }
        let header = self.header.iter().map(|(name, _)| name.clone()).collect();
        Err(self.lines.input.no_such_field(field, header))
    }

    pub(super) fn input(&self) -> &Input<'a> {
        &self.lines.input
    }

    pub(super) fn next_row(&mut self) -> Result<Option<Row>, ImportError> {
        let Some((line, cells)) = self.lines.next_row()? else {
            return Ok(None);
        };
        let record = cells
            .map_err(str::to_owned)
            .and_then(|cells| self.record(cells));
        Ok(Some(match record {
            Ok(record) => Ok((line, record)),
            Err(message) => Err(BadRow { line, message }),
        }))
    }

    fn record(&self, cells: Vec<Vec<u8>>) -> Result<Record, String> {
        if cells.len() != self.header.len() {
            let (found, wanted) = (cells.len(), self.header.len());
            return Err(format!("{found} fields, and the header has {wanted}"));
        }
        let mut record = Record::new();
        for ((name, kind), bytes) in self.header.iter().zip(cells) {
            let text =
                std::str::from_utf8(&bytes).map_err(|_| format!("field {name:?} is not UTF-8"))?;
            let value =
                cell::parse(text, kind).map_err(|error| format!("field {name:?}: {error}"))?;
            record.insert(name.clone(), value);
        }
        Ok(record)
    }
}

/// The file by lines and rows.
#[derive(Debug)]
struct Lines<'a> {
    input: Input<'a>,
    /// The line that comes next, from 1.
    number: u64,
    /// Lines to read again after a row that proved broken.
    again: VecDeque<Physical>,
}

#[derive(Debug)]
enum Physical {
    Line(Vec<u8>),
    TooLong,
    End,
}

type Cells = Result<Vec<Vec<u8>>, &'static str>;

impl<'a> Lines<'a> {
    fn new(input: Input<'a>) -> Self {
        Self {
            input,
            number: 1,
            again: VecDeque::new(),
        }
    }

    fn next_line(&mut self) -> Result<Physical, ImportError> {
        let line = match self.again.pop_front() {
            Some(line) => line,
            None => {
                let mut line = Vec::new();
                match self.input.read_line(&mut line)? {
                    Line::Read => Physical::Line(line),
                    Line::TooLong => Physical::TooLong,
                    Line::End => return Ok(Physical::End),
                }
            }
        };
        self.number += 1;
        Ok(line)
    }

    /// The next row that is not blank: the line on which it begins, and its cells or what is wrong.
    fn next_row(&mut self) -> Result<Option<(u64, Cells)>, ImportError> {
        loop {
            let begins = self.number;
            match self.next_line()? {
                Physical::End => return Ok(None),
                Physical::TooLong => return Ok(Some((begins, Err(TOO_LONG)))),
                Physical::Line(line) if matches!(line.as_slice(), b"\n" | b"\r\n") => {}
                Physical::Line(line) => return Ok(Some((begins, self.row(line)?))),
            }
        }
    }

    fn row(&mut self, first: Vec<u8>) -> Result<Cells, ImportError> {
        let mut parser = RowParser::default();
        let mut more = Vec::new();
        let mut line = first;
        let mut length = 0;
        let problem = loop {
            length += line.len();
            let fed = parser.feed(&line);
            more.push(Physical::Line(line));
            match fed {
                Ok(true) => return Ok(Ok(parser.cells)),
                Ok(false) if length > MAX_ROW_BYTES => break NEVER_CLOSED,
                Ok(false) => match self.next_line()? {
                    Physical::Line(next) => line = next,
                    Physical::TooLong => {
                        more.push(Physical::TooLong);
                        break NEVER_CLOSED;
                    }
                    Physical::End => break NEVER_CLOSED,
                },
                Err(problem) => break problem,
            }
        };
        // Only the first line is lost: the next ones may be rows in order.
        for line in more.drain(1..).rev() {
            self.number -= 1;
            self.again.push_front(line);
        }
        Ok(Err(problem))
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    FieldStart,
    Unquoted,
    Quoted,
    /// After a quote within a quoted field: the first of two, or the closing one.
    Quote,
}

#[derive(Debug, Default)]
struct RowParser {
    state: State,
    cell: Vec<u8>,
    cells: Vec<Vec<u8>>,
}

impl RowParser {
    /// Takes one line with its end; true if the row ends with it.
    fn feed(&mut self, line: &[u8]) -> Result<bool, &'static str> {
        let content = match line {
            [content @ .., b'\r', b'\n'] | [content @ .., b'\n'] => content,
            content => content,
        };
        for byte in content {
            self.state = self.byte(*byte)?;
        }
        if self.state == State::Quoted {
            self.cell.extend_from_slice(&line[content.len()..]);
            return Ok(false);
        }
        self.cells.push(std::mem::take(&mut self.cell));
        Ok(true)
    }

    fn byte(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::FieldStart, b'"') => return Ok(State::Quoted),
            (State::Quoted, b'"') => return Ok(State::Quote),
            (State::Unquoted, b'"') => return Err(STRAY_QUOTE),
            (State::FieldStart | State::Unquoted | State::Quote, b',') => {
                self.cells.push(std::mem::take(&mut self.cell));
                return Ok(State::FieldStart);
            }
            (State::Quote, b'"') | (State::Quoted, _) => {
                self.cell.push(byte);
                return Ok(State::Quoted);
            }
            (State::Quote, _) => return Err(AFTER_QUOTE),
            (State::FieldStart | State::Unquoted, _) => self.cell.push(byte),
        }
        Ok(State::Unquoted)
    }
}

//! A JSON array of objects, one element at a time, or a single object.

use super::input::Input;
use super::{BadRow, ImportError, Row};
use headwater_core::{FieldType, Record, Value, json};
use std::collections::BTreeMap;

/// The record that `text` holds, its fields of the declared types; or what is wrong with it.
pub(super) fn typed_record(
    text: &str,
    types: &BTreeMap<String, FieldType>,
) -> Result<Record, String> {
    let mut record = json::record_from_str(text).map_err(|error| error.to_string())?;
    for (name, kind) in types {
        if let Some(value) = record.remove(name) {
            record.insert(name.clone(), fit(name, kind, value)?);
        }
    }
    Ok(record)
}

/// The value as one of the field's declared type, or why it is none.
pub(super) fn fit(name: &str, kind: &FieldType, value: Value) -> Result<Value, String> {
    kind.fit(value).map_err(|value| {
        let found = value.kind();
        let expected = kind.name();
        format!("field {name:?} is declared {expected}, and this {found} does not fit")
    })
}

#[derive(Debug, PartialEq)]
enum Place {
    Start,
    /// In the array, before an element.
    Element,
    /// In the array, after an element.
    Separator,
    /// After all.
    End,
}

/// The elements of a JSON array.
#[derive(Debug)]
pub(super) struct JsonRows<'a> {
    input: Input<'a>,
    types: &'a BTreeMap<String, FieldType>,
    place: Place,
}

impl<'a> JsonRows<'a> {
    pub(super) fn new(input: Input<'a>, types: &'a BTreeMap<String, FieldType>) -> Self {
        Self {
            input,
            types,
            place: Place::Start,
        }
    }

    pub(super) fn input(&self) -> &Input<'a> {
        &self.input
    }

    pub(super) fn next_row(&mut self) -> Result<Option<Row>, ImportError> {
        loop {
            let next = self.input.skip_blanks()?;
            match (&self.place, next) {
                (Place::Start, Some(b'[')) => {
                    self.input.pass(b'[');
                    // An array may be empty; elsewhere an element must follow.
                    if self.input.skip_blanks()? == Some(b']') {
                        self.input.pass(b']');
                        self.place = Place::End;
                    } else {
                        self.place = Place::Element;
                    }
                }
                (Place::Start, Some(b'{')) => {
                    self.place = Place::End;
                    return self.element(b'{').map(Some);
                }
                (Place::Element, Some(first)) => {
                    self.place = Place::Separator;
                    return self.element(first).map(Some);
                }
                (Place::Separator, Some(b',')) => {
                    self.input.pass(b',');
                    self.place = Place::Element;
                }
                (Place::Separator, Some(b']')) => {
                    self.input.pass(b']');
                    self.place = Place::End;
                }
                (Place::End, None) => return Ok(None),
                _ => return Err(self.unexpected(next)),
            }
        }
    }

    fn unexpected(&self, found: Option<u8>) -> ImportError {
        let message = match (&self.place, found) {
            (Place::Start, None) => "the file is empty; a JSON file holds an array of objects",
            (Place::Start, Some(_)) => {
                "a JSON file must hold an array of objects, or one object; is it in UTF-8?"
            }
            (_, None) => "the file ends within the array; it is not complete",
            (Place::End, Some(b'{')) => {
                "a second object follows the first; if each line holds one, give --format ndjson"
            }
            (Place::End, Some(_)) => "something follows the end of the data",
            (_, Some(_)) => "expected `,` or `]` after an element of the array",
        };
        self.input.malformed(self.input.line(), message)
    }

    fn element(&mut self, first: u8) -> Result<Row, ImportError> {
        let line = self.input.line();
        if !matches!(first, b'{' | b'[' | b'"') {
            return self.scalar(line);
        }
        match self.input.raw_json() {
            Ok(raw) => Ok(typed_record(raw.get(), self.types)
                .map(|record| (line, record))
                .map_err(|message| BadRow { line, message })),
            // Where the next element begins cannot be known any more.
            Err(error) => {
                let at = line + (error.line() as u64).saturating_sub(1);
                Err(self.input.malformed(at, format!("not JSON: {error}")))
            }
        }
    }

    fn scalar(&mut self, line: u64) -> Result<Row, ImportError> {
        let mut text = String::new();
        while let Some(byte) = self.input.peek()?
            && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'))
            && text.len() < 400
        {
            text.push(char::from(byte));
            self.input.pass(byte);
        }
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => Ok(typed_record(&text, self.types)
                .map(|record| (line, record))
                .map_err(|message| BadRow { line, message })),
            Err(_) => Err(self
                .input
                .malformed(line, "not JSON: expected an object here")),
        }
    }
}

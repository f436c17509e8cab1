//! Newline-delimited JSON.

use super::input::{Input, Line};
use super::json::typed_record;
use super::{BadRow, ImportError, MAX_ROW_BYTES, Row};
use headwater_core::FieldType;
use std::collections::BTreeMap;

/// An object from each line that is not blank.
#[derive(Debug)]
pub(super) struct NdjsonRows<'a> {
    input: Input<'a>,
    types: &'a BTreeMap<String, FieldType>,
    line: Vec<u8>,
}

impl<'a> NdjsonRows<'a> {
    pub(super) fn new(input: Input<'a>, types: &'a BTreeMap<String, FieldType>) -> Self {
        Self {
            input,
            types,
            line: Vec::new(),
        }
    }

    pub(super) fn input(&self) -> &Input<'a> {
        &self.input
    }

    pub(super) fn next_row(&mut self) -> Result<Option<Row>, ImportError> {
        loop {
            let line = self.input.line();
            let bad = |message| Some(Err(BadRow { line, message }));
            match self.input.read_line(&mut self.line)? {
                Line::End => return Ok(None),
                Line::TooLong => {
                    return Ok(bad(format!("longer than {} MiB", MAX_ROW_BYTES >> 20)));
                }
                Line::Read => {}
            }
            let Ok(text) = std::str::from_utf8(&self.line) else {
                return Ok(bad("not UTF-8".to_owned()));
            };
            if text.trim().is_empty() {
                continue;
            }
            return Ok(match typed_record(text, self.types) {
                Ok(record) => Some(Ok((line, record))),
                Err(message) => bad(message),
            });
        }
    }
}

//! Drill's answer to a query, read row by row.

use super::super::ImportError;
use super::super::input::Input;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// What an answer says besides its rows. What follows the rows is there once they are read.
#[derive(Debug, Default)]
pub(super) struct About {
    pub columns: Vec<String>,
    /// Drill's types of the columns.
    pub kinds: Vec<String>,
    pub state: Option<String>,
    pub error: Option<String>,
    pub exception: Option<String>,
}

#[derive(Debug, PartialEq)]
enum Place {
    /// Before the first row.
    First,
    /// Among the rows.
    Rows,
    End,
}

/// The rows of `{"columns": […], "metadata": […], …, "rows": [{…}, …], "queryState": "…", …}`.
#[derive(Debug)]
pub(super) struct AnswerRows<'a> {
    input: Input<'a>,
    pub about: About,
    place: Place,
}

impl<'a> AnswerRows<'a> {
    /// Reads up to the first row.
    pub(super) fn open(input: Input<'a>) -> Result<Self, ImportError> {
        let mut answer = Self {
            input,
            about: About::default(),
            place: Place::First,
        };
        answer.expect(b'{')?;
        match answer.input.skip_blanks()? {
            Some(b'}') => {
                answer.expect(b'}')?;
                answer.place = Place::End;
            }
            _ => answer.members()?,
        }
        Ok(answer)
    }

    pub(super) fn input(&self) -> &Input<'a> {
        &self.input
    }

    /// The next row, a JSON object.
    pub(super) fn next_row(&mut self) -> Result<Option<Box<RawValue>>, ImportError> {
        let next = self.input.skip_blanks()?;
        match (&self.place, next) {
            (Place::End, _) => return Ok(None),
            (Place::First | Place::Rows, Some(b']')) => {
                self.expect(b']')?;
                self.place = Place::End;
                if self.another_member()? {
                    self.members()?;
                }
                return Ok(None);
            }
            (Place::First, _) => self.place = Place::Rows,
            (Place::Rows, _) => self.expect(b',')?,
        }
        match self.input.skip_blanks()? {
            Some(b'{') => self.raw().map(Some),
            _ => Err(self.malformed("a row is not an object")),
        }
    }

    /// Reads members up to the rows, or to the end.
    fn members(&mut self) -> Result<(), ImportError> {
        loop {
            if self.input.skip_blanks()? != Some(b'"') {
                return Err(self.malformed("expected a name"));
            }
            let name: String = self.value()?;
            self.expect(b':')?;
            let next = self.input.skip_blanks()?;
            match (name.as_str(), next) {
                ("rows", Some(b'[')) if self.place == Place::First => {
                    return self.expect(b'[');
                }
                ("columns", Some(b'[')) => self.about.columns = self.value()?,
                ("metadata", Some(b'[')) => self.about.kinds = self.value()?,
                ("queryState", Some(b'"')) => self.about.state = Some(self.value()?),
                ("errorMessage", Some(b'"')) => self.about.error = Some(self.value()?),
                ("exception", Some(b'"')) => self.about.exception = Some(self.value()?),
                (_, Some(b'{' | b'[' | b'"')) => drop(self.raw()?),
                _ => self.pass_scalar()?,
            }
            if !self.another_member()? {
                self.place = Place::End;
                return Ok(());
            }
        }
    }

    /// Whether a `,` follows and not the object's end. Passes over either.
    fn another_member(&mut self) -> Result<bool, ImportError> {
        let more = self.input.skip_blanks()? == Some(b',');
        self.expect(if more { b',' } else { b'}' })?;
        Ok(more)
    }

    fn expect(&mut self, byte: u8) -> Result<(), ImportError> {
        match self.input.skip_blanks()? {
            Some(found) if found == byte => {
                self.input.pass(byte);
                Ok(())
            }
            None => Err(self.malformed("it ends early")),
            Some(_) => Err(self.malformed(format!("expected `{}`", char::from(byte)))),
        }
    }

    /// Passes over a number, true, false or null.
    fn pass_scalar(&mut self) -> Result<(), ImportError> {
        while let Some(byte) = self.input.peek()?
            && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'))
        {
            self.input.pass(byte);
        }
        Ok(())
    }

    fn raw(&mut self) -> Result<Box<RawValue>, ImportError> {
        let raw = self.input.raw_json();
        raw.map_err(|error| self.malformed(error.to_string()))
    }

    fn value<T: DeserializeOwned>(&mut self) -> Result<T, ImportError> {
        let raw = self.raw()?;
        serde_json::from_str(raw.get()).map_err(|error| self.malformed(error.to_string()))
    }

    fn malformed(&self, message: impl Into<String>) -> ImportError {
        let message = format!("not a query's answer (is that Drill?): {}", message.into());
        self.input.malformed(self.input.line(), message)
    }
}

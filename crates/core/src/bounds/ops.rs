//! The columns that operations have in changes and in documents alike.

use super::columns::{Columns, Kind};
use super::rows::{Booleans, Deltas, Rows};
use super::{BoundsError, Reader};

pub(super) const OBJECT_ACTOR: Kind = (0x01, "object actors");
pub(super) const OBJECT_COUNTER: Kind = (0x02, "object counters");
pub(super) const KEY_ACTOR: Kind = (0x11, "key actors");
pub(super) const KEY_COUNTER: Kind = (0x13, "key counters");
pub(super) const KEY_TEXT: Kind = (0x15, "keys");
pub(super) const INSERT: Kind = (0x34, "insert flags");
pub(super) const ACTION: Kind = (0x42, "operations");
pub(super) const VALUE_KIND: Kind = (0x56, "value types");
pub(super) const VALUE: Kind = (0x57, "values");
pub(super) const EXPAND: Kind = (0x94, "expand flags");
pub(super) const MARK: Kind = (0xa5, "mark names");

/// An operation's id: its counter, then the position of its actor in the chunk's table. Orders as automerge orders ids
/// when the table is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) counter: u32,
    pub(super) actor: u32,
}

/// What an operation is about within its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// A key of a map.
    Text(&'a str),
    /// The beginning of a list.
    Head,
    /// An element of a list.
    Element(Id),
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    MakeMap,
    MakeList,
    Set,
    Delete,
    Increment,
    MarkBegin,
    MarkEnd,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op<'a> {
    /// The object that it changes; none for the root.
    pub(super) object: Option<Id>,
    pub(super) key: Key<'a>,
    pub(super) insert: bool,
    pub(super) action: Action,
}

/// Reads operations row by row.
pub(super) struct Ops<'a> {
    actors: usize,
    object_actor: Rows<'a, u64>,
    object_counter: Rows<'a, u64>,
    key_actor: Rows<'a, u64>,
    key_counter: Deltas<'a>,
    key_text: Rows<'a, &'a str>,
    insert: Booleans<'a>,
    action: Rows<'a, u64>,
    value: Values<'a>,
    expand: Booleans<'a>,
    mark: Rows<'a, &'a str>,
}

impl<'a> Ops<'a> {
    /// A reader of operations that name `actors` actors.
    pub(super) fn new(columns: &'a Columns<'_>, actors: usize) -> Self {
        Self {
            actors,
            object_actor: Rows::new(columns, OBJECT_ACTOR),
            object_counter: Rows::new(columns, OBJECT_COUNTER),
            key_actor: Rows::new(columns, KEY_ACTOR),
            key_counter: Deltas::new(columns, KEY_COUNTER),
            key_text: Rows::new(columns, KEY_TEXT),
            insert: Booleans::new(columns, INSERT),
            action: Rows::new(columns, ACTION),
            value: Values::new(columns, VALUE_KIND, VALUE),
            expand: Booleans::new(columns, EXPAND),
            mark: Rows::new(columns, MARK),
        }
    }

    pub(super) fn next(&mut self) -> Result<Op<'a>, BoundsError> {
        let object = self.object()?;
        let key = self.key()?;
        let insert = self.insert.next()?;
        let value = self.value.next()?;
        let expand = self.expand.next()?;
        let action = action(self.action.value()?, value, self.mark.next()?, expand)?;
        check_place(key, insert, action)?;
        Ok(Op {
            object,
            key,
            insert,
            action,
        })
    }

    pub(super) fn finish(&self) -> Result<(), BoundsError> {
        self.object_actor.finish()?;
        self.object_counter.finish()?;
        self.key_actor.finish()?;
        self.key_counter.finish()?;
        self.key_text.finish()?;
        self.insert.finish()?;
        self.action.finish()?;
        self.value.finish()?;
        self.expand.finish()?;
        self.mark.finish()
    }

    fn object(&mut self) -> Result<Option<Id>, BoundsError> {
        match (self.object_actor.next()?, self.object_counter.next()?) {
            (None, None) => Ok(None),
            (Some(actor), Some(counter)) => id(actor, counter, self.actors).map(Some),
            _ => Err(malformed("an object's id is incomplete")),
        }
    }

    fn key(&mut self) -> Result<Key<'a>, BoundsError> {
        let actor = self.key_actor.next()?;
        let counter = self.key_counter.next()?;
        match (self.key_text.next()?, actor, counter) {
            (Some(text), None, None) => Ok(Key::Text(text)),
            (None, None, Some(0)) => Ok(Key::Head),
            (None, Some(actor), Some(counter)) => {
                id(actor, u64::from(counter), self.actors).map(Key::Element)
            }
            _ => Err(malformed("a key is incomplete or ambiguous")),
        }
    }
}

/// What an operation does, which says what else it may carry.
///
/// automerge keeps neither the value of a deletion nor the rest of what is refused here in all places, so that a change
/// would get another hash when it is written again.
fn action(
    number: u64,
    value: u64,
    mark: Option<&str>,
    expand: bool,
) -> Result<Action, BoundsError> {
    let action = match number {
        0 => Action::MakeMap,
        1 => Action::Set,
        2 | 4 => Action::MakeList,
        3 => Action::Delete,
        5 => Action::Increment,
        // automerge keeps no index of tables and panics on an operation in one.
        6 => return Err(malformed("tables are not supported")),
        7 if mark.is_some() => Action::MarkBegin,
        7 => Action::MarkEnd,
        _ => return Err(malformed("an action is unknown")),
    };
    let fits = match action {
        Action::Set | Action::MarkBegin => true,
        Action::Increment => matches!(value, 3 | 4),
        _ => value == 0,
    };
    if !fits {
        return Err(malformed("a value does not fit its action"));
    }
    if number != 7 && (mark.is_some() || expand) {
        return Err(malformed("only a mark has a mark's name and flags"));
    }
    Ok(action)
}

fn check_place(key: Key<'_>, insert: bool, action: Action) -> Result<(), BoundsError> {
    let mark = matches!(action, Action::MarkBegin | Action::MarkEnd);
    match key {
        Key::Text(_) if insert || mark => Err(malformed("a map cannot be inserted into")),
        Key::Head if !insert => Err(malformed("the beginning of a list is no element")),
        _ if insert && matches!(action, Action::Delete | Action::Increment) => {
            Err(malformed("only values are inserted"))
        }
        _ if mark && !insert => Err(malformed("a mark is not inserted")),
        _ => Ok(()),
    }
}

fn malformed(what: &'static str) -> BoundsError {
    BoundsError::malformed("operations", what)
}

/// An id whose actor must be in the table and whose counter must be real.
pub(super) fn id(actor: u64, counter: u64, actors: usize) -> Result<Id, BoundsError> {
    let (Ok(actor), Ok(counter)) = (u32::try_from(actor), u32::try_from(counter)) else {
        return Err(malformed("an id is too large"));
    };
    match counter > 0 && (actor as usize) < actors {
        true => Ok(Id { counter, actor }),
        false => Err(malformed("an id names no actor or no operation")),
    }
}

/// Values: a column of types and lengths and one of bytes.
pub(super) struct Values<'a> {
    kinds: Rows<'a, u64>,
    name: &'static str,
    bytes: Reader<'a>,
}

impl<'a> Values<'a> {
    pub(super) fn new(columns: &'a Columns<'_>, kinds: Kind, values: Kind) -> Self {
        Self {
            kinds: Rows::new(columns, kinds),
            name: values.1,
            bytes: Reader::new(columns.bytes(values)),
        }
    }

    /// Checks the next value and returns its type.
    fn next(&mut self) -> Result<u64, BoundsError> {
        let (kind, bytes) = self.raw()?;
        let mut reader = Reader::new(bytes);
        match kind {
            // null, false, true
            0..=2 => {}
            3 => drop(reader.unsigned()?),
            // integer, counter, timestamp
            4 | 8 | 9 => drop(reader.signed()?),
            5 => drop(reader.array::<8>()?),
            6 if std::str::from_utf8(bytes).is_err() => {
                return Err(BoundsError::malformed(self.name, "a text is not UTF-8"));
            }
            // Texts, bytes, and types that automerge carries without knowing them.
            _ => return Ok(kind),
        }
        match reader.is_empty() {
            true => Ok(kind),
            false => Err(BoundsError::malformed(
                self.name,
                "one has the wrong length",
            )),
        }
    }

    /// The next value as its type and its bytes.
    pub(super) fn raw(&mut self) -> Result<(u64, &'a [u8]), BoundsError> {
        let kind = self.kinds.value()?;
        Ok((kind & 0xf, self.bytes.take(kind >> 4)?))
    }

    pub(super) fn finish(&self) -> Result<(), BoundsError> {
        self.kinds.finish()?;
        match self.bytes.is_empty() {
            true => Ok(()),
            false => Err(BoundsError::malformed(self.name, "bytes are left over")),
        }
    }
}

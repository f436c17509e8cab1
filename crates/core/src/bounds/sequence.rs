//! The order of the operations in a document chunk.
//!
//! automerge finds objects, keys and elements by halves, so they must be sorted: the objects by id; in a map the keys; in a
//! list the elements in the order that the list has; and the operations on one key or element by id.

use super::BoundsError;
use super::document::malformed;
use super::ops::{Action, Id, Key, Op};

/// Follows the operations of a document in their order.
#[derive(Default)]
pub(super) struct Sequence<'a> {
    /// The ids of all operations so far, those of deletions included.
    ids: Vec<Id>,
    /// The objects that operations made, and whether they are lists.
    made: Vec<(Id, bool)>,
    /// The objects that operations changed, and whether as lists.
    changed: Vec<(Id, bool)>,
    object: Option<Id>,
    list: bool,
    key: Option<Key<'a>>,
    /// Where in `ids` the operations on the current key begin.
    run: usize,
    /// The successors that the operations on the current key name.
    successors: Vec<Id>,
    /// In a list: the element before the current place, the one that it was inserted after, and so on to the beginning.
    path: Vec<Id>,
}

impl<'a> Sequence<'a> {
    /// Takes the next operation.
    pub(super) fn op(&mut self, id: Id, op: &Op<'a>) -> Result<(), BoundsError> {
        if op.action == Action::Delete {
            return Err(malformed("it lists a deletion"));
        }
        if op.object != self.object {
            self.start_object(op)?;
        }
        if op.object.is_some_and(|object| object >= id) {
            return Err(malformed("an operation is older than its object"));
        }
        let key = match op.insert {
            true => Key::Element(id),
            false => op.key,
        };
        if self.key == Some(key) {
            if self.ids.last() >= Some(&id) {
                return Err(malformed("the operations on a key are out of order"));
            }
        } else {
            self.end_run();
            self.start_key(id, op)?;
            self.key = Some(key);
        }
        self.ids.push(id);
        if matches!(op.action, Action::MakeMap | Action::MakeList) {
            self.made.push((id, op.action == Action::MakeList));
        }
        Ok(())
    }

    /// Takes a successor of the operation that came last.
    pub(super) fn successor(&mut self, id: Id) {
        self.successors.push(id);
    }

    /// Checks what can be told at the end and returns the ids of all operations.
    pub(super) fn finish(mut self) -> Result<Vec<Id>, BoundsError> {
        self.end_run();
        self.made.sort_unstable();
        let known = |object: &(Id, bool)| self.made.binary_search(object).is_ok();
        match self.changed.iter().all(known) {
            true => Ok(self.ids),
            false => Err(malformed("an operation is in an object that nobody made")),
        }
    }

    fn start_object(&mut self, op: &Op<'a>) -> Result<(), BoundsError> {
        self.end_run();
        if op.object <= self.object {
            return Err(malformed("its objects are out of order"));
        }
        self.object = op.object;
        self.list = !matches!(op.key, Key::Text(_));
        self.key = None;
        self.path.clear();
        self.changed.extend(self.object.map(|id| (id, self.list)));
        Ok(())
    }

    fn start_key(&mut self, id: Id, op: &Op<'a>) -> Result<(), BoundsError> {
        match op.key {
            Key::Text(text) if !self.list => match self.key {
                Some(Key::Text(last)) if last >= text => {
                    Err(malformed("its keys are out of order"))
                }
                _ => Ok(()),
            },
            Key::Head if self.list => self.insert(id, None),
            Key::Element(after) if self.list && op.insert => self.insert(id, Some(after)),
            Key::Element(_) if self.list => {
                Err(malformed("an element is not where it was inserted"))
            }
            _ => Err(malformed("it mixes keys and elements in one object")),
        }
    }

    /// Elements that were inserted at the same place follow it in descending order, each with those inserted after it.
    fn insert(&mut self, id: Id, after: Option<Id>) -> Result<(), BoundsError> {
        let mut sibling = None;
        while self.path.last() != after.as_ref() {
            sibling = self.path.pop();
            if sibling.is_none() {
                return Err(malformed("an element follows one that is not there"));
            }
        }
        if after >= Some(id) || sibling.is_some_and(|sibling| sibling <= id) {
            return Err(malformed("the elements of a list are out of order"));
        }
        self.path.push(id);
        Ok(())
    }

    /// Successors that are no operations on the same key are deletions.
    fn end_run(&mut self) {
        self.successors.sort_unstable();
        self.successors.dedup();
        let end = self.ids.len();
        for successor in self.successors.drain(..) {
            let run = &self.ids[self.run..end];
            if run.binary_search(&successor).is_err() {
                self.ids.push(successor);
            }
        }
        self.run = self.ids.len();
    }
}

//! A field's writes, and which of them stand for someone who has seen some of all changes.

use automerge::{ActorId, ChangeHash};
use headwater_core::{DocumentId, Value};
use std::collections::HashSet;
use std::rc::Rc;

/// Whether something happened to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It did not.
    No,
    /// A write over several documents was seen in part, so that it cannot be told.
    Perhaps,
    /// It did.
    Yes,
}

/// One write, as its changes carry it.
#[derive(Debug)]
pub struct Made {
    /// The changes, at least one.
    pub hashes: Vec<ChangeHash>,
    /// Which operations of a document it is, if one change carries it.
    pub stamp: Option<Stamp>,
}

/// The first and the last op counter of a change, and whose it is.
#[derive(Debug)]
pub struct Stamp {
    /// The document.
    pub document: DocumentId,
    /// The first op's counter.
    pub first: u64,
    /// The last op's counter.
    pub last: u64,
    /// The writer.
    pub actor: ActorId,
}

impl Made {
    /// How much of it someone had who had `seen` these changes.
    pub fn known(&self, seen: &HashSet<ChangeHash>) -> Fate {
        match self
            .hashes
            .iter()
            .filter(|hash| seen.contains(hash))
            .count()
        {
            0 => Fate::No,
            n if n == self.hashes.len() => Fate::Yes,
            _ => Fate::Perhaps,
        }
    }

    /// Whether all its op ids are below all of the other's, in one document.
    fn is_before(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (&self.stamp, &other.stamp) else {
            return false;
        };
        let single = a.first == a.last && b.first == b.last && a.first == b.first;
        a.document == b.document && (a.last < b.first || (single && a.actor < b.actor))
    }
}

/// A value that was written.
#[derive(Debug)]
pub struct Put {
    /// The value.
    pub value: Value,
    /// The write.
    pub made: Rc<Made>,
    /// The writes that superseded it, and how surely they did.
    over: Vec<(Fate, Rc<Made>)>,
    /// The deletes of the record that had seen it, at least in part.
    pub deleters: Vec<Rc<Made>>,
}

impl Put {
    /// Whether it stands for someone who has `seen` these changes.
    pub fn stands(&self, seen: &HashSet<ChangeHash>) -> Fate {
        let over = self
            .over
            .iter()
            .map(|(fate, made)| made.known(seen).min(*fate));
        let there = self.made.known(seen);
        match over.max().unwrap_or(Fate::No) {
            Fate::No => there,
            Fate::Perhaps => there.min(Fate::Perhaps),
            Fate::Yes => Fate::No,
        }
    }

    /// Takes note that a write superseded it, whose writer had `seen` these changes.
    pub fn superseded(&mut self, made: &Rc<Made>, seen: &HashSet<ChangeHash>) {
        // What did not stand any more for its writer, it left alone: also in documents that others have not all of.
        let fate = self.stands(seen);
        if fate != Fate::No && !Rc::ptr_eq(&self.made, made) {
            self.over.push((fate, made.clone()));
        }
    }
}

/// All values that were ever written to one field.
#[derive(Debug, Default)]
pub struct Register {
    /// The writes, in the order in which they were made.
    pub puts: Vec<Put>,
}

/// The values that stand.
pub struct Standing<'r> {
    /// Those that surely do.
    pub sure: Vec<&'r Put>,
    /// Those that may, the sure ones too.
    pub all: Vec<&'r Put>,
}

impl Standing<'_> {
    /// Whether nothing is uncertain.
    pub fn is_exact(&self) -> bool {
        self.sure.len() == self.all.len()
    }

    /// The values.
    pub fn values(&self) -> Vec<&Value> {
        self.all.iter().map(|put| &put.value).collect()
    }

    /// Whether one that shows `value` may be the one of the highest op id.
    pub fn may_be_last(&self, value: &Value) -> bool {
        let later = |put: &Put| {
            let mut others = self.sure.iter();
            others.any(|other| other.value != *value && put.made.is_before(&other.made))
        };
        self.all
            .iter()
            .any(|put| put.value == *value && !later(put))
    }
}

impl Register {
    /// What stands for someone who has `seen` these changes.
    pub fn standing(&self, seen: &HashSet<ChangeHash>) -> Standing<'_> {
        let with = |least: Fate| {
            let puts = self.puts.iter();
            puts.filter(|put| put.stands(seen) >= least).collect()
        };
        Standing {
            sure: with(Fate::Yes),
            all: with(Fate::Perhaps),
        }
    }

    /// A write supersedes what its writer had seen, but for what it keeps.
    pub fn supersede(
        &mut self,
        made: &Rc<Made>,
        seen: &HashSet<ChangeHash>,
        keeps: impl Fn(&Put) -> bool,
    ) {
        for put in self.puts.iter_mut().filter(|put| !keeps(put)) {
            put.superseded(made, seen);
        }
    }

    /// A value is written.
    pub fn put(&mut self, made: &Rc<Made>, value: Value) {
        self.puts.push(Put {
            value,
            made: made.clone(),
            over: Vec::new(),
            deleters: Vec::new(),
        });
    }

    /// Someone who had `seen` these changes deletes the record.
    pub fn deleted(&mut self, made: &Rc<Made>, seen: &HashSet<ChangeHash>) {
        for put in &mut self.puts {
            if put.made.known(seen) != Fate::No {
                put.deleters.push(made.clone());
            }
        }
    }
}

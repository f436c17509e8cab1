//! What a set must hold: what anyone added and no one who had seen it removed.

use crate::acts::Act;
use crate::register::{Fate, Made, Register};
use automerge::ChangeHash;
use headwater_core::{Record, Value};
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

/// One field of sets.
#[derive(Debug, Default)]
pub struct Set {
    adds: Register,
    /// Whether a whole set was ever removed, or written as a mere list by someone who did not know that it is a set.
    loose: bool,
}

impl Set {
    /// Someone who had `seen` these changes did `act`; `old` is what they saw, `declared` whether they knew of the policy.
    pub fn wrote(
        &mut self,
        act: &Act,
        old: Option<&Value>,
        declared: bool,
        made: &Rc<Made>,
        seen: &HashSet<ChangeHash>,
    ) {
        let old = items(old);
        let (added, gone): (Vec<&Value>, Vec<&Value>) = match act {
            Act::Set(Value::List(new)) => (
                new.iter().filter(|item| !old.contains(item)).collect(),
                old.iter().filter(|item| !new.contains(item)).collect(),
            ),
            Act::Anew(Value::List(new)) | Act::Reset(Value::List(new)) => {
                (new.iter().collect(), old.iter().collect())
            }
            Act::Add(items) => (items.iter().collect(), items.iter().collect()),
            Act::Discard(items) => (Vec::new(), items.iter().collect()),
            _ => (Vec::new(), Vec::new()),
        };
        self.loose |= !declared || matches!(act, Act::Remove | Act::Anew(_) | Act::Keep);
        self.adds
            .supersede(made, seen, |put| !gone.contains(&&put.value));
        for item in added {
            self.adds.put(made, item.clone());
        }
    }

    /// The record was written anew.
    pub fn replaced(&mut self) {
        self.loose = true;
    }

    /// Someone deleted the record.
    pub fn deleted(&mut self, made: &Rc<Made>, seen: &HashSet<ChangeHash>) {
        self.adds.deleted(made, seen);
    }

    /// Holds what a record shows against what was done; `true` if it was known just what it has to be.
    pub fn check(
        &self,
        name: &str,
        record: &Record,
        seen: &HashSet<ChangeHash>,
    ) -> Result<bool, String> {
        let shown = items(record.get(name));
        let known = self
            .adds
            .puts
            .iter()
            .filter(|put| put.made.known(seen) != Fate::No);
        let ever: BTreeSet<_> = known.filter_map(|put| put.value.as_int()).collect();
        let has: BTreeSet<_> = shown.iter().filter_map(Value::as_int).collect();
        if !self.loose && has.len() != shown.len() {
            return Err(format!("{name:?} shows an element twice"));
        }
        if self.loose {
            return match has.is_subset(&ever) {
                true => Ok(false),
                false => Err(format!("{name:?} shows what no one added")),
            };
        }
        let standing = self.adds.standing(seen);
        let ints = |puts: &[&crate::register::Put]| -> BTreeSet<i64> {
            puts.iter().filter_map(|put| put.value.as_int()).collect()
        };
        let (sure, all) = (ints(&standing.sure), ints(&standing.all));
        if !sure.is_subset(&has) {
            return Err(format!("{name:?} lost what no one who had seen it removed"));
        }
        if !has.is_subset(&all) {
            return Err(format!("{name:?} shows what was removed"));
        }
        Ok(!ever.is_empty() && sure == all)
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

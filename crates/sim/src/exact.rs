//! What a counter, a text and a list must hold, unless something was done that loses edits by design.

use crate::coverage::{Case, Coverage};
use crate::generate::{COUNTER, LIST, TEXT};
use headwater_core::{Edit, Operation, Record, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of them.
#[derive(Debug, Default)]
pub struct Exact {
    sum: i64,
    chars: BTreeMap<char, i64>,
    items: BTreeSet<i64>,
    removed: BTreeSet<i64>,
    created: BTreeMap<&'static str, u32>,
    unknown: BTreeSet<&'static str>,
}

fn field<'a>(record: Option<&'a Record>, name: &str) -> Option<&'a Value> {
    record?.get(name)
}

fn ints(value: &Value) -> BTreeSet<i64> {
    match value {
        Value::List(items) => items.iter().filter_map(Value::as_int).collect(),
        _ => BTreeSet::new(),
    }
}

fn chars(value: &Value) -> BTreeMap<char, i64> {
    let mut counts = BTreeMap::new();
    for c in value.as_str().unwrap_or_default().chars() {
        *counts.entry(c).or_default() += 1;
    }
    counts
}

impl Exact {
    /// Takes note of a write; `anew` if it wrote a record again that had been deleted.
    pub fn edited(
        &mut self,
        operation: &Operation,
        anew: bool,
        before: Option<&Record>,
        after: Option<&Record>,
    ) {
        // What it removes it can insert again, which the text does not show, and another may have removed it too.
        if let Operation::Patch(_, edits) = operation
            && let Some(Edit::Splice { delete: 1.., .. }) = edits.get(TEXT)
        {
            self.unknown.insert(TEXT);
        }
        for name in [COUNTER, TEXT, LIST] {
            let (old, new) = (field(before, name), field(after, name));
            // A whole that is removed takes with it what others did inside.
            if anew || (old.is_some() && new.is_none()) {
                self.unknown.insert(name);
            }
            let Some(new) = new else { continue };
            if old.is_none() {
                *self.created.entry(name).or_default() += 1;
            }
            let none = Value::Null;
            let old = old.unwrap_or(&none);
            match name {
                COUNTER => self.sum += new.as_int().unwrap_or(0) - old.as_int().unwrap_or(0),
                TEXT => self.edited_text(old, new),
                LIST => {
                    let (old, new) = (ints(old), ints(new));
                    if new.difference(&old).any(|item| self.removed.contains(item)) {
                        // An undo brought it back, which another may have removed too.
                        self.unknown.insert(LIST);
                    }
                    self.items.extend(&new);
                    self.removed.extend(old.difference(&new));
                }
                _ => {}
            }
        }
        // Of texts and lists that both sides created one is shown.
        for name in [TEXT, LIST] {
            if self.created.get(name).is_some_and(|created| *created > 1) {
                self.unknown.insert(name);
            }
        }
    }

    fn edited_text(&mut self, old: &Value, new: &Value) {
        let (old, new) = (chars(old), chars(new));
        for c in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let added = new.get(c).unwrap_or(&0) - old.get(c).unwrap_or(&0);
            if added < 0 {
                // Two may remove the same character.
                self.unknown.insert(TEXT);
            }
            *self.chars.entry(*c).or_default() += added;
        }
    }

    /// Holds the record against what was done.
    pub fn check(&self, shown: &Record, coverage: &mut Coverage) -> Result<(), String> {
        let none = Value::Null;
        for name in [COUNTER, TEXT, LIST] {
            if self.unknown.contains(name) || !self.created.contains_key(name) {
                continue;
            }
            let shown = shown.get(name).unwrap_or(&none);
            let exact = match name {
                COUNTER => *shown == Value::Counter(self.sum),
                TEXT => chars(shown) == self.chars,
                _ => {
                    let left: Vec<i64> = self.items.difference(&self.removed).copied().collect();
                    let Value::List(items) = shown else {
                        return Err(format!("{name:?} is {shown:?}"));
                    };
                    ints(shown).into_iter().eq(left) && items.len() == ints(shown).len()
                }
            };
            if !exact {
                return Err(format!("{name:?} is {shown:?}, which is not what was done"));
            }
            coverage.add(Case::Exact);
        }
        Ok(())
    }
}

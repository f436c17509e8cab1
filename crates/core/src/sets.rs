//! Writing sets: maps whose entries are named after a digest of the element, so that the same element added twice is one,
//! and what one writer adds outlives what another, not knowing of it, removes.

use crate::edit::{Edit, WriteError};
use crate::json;
use crate::names;
use crate::plan::{Plan, wrong_kind};
use crate::read::{Candidate, Cell, Source, is_set, maps_among, set};
use crate::step::{Step, map_value, to_hydrate};
use crate::value::Value;
use automerge::hydrate;
use std::collections::{BTreeMap, BTreeSet};

impl Plan<'_> {
    pub(crate) fn is_set(&self, found: &[Candidate]) -> bool {
        matches!(found.last(), Some(last) if last.cell == Cell::Map)
            && is_set(self.reader.views, &maps_among(found))
    }

    pub(crate) fn new_set(&self, items: &[Value]) -> hydrate::Value {
        let mut entries = BTreeMap::from([(names::SET.to_owned(), hydrate::Value::scalar(true))]);
        for item in items {
            entries.insert(names::item(item), to_hydrate(item, self.actor));
        }
        map_value(entries)
    }

    /// Makes the set of `found` hold just `items`; elements that are there already are not written.
    pub(crate) fn replace_set(&mut self, found: &[Candidate], items: &[Value]) {
        let maps = maps_among(found);
        let old = set(self.reader, &maps, 0);
        let new: BTreeSet<String> = items.iter().map(json::value_to_json).collect();
        let gone = old.iter().filter(|(text, _)| !new.contains(*text));
        self.discard(&maps, gone.map(|(_, item)| item));
        let added = items.iter();
        self.add(
            &maps,
            added.filter(|item| !old.contains_key(&json::value_to_json(item))),
        );
    }

    /// Adds elements to the set under `name`, or removes them. A list that stands there becomes a set.
    pub(crate) fn edit_set(
        &mut self,
        sources: &[Source],
        name: &str,
        found: &[Candidate],
        add: bool,
        items: &[Value],
    ) -> Result<(), WriteError> {
        let maps = maps_among(found);
        match found.last() {
            None if add => {
                let set = self.new_set(items);
                self.put_anew(sources, name, set);
            }
            None => {}
            Some(_) if self.is_set(found) && add => {
                // An element that is there is put anew: what removes it elsewhere has not seen this op.
                self.discard(&maps, items.iter());
                self.add(&maps, items.iter());
            }
            Some(_) if self.is_set(found) => self.discard(&maps, items.iter()),
            Some(last) if last.cell == Cell::List => {
                let mut all = match self.reader.each(std::slice::from_ref(last), 0).pop() {
                    Some(Value::List(all)) => all,
                    _ => Vec::new(),
                };
                match add {
                    true => all.extend_from_slice(items),
                    false => all.retain(|item| !items.contains(item)),
                }
                let set = self.new_set(&all);
                self.put_anew(sources, name, set);
            }
            Some(last) => {
                let edit = Edit::Add(Vec::new());
                return Err(wrong_kind(name, Some(last), &edit));
            }
        }
        Ok(())
    }

    fn add<'v>(&mut self, maps: &[Source], items: impl Iterator<Item = &'v Value>) {
        let Some(target) = maps.last() else { return };
        for item in items {
            let value = to_hydrate(item, self.actor);
            self.step(target, |object| Step::Put(object, names::item(item), value));
        }
    }

    fn discard<'v>(&mut self, maps: &[Source], items: impl Iterator<Item = &'v Value>) {
        for item in items {
            self.remove(maps, &names::item(item));
        }
    }
}

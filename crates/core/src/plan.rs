//! Turning a write into automerge operations.
//!
//! A plan is made by reading alone and then carried out in one transaction per document, so that a refused write
//! changes nothing. A new value goes into the winning map and is deleted in the others, or a stale one would come back.

use crate::edit::{Edit, Patch, WriteError};
use crate::names;
use crate::policy::{Policy, Rule, distinct};
use crate::read::{
    Candidate, Cell, Counter, Reader, Source, candidates, counter, fields, maps_among,
};
use crate::step::{Step, map_value, to_hydrate};
use crate::typed::Known;
use crate::value::{Record, Value};
use automerge::{ActorId, ObjId, hydrate};
use std::collections::BTreeMap;

/// The operations of one write to one record, by the rank of their document.
pub(crate) struct Plan<'a> {
    pub(crate) reader: Reader<'a>,
    pub(crate) actor: &'a ActorId,
    /// Fields of the record that is to be created in the highest-ranking document, if it has none of this key yet.
    pub(crate) created: BTreeMap<String, hydrate::Value>,
    pub steps: Vec<(usize, Step)>,
}

impl<'a> Plan<'a> {
    pub fn new(reader: Reader<'a>, actor: &'a ActorId) -> Self {
        Self {
            reader,
            actor,
            created: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    /// Makes the record of `sources` equal to `record`, except for what its writer does not know.
    pub fn replace(
        &mut self,
        sources: &[Source],
        record: &Record,
        known: &Known,
    ) -> Result<(), WriteError> {
        let fields = fields(self.reader.views, sources);
        for stored in fields.keys() {
            if names::shown(stored)
                .is_some_and(|name| !record.contains_key(name) && known.has(name))
            {
                self.remove(sources, stored);
            }
        }
        for (name, value) in record {
            let found = fields.get(names::stored(name).as_ref());
            let found = found.map_or(&[][..], Vec::as_slice);
            self.set(sources, name, found, value, known.within(name))?;
        }
        Ok(())
    }

    /// Writes a record anew over a deleted one: every field is written, also one that looks the same.
    pub fn recreate(&mut self, sources: &[Source], record: &Record) {
        // Removing first also makes a new op of a value that is the same: automerge leaves out a put that changes nothing.
        for stored in fields(self.reader.views, sources).into_keys() {
            self.remove(sources, &stored);
        }
        for (name, value) in record {
            self.write_anew(sources, name, value);
        }
    }

    /// Applies `patch` to the record or nested map of `sources`.
    pub fn patch(&mut self, sources: &[Source], patch: &Patch) -> Result<(), WriteError> {
        for (name, edit) in patch {
            match edit {
                Edit::Set(value) => {
                    let found = candidates(self.reader.views, sources, &names::stored(name));
                    self.set(sources, name, &found, value, &Known::All)?;
                }
                Edit::Reset(value) => self.write_anew(sources, name, value),
                Edit::Remove => self.remove(sources, &names::stored(name)),
                edit => self.edit_within(sources, name, edit)?,
            }
        }
        Ok(())
    }

    /// Clears delete markers, so that the record stands again.
    pub fn revive(&mut self, sources: &[Source]) {
        self.remove(sources, names::DELETED);
    }

    /// Puts a new delete marker into every object of the record.
    pub fn mark_deleted(&mut self, sources: &[Source]) {
        // An old marker tells what an earlier deleter had seen, and automerge leaves out a put of the same value.
        self.remove(sources, names::DELETED);
        for source in sources {
            let marker = hydrate::Value::scalar(true);
            self.step(source, |object| {
                Step::Put(object, names::DELETED.to_owned(), marker)
            });
        }
    }

    /// The map to create under the record's key in the highest-ranking document, if anything is to go there.
    pub fn take_created(&mut self) -> Option<hydrate::Value> {
        (!self.created.is_empty()).then(|| map_value(std::mem::take(&mut self.created)))
    }

    pub(crate) fn step(&mut self, source: &Source, step: impl FnOnce(ObjId) -> Step) {
        self.steps.push((source.rank, step(source.object.clone())));
    }

    pub(crate) fn remove(&mut self, sources: &[Source], stored: &str) {
        for source in sources {
            let stands = self
                .reader
                .views
                .get(source.rank)
                .is_some_and(|view| !view.all(&source.object, stored).is_empty());
            if stands {
                self.step(source, |object| Step::Delete(object, stored.to_owned()));
            }
        }
    }

    /// Puts `value` into the winning map and removes the name from the others.
    pub(crate) fn write_anew(&mut self, sources: &[Source], name: &str, value: &Value) {
        let value = self.new_value(name, value);
        self.put_anew(sources, name, value);
    }

    /// A value as it is put into a field that holds nothing yet.
    pub(crate) fn new_value(&self, name: &str, value: &Value) -> hydrate::Value {
        match (self.policy(name), value) {
            (Some(Policy::Union), Value::List(items)) => self.new_set(items),
            _ => to_hydrate(value, self.actor),
        }
    }

    pub(crate) fn put_anew(&mut self, sources: &[Source], name: &str, value: hydrate::Value) {
        let stored = &*names::stored(name);
        let top = self.reader.views.len().saturating_sub(1);
        match sources.split_last() {
            Some((target, others)) if target.rank == top => {
                self.step(target, |object| Step::Put(object, stored.to_owned(), value));
                self.remove(others, stored);
            }
            _ => {
                self.created.insert(stored.to_owned(), value);
                self.remove(sources, stored);
            }
        }
    }

    /// Sets a field for which `found` stands.
    fn set(
        &mut self,
        sources: &[Source],
        name: &str,
        found: &[Candidate],
        value: &Value,
        known: &Known,
    ) -> Result<(), WriteError> {
        let Some(winner) = found.last() else {
            self.write_anew(sources, name, value);
            return Ok(());
        };
        if let Some(rule) = self.reader.rule(name)
            && rule.policy.is_register()
        {
            self.set_register(sources, name, found, value, rule);
            return Ok(());
        }
        // What is shown is edited where it can be, and what lost to it is settled, as it is by any write.
        match (&winner.cell, value) {
            (Cell::Text, Value::String(text) | Value::Text(text)) => {
                if !self.keep_object(sources, name, found, winner) {
                    self.write_anew(sources, name, &Value::Text(text.clone()));
                } else if self.text(winner) != *text {
                    self.step(&winner.source, |object| {
                        Step::UpdateText(object, text.clone())
                    });
                }
            }
            (Cell::Map, Value::List(items)) if self.is_set(found) => {
                match self.keep_object(sources, name, found, winner) {
                    true => self.replace_set(found, items),
                    false => self.put_anew(sources, name, self.new_set(items)),
                }
            }
            (Cell::List, Value::List(items)) if self.policy(name) != Some(&Policy::Union) => {
                match self.keep_object(sources, name, found, winner) {
                    true => self.replace_list(winner, items),
                    false => self.write_anew(sources, name, value),
                }
            }
            (Cell::Map, Value::Int(n) | Value::Counter(n)) => {
                match counter(self.reader.views, &maps_among(found)) {
                    Some(counter) if self.keep_object(sources, name, found, winner) => {
                        let by = n.checked_sub(counter.value).ok_or_else(|| overflow(name))?;
                        self.increment(&counter, by, name)?;
                    }
                    Some(_) => self.write_anew(sources, name, &Value::Counter(*n)),
                    None => self.write_anew(sources, name, value),
                }
            }
            (Cell::Map, Value::Map(map)) if !self.is_set(found) => {
                let maps = maps_among(found);
                match counter(self.reader.views, &maps) {
                    None if self.keep_object(sources, name, found, winner) => {
                        self.replace_nested(&maps, map, known)?;
                    }
                    None => {
                        let old = self.reader.merge(&maps, 1).record;
                        let new = Value::Map(known.with_unknown(map, old));
                        self.write_anew(sources, name, &new);
                    }
                    Some(_) => self.write_anew(sources, name, value),
                }
            }
            (Cell::Scalar(Value::Counter(old)), Value::Int(n) | Value::Counter(n)) => {
                let by = n.checked_sub(*old).ok_or_else(|| overflow(name))?;
                self.increment_plain(sources, &names::stored(name), winner, by);
            }
            // The same value again is no edit, unless it settles a conflict.
            (Cell::Scalar(_), value) if found.iter().all(|one| one.is(value)) => {}
            _ => self.write_anew(sources, name, value),
        }
        Ok(())
    }

    fn policy(&self, name: &str) -> Option<&'a Policy> {
        self.reader.rule(name).map(|rule| rule.policy)
    }

    /// Sets a field whose policy chooses between whole values.
    fn set_register(
        &mut self,
        sources: &[Source],
        name: &str,
        found: &[Candidate],
        value: &Value,
        rule: Rule<'_>,
    ) {
        let shown = self.reader.field(name, found, 0, &mut false);
        let new = match rule.policy {
            Policy::KeepAll => &Value::List(distinct(vec![value.clone()])),
            _ => value,
        };
        // What the policy makes of several is not written back as one.
        if shown.is_none_or(|shown| rule.exceeds(new, &shown)) {
            self.write_anew(sources, name, value);
        }
    }

    /// As [`Self::replace`], in a nested map: a field that is new goes into the winning one of `maps`.
    fn replace_nested(
        &mut self,
        maps: &[Source],
        map: &Record,
        known: &Known,
    ) -> Result<(), WriteError> {
        let mut nested = self.nested();
        nested.replace(maps, map, known)?;
        // A counter that another put here is hidden by the map's fields, and would show when the last of them goes.
        for stored in fields(self.reader.views, maps).into_keys() {
            if stored.starts_with(names::COUNTER) {
                nested.remove(maps, &stored);
            }
        }
        let (created, steps) = (nested.created, nested.steps);
        self.adopt(maps, created, steps);
        Ok(())
    }

    pub(crate) fn nested(&self) -> Plan<'a> {
        Plan::new(self.reader.nested(), self.actor)
    }

    /// Takes over a nested map's plan. What it would have created in a record of a higher rank belongs into the winning
    /// nested map, wherever that is.
    pub(crate) fn adopt(
        &mut self,
        maps: &[Source],
        created: BTreeMap<String, hydrate::Value>,
        steps: Vec<(usize, Step)>,
    ) {
        self.steps.extend(steps);
        if let Some(target) = maps.last() {
            for (stored, value) in created {
                self.step(target, |object| Step::Put(object, stored, value));
            }
        }
    }

    fn increment(&mut self, counter: &Counter, by: i64, name: &str) -> Result<(), WriteError> {
        let (map, entry) = counter.entry_for(by).ok_or_else(|| overflow(name))?;
        if by != 0 {
            self.step(&map, |object| Step::Increment(object, entry, by));
        }
        Ok(())
    }

    /// Adds to a counter that automerge's own means put under `stored`.
    pub(crate) fn increment_plain(
        &mut self,
        sources: &[Source],
        stored: &str,
        winner: &Candidate,
        by: i64,
    ) {
        let parent = sources.iter().find(|source| {
            source.rank == winner.source.rank
                && self.reader.views.get(source.rank).is_some_and(|view| {
                    let all = view.all(&source.object, stored);
                    all.iter().any(|(id, _)| *id == winner.source.object)
                })
        });
        if let (Some(parent), true) = (parent.cloned(), by != 0) {
            let stored = stored.to_owned();
            self.step(&parent, |object| Step::Increment(object, stored, by));
        }
    }

    /// Keeps the elements that are equal at the beginning and at the end, and replaces those between.
    fn replace_list(&mut self, list: &Candidate, items: &[Value]) {
        let Some(view) = self.reader.views.get(list.source.rank) else {
            return;
        };
        let old = view.items(&list.source.object);
        let equal = |(object, cell): &(ObjId, Cell), value: &Value| {
            let rank = list.source.rank;
            let source = Source {
                rank,
                object: object.clone(),
            };
            let cell = cell.clone();
            self.reader.each(&[Candidate { source, cell }], 0).first() == Some(value)
        };
        let prefix = old
            .iter()
            .zip(items)
            .take_while(|(a, b)| equal(a, b))
            .count();
        let suffix = old[prefix..]
            .iter()
            .rev()
            .zip(items[prefix..].iter().rev())
            .take_while(|(a, b)| equal(a, b))
            .count();
        let delete = old.len() - prefix - suffix;
        let insert: Vec<_> = items[prefix..items.len() - suffix]
            .iter()
            .map(|value| to_hydrate(value, self.actor))
            .collect();
        if delete > 0 || !insert.is_empty() {
            self.step(&list.source, |object| {
                Step::SpliceList(object, prefix, delete, insert)
            });
        }
    }

    /// An edit of what the field holds now.
    pub(crate) fn edit_within(
        &mut self,
        sources: &[Source],
        name: &str,
        edit: &Edit,
    ) -> Result<(), WriteError> {
        let found = candidates(self.reader.views, sources, &names::stored(name));
        if let Edit::Add(items) | Edit::Discard(items) = edit {
            let add = matches!(edit, Edit::Add(_));
            return self.edit_set(sources, name, &found, add, items);
        }
        if found.is_empty() {
            let value = edit_of_nothing(name, edit)?;
            self.write_anew(sources, name, &value);
            return Ok(());
        }
        // Where a policy chooses between whole values, what is shown is edited, which may not be the last.
        let found = match self.reader.is_register(name) {
            true => self
                .reader
                .chosen(name, &found)
                .cloned()
                .into_iter()
                .collect(),
            false => found,
        };
        let Some(winner) = found.last() else {
            return Err(wrong_kind(name, None, edit));
        };
        match (edit, &winner.cell) {
            (Edit::Increment(by), Cell::Scalar(Value::Counter(n))) => {
                n.checked_add(*by).ok_or_else(|| overflow(name))?;
                self.increment_plain(sources, &names::stored(name), winner, *by);
            }
            (Edit::Increment(by), Cell::Map) => {
                let Some(counter) = counter(self.reader.views, &maps_among(&found)) else {
                    return Err(wrong_kind(name, Some(winner), edit));
                };
                self.increment(&counter, *by, name)?;
            }
            (Edit::Merge(patch), Cell::Map) => {
                let maps = maps_among(&found);
                if counter(self.reader.views, &maps).is_some() || self.is_set(&found) {
                    return Err(wrong_kind(name, Some(winner), edit));
                }
                let mut nested = self.nested();
                nested.patch(&maps, patch)?;
                let (created, steps) = (nested.created, nested.steps);
                self.adopt(&maps, created, steps);
            }
            (Edit::Splice { at, delete, insert }, Cell::Text) => {
                let length = self.text(winner).chars().count();
                check_range(name, length, *at, *delete)?;
                self.step(&winner.source, |object| {
                    Step::SpliceText(object, *at, *delete, insert.clone())
                });
            }
            (Edit::SpliceList { at, delete, insert }, Cell::List) => {
                let length = self
                    .reader
                    .views
                    .get(winner.source.rank)
                    .map_or(0, |view| view.items(&winner.source.object).len());
                check_range(name, length, *at, *delete)?;
                let insert = insert.iter().map(|v| to_hydrate(v, self.actor)).collect();
                self.step(&winner.source, |object| {
                    Step::SpliceList(object, *at, *delete, insert)
                });
            }
            _ => return Err(wrong_kind(name, Some(winner), edit)),
        }
        Ok(())
    }

    fn text(&self, candidate: &Candidate) -> String {
        self.reader
            .views
            .get(candidate.source.rank)
            .map(|view| view.text(&candidate.source.object))
            .unwrap_or_default()
    }
}

/// What an edit makes of a field that is not there.
fn edit_of_nothing(name: &str, edit: &Edit) -> Result<Value, WriteError> {
    Ok(match edit {
        Edit::Set(value) => value.clone(),
        Edit::Increment(by) => Value::Counter(*by),
        Edit::Splice { at, delete, insert } => {
            check_range(name, 0, *at, *delete)?;
            Value::Text(insert.clone())
        }
        Edit::SpliceList { at, delete, insert } => {
            check_range(name, 0, *at, *delete)?;
            Value::List(insert.clone())
        }
        Edit::Merge(patch) => {
            let mut map = Record::new();
            for (name, edit) in patch {
                if !matches!(edit, Edit::Remove) {
                    map.insert(name.clone(), edit_of_nothing(name, edit)?);
                }
            }
            Value::Map(map)
        }
        // What is in a set that is not there yet is decided elsewhere.
        Edit::Reset(value) => value.clone(),
        Edit::Remove | Edit::Add(_) | Edit::Discard(_) => Value::Null,
    })
}

fn check_range(field: &str, length: usize, at: usize, delete: usize) -> Result<(), WriteError> {
    if at.checked_add(delete).is_none_or(|end| end > length) {
        return Err(WriteError::OutOfRange {
            field: field.to_owned(),
            length,
            at,
            delete,
        });
    }
    Ok(())
}

pub(crate) fn overflow(field: &str) -> WriteError {
    WriteError::CounterOverflow {
        field: field.to_owned(),
    }
}

/// `winner` is what the field holds; `None` if its policy makes that of several values.
pub(crate) fn wrong_kind(field: &str, winner: Option<&Candidate>, edit: &Edit) -> WriteError {
    WriteError::WrongKind {
        field: field.to_owned(),
        found: match winner.map(|winner| &winner.cell) {
            None => "what its policy makes of all values",
            Some(Cell::Scalar(value)) => value.kind(),
            Some(Cell::Map) => "a map or counter",
            Some(Cell::List) => "a list",
            Some(Cell::Text) => "a text",
        },
        edit: match edit {
            Edit::Increment(_) => "be incremented",
            Edit::Splice { .. } => "be edited as a text",
            Edit::SpliceList { .. } => "be edited as a list",
            Edit::Merge(_) => "be edited as a map",
            Edit::Add(_) | Edit::Discard(_) => "be edited as a set",
            Edit::Set(_) | Edit::Reset(_) | Edit::Remove => "be edited",
        },
    }
}

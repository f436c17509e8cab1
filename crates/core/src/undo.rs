//! Taking back what one write did, and nothing that anyone did since.
//!
//! An undo is a write like any other: it compares the record before the write, after it and now. What the write put is
//! replaced by what stood before if no one has written it since; what it added to a counter is subtracted; the characters
//! and elements that it inserted are removed, and those that it removed stand again, where their neighbours are now. It
//! stays in the documents of what it takes back, so that their histories tell what was undone.

use crate::database::{Database, Found};
use crate::edit::WriteError;
use crate::id::{DocumentId, Partition};
use crate::names;
use crate::plan::{Plan, overflow};
use crate::read::{
    Candidate, Cell, Reader, Source, View, candidates, counter, fields, is_set, maps_among,
};
use crate::settle::Contested;
use crate::step::{Step, to_hydrate};
use crate::tombstone::{same, same_map};
use crate::undone::{Moment, Target};
use crate::value::{MAX_DEPTH, Value};
use automerge::{ChangeHash, ObjId};
use std::collections::{BTreeMap, BTreeSet};
use std::slice;

/// A write that is to be taken back.
#[derive(Default)]
pub(crate) struct UndoneWrite {
    /// Its changes that are not undone yet, or what stands for them.
    pub targets: BTreeMap<DocumentId, Target>,
    /// The keys that they touch.
    pub keys: BTreeSet<String>,
    /// How many records its other changes touched, which are undone.
    pub undone: usize,
}

/// What a write did to the documents of one record.
struct Undone<'u> {
    /// The documents as they were before the write, and right after it. Where it is not written, they are as they are now.
    pub before: &'u [View<'u>],
    pub after: &'u [View<'u>],
    /// Whether there was a record then.
    pub was: bool,
    pub became: bool,
    /// Whose writes are taken back.
    pub own: BTreeSet<ChangeHash>,
}

/// A record's documents before a write, and right after it; `targets` is what is to be taken back in each of `views`.
///
/// Doing a write again whose undo had only deleted the record wrote nothing of what is in it: then it is still what the write
/// itself put. A change that is itself to be taken back did that only if it revived the record.
fn states<'u>(
    views: &[View<'u>],
    targets: &[Option<&'u Target>],
    exists: &dyn Fn(&[View<'_>]) -> bool,
) -> [Vec<View<'u>>; 2] {
    let around = |moment: &dyn Fn(&'u Target) -> Option<&'u Moment>| {
        let at = |heads: fn(&'u Moment) -> &'u [ChangeHash]| -> Vec<View<'u>> {
            let then = views.iter().zip(targets).map(|(view, target)| View {
                doc: view.doc,
                at: target.and_then(moment).map(heads),
            });
            then.collect()
        };
        [
            at(|moment| &moment.deps),
            at(|moment| slice::from_ref(&moment.hash)),
        ]
    };
    // What has come into other documents since says nothing of what a change did to its own.
    let there = |moment: &dyn Fn(&'u Target) -> Option<&'u Moment>| {
        around(moment).map(|views| {
            let own = views.into_iter().filter(|view| view.at.is_some());
            exists(&own.collect::<Vec<_>>())
        })
    };
    let goes_back = |back: &usize| {
        let done = |target: &'u Target| target.done.get(*back);
        let undo = |target: &'u Target| done(target)?.undo.as_ref();
        let mut all = targets.iter().flatten();
        all.all(|target| undo(target).is_some())
            && there(&undo) == [true, false]
            && (targets
                .iter()
                .flatten()
                .all(|it| done(it).is_some_and(|it| it.since))
                || there(&|target| Some(&done(target)?.change)) == [false, true])
    };
    let back = (0..).find(|back| !goes_back(back)).unwrap_or_default();
    around(&|target| Some(&target.done.get(back)?.change))
}

/// What stands under one name, as it was and as it is.
struct States<'s> {
    stored: &'s str,
    before: Vec<Candidate>,
    after: Vec<Candidate>,
    now: Vec<Candidate>,
}

impl Undone<'_> {
    /// Whether the write is in the document of this rank.
    fn is_in(&self, rank: usize) -> bool {
        self.after.get(rank).is_some_and(|view| view.at.is_some())
    }

    /// Whether it made what stands here.
    fn is_own(&self, one: &Candidate) -> bool {
        let view = self.after.get(one.source.rank);
        let made = view.and_then(|view| view.doc.hash_for_opid(&one.source.object));
        made.is_some_and(|hash| self.own.contains(&hash))
    }
}

impl Database {
    /// Plans to take back what a write did to the record in `contested`, which is in these partitions.
    pub(crate) fn plan_undo(
        &self,
        plan: &mut Plan<'_>,
        contested: &Contested<'_>,
        undone: &UndoneWrite,
        (partitions, views): (&[&Partition], &[View<'_>]),
        collection: &str,
    ) -> Result<(), WriteError> {
        let of_partition = |one: &&Partition| {
            let mut targets = undone.targets.iter();
            let is_in = |document| self.placed.get(document) == Some(*one);
            Some(targets.find(|(document, _)| is_in(*document))?.1)
        };
        let targets: Vec<_> = partitions.iter().map(of_partition).collect();
        let exists =
            |views: &[View<'_>]| self.find(collection, views, contested.key).record.is_some();
        let [before, after] = states(views, &targets, &exists);
        let own = undone.targets.values().flat_map(|target| &target.own);
        let undone = Undone {
            was: exists(&before),
            became: exists(&after),
            before: &before,
            after: &after,
            own: own.copied().collect(),
        };
        plan.undo(contested.found, &undone)
    }
}

impl Plan<'_> {
    /// Takes back what the write did to this record.
    fn undo(&mut self, found: &Found, undone: &Undone<'_>) -> Result<(), WriteError> {
        let sources = &found.sources;
        match (undone.was, undone.became) {
            (true, false) => {
                let markers = candidates(self.reader.views, sources, names::DELETED);
                // Another's delete stands.
                if markers.iter().all(|marker| undone.is_own(marker)) {
                    self.revive(sources);
                }
                Ok(())
            }
            _ if found.record.is_none() => Ok(()),
            (false, true) if self.is_untouched(sources, undone) => {
                self.mark_deleted(sources);
                Ok(())
            }
            _ => {
                self.undo_fields(sources, undone, 0)?;
                // As any other edit of a record that stood against a delete.
                if found.marked && !self.steps.is_empty() {
                    self.revive(sources);
                }
                Ok(())
            }
        }
    }

    /// Whether nobody has put anything into the record since.
    fn is_untouched(&self, sources: &[Source], undone: &Undone<'_>) -> bool {
        sources.iter().all(|source| {
            let [now, then] = [self.reader.views, undone.after].map(|all| all.get(source.rank));
            let Some((now, then)) = now.zip(then) else {
                return false;
            };
            match undone.is_in(source.rank) {
                true => same_map(now, then, &source.object, 0),
                false => now.first_name(&source.object).is_none(),
            }
        })
    }

    fn undo_fields(
        &mut self,
        sources: &[Source],
        undone: &Undone<'_>,
        depth: usize,
    ) -> Result<(), WriteError> {
        // What is nested deeper than anyone may write it is not followed, as it is not read.
        if depth > MAX_DEPTH {
            return Ok(());
        }
        let mut before = fields(undone.before, sources);
        let after = fields(undone.after, sources);
        if !undone.was {
            // Of a record that was deleted nothing comes back with it; what others had written and the write left stays.
            for (stored, all) in &mut before {
                let left = after.get(stored).map_or(&[][..], Vec::as_slice);
                let stays = |one: &Candidate| left.iter().any(|it| it.source == one.source);
                all.retain(|one| stays(one) && !undone.is_own(one));
            }
        }
        let now = fields(self.reader.views, sources);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for stored in names {
            let inner = stored.starts_with(names::ITEM) || stored.starts_with(names::COUNTER);
            if names::shown(stored).is_none() && !inner {
                continue;
            }
            let at = |map: &BTreeMap<String, Vec<Candidate>>| map.get(stored).cloned();
            let states = States {
                stored,
                before: at(&before).unwrap_or_default(),
                after: at(&after).unwrap_or_default(),
                now: at(&now).unwrap_or_default(),
            };
            self.undo_field(sources, &states, undone, depth)?;
        }
        Ok(())
    }

    fn undo_field(
        &mut self,
        sources: &[Source],
        states: &States<'_>,
        undone: &Undone<'_>,
        depth: usize,
    ) -> Result<(), WriteError> {
        let States {
            before, after, now, ..
        } = states;
        // An entry of a counter stays, so that what others add to it meanwhile is not lost.
        if same_writes(before, after) || states.stored.starts_with(names::COUNTER) {
            return self.undo_inside(sources, states, now, undone, depth);
        }
        let shown = |views, all: &[Candidate]| self.shown(views, states.stored, all);
        let (own, others): (Vec<_>, Vec<_>) =
            now.iter().cloned().partition(|one| undone.is_own(one));
        let is_map = |one: &Candidate| one.cell == Cell::Map;
        let merges =
            !self.is_register(states) && own.iter().any(is_map) && others.iter().any(is_map);
        if merges || own.iter().any(|one| self.is_edited(one, after, undone)) {
            // Others work inside of what the write put, which holds all that stood before if it only settled that.
            if shown(undone.before, before) == shown(undone.after, after) {
                return Ok(());
            }
            return self.undo_inside(sources, states, &own, undone, depth);
        }
        if !own.is_empty() && !others.is_empty() {
            self.leave(sources, states, undone);
            return Ok(());
        }
        // It removed some of what stood, and no one has written since. What it edited in place still stands.
        let last = |all: &[Candidate]| all.last().map(|one| one.source.clone());
        let differs = match self.is_register(states) {
            true => shown(undone.before, before) != shown(undone.after, after),
            false => last(before) != last(after),
        };
        let gone = differs && same_writes(now, after);
        if !own.is_empty() || gone {
            self.put_back(sources, states, undone);
            return Ok(());
        }
        // A set of a contested field removes what lost and edits what is shown.
        self.undo_inside(sources, states, now, undone, depth)
    }

    fn is_register(&self, states: &States<'_>) -> bool {
        names::shown(states.stored).is_some_and(|name| self.reader.is_register(name))
    }

    /// Whether what the write put holds something else than what it put.
    fn is_edited(&self, one: &Candidate, after: &[Candidate], undone: &Undone<'_>) -> bool {
        let rank = one.source.rank;
        let [now, then] = [self.reader.views, undone.after].map(|views| views.get(rank));
        let put = after.iter().find(|put| put.source == one.source);
        let Some(((put, now), then)) = put.zip(now).zip(then) else {
            return false;
        };
        put.cell != one.cell || !same(now, then, &one.source.object, &one.cell, 0)
    }

    /// What a field showed in other views.
    fn shown(&self, views: &[View<'_>], stored: &str, all: &[Candidate]) -> Option<Value> {
        let rules = self.reader.rules;
        let name = names::shown(stored).unwrap_or(stored);
        Reader { views, rules }.field(name, all, 0, &mut false)
    }

    /// Makes the field what it was in the maps in which the write changed it; what others hold, it left or did not know.
    fn put_back(&mut self, sources: &[Source], states: &States<'_>, undone: &Undone<'_>) {
        let (stored, before) = (states.stored, &states.before);
        if let Some(value) = self.shown(undone.before, stored, before)
            && !states.now.is_empty()
            && states.now.iter().all(|one| one.is(&value))
        {
            return;
        }
        let mut changed = Vec::new();
        for source in sources.iter().map(std::slice::from_ref) {
            let mut stood = candidates(undone.before, source, stored);
            stood.retain(|one| before.contains(one));
            if !same_writes(&stood, &candidates(undone.after, source, stored)) {
                changed.push((source, stood));
            }
        }
        // What was the last write is put last.
        changed.sort_by_key(|(_, stood)| stood.last().map(|one| one.source.clone()));
        for (source, stood) in changed {
            match self.shown(undone.before, stored, &stood) {
                Some(value) => self.put(&source[0], stored, &value, (undone.before, &stood)),
                None => self.remove(source, stored),
            }
        }
    }

    /// Removes what the write put and leaves what others did. Where one map holds both under this name, only a new write can
    /// tell them apart.
    fn leave(&mut self, sources: &[Source], states: &States<'_>, undone: &Undone<'_>) {
        let stored = states.stored;
        for source in sources {
            let here = candidates(self.reader.views, std::slice::from_ref(source), stored);
            let (own, others): (Vec<_>, Vec<_>) =
                here.into_iter().partition(|one| undone.is_own(one));
            let name = names::shown(stored).unwrap_or(stored);
            match self.reader.field(name, &others, 0, &mut false) {
                _ if own.is_empty() => {}
                Some(value) => {
                    let now = self.reader.views;
                    self.put(source, stored, &value, (now, &others))
                }
                None => self.remove(std::slice::from_ref(source), stored),
            }
        }
    }

    /// Puts what `stood` showed in `views`: a set as a set, and a list as the list that it was.
    fn put(
        &mut self,
        source: &Source,
        stored: &str,
        value: &Value,
        (views, stood): (&[View<'_>], &[Candidate]),
    ) {
        let here = candidates(self.reader.views, std::slice::from_ref(source), stored);
        if here.last().is_some_and(|last| last.is(value)) {
            // Automerge would keep this one, which may be the very one that is taken back.
            self.remove(std::slice::from_ref(source), stored);
        }
        let last = stood.last().map(std::slice::from_ref).unwrap_or_default();
        let value = match value {
            Value::List(items) if is_set(views, &maps_among(last)) => self.new_set(items),
            value => to_hydrate(value, self.actor),
        };
        self.step(source, |object| Step::Put(object, stored.to_owned(), value));
    }

    /// Takes back what the write did inside of `these`, which stand.
    fn undo_inside(
        &mut self,
        sources: &[Source],
        states: &States<'_>,
        these: &[Candidate],
        undone: &Undone<'_>,
        depth: usize,
    ) -> Result<(), WriteError> {
        let count = |all: &[Candidate], one: &Candidate| match all
            .iter()
            .find(|other| other.source == one.source)?
            .cell
        {
            Cell::Scalar(Value::Counter(n)) => Some(n),
            _ => None,
        };
        for one in these {
            match &one.cell {
                Cell::Scalar(Value::Counter(n)) => {
                    let was = count(&states.before, one).unwrap_or_default();
                    let became = count(&states.after, one).unwrap_or_default();
                    let by = was.wrapping_sub(became);
                    n.checked_add(by).ok_or_else(|| overflow(states.stored))?;
                    self.increment_plain(sources, states.stored, one, by);
                }
                Cell::Text | Cell::List => self.undo_sequence(one, undone),
                Cell::Scalar(_) | Cell::Map => {}
            }
        }
        let maps = maps_among(match self.is_register(states) {
            true => these,
            false => &states.now,
        });
        // A policy chooses between whole maps; others merge.
        let groups: Vec<&[Source]> = match self.is_register(states) {
            true => maps.chunks(1).collect(),
            false => vec![&maps],
        };
        for maps in groups {
            self.undo_maps(maps, states, undone, depth)?;
        }
        Ok(())
    }

    fn undo_maps(
        &mut self,
        maps: &[Source],
        states: &States<'_>,
        undone: &Undone<'_>,
        depth: usize,
    ) -> Result<(), WriteError> {
        if let Some(now) = counter(self.reader.views, maps) {
            let [was, became] = [undone.before, undone.after]
                .map(|views| counter(views, maps).map_or(0, |counter| counter.value));
            let left = now.value.checked_add(was.wrapping_sub(became));
            left.ok_or_else(|| overflow(states.stored))?;
        }
        let mut nested = self.nested();
        nested.undo_fields(maps, undone, depth + 1)?;
        self.steps.extend(nested.steps);
        Ok(())
    }

    /// Takes back insertions and removals in a text or list.
    fn undo_sequence(&mut self, sequence: &Candidate, undone: &Undone<'_>) {
        let (rank, object) = (sequence.source.rank, &sequence.source.object);
        let [Some(before), Some(after), Some(now)] =
            [undone.before, undone.after, self.reader.views].map(|views| views.get(rank))
        else {
            return;
        };
        let (before, after, now) = (before.items(object), after.items(object), now.items(object));
        let ids = |items: &[(ObjId, Cell)]| -> BTreeSet<ObjId> {
            items.iter().map(|(id, _)| id.clone()).collect()
        };
        let (had, has) = (ids(&before), ids(&after));
        // What is to be inserted behind each place of what is there now.
        let place = |id: &ObjId| now.iter().position(|(other, _)| other == id);
        let mut inserts: BTreeMap<usize, Vec<&(ObjId, Cell)>> = BTreeMap::new();
        let mut at = 0;
        for item in &before {
            if let Some(found) = place(&item.0) {
                at = found + 1;
            } else if !has.contains(&item.0) {
                inserts.entry(at).or_default().push(item);
            }
        }
        // From the end, so that the places before stay what they are.
        for index in (0..=now.len()).rev() {
            let insert = inserts.remove(&index).unwrap_or_default();
            if !insert.is_empty() {
                self.splice(sequence, index, 0, &insert, undone);
            }
            let inserted = index.checked_sub(1).and_then(|last| now.get(last));
            if let Some((id, _)) = inserted
                && has.contains(id)
                && !had.contains(id)
            {
                self.splice(sequence, index - 1, 1, &[], undone);
            }
        }
    }

    fn splice(
        &mut self,
        sequence: &Candidate,
        at: usize,
        delete: usize,
        items: &[&(ObjId, Cell)],
        undone: &Undone<'_>,
    ) {
        let rank = sequence.source.rank;
        let values: Vec<_> = items
            .iter()
            .filter_map(|(object, cell)| {
                let source = Source {
                    rank,
                    object: object.clone(),
                };
                let cell = cell.clone();
                let one = Candidate { source, cell };
                Reader::plain(undone.before).each(&[one], 0).pop()
            })
            .collect();
        let step = |object| match sequence.cell {
            Cell::Text => {
                let text = values.iter().filter_map(Value::as_str).collect();
                Step::SpliceText(object, at, delete, text)
            }
            _ => {
                let values = values.iter().map(|v| to_hydrate(v, self.actor)).collect();
                Step::SpliceList(object, at, delete, values)
            }
        };
        let step = step(sequence.source.object.clone());
        self.steps.push((rank, step));
    }
}

/// Whether the same writes stand, whatever was done inside of them since.
fn same_writes(a: &[Candidate], b: &[Candidate]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.source == b.source)
}

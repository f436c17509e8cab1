//! Taking back what one change did, and nothing that anyone did since.
//!
//! An undo is a write like any other: it compares the record before the change, after it and now. What the change put is
//! replaced by what stood before if no one has written it since; what it added to a counter is subtracted; the characters
//! and elements that it inserted are removed, and those that it removed stand again, where their neighbours are now.

use crate::database::Found;
use crate::edit::{Edit, WriteError};
use crate::id::DocumentId;
use crate::names;
use crate::plan::{Plan, Step, to_hydrate};
use crate::read::{
    Candidate, Cell, Reader, Source, View, candidates, counter, fields, is_set, maps_among, set,
};
use automerge::{ChangeHash, ObjId};
use std::collections::{BTreeMap, BTreeSet};

/// One change of a write, to be taken back.
pub(crate) struct UndoneChange {
    pub document: DocumentId,
    pub hash: ChangeHash,
    /// What its document had before it.
    pub deps: Vec<ChangeHash>,
}

/// The change that is taken back, and the documents around it.
pub(crate) struct Undone<'u> {
    pub hash: ChangeHash,
    /// The documents as they were before the change, and right after it.
    pub before: &'u [View<'u>],
    pub after: &'u [View<'u>],
}

impl Plan<'_> {
    /// Takes back what the change did to this record.
    pub(crate) fn undo(&mut self, found: &Found, undone: &Undone<'_>) -> Result<(), WriteError> {
        let sources = &found.sources;
        let [was, became] = [undone.before, undone.after].map(|views| exists(views, sources));
        if was && !became {
            // Another's delete stands.
            let markers = candidates(self.reader.views, sources, names::DELETED);
            if found.record.is_none() && markers.iter().all(|marker| self.is_own(marker, undone)) {
                self.revive(sources);
            }
            return Ok(());
        }
        if found.record.is_none() {
            return Ok(());
        }
        if !was && self.is_all_own(sources, undone) {
            self.mark_deleted(sources);
            return Ok(());
        }
        self.undo_fields(sources, undone)
    }

    fn undo_fields(&mut self, sources: &[Source], undone: &Undone<'_>) -> Result<(), WriteError> {
        let before = fields(undone.before, sources);
        let after = fields(undone.after, sources);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for stored in names {
            let Some(name) = names::shown(stored) else {
                continue;
            };
            let at = |map: &BTreeMap<String, Vec<Candidate>>| map.get(stored).cloned();
            let states = (
                at(&before).unwrap_or_default(),
                at(&after).unwrap_or_default(),
            );
            self.undo_field(sources, name, states, undone)?;
        }
        Ok(())
    }

    fn undo_field(
        &mut self,
        sources: &[Source],
        name: &str,
        (before, after): (Vec<Candidate>, Vec<Candidate>),
        undone: &Undone<'_>,
    ) -> Result<(), WriteError> {
        let now = candidates(self.reader.views, sources, &names::stored(name));
        if before.last().map(|one| &one.source) == after.last().map(|one| &one.source)
            && let (Some(old), Some(new), Some(_)) = (before.last(), after.last(), now.last())
        {
            // The same object, or the same value: the change worked inside of it.
            if now.iter().any(|one| one.source == new.source) {
                return self.undo_inside(
                    sources,
                    name,
                    (old, new),
                    (&before, &after, &now),
                    undone,
                );
            }
            return Ok(());
        }
        let own = |one: &Candidate| self.is_own(one, undone);
        let others: Vec<Candidate> = now.iter().filter(|one| !own(one)).cloned().collect();
        let stands = others.len() < now.len();
        match (stands, others.last()) {
            (true, Some(winner)) => self.keep(sources, name, &now, &winner.clone()),
            (true, None) => self.put_back(sources, name, &before, undone),
            // It removed the field, and no one has put it since.
            (false, None) if after.is_empty() => self.put_back(sources, name, &before, undone),
            _ => {}
        }
        Ok(())
    }

    /// Makes the field what it was.
    fn put_back(
        &mut self,
        sources: &[Source],
        name: &str,
        before: &[Candidate],
        undone: &Undone<'_>,
    ) {
        match Reader::plain(undone.before).field(name, before, 0, &mut false) {
            Some(value) => self.write_anew(sources, name, &value),
            None => self.remove(sources, &names::stored(name)),
        }
    }

    fn undo_inside(
        &mut self,
        sources: &[Source],
        name: &str,
        (old, new): (&Candidate, &Candidate),
        (before, after, now): (&[Candidate], &[Candidate], &[Candidate]),
        undone: &Undone<'_>,
    ) -> Result<(), WriteError> {
        match new.cell {
            Cell::Scalar(_) => {}
            Cell::Text | Cell::List => self.undo_sequence(old, undone),
            Cell::Map => {
                let maps = maps_among(now);
                let counts = [
                    counter(undone.before, &maps_among(before)),
                    counter(undone.after, &maps_among(after)),
                ];
                if let [Some(was), Some(became)] = counts {
                    let by = was.value.wrapping_sub(became.value);
                    return match by {
                        0 => Ok(()),
                        by => self.edit_within(sources, name, &Edit::Increment(by)),
                    };
                }
                if is_set(self.reader.views, &maps) {
                    return self.undo_set(sources, name, (before, after), now, undone);
                }
                let mut nested = self.nested();
                nested.undo_fields(&maps, undone)?;
                let (created, steps) = (nested.created, nested.steps);
                self.adopt(&maps, created, steps);
            }
        }
        Ok(())
    }

    fn undo_set(
        &mut self,
        sources: &[Source],
        name: &str,
        (before, after): (&[Candidate], &[Candidate]),
        now: &[Candidate],
        undone: &Undone<'_>,
    ) -> Result<(), WriteError> {
        let was = set(Reader::plain(undone.before), &maps_among(before), 0);
        let became = set(Reader::plain(undone.after), &maps_among(after), 0);
        let only = |a: &BTreeMap<String, _>, b: &BTreeMap<String, crate::Value>| {
            let only = a.iter().filter(|(text, _)| !b.contains_key(*text));
            only.map(|(_, value): (&String, &crate::Value)| value.clone())
                .collect::<Vec<_>>()
        };
        let (removed, added) = (only(&was, &became), only(&became, &was));
        self.edit_set(sources, name, now, false, &added)?;
        self.edit_set(sources, name, now, true, &removed)
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
                let text = values.iter().filter_map(crate::Value::as_str).collect();
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

    /// Whether the change made this write.
    fn is_own(&self, one: &Candidate, undone: &Undone<'_>) -> bool {
        let view = self.reader.views.get(one.source.rank);
        view.and_then(|view| view.doc.hash_for_opid(&one.source.object)) == Some(undone.hash)
    }

    /// Whether nobody else has put anything into the record.
    fn is_all_own(&self, sources: &[Source], undone: &Undone<'_>) -> bool {
        let all = fields(self.reader.views, sources);
        all.values().flatten().all(|one| self.is_own(one, undone))
    }
}

/// Whether the maps of a record were one, and not deleted by what their documents had then.
fn exists(views: &[View<'_>], sources: &[Source]) -> bool {
    let there = fields(views, sources);
    !there.is_empty() && !there.contains_key(names::DELETED)
}

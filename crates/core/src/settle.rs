//! Settling conflicts: writes that supersede what lost.

use crate::conflict::{ClaimId, Settlement, claim_id};
use crate::database::Found;
use crate::edit::{WriteError, check_record};
use crate::names;
use crate::plan::Plan;
use crate::read::{Candidate, Cell, Source, candidates, maps_among};
use crate::tombstone;
use crate::typed::Known;
use crate::value::{Record, Value};

/// The record whose conflict is settled.
pub(crate) struct Contested<'c> {
    pub key: &'c str,
    pub found: &'c Found,
    /// The partition count of each view's document.
    pub counts: &'c [u32],
}

impl Plan<'_> {
    /// Settles what lost in the field at `path`, or what met a delete if it is empty.
    pub(crate) fn settle(
        &mut self,
        contested: &Contested<'_>,
        path: &[String],
        how: &Settlement,
    ) -> Result<(), WriteError> {
        let Some((name, outer)) = path.split_last() else {
            return self.settle_record(contested, how);
        };
        let open = contested.found.record.is_some() || self.met_a_delete(contested);
        if open && contested.found.record.is_none() && *how == Settlement::Accept {
            // What is shown is that there is no record.
            return self.settle_record(contested, how);
        }
        let mut sources = match open {
            true => contested.found.sources.clone(),
            false => Vec::new(),
        };
        for name in outer {
            let found = candidates(self.reader.views, &sources, &names::stored(name));
            sources = maps_among(&found);
        }
        let found = candidates(self.reader.views, &sources, &names::stored(name));
        let settled = if outer.is_empty() {
            self.settle_field(&sources, name, &found, how, contested)?
        } else {
            let mut nested = self.nested();
            let settled = nested.settle_field(&sources, name, &found, how, contested)?;
            let (created, steps) = (nested.created, nested.steps);
            self.adopt(&sources, created, steps);
            settled
        };
        if !settled {
            return Err(WriteError::NothingToSettle {
                key: contested.key.to_owned(),
                field: path.join("."),
            });
        }
        if contested.found.marked {
            self.revive(&contested.found.sources);
        }
        Ok(())
    }

    /// Gives whether there was anything to settle: the write to keep may not be there any more.
    fn settle_field(
        &mut self,
        sources: &[Source],
        name: &str,
        found: &[Candidate],
        how: &Settlement,
        contested: &Contested<'_>,
    ) -> Result<bool, WriteError> {
        if found.is_empty() {
            return Ok(false);
        }
        match how {
            Settlement::Accept => match self.reader.chosen(name, found) {
                Some(winner) => self.keep(sources, name, found, winner),
                None => {
                    let Some(shown) = self.reader.field(name, found, 0, &mut false) else {
                        return Ok(false);
                    };
                    // What is made of several may be too large to be written, though none of them is.
                    let made = Record::from([(name.to_owned(), shown.clone())]);
                    check_record(contested.key, &made)?;
                    self.write_anew(sources, name, &shown);
                }
            },
            Settlement::Keep(id) => {
                let is_kept = |one: &&Candidate| claim_id(&one.source, contested.counts) == *id;
                let Some(kept) = found.iter().find(is_kept) else {
                    return Ok(false);
                };
                self.keep(sources, name, found, kept);
            }
            Settlement::Write(value) => self.write_anew(sources, name, value),
        }
        Ok(true)
    }

    /// Whether the record stands against a delete, or lost to one.
    fn met_a_delete(&self, contested: &Contested<'_>) -> bool {
        let found = contested.found;
        let edited =
            || tombstone::edited_since_delete(self.reader.views, &found.sources, contested.key);
        found.marked && (found.record.is_some() || edited())
    }

    /// Leaves `kept`, and what is merged with it, and removes the others. An object that stands alone in its map stays the
    /// same object, so that what others do inside of it meanwhile merges.
    pub(crate) fn keep(
        &mut self,
        sources: &[Source],
        name: &str,
        found: &[Candidate],
        kept: &Candidate,
    ) {
        if self.keep_object(sources, name, found, kept) {
            return;
        }
        let kept: Vec<Candidate> = found
            .iter()
            .filter(|one| self.goes_with(name, found, kept, one))
            .cloned()
            .collect();
        let value = self.reader.nested().field(name, &kept, 0, &mut false);
        self.write_anew(sources, name, &value.unwrap_or(Value::Null));
    }

    /// As [`Self::keep`], unless one map holds what is kept and what is not under this name, where only a new write can
    /// tell them apart: then nothing is done, and the answer is `false`.
    pub(crate) fn keep_object(
        &mut self,
        sources: &[Source],
        name: &str,
        found: &[Candidate],
        kept: &Candidate,
    ) -> bool {
        let stored = names::stored(name);
        let mut lost = Vec::new();
        for source in sources {
            let here = candidates(self.reader.views, std::slice::from_ref(source), &stored);
            let goes = here
                .iter()
                .filter(|one| !self.goes_with(name, found, kept, one));
            match goes.count() {
                0 => {}
                all if all == here.len() => lost.push(source.clone()),
                _ => return false,
            }
        }
        self.remove(&lost, &stored);
        true
    }

    /// Whether a candidate stays where `kept` does: maps that are shown are shown merged; one that lost stands for itself.
    fn goes_with(
        &self,
        name: &str,
        found: &[Candidate],
        kept: &Candidate,
        one: &Candidate,
    ) -> bool {
        let is_map = |one: &Candidate| one.cell == Cell::Map;
        let merged = !self.reader.is_register(name) && found.last().is_some_and(is_map);
        one.source == kept.source || (merged && is_map(kept) && is_map(one))
    }

    fn settle_record(
        &mut self,
        contested: &Contested<'_>,
        how: &Settlement,
    ) -> Result<(), WriteError> {
        let found = contested.found;
        let sources = &found.sources;
        let nothing = || WriteError::NothingToSettle {
            key: contested.key.to_owned(),
            field: String::new(),
        };
        if !self.met_a_delete(contested) {
            return Err(nothing());
        }
        match how {
            Settlement::Accept if found.record.is_some() => self.revive(sources),
            Settlement::Accept => self.mark_deleted(sources),
            Settlement::Keep(id) if self.is_delete(contested, id) => self.mark_deleted(sources),
            Settlement::Keep(id) => {
                let edits = sources.iter();
                let mut edits = edits.map(|source| claim_id(source, contested.counts));
                if !edits.any(|edit| edit == *id) {
                    return Err(nothing());
                }
                self.revive(sources);
            }
            Settlement::Write(Value::Map(record)) if found.record.is_some() => {
                self.replace(sources, record, &Known::All)?;
                self.revive(sources);
            }
            Settlement::Write(Value::Map(record)) => self.recreate(sources, record),
            Settlement::Write(value) => {
                return Err(WriteError::NotARecord {
                    key: contested.key.to_owned(),
                    found: value.kind(),
                });
            }
        }
        Ok(())
    }

    /// Whether `id` is one of the record's deletes.
    fn is_delete(&self, contested: &Contested<'_>, id: &ClaimId) -> bool {
        let markers = candidates(self.reader.views, &contested.found.sources, names::DELETED);
        markers
            .iter()
            .any(|marker| claim_id(&marker.source, contested.counts) == *id)
    }
}

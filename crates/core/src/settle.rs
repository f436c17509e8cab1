//! Settling conflicts: writes that supersede what lost.

use crate::conflict::{ClaimId, Settlement, claim_id};
use crate::database::Found;
use crate::edit::WriteError;
use crate::names;
use crate::plan::Plan;
use crate::policy::resolve;
use crate::read::{Candidate, Cell, Source, candidates, maps_among};
use crate::tombstone;
use crate::typed::Known;
use crate::value::Value;

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
        let mut sources = contested.found.sources.clone();
        if contested.found.record.is_none() {
            sources.clear();
        }
        for name in outer {
            let found = candidates(self.reader.views, &sources, &names::stored(name));
            sources = maps_among(&found);
        }
        let nothing = || WriteError::NothingToSettle {
            key: contested.key.to_owned(),
            field: path.join("."),
        };
        let found = candidates(self.reader.views, &sources, &names::stored(name));
        if found.is_empty() {
            return Err(nothing());
        }
        if outer.is_empty() {
            return self
                .settle_field(&sources, name, &found, how, contested.counts)
                .ok_or_else(nothing);
        }
        let mut nested = self.nested();
        nested
            .settle_field(&sources, name, &found, how, contested.counts)
            .ok_or_else(nothing)?;
        let (created, steps) = (nested.created, nested.steps);
        self.adopt(&sources, created, steps);
        Ok(())
    }

    /// `None` if the write to keep is not there any more.
    fn settle_field(
        &mut self,
        sources: &[Source],
        name: &str,
        found: &[Candidate],
        how: &Settlement,
        counts: &[u32],
    ) -> Option<()> {
        match how {
            Settlement::Accept => match self.winner_of(name, found) {
                Some(winner) => self.keep(sources, name, found, winner),
                None => {
                    let shown = self.reader.field(name, found, 0, &mut false)?;
                    self.write_anew(sources, name, &shown);
                }
            },
            Settlement::Keep(id) => {
                let kept = found
                    .iter()
                    .find(|one| claim_id(&one.source, counts) == *id)?;
                self.keep(sources, name, found, kept);
            }
            Settlement::Write(value) => self.write_anew(sources, name, value),
        }
        Some(())
    }

    /// The candidate that is shown; `None` if what is shown is made of several.
    pub(crate) fn winner_of<'f>(
        &self,
        name: &str,
        found: &'f [Candidate],
    ) -> Option<&'f Candidate> {
        match self.reader.policy(name) {
            Some((policy, resolvers)) if policy.is_register() => {
                let values = self.reader.each(found, 0);
                found.get(resolve(policy, resolvers, values)?.index?)
            }
            _ => found.last(),
        }
    }

    /// Leaves `kept` and removes the others. An object that stands alone in its map stays the same object, so that what
    /// others do inside of it meanwhile merges.
    pub(crate) fn keep(
        &mut self,
        sources: &[Source],
        name: &str,
        found: &[Candidate],
        kept: &Candidate,
    ) {
        let register = self
            .reader
            .policy(name)
            .is_some_and(|(policy, _)| policy.is_register());
        // Maps that are shown are shown merged; one that lost stands for itself.
        let merged = !register && found.last().is_some_and(|last| last.cell == Cell::Map);
        let keeps = |one: &Candidate| {
            one.source == kept.source || (merged && kept.cell == Cell::Map && one.cell == Cell::Map)
        };
        let stored = names::stored(name);
        let mut lost = Vec::new();
        for source in sources {
            let here = candidates(self.reader.views, std::slice::from_ref(source), &stored);
            if here.iter().all(keeps) {
                continue;
            }
            if here.iter().any(keeps) {
                // One map holds both under this name, where only a new write can tell them apart.
                let kept: Vec<Candidate> = found.iter().filter(|one| keeps(one)).cloned().collect();
                let value = self.reader.nested().field(name, &kept, 0, &mut false);
                self.write_anew(sources, name, &value.unwrap_or(Value::Null));
                return;
            }
            lost.push(source.clone());
        }
        self.remove(&lost, &stored);
    }

    fn settle_record(
        &mut self,
        contested: &Contested<'_>,
        how: &Settlement,
    ) -> Result<(), WriteError> {
        let found = contested.found;
        let sources = &found.sources;
        let open = found.marked
            && (found.record.is_some()
                || tombstone::edited_since_delete(self.reader.views, sources, contested.key));
        let nothing = || WriteError::NothingToSettle {
            key: contested.key.to_owned(),
            field: String::new(),
        };
        if !open {
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

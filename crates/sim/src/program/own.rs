//! What a peer does to its own writes, and what older writers do.

use super::{COLLECTION, Program, collection};
use crate::acts::knows;
use crate::coverage::Case;
use crate::undo::Saw;
use headwater_core::{Database, Operation};

impl Program {
    /// Undoes a write, sometimes twice, and sometimes the undo.
    pub(super) fn undo(&mut self, at: usize) -> Result<(), String> {
        let Some(entry) = self.undos.choose(&mut self.rng, at) else {
            return Ok(());
        };
        let (by, changes) = (entry.by, entry.changes.clone());
        if by != at {
            self.coverage.add(Case::UndoRefused);
            return self.refused(at, Operation::Undo(changes));
        }
        let before = self.saw(at);
        let had = self.peers[at].seen.clone();
        let declared = collection(&self.peers[at].db);
        let operation = Operation::Undo(changes.clone());
        let written = self.perform(at, operation.clone())?;
        let after = self.saw(at);
        let saw = (before.as_slice(), after.as_slice());
        let coverage = &mut self.coverage;
        self.undos
            .check(&changes, &written, saw, &declared, &had, coverage)?;
        let saw = before.into_iter().zip(after);
        let saw: Vec<_> = saw
            .map(|(was, is)| (was.key, was.record, is.record))
            .collect();
        let (seen, policies) = (&self.peers[at].seen, &declared.policies);
        self.undos
            .wrote(at, &operation, &written, &saw, seen, policies);
        Ok(())
    }

    /// Puts a record as an older writer does: of the fields that it does not know all stays, what lost too.
    pub(super) fn put_known(&mut self, at: usize) -> Result<(), String> {
        let db = &self.peers[at].db;
        let operation = self.generator.put_known(&mut self.rng, db, COLLECTION);
        let Operation::PutKnown(records, known) = &operation else {
            return Ok(());
        };
        let known = known.clone();
        let Some(key) = records.keys().next().cloned() else {
            return Ok(());
        };
        let unknown = |db: &Database| {
            let mut writers = db.provenance(COLLECTION, &key);
            let mut open = db.conflicts_of(COLLECTION, &key);
            writers.retain(|path, _| !knows(&known, &path[0]));
            open.retain(|one| one.field.first().is_some_and(|name| !knows(&known, name)));
            (writers, open)
        };
        let was_there = db.get(COLLECTION, &key).is_some();
        let before = unknown(db);
        self.perform(at, operation.clone())?;
        self.coverage.add(Case::PutKnown);
        match was_there && unknown(&self.peers[at].db) != before {
            true => Err(format!(
                "{operation:?} changed what its writer does not know"
            )),
            false => Ok(()),
        }
    }

    fn saw(&self, at: usize) -> Vec<Saw> {
        let db = &self.peers[at].db;
        let keys = self.generator.keys().iter();
        let saw = keys.map(|key| Saw {
            key,
            record: db.get(COLLECTION, key),
            writers: db.provenance(COLLECTION, key),
            open: db.conflicts_of(COLLECTION, key),
        });
        saw.collect()
    }
}

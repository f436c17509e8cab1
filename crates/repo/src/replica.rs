//! A database as the engine replicates it.

use crate::DocumentId;
use automerge::{Automerge, Change, ChangeHash};
use headwater_core::{Database, Event, Transaction, Version, Write, WriteError, Written};
use headwater_sync::engine::{Applied, LocalWrite, Refusal, Replica};

#[derive(Debug)]
pub(crate) struct DatabaseReplica(pub Database);

/// What is asked of a database.
#[derive(Debug)]
pub(crate) enum Asked {
    Write(Write),
    Transact(Transaction),
}

/// What a local write did, and which changes did it, those of the catalog too.
#[derive(Debug)]
pub(crate) struct Done {
    pub written: Written,
    pub changes: Vec<(DocumentId, ChangeHash)>,
    /// Of a transaction, the version of each record that its writer has seen now.
    pub versions: Vec<Version>,
}

impl Replica for DatabaseReplica {
    type Write = Asked;
    type Written = Done;
    type Error = WriteError;
    type Event = Event;

    fn documents(&self) -> Vec<DocumentId> {
        self.0.documents()
    }

    fn document(&self, id: &DocumentId) -> Option<&Automerge> {
        self.0.document(id)
    }

    fn apply(&mut self, id: DocumentId, chunks: &[&[u8]]) -> Result<Applied<Event>, Refusal> {
        match self.0.apply(id, chunks) {
            Ok(applied) => Ok(Applied {
                changes: applied.changes,
                whole: applied.whole,
                events: applied.events,
            }),
            Err(error) => Err(Refusal {
                message: error.to_string(),
            }),
        }
    }

    fn write(&mut self, asked: Asked) -> Result<LocalWrite<Done, Event>, WriteError> {
        let (local, versions) = match asked {
            Asked::Write(write) => (self.0.write(write)?, Vec::new()),
            Asked::Transact(transaction) => self.0.transact(&transaction)?,
        };
        // A genesis change is nobody's edit.
        let own = |(_, change): &&(DocumentId, Change)| !change.deps().is_empty();
        let changes = local.changes.iter().filter(own);
        Ok(LocalWrite {
            written: Done {
                written: local.written,
                changes: changes.map(|(id, change)| (*id, change.hash())).collect(),
                versions,
            },
            changes: local.changes,
            events: local.events,
        })
    }
}

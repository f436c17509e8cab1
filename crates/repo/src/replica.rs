//! A database as the engine replicates it.

use crate::DocumentId;
use automerge::{Automerge, Change, ChangeHash};
use headwater_core::{Database, Event, Write, WriteError, Written};
use headwater_sync::engine::{Applied, LocalWrite, Refusal, Replica};

#[derive(Debug)]
pub(crate) struct DatabaseReplica(pub Database);

/// What a local write did, and which changes did it, those of the catalog too.
#[derive(Debug)]
pub(crate) struct Done {
    pub written: Written,
    pub changes: Vec<(DocumentId, ChangeHash)>,
}

impl Replica for DatabaseReplica {
    type Write = Write;
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

    fn write(&mut self, write: Write) -> Result<LocalWrite<Done, Event>, WriteError> {
        let local = self.0.write(write)?;
        // A genesis change is nobody's edit.
        let own = |(_, change): &&(DocumentId, Change)| change.actor_id() == self.0.actor();
        let changes = local.changes.iter().filter(own);
        Ok(LocalWrite {
            written: Done {
                written: local.written,
                changes: changes.map(|(id, change)| (*id, change.hash())).collect(),
            },
            changes: local.changes,
            events: local.events,
        })
    }
}

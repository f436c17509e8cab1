//! Plain documents that can be written to.

use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, ChangeHash, ROOT, ReadDoc};
use headwater_core::{DocumentId, TakenOver};
use headwater_sync::engine::{Applied, LocalWrite, Refusal, Replica};
use headwater_sync::plain::{DocumentChanged, PlainDocuments};

/// Sets a key of a document's root to a number. Negative numbers are rejected.
pub struct Put {
    pub document: DocumentId,
    pub key: String,
    pub value: i64,
}

pub struct TestReplica {
    pub documents: PlainDocuments,
    actor: ActorId,
    /// A document that is taken from nobody.
    pub forbidden: Option<DocumentId>,
    /// Whether a document that comes as one chunk is taken over as it is.
    pub takes_over: bool,
}

impl TestReplica {
    pub fn new(name: &str, incarnation: u8) -> Self {
        let mut actor = name.as_bytes().to_vec();
        actor.push(incarnation);
        Self {
            documents: PlainDocuments::new(),
            actor: ActorId::from(actor),
            forbidden: None,
            takes_over: false,
        }
    }
}

impl Replica for TestReplica {
    type Write = Put;
    type Written = (DocumentId, ChangeHash);
    type Error = String;
    type Event = DocumentChanged;

    fn documents(&self) -> Vec<DocumentId> {
        self.documents.documents()
    }

    fn document(&self, id: &DocumentId) -> Option<&Automerge> {
        self.documents.document(id)
    }

    fn apply(
        &mut self,
        id: DocumentId,
        chunks: &[&[u8]],
    ) -> Result<Applied<DocumentChanged>, Refusal> {
        if self.forbidden == Some(id) {
            return Err(Refusal {
                message: String::from("not here"),
            });
        }
        let mut applied = self.documents.apply(id, chunks)?;
        if let (true, Some(whole)) = (self.takes_over, self.document(&id)) {
            applied.whole = Some(TakenOver {
                chunk: 0,
                heads: whole.get_heads(),
                changes: applied.changes.len(),
            });
        }
        Ok(applied)
    }

    fn write(
        &mut self,
        write: Put,
    ) -> Result<LocalWrite<(DocumentId, ChangeHash), DocumentChanged>, String> {
        if write.value < 0 {
            return Err(String::from("negative"));
        }
        let mut copy = self.document(&write.document).cloned().unwrap_or_default();
        copy.set_actor(self.actor.clone());
        let mut transaction = copy.transaction();
        transaction
            .put(ROOT, write.key, write.value)
            .map_err(|error| error.to_string())?;
        let hash = transaction.commit().0.ok_or("nothing was written")?;
        let change = copy.get_change_by_hash(&hash).ok_or("the change is lost")?;
        let applied = self
            .documents
            .apply(write.document, &[change.raw_bytes()])
            .map_err(|refusal| refusal.message)?;
        Ok(LocalWrite {
            written: (write.document, hash),
            changes: applied
                .changes
                .into_iter()
                .map(|change| (write.document, change))
                .collect(),
            events: applied.events,
        })
    }
}

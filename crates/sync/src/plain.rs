//! Documents of plain automerge-repo clients: any automerge document is taken, and nothing is known of what is in it.

use crate::engine::has_change;
use crate::engine::{Applied, LocalWrite, Refusal, Replica};
use automerge::{Automerge, AutomergeError, Change};
use headwater_core::DocumentId;
use headwater_core::bounds::Guard;
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Plain documents in memory. They are written by peers only.
#[derive(Debug, Default)]
pub struct PlainDocuments {
    documents: BTreeMap<DocumentId, Plain>,
}

/// One document, and what lets changes into it.
#[derive(Clone, Debug, Default)]
struct Plain {
    document: Automerge,
    guard: Guard,
}

/// A document has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentChanged {
    /// Which.
    pub document: DocumentId,
}

impl PlainDocuments {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a document from storage: its chunks one after the other, in any order.
    ///
    /// # Errors
    /// If they are not a document. Nothing is added then.
    pub fn load(&mut self, id: DocumentId, chunks: &[&[u8]]) -> Result<(), AutomergeError> {
        let mut plain = self.documents.get(&id).cloned().unwrap_or_default();
        for chunk in chunks {
            plain.document.load_incremental(chunk)?;
        }
        self.documents.insert(id, plain);
        Ok(())
    }
}

impl Replica for PlainDocuments {
    type Write = Infallible;
    type Written = Infallible;
    type Error = Infallible;
    type Event = DocumentChanged;

    fn documents(&self) -> Vec<DocumentId> {
        self.documents.keys().copied().collect()
    }

    fn document(&self, id: &DocumentId) -> Option<&Automerge> {
        self.documents.get(id).map(|plain| &plain.document)
    }

    fn apply(
        &mut self,
        id: DocumentId,
        chunks: &[&[u8]],
    ) -> Result<Applied<DocumentChanged>, Refusal> {
        let changes = match self.documents.get_mut(&id) {
            Some(plain) => extend(plain, chunks)?,
            None => {
                let mut plain = Plain::default();
                let changes = extend(&mut plain, chunks)?;
                self.documents.insert(id, plain);
                changes
            }
        };
        let changed = !changes.is_empty();
        Ok(Applied {
            changes,
            whole: None,
            events: changed
                .then_some(DocumentChanged { document: id })
                .into_iter()
                .collect(),
        })
    }

    fn write(
        &mut self,
        write: Infallible,
    ) -> Result<LocalWrite<Infallible, DocumentChanged>, Infallible> {
        match write {}
    }
}

/// The byte of a chunk's header that tells its type, and the type of whole documents.
const CHUNK_TYPE: usize = 8;
const WHOLE_DOCUMENT: u8 = 0;

/// Applies chunks to a document, and returns what was new.
fn extend(plain: &mut Plain, chunks: &[&[u8]]) -> Result<Vec<Change>, Refusal> {
    let Plain { document, guard } = plain;
    let before = document.get_heads();
    let mut swapped = None;
    let mut changes = Vec::new();
    for chunk in chunks {
        if chunk.get(CHUNK_TYPE) == Some(&WHOLE_DOCUMENT) {
            let whole = Automerge::load(chunk).map_err(refusal)?;
            // Loading is several times faster than applying each change.
            if before.iter().all(|head| has_change(&whole, head)) {
                swapped = Some(whole);
            } else {
                changes.extend(document.get_changes_added(&whole));
            }
        } else {
            changes.push(Change::try_from(*chunk).map_err(refusal)?);
        }
    }
    match swapped {
        Some(mut whole) => {
            let mut fresh = guard.clone();
            fresh.replaced(&mut whole);
            fresh.apply(&mut whole, changes).map_err(refusal)?;
            (*document, *guard) = (whole, fresh);
            Ok(document.get_changes(&before))
        }
        None => guard.apply(document, changes).map_err(refusal),
    }
}

fn refusal(error: impl std::fmt::Display) -> Refusal {
    Refusal {
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use automerge::transaction::Transactable;
    use automerge::{ActorId, ROOT};

    const ID: DocumentId = DocumentId::from_bytes([1; 16]);

    fn edit(document: &mut Automerge, actor: u8, value: i64) -> Change {
        document.set_actor(ActorId::from([actor]));
        let mut transaction = document.transaction();
        let outcome = transaction.put(ROOT, "key", value);
        assert!(outcome.is_ok());
        transaction.commit();
        let change = document.get_last_local_change();
        change.expect("a change was just made")
    }

    /// A stock client does not send a change twice, so one that waits for another must survive that its document is
    /// swapped for a whole one.
    #[test]
    fn a_change_that_waits_outlives_a_whole_document() {
        let mut author = Automerge::new();
        let base = edit(&mut author, 1, 0);
        let mut other = author.clone();
        for value in 1..20 {
            edit(&mut other, 2, value);
        }
        let first = edit(&mut author, 1, 100);
        let waiting = edit(&mut author, 1, 101);

        let mut documents = PlainDocuments::new();
        for chunk in [
            base.raw_bytes(),
            waiting.raw_bytes(),
            &other.save(),
            first.raw_bytes(),
        ] {
            assert!(documents.apply(ID, &[chunk]).is_ok());
        }
        let document = documents.document(&ID).expect("it was just created");
        assert!(has_change(document, &waiting.hash()));
        assert!(
            other
                .get_heads()
                .iter()
                .all(|head| has_change(document, head))
        );
    }
}

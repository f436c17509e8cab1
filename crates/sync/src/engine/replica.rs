//! What an engine replicates.

use automerge::{Automerge, Change};
use headwater_core::{DocumentId, TakenOver};

/// A set of documents in memory that an [`Engine`](super::Engine) keeps equal to those of its peers.
///
/// The engine alone changes it, and only between batches: while a batch is being made durable the replica is ahead of what
/// the engine tells anyone.
pub trait Replica {
    /// A local write.
    type Write;
    /// What a local write gives back once it is durable.
    type Written;
    /// Why a local write was rejected.
    type Error;
    /// What subscribers are told once a change is durable.
    type Event;

    /// The documents that there are, those first that peers should hear of first.
    fn documents(&self) -> Vec<DocumentId>;

    /// One of them.
    fn document(&self, id: &DocumentId) -> Option<&Automerge>;

    /// Applies chunks that have passed [`headwater_core::bounds`], and creates the document if there is none.
    ///
    /// Changes whose dependencies are missing must be kept until these come, as automerge does.
    ///
    /// # Errors
    /// [`Refusal`] if the document does not belong here or the chunks do not fit it. Nothing is changed then.
    fn apply(&mut self, id: DocumentId, chunks: &[&[u8]]) -> Result<Applied<Self::Event>, Refusal>;

    /// Applies a local write.
    ///
    /// # Errors
    /// If the write cannot be done. Nothing is changed then.
    fn write(
        &mut self,
        write: Self::Write,
    ) -> Result<LocalWrite<Self::Written, Self::Event>, Self::Error>;
}

/// What [`Replica::apply`] did.
#[derive(Debug)]
pub struct Applied<E> {
    /// The changes that are new in the document, each after those it depends on.
    pub changes: Vec<Change>,
    /// Which of the chunks was taken over as a whole document, so that it is stored as it is.
    pub whole: Option<TakenOver>,
    /// What to tell subscribers.
    pub events: Vec<E>,
}

/// What [`Replica::write`] did.
#[derive(Debug)]
pub struct LocalWrite<W, E> {
    /// The answer for whoever wrote.
    pub written: W,
    /// The new changes, each after those it depends on; none if the write changed nothing.
    pub changes: Vec<(DocumentId, Change)>,
    /// What to tell subscribers.
    pub events: Vec<E>,
}

/// Why a replica does not take what a peer sent for a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why, for people at the other end.
    pub message: String,
}

//! Applying changes from outside to a document, after all checks.

use std::collections::{HashMap, HashSet};

use automerge::{Automerge, AutomergeError, Change, ChangeHash, SaveOptions};
use thiserror::Error;

use super::{BoundsError, Limits, Misfit, check_fit};

/// Why changes were not applied. The document is unchanged.
#[derive(Debug, Error)]
pub enum GuardError {
    /// A change does not fit the document; its sender is at fault.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// Too many changes wait for others; their sender may send those first.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// automerge refused the changes.
    #[error("automerge refuses the sender's changes: {0}")]
    Automerge(#[from] AutomergeError),
}

/// Lets changes into one document.
///
/// automerge itself keeps changes that arrive before those that they follow and applies them when they can be, and its sync
/// asks for what they lack. So they cannot be checked when they arrive: the guard remembers them, and checks them when
/// automerge is about to apply them.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    limits: Limits,
    waiting: Vec<Change>,
}

impl Guard {
    /// A guard of a document in which no changes wait.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: Vec::new(),
        }
    }

    /// How many changes wait for others.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Applies `changes`, which have passed [`check_chunks`](super::check_chunks), to `doc`.
    pub fn apply(&mut self, doc: &mut Automerge, changes: Vec<Change>) -> Result<(), GuardError> {
        let waiting = self.check(doc, &changes)?;
        doc.apply_changes(changes)?;
        self.waiting = waiting;
        Ok(())
    }

    /// Checks what [`apply`](Self::apply) would, for a caller that applies changes one by one and wants all or none of them.
    /// Returns those that would wait.
    pub fn check(
        &mut self,
        doc: &mut Automerge,
        changes: &[Change],
    ) -> Result<Vec<Change>, GuardError> {
        loop {
            let (ready, waiting) = split(doc, self.waiting.iter().chain(changes));
            match check_fit(doc, &ready, &self.limits) {
                Ok(()) if waiting.len() > self.limits.waiting => {
                    return Err(GuardError::Bounds(BoundsError::TooLarge {
                        what: "changes without those that they follow",
                        limit: self.limits.waiting as u64,
                    }));
                }
                Ok(()) => return Ok(waiting.into_iter().cloned().collect()),
                Err(misfit) if changes.iter().any(|new| new.hash() == misfit.change) => {
                    return Err(misfit.into());
                }
                // Somebody sent it earlier: these senders are not to suffer for it.
                Err(misfit) => self.forget(doc, misfit.change)?,
            }
        }
    }

    /// Goes on with `doc`, loaded whole, in which nothing waits; what waited is offered to it and dropped if it does not fit.
    pub fn replaced(&mut self, doc: &mut Automerge) {
        for change in std::mem::take(&mut self.waiting) {
            drop(self.apply(doc, vec![change]));
        }
    }

    /// Takes a change out of those that wait, which automerge cannot do but by loading the document anew.
    fn forget(&mut self, doc: &mut Automerge, hash: ChangeHash) -> Result<(), AutomergeError> {
        self.waiting.retain(|change| change.hash() != hash);
        let options = SaveOptions {
            retain_orphans: false,
            ..SaveOptions::default()
        };
        let mut fresh = Automerge::load(&doc.save_with_options(options))?;
        fresh.set_actor(doc.get_actor().clone());
        fresh.apply_changes(self.waiting.clone())?;
        *doc = fresh;
        Ok(())
    }
}

/// Splits new changes into those that can be applied, in causal order, and those that follow others that are not there.
fn split<'a>(
    doc: &Automerge,
    changes: impl Iterator<Item = &'a Change>,
) -> (Vec<&'a Change>, Vec<&'a Change>) {
    let has = |hash: &ChangeHash| doc.get_change_meta_by_hash(hash).is_some();
    let mut seen = HashSet::new();
    let mut slots = Vec::new();
    let mut missing = Vec::new();
    let mut followers: HashMap<ChangeHash, Vec<usize>> = HashMap::new();
    let mut next = Vec::new();
    for change in changes {
        if !seen.insert(change.hash()) || has(&change.hash()) {
            continue;
        }
        let lacks = change.deps().iter().filter(|dep| !has(dep));
        let lacks: Vec<ChangeHash> = lacks.copied().collect();
        for dep in &lacks {
            followers.entry(*dep).or_default().push(slots.len());
        }
        if lacks.is_empty() {
            next.push(slots.len());
        }
        missing.push(lacks.len());
        slots.push(Some(change));
    }
    let mut ready = Vec::new();
    while let Some(index) = next.pop() {
        let Some(change) = slots[index].take() else {
            continue;
        };
        for follower in followers.remove(&change.hash()).unwrap_or_default() {
            missing[follower] -= 1;
            if missing[follower] == 0 {
                next.push(follower);
            }
        }
        ready.push(change);
    }
    (ready, slots.into_iter().flatten().collect())
}

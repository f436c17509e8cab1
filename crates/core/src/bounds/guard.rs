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
    waiting: Vec<Change>,
}

impl Guard {
    /// How many changes wait for others.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Applies `changes`, which have passed [`check_chunks`](super::check_chunks), to `doc`.
    pub fn apply(
        &mut self,
        doc: &mut Automerge,
        changes: Vec<Change>,
        limits: &Limits,
    ) -> Result<(), GuardError> {
        let new: HashSet<ChangeHash> = changes.iter().map(Change::hash).collect();
        loop {
            let (ready, waiting) = split(doc, self.waiting.iter().chain(&changes));
            match check_fit(doc, &ready, limits) {
                Ok(()) if waiting.len() > limits.waiting => {
                    return Err(GuardError::Bounds(BoundsError::TooLarge {
                        what: "changes without those that they follow",
                        limit: limits.waiting as u64,
                    }));
                }
                Ok(()) => {
                    let waiting = waiting.into_iter().cloned().collect();
                    doc.apply_changes(changes)?;
                    self.waiting = waiting;
                    return Ok(());
                }
                Err(misfit) if new.contains(&misfit.change) => return Err(misfit.into()),
                // Somebody sent it earlier: these senders are not to suffer for it.
                Err(misfit) => self.forget(doc, misfit.change)?,
            }
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

//! Applying changes from outside to a document, after all checks.

use std::collections::{HashMap, HashSet};

use automerge::{Automerge, AutomergeError, Change, ChangeHash, ReadDoc as _, SaveOptions};
use thiserror::Error;

use super::chunk::at_most;
use super::fit::misfits;
use super::{BoundsError, Limits, Misfit};

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

/// What becomes of changes when they are applied.
#[derive(Debug)]
pub struct Sorted {
    /// Those that can be applied, each after those that it depends on.
    pub ready: Vec<Change>,
    /// Those that wait for others.
    pub waiting: Vec<Change>,
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

    /// Applies `changes`, which have passed [`check_chunks`](super::check_chunks), to `doc`. Returns those that are in it
    /// now and were not before, each after those that it depends on.
    pub fn apply(
        &mut self,
        doc: &mut Automerge,
        changes: Vec<Change>,
    ) -> Result<Vec<Change>, GuardError> {
        let Sorted { ready, waiting } = self.check(doc, &changes)?;
        // What a damaged store lacks the beginning of waits in automerge, unknown to the guard.
        let queued = !doc.get_missing_deps(&[]).is_empty();
        let before = queued.then(|| doc.get_heads());
        doc.apply_changes(changes)?;
        self.waiting = waiting;
        Ok(match before {
            Some(before) => doc.get_changes(&before),
            None => ready,
        })
    }

    /// Checks what [`apply`](Self::apply) would, for a caller that applies changes one by one and wants all or none of them.
    pub fn check(&mut self, doc: &mut Automerge, changes: &[Change]) -> Result<Sorted, GuardError> {
        let new: HashSet<ChangeHash> = changes.iter().map(Change::hash).collect();
        loop {
            let (ready, waiting) = split(doc, self.waiting.iter().chain(changes));
            let misfits = misfits(doc, &ready, &self.limits);
            if let Some(misfit) = misfits.iter().find(|misfit| new.contains(&misfit.change)) {
                return Err(misfit.clone().into());
            }
            if misfits.is_empty() {
                self.check_waiting(&waiting)?;
                return Ok(Sorted {
                    ready: ready.into_iter().cloned().collect(),
                    waiting: waiting.into_iter().cloned().collect(),
                });
            }
            // Somebody sent them earlier: these senders are not to suffer for it.
            self.forget(doc, &misfits)?;
        }
    }

    fn check_waiting(&self, waiting: &[&Change]) -> Result<(), BoundsError> {
        let bytes: usize = waiting.iter().map(|change| change.raw_bytes().len()).sum();
        let what = "changes without those that they follow";
        at_most(what, waiting.len() as u64, self.limits.waiting as u64)?;
        let what = "bytes of changes without those that they follow";
        at_most(what, bytes as u64, self.limits.waiting_bytes as u64)
    }

    /// Goes on with `doc`, loaded whole, in which nothing waits; what waited is offered to it and dropped if it does not fit.
    pub fn replaced(&mut self, doc: &mut Automerge) {
        for change in std::mem::take(&mut self.waiting) {
            drop(self.apply(doc, vec![change]));
        }
    }

    /// Takes changes out of those that wait, which automerge cannot do but by loading the document anew.
    fn forget(&mut self, doc: &mut Automerge, misfits: &[Misfit]) -> Result<(), AutomergeError> {
        let bad: HashSet<ChangeHash> = misfits.iter().map(|misfit| misfit.change).collect();
        self.waiting.retain(|change| !bad.contains(&change.hash()));
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

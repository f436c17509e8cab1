//! Which changes an undo takes back: those of its author, each once.
//!
//! The change of an undo says which change of its document it takes back. A change is undone if a change that undoes it is
//! there and not itself undone; so an undo can be undone, and after that the change be undone again.

use crate::database::Database;
use crate::document::{Provenance, undone_by};
use crate::edit::{Author, WriteError};
use crate::id::DocumentId;
use crate::touched::touched;
use crate::undo::UndoneWrite;
use crate::write::Write;
use automerge::{ActorId, Automerge, ChangeHash, ChangeMetadata, ReadDoc as _};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be taken back in one document.
#[derive(Debug)]
pub(crate) struct Target {
    /// The change that stands for it: itself, or the last that did it again.
    pub hash: ChangeHash,
    /// The change, before it those that did it again, and behind it those that it did again: the last one first.
    pub done: Vec<Done>,
    /// The changes whose writes it takes back: if an undo was undone, what that wrote anew is the first writer's.
    pub own: BTreeSet<ChangeHash>,
}

/// A change that did something, or did it again.
#[derive(Debug)]
pub(crate) struct Done {
    pub change: Moment,
    /// The undo that it took back.
    pub undo: Option<Moment>,
    /// Whether it came after the change that is to be taken back.
    pub since: bool,
}

/// A change in the history of its document.
#[derive(Debug)]
pub(crate) struct Moment {
    pub hash: ChangeHash,
    /// What the document had before it.
    pub deps: Vec<ChangeHash>,
}

impl Moment {
    fn of(change: &ChangeMetadata<'_>) -> Self {
        Self {
            hash: change.hash,
            deps: change.deps.clone(),
        }
    }
}

impl Database {
    /// What is to be taken back of changes of a collection's, all of the writer's.
    pub(crate) fn undone(
        &self,
        write: &Write,
        changes: &BTreeMap<DocumentId, ChangeHash>,
    ) -> Result<UndoneWrite, WriteError> {
        let mut undone = UndoneWrite::default();
        for (document, hash) in changes {
            let nothing = || WriteError::NothingToUndo {
                change: hash.to_string(),
            };
            let partition = self.placed.get(document);
            let ours = partition.is_some_and(|partition| partition.collection == write.collection);
            let doc = self.document(document).filter(|_| ours);
            let doc = doc.ok_or_else(nothing)?;
            let change = doc.get_change_meta_by_hash(hash).ok_or_else(nothing)?;
            check_author(&change, write.context.user.as_deref(), &self.actor)?;
            let target = target(doc, *hash);
            let change = target.as_ref().map_or(*hash, |target| target.hash);
            let change = doc.get_change_by_hash(&change).ok_or_else(nothing)?;
            let keys = touched(doc, &[change]).into_keys();
            match target {
                Some(target) => {
                    undone.keys.extend(keys);
                    undone.targets.insert(*document, target);
                }
                None => undone.undone += keys.count(),
            }
        }
        Ok(undone)
    }
}

/// What has to be taken back for `hash`, a change of `doc`'s, to be undone; `None` if it is undone.
fn target(doc: &Automerge, hash: ChangeHash) -> Option<Target> {
    let tree = Tree::of(doc, hash);
    if !tree.stands(&hash) {
        return None;
    }
    let moment = |hash: &ChangeHash| Some(Moment::of(&doc.get_change_meta_by_hash(hash)?));
    let mut last = hash;
    // From the first to the last.
    let mut done = Vec::new();
    let mut own = BTreeSet::new();
    let mut undo = None;
    for [next, change] in done_before(doc, hash).into_iter().rev() {
        own.insert(change.hash);
        done.push(Done {
            change,
            undo: undo.replace(next),
            since: false,
        });
    }
    done.push(Done {
        change: moment(&hash)?,
        undo,
        since: false,
    });
    // It stands, so that what undoes it is undone in turn.
    while let Some(undo) = tree.undos(&last).last() {
        let mut again = tree.undos(undo).iter().rev();
        last = *again.find(|redo| tree.stands(redo))?;
        done.push(Done {
            change: moment(&last)?,
            undo: moment(undo),
            since: true,
        });
    }
    done.reverse();
    own.extend(tree.order.iter().filter(|(_, even)| *even).map(|it| it.0));
    let hash = last;
    Some(Target { hash, done, own })
}

/// Whether the writer, by the user they claim and their actor, made `change`.
fn check_author(
    change: &ChangeMetadata<'_>,
    user: Option<&str>,
    actor: &ActorId,
) -> Result<(), WriteError> {
    let author = author(change);
    match author.is(user, actor) {
        true => Ok(()),
        false => Err(WriteError::NotTheAuthor {
            change: change.hash.to_string(),
            author,
        }),
    }
}

fn author(change: &ChangeMetadata<'_>) -> Author {
    Author::of(user(change).as_deref(), &change.actor)
}

fn user(change: &ChangeMetadata<'_>) -> Option<String> {
    Provenance::read(change.message.as_deref(), change.timestamp).user
}

/// Whether `undo` may take back `change`: anyone can claim to.
fn is_undo_of(undo: &ChangeMetadata<'_>, change: &ChangeMetadata<'_>) -> bool {
    author(change).is(user(undo).as_deref(), &undo.actor)
}

/// The change that `change` takes back, if it is one of the same author's.
fn undone<'d>(doc: &'d Automerge, change: &ChangeMetadata<'_>) -> Option<ChangeMetadata<'d>> {
    let hash = undone_by(change.message.as_deref())?;
    let undone = doc.get_change_meta_by_hash(&hash)?;
    is_undo_of(change, &undone).then_some(undone)
}

/// The changes that `hash` did again by undoing their undos, and these undos, the last ones first.
fn done_before(doc: &Automerge, hash: ChangeHash) -> Vec<[Moment; 2]> {
    let mut found = Vec::new();
    let mut at = doc.get_change_meta_by_hash(&hash);
    while let Some(change) = at {
        let undo = undone(doc, &change);
        at = undo.as_ref().and_then(|undo| undone(doc, undo));
        found.extend(
            undo.zip(at.as_ref())
                .map(|(undo, change)| [Moment::of(&undo), Moment::of(change)]),
        );
    }
    found
}

/// A change, what undoes it, what undoes that, and so on.
struct Tree {
    /// Each after what it undoes, and whether it wrote again what the change wrote.
    order: Vec<(ChangeHash, bool)>,
    undos: BTreeMap<ChangeHash, Vec<ChangeHash>>,
    undone: BTreeSet<ChangeHash>,
}

impl Tree {
    /// Reads no more than the changes since `hash`. Not recursive: who sends changes chooses how long it gets.
    fn of(doc: &Automerge, hash: ChangeHash) -> Self {
        let mut undos: BTreeMap<ChangeHash, Vec<ChangeHash>> = BTreeMap::new();
        for change in doc.get_changes_meta(&[hash]) {
            if let Some(undone) = undone(doc, &change) {
                undos.entry(undone.hash).or_default().push(change.hash);
            }
        }
        let mut order = vec![(hash, true)];
        let mut next = 0;
        while let Some((hash, even)) = order.get(next).copied() {
            let more = undos.get(&hash).into_iter().flatten();
            order.extend(more.map(|undo| (*undo, !even)));
            next += 1;
        }
        let mut tree = Self {
            order: Vec::new(),
            undos,
            undone: BTreeSet::new(),
        };
        for (hash, _) in order.iter().rev() {
            if tree.undos(hash).iter().any(|undo| tree.stands(undo)) {
                tree.undone.insert(*hash);
            }
        }
        tree.order = order;
        tree
    }

    fn undos(&self, hash: &ChangeHash) -> &[ChangeHash] {
        self.undos.get(hash).map_or(&[], Vec::as_slice)
    }

    fn stands(&self, hash: &ChangeHash) -> bool {
        !self.undone.contains(hash)
    }
}

//! Whether changes fit the document that they are meant for.
//!
//! A change can be sound by itself and still break a document: automerge panics on operations in objects or on elements
//! that are not there and on gaps in an actor's changes, and a change whose predecessors are not there is applied but makes
//! a document that, once saved, can never be loaded again. So everything that a change refers to is looked up first.

use std::collections::{HashMap, HashSet};

use automerge::{ActorId, Automerge, Change, ChangeHash, ObjId, ObjType, ReadDoc};
use thiserror::Error;

use super::change::Parts;
use super::ops::{Action, Id, Key, Op};
use super::{BoundsError, Limits, chunk};

/// A change that does not fit the document. Its sender is at fault.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the sender's change {change} does not fit the document: {source}")]
pub struct Misfit {
    /// Which change.
    pub change: ChangeHash,
    /// What is wrong with it.
    pub source: BoundsError,
}

/// How many changes are looked at to find the one that an actor made before.
const SEARCHED: usize = 10_000;

/// Checks that `changes` can be applied to `doc`. Each must have passed [`check_chunks`](super::check_chunks) and follow
/// only changes that are in `doc` or before it in `changes`.
///
/// Takes microseconds for a change to a map; a change to a list or text has those changes read again that made the
/// elements that it names.
pub fn check_fit(doc: &Automerge, changes: &[&Change], limits: &Limits) -> Result<(), Misfit> {
    match misfits(doc, changes, limits).into_iter().next() {
        None => Ok(()),
        Some(misfit) => Err(misfit),
    }
}

/// All changes that do not fit, and those that follow them.
pub(super) fn misfits(doc: &Automerge, changes: &[&Change], limits: &Limits) -> Vec<Misfit> {
    let mut fit = Fit {
        doc,
        limits,
        actors: HashMap::new(),
        history: HashMap::new(),
        known: HashMap::new(),
        read: HashSet::new(),
        marks: None,
    };
    let mut misfits = Vec::new();
    for change in changes {
        if let Err(source) = fit.check(change) {
            let change = change.hash();
            misfits.push(Misfit { change, source });
        }
    }
    if let (true, Some(change)) = (misfits.is_empty(), fit.marks)
        && let Err(source) = check_marks(doc, changes)
    {
        misfits.push(Misfit { change, source });
    }
    misfits
}

/// A mark must begin before it ends in the text, which only automerge can tell, and only once it is done.
fn check_marks(doc: &Automerge, changes: &[&Change]) -> Result<(), BoundsError> {
    let mut trial = doc.clone();
    let applied = trial.apply_changes(changes.iter().copied().cloned());
    match applied.and_then(|()| Automerge::load(&trial.save())) {
        Ok(_) => Ok(()),
        Err(_) => Err(misfit("a mark ends before it begins")),
    }
}

fn misfit(what: &'static str) -> BoundsError {
    BoundsError::malformed("change", what)
}

/// An operation's id, with the actor as a number that stands for it in all changes that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OpRef {
    actor: u32,
    counter: u32,
}

/// What an operation is about: its object, and the key or element in it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Key(Option<OpRef>, Box<str>),
    Element(Option<OpRef>, OpRef),
}

/// What later operations may want to know of an operation.
struct Known {
    place: Place,
    inserted: bool,
    action: Action,
}

/// What later changes may want to know of a change.
struct Past {
    actor: ActorId,
    seq: u64,
    max_op: u64,
    deps: Vec<ChangeHash>,
}

struct Fit<'d> {
    doc: &'d Automerge,
    limits: &'d Limits,
    actors: HashMap<ActorId, u32>,
    /// The changes that were checked so far.
    history: HashMap<ChangeHash, Past>,
    /// The operations of those changes, and of others that were read again.
    known: HashMap<OpRef, Known>,
    /// Which changes of the document were read again.
    read: HashSet<ChangeHash>,
    /// The last change that marks a text.
    marks: Option<ChangeHash>,
}

impl Fit<'_> {
    fn check(&mut self, change: &Change) -> Result<(), BoundsError> {
        self.check_history(change)?;
        let body = chunk::content(change.raw_bytes())?;
        let parts = Parts::read(body, self.limits)?;
        let actors = self.number(&parts);
        if let Err(error) = self.check_operations(change, &parts, &actors) {
            for counter in (parts.start_op..).take(parts.ops as usize) {
                let actor = actors[0];
                self.known.remove(&OpRef { actor, counter });
            }
            return Err(error);
        }
        let past = Past {
            actor: change.actor_id().clone(),
            seq: change.seq(),
            max_op: change.max_op(),
            deps: change.deps().to_vec(),
        };
        self.history.insert(change.hash(), past);
        Ok(())
    }

    fn check_operations(
        &mut self,
        change: &Change,
        parts: &Parts<'_>,
        actors: &[u32],
    ) -> Result<(), BoundsError> {
        let mut operations = parts.operations(self.limits)?;
        let mut objects = HashMap::new();
        for index in 0..parts.ops {
            let (op, preds) = operations.next()?;
            let id = OpRef {
                actor: actors[0],
                counter: parts.start_op + index as u32,
            };
            self.check_object(&op, parts, actors, &mut objects)?;
            let place = place(&op, id, actors);
            self.check_element(&op, parts, actors)?;
            self.check_preds(&op, &place, preds, parts, actors)?;
            if op.action == Action::MarkEnd {
                self.marks = Some(change.hash());
            }
            self.note(id, place, &op);
        }
        Ok(())
    }

    /// The numbers that stand for a change's actors.
    fn number(&mut self, parts: &Parts<'_>) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(parts.actors.len());
        for actor in &parts.actors {
            let next = self.actors.len() as u32;
            let number = match self.actors.get(actor) {
                Some(number) => *number,
                None => *self.actors.entry(actor.clone()).or_insert(next),
            };
            numbers.push(number);
        }
        numbers
    }

    fn note(&mut self, id: OpRef, place: Place, op: &Op<'_>) {
        let known = Known {
            place,
            inserted: op.insert,
            action: op.action,
        };
        self.known.insert(id, known);
    }

    /// A change must number its operations just above those that it follows, and follow its actor's last change.
    fn check_history(&self, change: &Change) -> Result<(), BoundsError> {
        let mut highest = 0;
        let mut follows = change.seq() == 1;
        for dep in change.deps() {
            let past = self
                .past(dep)
                .ok_or(misfit("it follows an unknown change"))?;
            highest = highest.max(past.max_op);
            follows |= precedes(&past, change);
        }
        let start = change.start_op().get();
        // A gap below no operations at all makes automerge look for operations there.
        let gap = match change.is_empty() {
            true => 0,
            false => u64::from(self.limits.counter_gap),
        };
        if start <= highest || start - highest - 1 > gap {
            return Err(misfit(
                "its operations are not numbered after those it follows",
            ));
        }
        match follows || self.descends(change) {
            true => Ok(()),
            false => Err(misfit("it does not follow its actor's last change")),
        }
    }

    fn descends(&self, change: &Change) -> bool {
        let mut seen: HashSet<ChangeHash> = change.deps().iter().copied().collect();
        let mut next: Vec<ChangeHash> = change.deps().to_vec();
        while let Some(hash) = next.pop() {
            let Some(past) = self.past(&hash) else {
                continue;
            };
            if precedes(&past, change) {
                return true;
            }
            if seen.len() > SEARCHED {
                return false;
            }
            next.extend(past.deps.into_iter().filter(|dep| seen.insert(*dep)));
        }
        false
    }

    fn past(&self, hash: &ChangeHash) -> Option<Past> {
        if let Some(past) = self.history.get(hash) {
            return Some(Past {
                actor: past.actor.clone(),
                deps: past.deps.clone(),
                ..*past
            });
        }
        let meta = self.doc.get_change_meta_by_hash(hash)?;
        Some(Past {
            actor: meta.actor.into_owned(),
            seq: meta.seq,
            max_op: meta.max_op,
            deps: meta.deps,
        })
    }

    /// The object of an operation must be there and be of the kind that the operation takes it for.
    fn check_object(
        &self,
        op: &Op<'_>,
        parts: &Parts<'_>,
        actors: &[u32],
        checked: &mut HashMap<Id, bool>,
    ) -> Result<(), BoundsError> {
        let list = !matches!(op.key, Key::Text(_));
        let found = match op.object {
            None => false,
            Some(object) => match checked.get(&object) {
                Some(list) => *list,
                None => {
                    let is_list = self.is_list(object, parts, actors)?;
                    checked.insert(object, is_list);
                    is_list
                }
            },
        };
        match found == list {
            true => Ok(()),
            false => Err(misfit("it takes a map for a list or a list for a map")),
        }
    }

    fn is_list(&self, object: Id, parts: &Parts<'_>, actors: &[u32]) -> Result<bool, BoundsError> {
        let action = self.known.get(&refer(object, actors)).map(|op| op.action);
        match action {
            Some(Action::MakeMap) => Ok(false),
            Some(Action::MakeList) => Ok(true),
            Some(_) => Err(misfit("an operation is in an object that is none")),
            None => match self.doc.object_type(exid(object, parts)) {
                Ok(kind) => Ok(matches!(kind, ObjType::List | ObjType::Text)),
                Err(_) => Err(misfit("an operation is in an object that is not there")),
            },
        }
    }

    /// The element that an operation follows or changes must be in the same list.
    fn check_element(
        &mut self,
        op: &Op<'_>,
        parts: &Parts<'_>,
        actors: &[u32],
    ) -> Result<(), BoundsError> {
        let Key::Element(element) = op.key else {
            return Ok(());
        };
        let object = op.object.map(|object| refer(object, actors));
        let known = self.look_up(element, parts, actors)?;
        match known {
            Some(known) if known.inserted && *known.place.object() == object => Ok(()),
            _ => Err(misfit("an element is not in the list")),
        }
    }

    /// What an operation replaces must be in the same place.
    fn check_preds(
        &mut self,
        op: &Op<'_>,
        place: &Place,
        preds: &[Id],
        parts: &Parts<'_>,
        actors: &[u32],
    ) -> Result<(), BoundsError> {
        let mut visible = None;
        for pred in preds {
            if !self.known.contains_key(&refer(*pred, actors))
                && let Key::Text(key) = op.key
            {
                let visible = visible.get_or_insert_with(|| self.visible(op.object, key, parts));
                if visible.contains(&exid(*pred, parts)) {
                    continue;
                }
            }
            match self.look_up(*pred, parts, actors)? {
                Some(known) if known.place == *place && known.action != Action::Delete => {}
                _ => return Err(misfit("it replaces an operation that is not there")),
            }
        }
        Ok(())
    }

    /// The operations whose values can be seen at a key: most changes replace those.
    fn visible(&self, object: Option<Id>, key: &str, parts: &Parts<'_>) -> Vec<ObjId> {
        let object = object.map_or(ObjId::Root, |object| exid(object, parts));
        let values = self.doc.get_all(object, key).unwrap_or_default();
        values.into_iter().map(|(_, id)| id).collect()
    }

    /// What is known of an operation; the change that holds it is read again if need be.
    fn look_up(
        &mut self,
        id: Id,
        parts: &Parts<'_>,
        actors: &[u32],
    ) -> Result<Option<&Known>, BoundsError> {
        let op = refer(id, actors);
        if !self.known.contains_key(&op)
            && let Some(hash) = self.doc.hash_for_opid(&exid(id, parts))
            && self.read.insert(hash)
            && let Some(change) = self.doc.get_change_by_hash(&hash)
        {
            self.read_again(&change)?;
        }
        Ok(self.known.get(&op))
    }

    fn read_again(&mut self, change: &Change) -> Result<(), BoundsError> {
        let parts = Parts::read(chunk::content(change.raw_bytes())?, self.limits)?;
        let actors = self.number(&parts);
        let mut operations = parts.operations(self.limits)?;
        for index in 0..parts.ops {
            let (op, _) = operations.next()?;
            let id = OpRef {
                actor: actors[0],
                counter: parts.start_op + index as u32,
            };
            self.note(id, place(&op, id, &actors), &op);
        }
        Ok(())
    }
}

impl Place {
    fn object(&self) -> &Option<OpRef> {
        match self {
            Self::Key(object, _) | Self::Element(object, _) => object,
        }
    }
}

fn precedes(past: &Past, change: &Change) -> bool {
    past.seq + 1 == change.seq() && past.actor == *change.actor_id()
}

fn refer(id: Id, actors: &[u32]) -> OpRef {
    OpRef {
        actor: actors[id.actor as usize],
        counter: id.counter,
    }
}

fn exid(id: Id, parts: &Parts<'_>) -> ObjId {
    let actor = parts.actors[id.actor as usize].clone();
    ObjId::Id(u64::from(id.counter), actor, 0)
}

fn place(op: &Op<'_>, id: OpRef, actors: &[u32]) -> Place {
    let object = op.object.map(|object| refer(object, actors));
    match op.key {
        Key::Text(key) => Place::Key(object, key.into()),
        Key::Element(element) if !op.insert => Place::Element(object, refer(element, actors)),
        Key::Element(_) | Key::Head => Place::Element(object, id),
    }
}

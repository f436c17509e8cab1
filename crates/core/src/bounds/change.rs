//! Change chunks.

use std::cmp::Ordering;

use automerge::{ActorId, ChangeHash};

use super::chunk::{Budget, at_most};
use super::columns::{Columns, Kind, Layout};
use super::ops::{self, Action, Id, Key, Op, Ops};
use super::rows::{Deltas, Rows};
use super::{BoundsError, ChangeHeader, Limits, Reader};

const PRED_COUNT: Kind = (0x70, "predecessors");
const PRED_ACTOR: Kind = (0x71, "predecessor actors");
const PRED_COUNTER: Kind = (0x73, "predecessor counters");

const COLUMNS: [Kind; 14] = [
    ops::OBJECT_ACTOR,
    ops::OBJECT_COUNTER,
    ops::KEY_ACTOR,
    ops::KEY_COUNTER,
    ops::KEY_TEXT,
    ops::INSERT,
    ops::ACTION,
    ops::VALUE_KIND,
    ops::VALUE,
    PRED_COUNT,
    PRED_ACTOR,
    PRED_COUNTER,
    ops::EXPAND,
    ops::MARK,
];

/// The content of a change chunk, taken apart.
pub(super) struct Parts<'a> {
    pub(super) deps: Vec<ChangeHash>,
    /// The author, then the other actors that the change names, sorted.
    pub(super) actors: Vec<ActorId>,
    pub(super) seq: u64,
    pub(super) start_op: u32,
    pub(super) ops: u64,
    columns: Columns<'a>,
}

impl<'a> Parts<'a> {
    pub(super) fn read(body: &'a [u8], limits: &Limits) -> Result<Self, BoundsError> {
        let mut reader = Reader::new(body);
        let deps = hashes(&mut reader, limits)?;
        let author = actor(&mut reader, limits)?;
        let (seq, start_op) = (reader.unsigned()?, reader.unsigned()?);
        reader.signed()?;
        if std::str::from_utf8(reader.prefixed()?).is_err() {
            return Err(malformed("its message is not UTF-8"));
        }
        let actors = read_actors(&mut reader, author, limits)?;
        let columns = Layout::read(&mut reader, &COLUMNS)?.plain(&mut reader)?;
        if seq == 0 || seq > u64::from(u32::MAX) {
            return Err(malformed("its sequence number is zero or too large"));
        }
        // automerge reads an author's name there and panics when it is not on an actor's first change.
        if seq > 1 && !reader.is_empty() {
            return Err(malformed(
                "only an actor's first change may carry extra bytes",
            ));
        }
        let ops = Rows::<u64>::new(&columns, ops::ACTION).count(limits.ops_per_change)?;
        let after = start_op.saturating_add(ops);
        match u32::try_from(start_op) {
            Ok(start_op) if start_op > 0 && after <= u64::from(u32::MAX) => Ok(Self {
                deps,
                actors,
                seq,
                start_op,
                ops,
                columns,
            }),
            _ => Err(malformed(
                "its operations are numbered from zero or too high",
            )),
        }
    }

    /// The operations one by one.
    pub(super) fn operations(&self, limits: &Limits) -> Result<Operations<'_>, BoundsError> {
        Operations::new(&self.columns, &self.actors, self.start_op, limits)
    }
}

/// Checks the content of a change chunk.
pub(super) fn check(
    body: &[u8],
    hash: ChangeHash,
    budget: &mut Budget<'_>,
) -> Result<ChangeHeader, BoundsError> {
    let mut parts = Parts::read(body, budget.limits)?;
    budget.spend(1, parts.ops)?;
    let mut operations = parts.operations(budget.limits)?;
    for _ in 0..parts.ops {
        operations.next()?;
    }
    operations.finish()?;
    Ok(ChangeHeader {
        hash,
        actor: parts.actors.swap_remove(0),
        seq: parts.seq,
        start_op: u64::from(parts.start_op),
        ops: parts.ops,
        deps: parts.deps,
    })
}

fn malformed(what: &'static str) -> BoundsError {
    BoundsError::malformed("change", what)
}

/// The author, then the other actors that the change names, sorted.
fn read_actors(
    reader: &mut Reader<'_>,
    author: ActorId,
    limits: &Limits,
) -> Result<Vec<ActorId>, BoundsError> {
    let count = reader.count(1)?;
    at_most("actors", count as u64, limits.actors as u64)?;
    let mut actors = vec![author];
    for _ in 0..count {
        let next = actor(reader, limits)?;
        let sorted = actors.len() == 1 || actors.last() < Some(&next);
        if !sorted || actors.first() == Some(&next) {
            return Err(malformed("its actors are not sorted"));
        }
        actors.push(next);
    }
    Ok(actors)
}

/// The operations of a change, checked as they are read.
pub(super) struct Operations<'a> {
    actors: &'a [ActorId],
    /// Which actors some operation names. A change that names others would be given another hash by automerge.
    named: Vec<bool>,
    counter: u32,
    before: Option<(Action, Option<Id>)>,
    preds: Vec<Id>,
    preds_left: u64,
    ops: Ops<'a>,
    pred_count: Rows<'a, u64>,
    pred_actor: Rows<'a, u64>,
    pred_counter: Deltas<'a>,
}

impl<'a> Operations<'a> {
    fn new(
        columns: &'a Columns<'_>,
        actors: &'a [ActorId],
        start_op: u32,
        limits: &Limits,
    ) -> Result<Self, BoundsError> {
        let mut named = vec![false; actors.len()];
        named[0] = true;
        Ok(Self {
            actors,
            named,
            counter: start_op,
            before: None,
            preds: Vec::new(),
            preds_left: Rows::<u64>::new(columns, PRED_ACTOR).count(limits.ops_per_change)?,
            ops: Ops::new(columns, actors.len()),
            pred_count: Rows::new(columns, PRED_COUNT),
            pred_actor: Rows::new(columns, PRED_ACTOR),
            pred_counter: Deltas::new(columns, PRED_COUNTER),
        })
    }

    /// The next operation and its predecessors.
    pub(super) fn next(&mut self) -> Result<(Op<'a>, &[Id]), BoundsError> {
        let op = self.ops.next()?;
        if let Some(object) = op.object {
            self.refer(object)?;
        }
        if let Key::Element(element) = op.key {
            self.refer(element)?;
        }
        self.read_preds()?;
        if op.action == Action::Delete && self.preds.is_empty() {
            return Err(malformed("an operation deletes nothing"));
        }
        check_mark(&op, self.before)?;
        self.before = Some((op.action, op.object));
        self.counter += 1;
        Ok((op, &self.preds))
    }

    /// Makes sure that nothing is left.
    fn finish(&self) -> Result<(), BoundsError> {
        self.ops.finish()?;
        self.pred_count.finish()?;
        self.pred_actor.finish()?;
        self.pred_counter.finish()?;
        match self.named.iter().all(|named| *named) {
            true => Ok(()),
            false => Err(malformed("it lists an actor that no operation names")),
        }
    }

    /// Notes that the operation refers to another, which must be older.
    fn refer(&mut self, id: Id) -> Result<(), BoundsError> {
        self.named[id.actor as usize] = true;
        match id.counter < self.counter {
            true => Ok(()),
            false => Err(malformed("an operation refers to a later one")),
        }
    }

    fn read_preds(&mut self) -> Result<(), BoundsError> {
        self.preds.clear();
        let count = self.pred_count.value()?;
        let too_many = malformed("it counts more predecessors than there are");
        self.preds_left = self.preds_left.checked_sub(count).ok_or(too_many)?;
        for _ in 0..count {
            let (actor, number) = (self.pred_actor.value()?, self.pred_counter.value()?);
            let id = ops::id(actor, u64::from(number), self.actors.len())?;
            self.refer(id)?;
            let last = self.preds.last().copied();
            if last.is_some_and(|last| self.compare(last, id) != Ordering::Less) {
                return Err(malformed("predecessors are not sorted"));
            }
            self.preds.push(id);
        }
        Ok(())
    }

    fn compare(&self, left: Id, right: Id) -> Ordering {
        let actor = |id: Id| self.actors.get(id.actor as usize);
        (left.counter, actor(left)).cmp(&(right.counter, actor(right)))
    }
}

/// automerge takes the operation before the end of a mark for its beginning.
fn check_mark(op: &Op<'_>, before: Option<(Action, Option<Id>)>) -> Result<(), BoundsError> {
    match op.action {
        Action::MarkEnd if before != Some((Action::MarkBegin, op.object)) => {
            Err(malformed("a mark ends that did not begin just before"))
        }
        _ => Ok(()),
    }
}

/// A list of hashes in ascending order, as automerge writes it.
pub(super) fn hashes(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Vec<ChangeHash>, BoundsError> {
    let count = reader.count(32)?;
    at_most("hashes", count as u64, limits.hashes as u64)?;
    let hashes = (0..count)
        .map(|_| Ok(ChangeHash(reader.array()?)))
        .collect::<Result<Vec<_>, BoundsError>>()?;
    match hashes.windows(2).all(|pair| pair[0] < pair[1]) {
        true => Ok(hashes),
        false => Err(BoundsError::malformed("hashes", "they are not sorted")),
    }
}

/// An actor id.
pub(super) fn actor(reader: &mut Reader<'_>, limits: &Limits) -> Result<ActorId, BoundsError> {
    let bytes = reader.prefixed()?;
    let len = bytes.len() as u64;
    at_most("bytes of an actor id", len, limits.actor_bytes as u64)?;
    Ok(ActorId::from(bytes))
}

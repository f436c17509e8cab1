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

/// Checks the content of a change chunk.
pub(super) fn check(
    body: &[u8],
    hash: ChangeHash,
    budget: &mut Budget<'_>,
) -> Result<ChangeHeader, BoundsError> {
    let limits = budget.limits;
    let mut reader = Reader::new(body);
    let deps = hashes(&mut reader, limits)?;
    let author = actor(&mut reader, limits)?;
    let seq = reader.unsigned()?;
    let start_op = reader.unsigned()?;
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
    let last_op = start_op.saturating_add(ops);
    if start_op == 0 || last_op > u64::from(u32::MAX) {
        return Err(malformed(
            "its operations are numbered from zero or too high",
        ));
    }
    budget.spend(1, ops)?;
    Body::new(&columns, &actors, start_op as u32, limits)?.check(ops)?;
    let actor = actors
        .into_iter()
        .next()
        .unwrap_or_else(|| ActorId::from(&[][..]));
    Ok(ChangeHeader {
        hash,
        actor,
        seq,
        start_op,
        ops,
        deps,
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

/// The operations of a change while they are checked.
struct Body<'a> {
    actors: &'a [ActorId],
    /// Which actors some operation names. A change that names others would be given another hash by automerge.
    named: Vec<bool>,
    start_op: u32,
    preds_left: u64,
    ops: Ops<'a>,
    pred_count: Rows<'a, u64>,
    pred_actor: Rows<'a, u64>,
    pred_counter: Deltas<'a>,
}

impl<'a> Body<'a> {
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
            start_op,
            preds_left: Rows::<u64>::new(columns, PRED_ACTOR).count(limits.ops_per_change)?,
            ops: Ops::new(columns, actors.len()),
            pred_count: Rows::new(columns, PRED_COUNT),
            pred_actor: Rows::new(columns, PRED_ACTOR),
            pred_counter: Deltas::new(columns, PRED_COUNTER),
        })
    }

    fn check(mut self, ops: u64) -> Result<(), BoundsError> {
        let mut before = None;
        for index in 0..ops {
            let op = self.ops.next()?;
            let counter = self.start_op + index as u32;
            if let Some(object) = op.object {
                self.refer(object, counter)?;
            }
            if let Key::Element(element) = op.key {
                self.refer(element, counter)?;
            }
            let preds = self.preds(counter)?;
            if op.action == Action::Delete && preds == 0 {
                return Err(malformed("an operation deletes nothing"));
            }
            check_mark(&op, before)?;
            before = Some((op.action, op.object));
        }
        self.ops.finish()?;
        self.pred_count.finish()?;
        self.pred_actor.finish()?;
        self.pred_counter.finish()?;
        match self.named.iter().all(|named| *named) {
            true => Ok(()),
            false => Err(malformed("it lists an actor that no operation names")),
        }
    }

    /// Notes that an operation refers to another, which must be older.
    fn refer(&mut self, id: Id, counter: u32) -> Result<(), BoundsError> {
        self.named[id.actor as usize] = true;
        match id.counter < counter {
            true => Ok(()),
            false => Err(malformed("an operation refers to a later one")),
        }
    }

    /// Checks the predecessors of the next operation and returns their number.
    fn preds(&mut self, counter: u32) -> Result<u64, BoundsError> {
        let count = self.pred_count.value()?;
        self.preds_left = self
            .preds_left
            .checked_sub(count)
            .ok_or(malformed("it counts more predecessors than there are"))?;
        let mut last: Option<Id> = None;
        for _ in 0..count {
            let (actor, number) = (self.pred_actor.value()?, self.pred_counter.value()?);
            let id = ops::id(actor, u64::from(number), self.actors.len())?;
            self.refer(id, counter)?;
            if last.is_some_and(|last| self.compare(last, id) != Ordering::Less) {
                return Err(malformed("predecessors are not sorted"));
            }
            last = Some(id);
        }
        Ok(count)
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

//! Document chunks: a table of changes and a table of operations, from which automerge works out every change again.
//!
//! It does so with assertions and without bounds on what it allocates, so this check follows the same path: the changes and
//! how their operations are numbered ([`history`](super::history)), then the operations in their order
//! ([`sequence`](super::sequence)), then that both tell of the same operations.

use automerge::{ActorId, ChangeHash};

use super::change;
use super::chunk::{Budget, at_most};
use super::columns::{Columns, Kind, Layout};
use super::history::{self, History};
use super::ops::{self, Id, Ops};
use super::rows::{Deltas, Rows};
use super::sequence::Sequence;
use super::{BoundsError, Reader};

const ID_ACTOR: Kind = (0x21, "operation actors");
const ID_COUNTER: Kind = (0x23, "operation counters");
const SUCC_COUNT: Kind = (0x80, "successors");
const SUCC_ACTOR: Kind = (0x81, "successor actors");
const SUCC_COUNTER: Kind = (0x83, "successor counters");

const COLUMNS: [Kind; 16] = [
    ops::OBJECT_ACTOR,
    ops::OBJECT_COUNTER,
    ops::KEY_ACTOR,
    ops::KEY_COUNTER,
    ops::KEY_TEXT,
    ID_ACTOR,
    ID_COUNTER,
    ops::INSERT,
    ops::ACTION,
    ops::VALUE_KIND,
    ops::VALUE,
    SUCC_COUNT,
    SUCC_ACTOR,
    SUCC_COUNTER,
    ops::EXPAND,
    ops::MARK,
];

/// Checks the content of a document chunk and returns the heads that it claims.
pub(super) fn check(body: &[u8], budget: &mut Budget<'_>) -> Result<Vec<ChangeHash>, BoundsError> {
    let limits = budget.limits;
    let mut reader = Reader::new(body);
    let actors = skip_actors(&mut reader, budget)?;
    let heads = change::hashes(&mut reader, limits)?;
    let change_layout = Layout::read(&mut reader, &history::COLUMNS)?;
    let op_layout = Layout::read(&mut reader, &COLUMNS)?;
    let changes = change_layout.inflate(&mut reader, budget)?;
    let ops = op_layout.inflate(&mut reader, budget)?;
    // The positions of the heads, which documents from old versions lack and which nobody reads.
    if !reader.is_empty() {
        for _ in &heads {
            reader.unsigned()?;
        }
    }
    if !reader.is_empty() {
        return Err(malformed("bytes are left over"));
    }
    let history = History::check(&changes, actors, limits)?;
    let mut found = check_ops(&ops, actors, budget)?;
    budget.spend(history.len() as u64, found.len() as u64)?;
    history.compare(&mut found)?;
    Ok(heads)
}

pub(super) fn malformed(what: &'static str) -> BoundsError {
    BoundsError::malformed("document", what)
}

/// Reads the table of actors, which automerge searches by halves, and returns their number.
fn skip_actors(reader: &mut Reader<'_>, budget: &Budget<'_>) -> Result<usize, BoundsError> {
    let count = reader.count(1)?;
    at_most("actors", count as u64, budget.limits.actors as u64)?;
    let mut last: Option<ActorId> = None;
    for _ in 0..count {
        let actor = change::actor(reader, budget.limits)?;
        if last.as_ref() >= Some(&actor) {
            return Err(malformed("its actors are not sorted"));
        }
        last = Some(actor);
    }
    Ok(count)
}

/// Checks the operations and returns the ids of all, those of deletions included.
fn check_ops(
    columns: &Columns<'_>,
    actors: usize,
    budget: &Budget<'_>,
) -> Result<Vec<Id>, BoundsError> {
    let limit = budget.limits.ops;
    let count = Rows::<u64>::new(columns, ID_ACTOR).count(limit)?;
    let mut succs_left = Rows::<u64>::new(columns, SUCC_ACTOR).count(limit)?;
    let mut ops = Ops::new(columns, actors);
    let mut id_actor = Rows::<u64>::new(columns, ID_ACTOR);
    let mut id_counter = Deltas::new(columns, ID_COUNTER);
    let mut succ_count = Rows::<u64>::new(columns, SUCC_COUNT);
    let mut succ_actor = Rows::<u64>::new(columns, SUCC_ACTOR);
    let mut succ_counter = Deltas::new(columns, SUCC_COUNTER);
    let mut sequence = Sequence::default();
    for _ in 0..count {
        let op = ops.next()?;
        let counter = u64::from(id_counter.value()?);
        let id = ops::id(id_actor.value()?, counter, actors)?;
        sequence.op(id, &op)?;
        let successors = succ_count.value()?;
        let too_many = malformed("it counts more successors than there are");
        succs_left = succs_left.checked_sub(successors).ok_or(too_many)?;
        let mut last = id;
        for _ in 0..successors {
            let counter = u64::from(succ_counter.value()?);
            let succ = ops::id(succ_actor.value()?, counter, actors)?;
            if succ <= last {
                return Err(malformed("successors are not sorted"));
            }
            sequence.successor(succ);
            last = succ;
        }
    }
    ops.finish()?;
    id_actor.finish()?;
    id_counter.finish()?;
    succ_count.finish()?;
    succ_actor.finish()?;
    succ_counter.finish()?;
    sequence.finish()
}

//! The changes of a document chunk.

use super::chunk::at_most;
use super::columns::{Columns, Kind};
use super::document::malformed;
use super::ops::{Id, Values};
use super::rows::{Deltas, Rows};
use super::{BoundsError, Limits};

const ACTOR: Kind = (0x01, "actors of changes");
const SEQ: Kind = (0x03, "sequence numbers");
const LAST_OP: Kind = (0x13, "operation numbers of changes");
const TIME: Kind = (0x23, "times");
const MESSAGE: Kind = (0x35, "messages");
const DEPS_COUNT: Kind = (0x40, "dependencies");
const DEPS: Kind = (0x43, "positions of dependencies");
const EXTRA_KIND: Kind = (0x56, "lengths of extra bytes");
const EXTRA: Kind = (0x57, "extra bytes");

pub(super) const COLUMNS: [Kind; 9] = [
    ACTOR, SEQ, LAST_OP, TIME, MESSAGE, DEPS_COUNT, DEPS, EXTRA_KIND, EXTRA,
];

/// One change: its actor and how its operations may be numbered.
#[derive(Clone, Copy)]
struct Entry {
    actor: u32,
    /// The lowest number that its operations may have: one more than the highest of its dependencies.
    lowest: u32,
    /// The number of its last operation.
    last: u32,
}

/// The changes of a document.
pub(super) struct History {
    changes: Vec<Entry>,
}

impl History {
    pub(super) fn check(
        columns: &Columns<'_>,
        actors: usize,
        limits: &Limits,
    ) -> Result<Self, BoundsError> {
        let count = Rows::<u64>::new(columns, ACTOR).count(limits.changes)?;
        // automerge keeps a table by actors for every sixteenth change, and one by changes that it asks about actors.
        let cells = count.saturating_mul(actors as u64);
        at_most(
            "actors times changes of a document",
            cells,
            limits.clock_cells,
        )?;
        if count < actors as u64 {
            return Err(malformed("it names actors without changes"));
        }
        let mut rows = Changes::new(columns);
        // Each actor's last change: its sequence number and the number of its last operation.
        let mut last = vec![(0u32, 0u32); actors];
        let mut changes = Vec::new();
        let mut ops = 0u64;
        let mut deps_left = Rows::<i64>::new(columns, DEPS).count(limits.ops)?;
        for _ in 0..count {
            let entry = rows.next(&changes, &mut last, &mut deps_left)?;
            // automerge sets aside as many operations as the numbers allow for, and changes may leave gaps in them.
            ops += u64::from(entry.last - (entry.lowest - 1));
            at_most("operation numbers", ops, limits.ops.saturating_mul(4))?;
            changes.push(entry);
        }
        rows.finish()?;
        Ok(Self { changes })
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Compares the changes with the ids of all operations, which it sorts: each operation must belong to one change, no
    /// two may have the same id, and a change's must be numbered without gaps up to its last.
    pub(super) fn compare(mut self, found: &mut [Id]) -> Result<(), BoundsError> {
        found.sort_unstable_by_key(|id| (id.actor, id.counter));
        // Stable, so that each actor's changes stay in the order of their sequence numbers.
        self.changes.sort_by_key(|change| change.actor);
        let mut rest = &*found;
        let mut before: Option<Entry> = None;
        for change in &self.changes {
            let taken = rest
                .iter()
                .take_while(|id| id.actor == change.actor && id.counter <= change.last)
                .count();
            let (ids, after) = rest.split_at(taken);
            rest = after;
            let Some(first) = ids.first() else {
                continue;
            };
            let numbered = ids.iter().rev().zip((0..=change.last).rev());
            if !numbered
                .into_iter()
                .all(|(id, number)| id.counter == number)
            {
                return Err(malformed("a change's operations are not numbered in turn"));
            }
            let own = before
                .is_none_or(|before| before.actor != change.actor || before.last < first.counter);
            if first.counter < change.lowest || !own {
                return Err(malformed("an operation is numbered below its change's"));
            }
            before = Some(*change);
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(malformed("an operation belongs to no change")),
        }
    }
}

/// Reads changes row by row.
struct Changes<'a> {
    time_given: bool,
    actor: Rows<'a, u64>,
    seq: Deltas<'a>,
    last_op: Deltas<'a>,
    time: Deltas<'a>,
    message: Rows<'a, &'a str>,
    deps_count: Rows<'a, u64>,
    deps: Deltas<'a>,
    extra: Values<'a>,
}

impl<'a> Changes<'a> {
    fn new(columns: &'a Columns<'_>) -> Self {
        Self {
            time_given: !columns.bytes(TIME).is_empty(),
            actor: Rows::new(columns, ACTOR),
            seq: Deltas::new(columns, SEQ),
            last_op: Deltas::new(columns, LAST_OP),
            time: Deltas::new(columns, TIME),
            message: Rows::new(columns, MESSAGE),
            deps_count: Rows::new(columns, DEPS_COUNT),
            deps: Deltas::new(columns, DEPS),
            extra: Values::new(columns, EXTRA_KIND, EXTRA),
        }
    }

    /// The next change, which follows those in `before`.
    fn next(
        &mut self,
        before: &[Entry],
        last: &mut [(u32, u32)],
        deps_left: &mut u64,
    ) -> Result<Entry, BoundsError> {
        let no_actor = malformed("a change names no actor");
        let actor = u32::try_from(self.actor.value()?).map_err(|_| no_actor.clone())?;
        let own = last.get_mut(actor as usize).ok_or(no_actor)?;
        let (seq, last_op) = (self.seq.value()?, self.last_op.value()?);
        if seq.checked_sub(1) != Some(own.0) || last_op < own.1 {
            return Err(malformed("an actor's changes are out of order"));
        }
        *own = (seq, last_op);
        if self.time.next_signed()?.is_none() && self.time_given {
            return Err(malformed("a time is missing"));
        }
        self.message.next()?;
        if !self.extra.raw()?.1.is_empty() && seq > 1 {
            return Err(malformed(
                "only an actor's first change may carry extra bytes",
            ));
        }
        let below = self.deps(before, deps_left)?;
        match below.checked_add(1) {
            Some(lowest) if below <= last_op => Ok(Entry {
                actor,
                lowest,
                last: last_op,
            }),
            _ => Err(malformed("a change is numbered below its dependencies")),
        }
    }

    /// The highest number of an operation in the dependencies, which must come before the change itself.
    fn deps(&mut self, before: &[Entry], deps_left: &mut u64) -> Result<u32, BoundsError> {
        let count = self.deps_count.value()?;
        let too_many = malformed("it counts more dependencies than there are");
        *deps_left = deps_left.checked_sub(count).ok_or(too_many)?;
        let mut highest = 0;
        for _ in 0..count {
            let position = self.deps.value()? as usize;
            let unknown = malformed("a change depends on a later one");
            highest = highest.max(before.get(position).ok_or(unknown)?.last);
        }
        Ok(highest)
    }

    fn finish(&self) -> Result<(), BoundsError> {
        self.actor.finish()?;
        self.seq.finish()?;
        self.last_op.finish()?;
        self.time.finish()?;
        self.message.finish()?;
        self.deps_count.finish()?;
        self.deps.finish()?;
        self.extra.finish()
    }
}

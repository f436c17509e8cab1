//! Which conflicts and deliveries came about.

use std::collections::BTreeMap;
use std::fmt;

/// Something that a generator of concurrent programs has to produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// Both sides wrote one plain field.
    SameField,
    /// Both sides edited one record, in different fields.
    DifferentFields,
    /// Both sides created one key.
    CreateCreate,
    /// One side deleted what the other edited.
    DeleteEdit,
    /// Both sides deleted one record.
    DeleteDelete,
    /// One side wrote a deleted record anew while the other edited or wrote it.
    Recreate,
    /// Both sides edited one text.
    TextText,
    /// Both sides added to one counter.
    CounterCounter,
    /// Both sides edited one list.
    ListList,
    /// Both sides edited one nested map.
    Nested,
    /// Both sides wrote a field of no fixed kind.
    MixedKinds,
    /// Both sides wrote one key under different partition counts.
    PartitionCounts,
    /// A delete rule was declared that others did not know of yet.
    DeleteRule,
    /// A change arrived before one that it depends on.
    DependencyLate,
    /// A change arrived again.
    Duplicate,
    /// Several changes arrived at once.
    Batch,
    /// A peer's whole document arrived.
    WholeDocument,
    /// A peer restarted from its store with a new actor.
    Restart,
    /// A counter, text or list whose exact content the oracle knew at the end.
    Exact,
    /// A field of which the oracle knew at the end that it had to be there.
    Kept,
    /// A record of which the oracle knew at the end that it had to be gone.
    Gone,
    /// A write that was refused.
    Refused,
    /// A conflict was settled.
    Settled,
    /// A field of which the oracle knew just what it shows and what lost.
    Known,
    /// Peers' documents were merged in another grouping and order.
    Regrouped,
    /// A write was undone with nothing done since.
    UndoneAtOnce,
    /// A write was undone after others had done something.
    UndoneLater,
    /// An undo was undone.
    Redone,
    /// What was undone already was to be undone.
    UndoneTwice,
    /// Another's write was to be undone.
    UndoRefused,
    /// An older writer put a record of which it knew some fields.
    PutKnown,
}

/// What decides over a field, as the writer of it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// The default, declared or not.
    LastWriter,
    /// The greatest value.
    Max,
    /// The least value.
    Min,
    /// Sets.
    Union,
    /// All values.
    KeepAll,
    /// A function that all peers have.
    Custom,
    /// A function that no peer has.
    CustomMissing,
    /// A policy that is not known.
    Other,
    /// A counter.
    Counter,
    /// A text.
    Text,
}

/// What met in a field: two writes, neither of whose writers had seen the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meeting {
    /// Two values of one kind.
    ValueValue,
    /// Two values of different kinds.
    Kinds,
    /// A value and a removal.
    SetRemove,
    /// Two who created the record.
    CreateCreate,
    /// An edit and a delete, where edits win.
    EditWins,
    /// An edit and a delete, where deletes win.
    DeleteWins,
    /// Two values of a nested field, of the same name as one that the policy is declared for.
    Nested,
    /// Three writes, none of which had seen another.
    ThreeWay,
    /// Two who settled.
    SettleSettle,
    /// One who settled, and one who wrote.
    SettleEdit,
    /// A reset, and a write.
    ResetExceed,
    /// An element that was added and removed.
    AddDiscard,
    /// One of the writers did not know of the declaration.
    Undeclared,
    /// The writers knew of different declarations.
    Differently,
}

/// All rows.
pub const ROWS: [Row; 10] = [
    Row::LastWriter,
    Row::Max,
    Row::Min,
    Row::Union,
    Row::KeepAll,
    Row::Custom,
    Row::CustomMissing,
    Row::Other,
    Row::Counter,
    Row::Text,
];

/// All meetings.
pub const MEETINGS: [Meeting; 14] = [
    Meeting::ValueValue,
    Meeting::Kinds,
    Meeting::SetRemove,
    Meeting::CreateCreate,
    Meeting::EditWins,
    Meeting::DeleteWins,
    Meeting::Nested,
    Meeting::ThreeWay,
    Meeting::SettleSettle,
    Meeting::SettleEdit,
    Meeting::ResetExceed,
    Meeting::AddDiscard,
    Meeting::Undeclared,
    Meeting::Differently,
];

/// Whether such a meeting can come about under what decides.
pub fn can_meet(row: Row, meeting: Meeting) -> bool {
    use Meeting::*;
    match meeting {
        AddDiscard => row == Row::Union,
        ResetExceed => matches!(row, Row::Max | Row::Min),
        // Counters and texts are types, which nested fields and peers without a declaration have as well.
        Nested | Undeclared if matches!(row, Row::Counter | Row::Text) => false,
        // Whole sets, counters and texts are no values that a policy chooses between; nothing of a keep-all field loses.
        Kinds | Differently => !matches!(row, Row::Union | Row::Counter | Row::Text),
        SettleSettle | SettleEdit => {
            !matches!(row, Row::Union | Row::Counter | Row::Text | Row::KeepAll)
        }
        _ => true,
    }
}

/// All cases.
pub const CASES: [Case; 31] = [
    Case::SameField,
    Case::DifferentFields,
    Case::CreateCreate,
    Case::DeleteEdit,
    Case::DeleteDelete,
    Case::Recreate,
    Case::TextText,
    Case::CounterCounter,
    Case::ListList,
    Case::Nested,
    Case::MixedKinds,
    Case::PartitionCounts,
    Case::DeleteRule,
    Case::DependencyLate,
    Case::Duplicate,
    Case::Batch,
    Case::WholeDocument,
    Case::Restart,
    Case::Exact,
    Case::Kept,
    Case::Gone,
    Case::Refused,
    Case::Settled,
    Case::Known,
    Case::Regrouped,
    Case::UndoneAtOnce,
    Case::UndoneLater,
    Case::Redone,
    Case::UndoneTwice,
    Case::UndoRefused,
    Case::PutKnown,
];

/// How often each case and each meeting came about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    cases: BTreeMap<Case, u64>,
    met: BTreeMap<(Row, Meeting), u64>,
}

impl Coverage {
    /// One more of `case`.
    pub fn add(&mut self, case: Case) {
        *self.cases.entry(case).or_default() += 1;
    }

    /// One more meeting.
    pub fn meet(&mut self, row: Row, meeting: Meeting) {
        *self.met.entry((row, meeting)).or_default() += 1;
    }

    /// How often `case` came about.
    pub fn count(&self, case: Case) -> u64 {
        self.cases.get(&case).copied().unwrap_or(0)
    }

    /// How often `meeting` came about under what `row` says.
    pub fn met(&self, row: Row, meeting: Meeting) -> u64 {
        self.met.get(&(row, meeting)).copied().unwrap_or(0)
    }

    /// Adds another program's counts.
    pub fn merge(&mut self, other: &Self) {
        for (case, count) in &other.cases {
            *self.cases.entry(*case).or_default() += count;
        }
        for (met, count) in &other.met {
            *self.met.entry(*met).or_default() += count;
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in CASES {
            writeln!(f, "{:>9} {case:?}", self.count(case))?;
        }
        for row in ROWS {
            writeln!(f, "{row:?}")?;
            for meeting in MEETINGS.into_iter().filter(|it| can_meet(row, *it)) {
                writeln!(f, "{:>9} {meeting:?}", self.met(row, meeting))?;
            }
        }
        Ok(())
    }
}

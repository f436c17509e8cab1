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
}

/// All cases.
pub const CASES: [Case; 22] = [
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
];

/// How often each case came about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<Case, u64>);

impl Coverage {
    /// One more of `case`.
    pub fn add(&mut self, case: Case) {
        *self.0.entry(case).or_default() += 1;
    }

    /// How often `case` came about.
    pub fn count(&self, case: Case) -> u64 {
        self.0.get(&case).copied().unwrap_or(0)
    }

    /// Adds another program's counts.
    pub fn merge(&mut self, other: &Self) {
        for (case, count) in &other.0 {
            *self.0.entry(*case).or_default() += count;
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in CASES {
            writeln!(f, "{:>9} {case:?}", self.count(case))?;
        }
        Ok(())
    }
}

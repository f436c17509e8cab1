//! Which writes met: what their writers did to which fields, without having seen each other.

use crate::acts::{Act, Path};
use crate::coverage::{Case, Coverage, Meeting, Row};
use crate::generate::{COUNTER, LIST, MAP, MIXED, PLAIN, TEXT};
use crate::oracle::Wrote;
use crate::register::{Fate, Made};
use crate::ruled::{RULED, UNION};
use automerge::ChangeHash;
use headwater_core::{DeleteRule, Operation, Policy, Record};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

/// What a write did to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was not there before.
    Create,
    /// It was there before and had been deleted.
    Recreate,
    /// A deleted one was brought back as it was.
    Revive,
    /// It was changed.
    Edit,
    /// It was deleted.
    Delete,
}

/// What was done to one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Set(&'static str),
    Remove,
    Reset,
    Settle,
    Add,
    Discard,
    Within,
}

/// What was done to one field, and by which policy its writer went.
#[derive(Debug, Clone)]
pub struct Touch {
    what: What,
    policy: Option<Policy>,
}

impl Touch {
    /// Of an act that was part of `operation`.
    pub fn of(act: &Act, operation: &Operation, policy: Option<&Policy>) -> Self {
        let what = match act {
            _ if matches!(operation, Operation::Settle(..)) => What::Settle,
            Act::Set(value) | Act::Anew(value) => What::Set(value.kind()),
            Act::Reset(_) => What::Reset,
            Act::Remove => What::Remove,
            Act::Keep => What::Settle,
            Act::Add(_) => What::Add,
            Act::Discard(_) => What::Discard,
        };
        let policy = policy.cloned();
        Self { what, policy }
    }
}

/// One write, and what it did to which fields.
#[derive(Debug)]
pub struct Step {
    /// What it did to the record.
    pub kind: Kind,
    /// The write.
    pub made: Rc<Made>,
    /// The deletes that had seen all of it.
    pub deleters: Vec<Rc<Made>>,
    fields: BTreeMap<Path, Touch>,
    changed: BTreeSet<String>,
    count: u32,
    rule: DeleteRule,
    policies: BTreeMap<String, Policy>,
    /// The steps that its writer had not seen, by index.
    unseen: Vec<usize>,
}

impl Step {
    /// One that touched no field yet.
    pub fn new(kind: Kind, wrote: &Wrote<'_>) -> Self {
        let field =
            |record: Option<&Record>, name: &str| record.and_then(|it| it.get(name).cloned());
        let names = wrote
            .before
            .into_iter()
            .chain(wrote.after)
            .flat_map(Record::keys);
        let differs = |name: &&String| field(wrote.before, name) != field(wrote.after, name);
        Self {
            kind,
            made: wrote.made.clone(),
            deleters: Vec::new(),
            fields: BTreeMap::new(),
            changed: names.filter(differs).cloned().collect(),
            count: wrote.declared.partitions.last().copied().unwrap_or(0),
            rule: wrote.declared.delete,
            policies: wrote.declared.policies.clone(),
            unseen: Vec::new(),
        }
    }

    /// A field was written.
    pub fn touch(&mut self, path: &Path, touch: Touch) {
        self.fields.insert(path.clone(), touch);
    }

    /// Counters and texts, of which only the difference is known.
    pub fn touch_others(&mut self, wrote: &Wrote<'_>) {
        for name in [COUNTER, TEXT] {
            if self.changed.contains(name) {
                let there = wrote.after.is_some_and(|after| after.contains_key(name));
                let what = if there { What::Within } else { What::Remove };
                self.fields
                    .insert(vec![name.to_owned()], Touch { what, policy: None });
            }
        }
    }

    /// Counts what it met: the `steps` before it that its writer had not `seen`.
    pub fn meet(&mut self, steps: &[Step], seen: &HashSet<ChangeHash>, coverage: &mut Coverage) {
        let unseen = |index: &usize| steps[*index].made.known(seen) == Fate::No;
        self.unseen = (0..steps.len()).filter(unseen).collect();
        for index in &self.unseen {
            let other = &steps[*index];
            self.meet_record(other, coverage);
            for (path, touch) in &self.fields {
                if let Some(theirs) = other.fields.get(path) {
                    self.meet_field(path, touch, theirs, other, coverage);
                }
            }
        }
        self.meet_two(steps, coverage);
    }

    fn meet_record(&self, other: &Self, coverage: &mut Coverage) {
        if other.count != self.count {
            coverage.add(Case::PartitionCounts);
        }
        let edited = match (other.kind, self.kind) {
            (Kind::Delete, Kind::Delete) => return coverage.add(Case::DeleteDelete),
            (Kind::Recreate, _) | (_, Kind::Recreate) => return coverage.add(Case::Recreate),
            (Kind::Delete, _) => self,
            (_, Kind::Delete) => other,
            (Kind::Create, Kind::Create) => return coverage.add(Case::CreateCreate),
            _ => return self.meet_fields(other, coverage),
        };
        coverage.add(Case::DeleteEdit);
        let meeting = match self.rule {
            DeleteRule::EditWins => Meeting::EditWins,
            DeleteRule::DeleteWins => Meeting::DeleteWins,
        };
        for (path, touch) in &edited.fields {
            if let Some(row) = row(path, touch.policy.as_ref()) {
                coverage.meet(row, meeting);
            }
        }
    }

    fn meet_fields(&self, other: &Self, coverage: &mut Coverage) {
        let mut both = self.changed.intersection(&other.changed).peekable();
        if both.peek().is_none() {
            coverage.add(Case::DifferentFields);
        }
        for name in both {
            coverage.add(match name.as_str() {
                MAP => Case::Nested,
                COUNTER => Case::CounterCounter,
                TEXT => Case::TextText,
                LIST => Case::ListList,
                MIXED => Case::MixedKinds,
                _ => Case::SameField,
            });
        }
    }

    fn meet_field(
        &self,
        path: &Path,
        ours: &Touch,
        theirs: &Touch,
        other: &Self,
        coverage: &mut Coverage,
    ) {
        if let [_, inner] = path.as_slice() {
            let named = self.policies.get(inner);
            if RULED.contains(&inner.as_str())
                && let Some(row) = row(std::slice::from_ref(inner), named)
            {
                coverage.meet(row, Meeting::Nested);
            }
            return;
        }
        let Some(row) = row(path, ours.policy.as_ref()) else {
            return;
        };
        if self.kind == Kind::Create && other.kind == Kind::Create {
            coverage.meet(row, Meeting::CreateCreate);
        }
        coverage.meet(
            row,
            match (ours.what, theirs.what) {
                (What::Settle, What::Settle) => Meeting::SettleSettle,
                (What::Settle, _) | (_, What::Settle) => Meeting::SettleEdit,
                (What::Remove, What::Remove) => return,
                (What::Remove, _) | (_, What::Remove) => Meeting::SetRemove,
                (What::Reset, _) | (_, What::Reset) => Meeting::ResetExceed,
                (What::Add, What::Discard) | (What::Discard, What::Add) => Meeting::AddDiscard,
                (What::Set(a), What::Set(b)) if a != b => Meeting::Kinds,
                _ => Meeting::ValueValue,
            },
        );
        match (&ours.policy, &theirs.policy) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                coverage.meet(row, Meeting::Differently);
            }
            (Some(_), None) => coverage.meet(row, Meeting::Undeclared),
            _ => {}
        }
    }

    /// Two others that had not seen each other either.
    fn meet_two(&self, steps: &[Step], coverage: &mut Coverage) {
        for (path, touch) in &self.fields {
            let touched = |index: &&usize| steps[**index].fields.contains_key(path);
            let same: Vec<usize> = self.unseen.iter().filter(touched).copied().collect();
            let apart = |b: &usize| same.iter().any(|a| steps[*b].unseen.contains(a));
            if let (Some(row), true) = (row(path, touch.policy.as_ref()), same.iter().any(apart)) {
                coverage.meet(row, Meeting::ThreeWay);
            }
        }
    }
}

/// What decides over a field; `None` for a nested one.
fn row(path: &[String], policy: Option<&Policy>) -> Option<Row> {
    let [name] = path else { return None };
    Some(match policy {
        Some(Policy::Max) => Row::Max,
        Some(Policy::Min) => Row::Min,
        Some(Policy::Union) => Row::Union,
        Some(Policy::KeepAll) => Row::KeepAll,
        Some(Policy::Custom { name, .. }) if name == "sum" => Row::Custom,
        Some(Policy::Custom { .. }) => Row::CustomMissing,
        Some(Policy::Other(_)) => Row::Other,
        Some(Policy::LastWriter) => Row::LastWriter,
        None => match name.as_str() {
            COUNTER => Row::Counter,
            TEXT => Row::Text,
            UNION => return None,
            name if PLAIN.contains(&name) || RULED.contains(&name) => Row::LastWriter,
            _ => return None,
        },
    })
}

//! What the merged records may hold, worked out from who had seen which write.
//!
//! The oracle knows nothing of automerge. It is told each write with the hashes of its changes and the set of changes
//! that its writer had, and follows for every field which writes were superseded by one that had seen them. So it knows
//! which values stand for whoever has some of all changes, and from that what a policy shows and what lost. A write over
//! several documents may be seen in part; of what follows from that it claims less.

use crate::acts::{Act, Acts, Path};
use crate::coverage::{Case, Coverage};
use crate::exact::Exact;
use crate::field::{Field, merges};
use crate::generate::MAP;
use crate::meetings::{Kind, Step, Touch};
use crate::order::{may_show, prefers, spread};
use crate::register::{Fate, Made, Put, Register, Standing};
use crate::ruled::{RULED, UNION, chooses};
use crate::sets::Set;
use crate::undo::Touched;
use automerge::ChangeHash;
use headwater_core::catalog::Collection;
use headwater_core::{
    Attribution, Claim, Conflict, ConflictKind, DeleteRule, Operation, Policy, Record, Value,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

/// One write to one record.
pub struct Wrote<'a> {
    /// The key.
    pub key: &'a str,
    /// What was asked for.
    pub operation: &'a Operation,
    /// What its writer saw before.
    pub before: Option<&'a Record>,
    /// What its writer saw afterwards.
    pub after: Option<&'a Record>,
    /// Who wrote what its writer sees afterwards. It tells, of a value that stood already, whether it was written again.
    pub writers: BTreeMap<Path, Attribution>,
    /// The changes that carry it.
    pub made: Rc<Made>,
    /// What the write that it took back had touched, if it is an undo.
    pub undone: Option<&'a Touched>,
    /// What its writer knew of the collection.
    pub declared: &'a Collection,
    /// The changes that its writer had.
    pub seen: &'a HashSet<ChangeHash>,
}

/// What someone sees of one record.
pub struct Sees<'a> {
    /// The record.
    pub record: Option<Record>,
    /// What lost in it.
    pub open: Vec<Conflict>,
    /// Who wrote what it shows.
    pub writers: BTreeMap<Path, Attribution>,
    /// What is declared of the collection.
    pub declared: &'a Collection,
    /// The changes that they have.
    pub seen: &'a HashSet<ChangeHash>,
}

#[derive(Debug, Default)]
struct History {
    steps: Vec<Step>,
    /// The delete markers.
    marks: Register,
    fields: BTreeMap<Path, Register>,
    union: Set,
    exact: Exact,
    /// What was undone, of which no more is known than that someone wrote it; all of the record if a whole write was.
    undone: BTreeSet<Path>,
    all_undone: bool,
    /// Whether the nested map was ever replaced or removed, and with it what others did inside.
    torn: bool,
}

/// The histories of all records of a program.
#[derive(Default)]
pub struct Oracle {
    records: BTreeMap<String, History>,
}

impl Oracle {
    /// Takes note of a write.
    pub fn wrote(&mut self, wrote: &Wrote<'_>, coverage: &mut Coverage) {
        let history = self.records.entry(wrote.key.to_owned()).or_default();
        history.wrote(wrote, coverage);
    }

    /// Holds what someone sees of the record of `key` against what they may see; `everything` if they have all changes.
    pub fn check(
        &self,
        key: &str,
        sees: &Sees<'_>,
        everything: bool,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let Some(history) = self.records.get(key) else {
            return match sees.record {
                Some(_) => Err(format!("{key} was never written")),
                None => Ok(()),
            };
        };
        let checked = history
            .check(sees, coverage)
            .and_then(|()| match &sees.record {
                Some(record) if everything => history.exact.check(record, coverage),
                _ => Ok(()),
            });
        checked.map_err(|error| {
            let (record, open) = (&sees.record, &sees.open);
            format!("{key} is {record:?}, but {error}\nopen: {open:#?}\n{history:#?}")
        })
    }
}

/// The value at a path of a record.
pub fn at<'r>(record: &'r Record, path: &[String]) -> Option<&'r Value> {
    let (name, outer) = path.split_last()?;
    let mut record = record;
    for name in outer {
        match record.get(name)? {
            Value::Map(map) => record = map,
            _ => return None,
        }
    }
    record.get(name)
}

/// Nested fields have no policy.
fn policy_of<'d>(declared: &'d Collection, path: &[String]) -> Option<&'d Policy> {
    match path {
        [name] => declared.policies.get(name),
        _ => None,
    }
}

impl History {
    fn wrote(&mut self, wrote: &Wrote<'_>, coverage: &mut Coverage) {
        if let Some(touched) = wrote.undone {
            self.undone.extend(touched.fields.iter().cloned());
            self.all_undone |= touched.whole;
            self.union.replaced();
            let has_map = |record: Option<&Record>| record.is_some_and(|it| it.contains_key(MAP));
            self.torn |= has_map(wrote.before) != has_map(wrote.after);
        }
        let acts = Acts::of(wrote.operation, wrote.key, wrote.before);
        let known = |step: &Step| step.made.known(wrote.seen) != Fate::No;
        let existed = self.steps.iter().any(known);
        let kind = match (wrote.before, wrote.after) {
            (_, None) => Kind::Delete,
            (None, Some(_)) if !acts.fresh => Kind::Revive,
            (None, Some(_)) if existed => Kind::Recreate,
            (None, Some(_)) => Kind::Create,
            (Some(_), Some(_)) => Kind::Edit,
        };
        let mut step = Step::new(kind, wrote);
        match kind {
            Kind::Delete => self.deleted(wrote),
            _ => {
                // Whoever edits a record that they see clears the delete markers that they know of.
                self.marks.supersede(&wrote.made, wrote.seen, |_| false);
                self.act(&acts, wrote, &mut step);
                if kind != Kind::Revive {
                    let anew = kind == Kind::Recreate;
                    self.exact
                        .edited(wrote.operation, anew, wrote.before, wrote.after);
                }
            }
        }
        if let Operation::Settle(..) = wrote.operation {
            coverage.add(Case::Settled);
        }
        step.meet(&self.steps, wrote.seen, coverage);
        self.steps.push(step);
    }

    fn deleted(&mut self, wrote: &Wrote<'_>) {
        self.marks.supersede(&wrote.made, wrote.seen, |_| false);
        self.marks.put(&wrote.made, Value::Null);
        for register in self.fields.values_mut() {
            register.deleted(&wrote.made, wrote.seen);
        }
        self.union.deleted(&wrote.made, wrote.seen);
        for step in &mut self.steps {
            if step.made.known(wrote.seen) == Fate::Yes {
                step.deleters.push(wrote.made.clone());
            }
        }
    }

    fn act(&mut self, acts: &Acts, wrote: &Wrote<'_>, step: &mut Step) {
        if acts.fresh {
            for register in self.fields.values_mut() {
                register.supersede(&wrote.made, wrote.seen, |_| false);
            }
            self.torn |= !self.steps.is_empty();
            if !self.steps.is_empty() {
                self.union.replaced();
            }
        }
        self.torn |= acts.torn;
        let known = |name: &str| wrote.declared.policies.get(name);
        for act in acts.of_union() {
            let old = wrote.before.and_then(|before| before.get(UNION));
            let declared = known(UNION) == Some(&Policy::Union);
            self.union
                .wrote(act, old, declared, &wrote.made, wrote.seen);
        }
        for (path, act) in &acts.fields {
            let wrote_it = match path.as_slice() {
                [name] if name == UNION => true,
                _ => self.write(path, act, acts.fresh, wrote),
            };
            if wrote_it {
                step.touch(
                    path,
                    Touch::of(act, wrote.operation, policy_of(wrote.declared, path)),
                );
            }
        }
        step.touch_others(wrote);
    }

    /// Does one act; `true` if it wrote anything.
    fn write(&mut self, path: &Path, act: &Act, fresh: bool, wrote: &Wrote<'_>) -> bool {
        let policy = policy_of(wrote.declared, path);
        let old = wrote.before.and_then(|before| at(before, path));
        let undone = self.is_undone(path);
        let register = self.fields.entry(path.clone()).or_default();
        let after = wrote.after.and_then(|after| at(after, path));
        if let (true, Some(after)) = (undone, after) {
            // What stands is not known, but that this was written.
            register.put(&wrote.made, after.clone());
            return true;
        }
        // Who wrote what stands now: a map is written by who wrote what is in it.
        let mut writers = wrote.writers.iter().filter(|(at, _)| at.starts_with(path));
        let by = writers.next().map(|(_, by)| by.hash);
        let again = by.is_none_or(|by| wrote.made.hashes.contains(&by));
        let standing = register.standing(wrote.seen);
        let value = match act {
            Act::Remove => None,
            _ if fresh => match act {
                Act::Set(new) => Some(new),
                _ => after,
            },
            Act::Set(new) if !sets(policy, &standing, old, new, again) => {
                if !chooses(policy) {
                    // What may have lost to it may be gone, with the value left as it is.
                    let keeps =
                        |put: &Put| put.stands(wrote.seen) == Fate::Yes || put.value == *new;
                    register.supersede(&wrote.made, wrote.seen, keeps);
                }
                return false;
            }
            Act::Set(new) | Act::Reset(new) | Act::Anew(new) => Some(new),
            Act::Keep => after,
            Act::Add(_) | Act::Discard(_) => return false,
        };
        // Concurrent maps are one value together.
        let merges = value.is_some_and(|value| merges(policy, value));
        let edits = matches!((old, act), (Some(Value::Map(_)), Act::Set(_))) && merges;
        let stood = value.is_some_and(|value| {
            let part = |put: &Put| {
                matches!(put.value, Value::Map(_)) && (edits || matches!(act, Act::Keep))
            };
            let mut all = standing.all.iter();
            all.any(|put| put.value == *value || part(put))
        });
        let value = value.cloned();
        let removed_something = !standing.all.is_empty();
        if stood && !fresh && !again {
            // The value stood already, and was not written again.
            // Maps that lost to something else are kept one by one.
            let together =
                merges && (matches!(old, Some(Value::Map(_))) || !matches!(act, Act::Keep));
            let keeps = |put: &Put| {
                let kept = by.is_some_and(|by| put.made.hashes.contains(&by));
                kept || (together && matches!(put.value, Value::Map(_)))
            };
            register.supersede(&wrote.made, wrote.seen, keeps);
            return true;
        }
        register.supersede(&wrote.made, wrote.seen, |_| false);
        match value {
            Some(value) => register.put(&wrote.made, value),
            None => return removed_something,
        }
        true
    }

    fn check(&self, sees: &Sees<'_>, coverage: &mut Coverage) -> Result<(), String> {
        let known =
            |step: &&Step| step.kind != Kind::Delete && step.made.known(sees.seen) != Fate::No;
        let steps: Vec<&Step> = self.steps.iter().filter(known).collect();
        let marks = self.marks.standing(sees.seen);
        let Some(record) = &sees.record else {
            return match steps.is_empty() {
                true => Ok(()),
                false => self.check_gone(&steps, &marks, sees, coverage),
            };
        };
        if steps.is_empty() {
            return Err("it was never written".into());
        }
        self.check_marks(&steps, &marks, sees)?;
        for (path, register) in &self.fields {
            self.check_field(path, register, record, sees, coverage)
                .map_err(|error| format!("{path:?} {error}"))?;
        }
        if self.union.check(UNION, record, sees.seen)? {
            coverage.add(Case::Known);
            if sees.open.iter().any(|one| one.field == [UNION]) {
                return Err("a set has a conflict".into());
            }
        }
        Ok(())
    }

    /// A record that is shown: no delete may have to win, and each that stands is in the ledger.
    fn check_marks(
        &self,
        steps: &[&Step],
        marks: &Standing<'_>,
        sees: &Sees<'_>,
    ) -> Result<(), String> {
        if !marks.sure.is_empty() {
            if sees.declared.delete == DeleteRule::DeleteWins {
                return Err("it was deleted, and deletes win".into());
            }
            let covered = |step: &&Step| {
                let mut sure = marks.sure.iter();
                sure.any(|mark| {
                    step.deleters
                        .iter()
                        .any(|made| Rc::ptr_eq(made, &mark.made))
                })
            };
            if steps.iter().all(covered) {
                return Err("its deleters had seen everything".into());
            }
        }
        let mut listed: Vec<ChangeHash> = Vec::new();
        for conflict in sees
            .open
            .iter()
            .filter(|one| one.kind == ConflictKind::DeleteLost)
        {
            listed.extend(
                conflict
                    .losers
                    .iter()
                    .filter_map(|loser| Some(loser.by.as_ref()?.hash)),
            );
        }
        let carries = |put: &&Put| listed.iter().any(|hash| put.made.hashes.contains(hash));
        if !marks.sure.iter().all(carries) {
            return Err("a delete that lost is not in the ledger".into());
        }
        let stands = |hash: &ChangeHash| marks.all.iter().any(|put| put.made.hashes.contains(hash));
        if !listed.iter().all(stands) {
            return Err("a delete is in the ledger that was superseded".into());
        }
        Ok(())
    }

    /// A record that is not shown: it was deleted, by those who had seen all of it or where deletes win.
    fn check_gone(
        &self,
        steps: &[&Step],
        marks: &Standing<'_>,
        sees: &Sees<'_>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        if marks.all.is_empty() {
            let known = |step: &&Step| step.made.known(sees.seen) == Fate::Yes;
            return match steps.iter().any(known) {
                true => Err("no one deleted it".into()),
                false => Ok(()),
            };
        }
        coverage.add(Case::Gone);
        let unseen = |put: &&Put| {
            let mut all = marks.all.iter();
            !all.any(|mark| put.deleters.iter().any(|made| Rc::ptr_eq(made, &mark.made)))
        };
        let lost = sees
            .open
            .iter()
            .find(|one| one.kind == ConflictKind::EditLost);
        let lost = lost.and_then(|one| match one.losers.as_slice() {
            [
                Claim {
                    value: Some(Value::Map(record)),
                    ..
                },
            ] => Some(record),
            _ => None,
        });
        for (path, register) in self
            .fields
            .iter()
            .filter(|(path, _)| !self.is_torn(path) && !self.is_undone(path))
        {
            let standing = register.standing(sees.seen);
            let Some(put) = standing.sure.iter().find(|put| unseen(put)) else {
                continue;
            };
            if sees.declared.delete == DeleteRule::EditWins {
                return Err(format!("no delete had seen the last write of {path:?}"));
            }
            let Some(lost) = lost else {
                return Err(format!("the ledger lacks the edit of {path:?} that lost"));
            };
            let shown = at(lost, path);
            let policy = policy_of(sees.declared, path);
            if standing.all.len() == 1
                && !shown.is_some_and(|shown| may_show(policy, &[&put.value], shown))
            {
                return Err(format!("the ledger lacks the value of {path:?} that lost"));
            }
        }
        Ok(())
    }

    fn is_torn(&self, path: &[String]) -> bool {
        self.torn && path.len() > 1
    }

    fn is_undone(&self, path: &[String]) -> bool {
        self.all_undone || self.undone.contains(path)
    }

    fn check_field(
        &self,
        path: &Path,
        register: &Register,
        record: &Record,
        sees: &Sees<'_>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let standing = register.standing(sees.seen);
        let policy = policy_of(sees.declared, path);
        let shown = at(record, path);
        let conflict = sees.open.iter().find(|one| one.field == *path);
        if self.is_undone(path) {
            let made = RULED.contains(&path[0].as_str());
            let written = |shown: &Value| register.puts.iter().any(|put| put.value == *shown);
            return match shown.is_none_or(written) || made {
                true => Ok(()),
                false => Err("shows what no one wrote".into()),
            };
        }
        let Some(shown) = shown else {
            return match standing.sure.is_empty() || self.is_torn(path) {
                true => Ok(()),
                false => Err("lost what no one had superseded".into()),
            };
        };
        let field = Field {
            policy,
            standing: &standing,
            shown,
            conflict,
        };
        if self.is_torn(path) || !standing.is_exact() {
            return field.check_roughly(self.is_torn(path), coverage);
        }
        if standing.all.is_empty() {
            return Err("shows what was superseded".into());
        }
        coverage.add(Case::Known);
        field.check_exactly()?;
        if matches!(shown, Value::Map(_) | Value::List(_))
            || policy.is_some_and(|one| one == &Policy::KeepAll)
        {
            return Ok(());
        }
        let wrote = |put: &&Put, by: &Attribution| {
            put.value == *shown && put.made.hashes.contains(&by.hash)
        };
        let made_of_several = !standing.all.iter().any(|put| put.value == *shown);
        match sees.writers.get(path) {
            Some(by) if standing.all.iter().any(|put| wrote(put, by)) => Ok(()),
            Some(_) if made_of_several => Ok(()),
            by => Err(format!("was not written by {by:?}")),
        }
    }
}

/// Whether a set writes anything.
fn sets(
    policy: Option<&Policy>,
    standing: &Standing<'_>,
    old: Option<&Value>,
    new: &Value,
    again: bool,
) -> bool {
    let Some(old) = old else { return true };
    match policy {
        Some(policy @ (Policy::Max | Policy::Min)) => return prefers(policy, new, old),
        Some(Policy::KeepAll) => return Value::List(spread([new])) != *old,
        Some(Policy::Custom { .. }) => return new != old,
        _ => {}
    }
    // Programs set only those maps and lists that are shown already. The same value again is no write, unless it settles a
    // conflict.
    let part = |put: &Put| merges(policy, new) && matches!(put.value, Value::Map(_));
    let loses = |put: &&Put| put.value != *new && !part(put);
    standing.sure.iter().copied().any(|put| loses(&put))
        || (again && standing.all.iter().copied().any(|put| loses(&put)))
}

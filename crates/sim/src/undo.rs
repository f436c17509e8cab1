//! What an undo must do whatever else happened, told from what its writer saw before and after: how it does it is not copied.

use crate::acts::{Acts, Path};
use crate::coverage::{Case, Coverage};
use crate::generate::{MAP, PLAIN};
use crate::oracle::at;
use crate::rng::Rng;
use crate::ruled::{RULED, UNION};
use automerge::ChangeHash;
use headwater_core::catalog::Collection;
use headwater_core::policy::Policies;
use headwater_core::{
    Attribution, Conflict, DocumentId, Operation, Policy, Record, Value, Written,
    json::{record_to_json, value_to_json},
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The changes of one write.
pub type Changes = BTreeMap<DocumentId, ChangeHash>;

/// What a write did to one record.
#[derive(Debug, Clone)]
pub struct Touched {
    /// What its writer saw before and afterwards.
    before: Option<Record>,
    after: Option<Record>,
    /// The fields that it wrote as a whole.
    pub fields: BTreeSet<Path>,
    /// Whether it wrote all of the record: created it, deleted it or removed its nested map.
    pub whole: bool,
}

impl Touched {
    fn names(&self) -> BTreeSet<&String> {
        let all = self.before.iter().chain(&self.after);
        let differs = |name: &&String| {
            let value = |record: &Option<Record>| record.as_ref()?.get(*name).cloned();
            value(&self.before) != value(&self.after)
        };
        let changed = all.flat_map(Record::keys).filter(differs);
        changed
            .chain(self.fields.iter().map(|path| &path[0]))
            .collect()
    }
}

/// A write that can be undone.
#[derive(Debug)]
pub struct Entry {
    /// The peer that made it.
    pub by: usize,
    /// Its changes.
    pub changes: Changes,
    /// What it did, by key.
    pub keys: BTreeMap<String, Touched>,
    /// What its writer had right after it, and knew of policies.
    seen: HashSet<ChangeHash>,
    policies: Policies,
    /// Which of the chains of undos it belongs to, and whether it took something back.
    chain: usize,
    undo: bool,
}

/// A write and all its undos.
#[derive(Debug, Default)]
struct Chain {
    undone: bool,
    /// The changes that wrote, and those that took back.
    own: [HashSet<ChangeHash>; 2],
}

/// What a peer sees of one record.
pub struct Saw {
    /// The key.
    pub key: &'static str,
    /// The record.
    pub record: Option<Record>,
    /// Who wrote what it shows.
    pub writers: BTreeMap<Path, Attribution>,
    /// What lost in it.
    pub open: Vec<Conflict>,
}

impl Saw {
    /// Whether the ledger has the write of this change to the field at `path`.
    fn lost(&self, path: &Path, by: &ChangeHash) -> bool {
        let here = self.open.iter().filter(|one| one.field == *path);
        let mut losers = here.flat_map(|one| &one.losers);
        losers.any(|loser| loser.by.as_ref().is_some_and(|it| it.hash == *by))
    }
}

/// All writes of a program that can be undone.
#[derive(Debug, Default)]
pub struct Undos {
    entries: Vec<Entry>,
    chains: Vec<Chain>,
}

impl Undos {
    /// Takes note of a write, and for each of its keys of what its writer saw before and after.
    pub fn wrote(
        &mut self,
        by: usize,
        operation: &Operation,
        written: &Written,
        saw: &[(&'static str, Option<Record>, Option<Record>)],
        seen: &HashSet<ChangeHash>,
        policies: &Policies,
    ) {
        if written.changes.is_empty() {
            return;
        }
        let undone = match operation {
            Operation::Undo(changes) => self.find(changes),
            _ => None,
        };
        let touched = |(key, before, after): &(&'static str, Option<Record>, Option<Record>)| {
            let (fields, whole) = match undone {
                Some(undone) => {
                    let undone = undone.keys.get(*key)?;
                    (undone.fields.clone(), undone.whole)
                }
                None => {
                    let acts = Acts::of(operation, key, before.as_ref());
                    let fields = acts.fields.iter().map(|(path, _)| path.clone()).collect();
                    let whole = acts.fresh || acts.torn || before.is_none() || after.is_none();
                    (fields, whole)
                }
            };
            let touched = Touched {
                before: before.clone(),
                after: after.clone(),
                fields,
                whole,
            };
            Some(((*key).to_owned(), touched))
        };
        let keys = saw.iter().filter_map(touched).collect();
        let known = undone.map(|undone| (undone.chain, !undone.undo));
        let (chain, undo) = known.unwrap_or((self.chains.len(), false));
        if chain == self.chains.len() {
            self.chains.push(Chain::default());
        }
        let changes: Changes = written.changes.iter().copied().collect();
        self.chains[chain].undone = undo;
        self.chains[chain].own[usize::from(undo)].extend(changes.values());
        self.entries.push(Entry {
            by,
            changes,
            keys,
            seen: seen.clone(),
            policies: policies.clone(),
            chain,
            undo,
        });
    }

    /// The write with these changes.
    pub fn find(&self, changes: &Changes) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.changes == *changes)
    }

    /// One of a peer's own writes, mostly a late one, or sometimes another's.
    pub fn choose(&self, rng: &mut Rng, by: usize) -> Option<&Entry> {
        let others = rng.chance(6);
        let mine = |entry: &&Entry| (entry.by == by) != others;
        let mine: Vec<&Entry> = self.entries.iter().filter(mine).collect();
        let last = mine.len().checked_sub(1)?;
        // What was undone before is undone again, and its undo too.
        let chain = mine.iter().rev().find(|entry| entry.undo);
        let chain = chain.map(|undo| mine.iter().filter(|one| one.chain == undo.chain));
        Some(match (rng.below(100), chain) {
            (0..40, Some(chain)) => *rng.pick(&chain.collect::<Vec<_>>()),
            (0..80, _) => mine[last.saturating_sub(rng.below(2))],
            _ => *rng.pick(&mine),
        })
    }

    /// Whether what the write did stands.
    fn stands(&self, entry: &Entry) -> bool {
        self.chains[entry.chain].undone == entry.undo
    }

    /// Holds what an undo did against what it may do. To be asked before the undo is taken note of.
    pub fn check(
        &self,
        changes: &Changes,
        written: &Written,
        (before, after): (&[Saw], &[Saw]),
        declared: &Collection,
        had: &HashSet<ChangeHash>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let entry = self.find(changes).ok_or("no one wrote what was undone")?;
        let nothing = written.changes.is_empty();
        let others_since = had.len() > entry.seen.len();
        if !self.stands(entry) {
            coverage.add(Case::UndoneTwice);
            return match nothing || entry.changes.len() > 1 {
                true => Ok(()),
                false => Err("what was undone already was undone again".into()),
            };
        }
        coverage.add(match (entry.undo, others_since) {
            (true, _) => Case::Redone,
            (false, true) => Case::UndoneLater,
            (false, false) => Case::UndoneAtOnce,
        });
        for (before, after) in before.iter().zip(after) {
            let checked = match entry.keys.get(before.key) {
                Some(touched) => self.check_record(entry, touched, (before, after), declared, had),
                None if before.record == after.record => Ok(()),
                None => Err("was not in what was undone".to_owned()),
            };
            checked.map_err(|error| {
                let (key, before, after) = (before.key, &before.record, &after.record);
                format!("{key} became {after:?}\n  from {before:?}\n  by an undo, but {error}\n  of {entry:#?}")
            })?;
        }
        Ok(())
    }

    fn check_record(
        &self,
        entry: &Entry,
        touched: &Touched,
        (before, after): (&Saw, &Saw),
        declared: &Collection,
        had: &HashSet<ChangeHash>,
    ) -> Result<(), String> {
        let policies = &declared.policies;
        let [wrote, took_back] = &self.chains[entry.chain].own;
        let own = [wrote, took_back][usize::from(entry.undo)];
        // Of two documents no one can tell what was written first.
        let apart = declared.partitions.len() > 1;
        let ours = |by: &Attribution| wrote.contains(&by.hash) || took_back.contains(&by.hash);
        let others = before.writers.values().any(|by| !ours(by));
        let same = json(&after.record, policies) == json(&touched.before, policies);
        // A redo brings back what others had written with what its author had, and they keep it when that goes again.
        let again = !entry.undo && !took_back.is_empty() && touched.before.is_none();
        let stays = (apart || again) && others && touched.before.is_none();
        if had.len() == entry.seen.len() && !same && !stays {
            return Err("it is not what it was, with nothing done since".into());
        }
        let is_whole = |path: &Path| is_whole(path, policies);
        let kept = before.writers.iter().filter(|(path, by)| {
            let known = entry.seen.contains(&by.hash) && (apart || !again || ours(by));
            is_whole(path) && !own.contains(&by.hash) && !known
        });
        for (path, by) in kept {
            let value = |saw: &Saw| at(saw.record.as_ref()?, path).cloned();
            // What is put back beside it can win, as it did before.
            if value(before) != value(after) && !after.lost(path, &by.hash) {
                return Err(format!("{path:?} was written by {by:?}"));
            }
        }
        let (Some(was), Some(now)) = (&before.record, &after.record) else {
            return Ok(());
        };
        let names = touched.names();
        let changed = |name: &&String| was.get(*name) != now.get(*name);
        let mut other = was.keys().chain(now.keys()).filter(changed);
        if let Some(name) = other.find(|name| !touched.whole && !names.contains(name)) {
            return Err(format!("{name:?} was not in what was undone"));
        }
        // Under another policy, what stood before can show something else.
        let chain: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|one| one.chain == entry.chain)
            .collect();
        let alike = |path: &Path| {
            let policy = policies.get(&path[0]);
            chain.iter().all(|one| one.policies.get(&path[0]) == policy)
        };
        let left = after.writers.iter().find(|(path, by)| {
            let old = touched.before.as_ref().and_then(|old| at(old, path));
            is_whole(path) && alike(path) && own.contains(&by.hash) && at(now, path) != old
        });
        match left {
            Some((path, _)) => Err(format!("{path:?} still shows what was undone")),
            None => Ok(()),
        }
    }
}

/// A record as canonical JSON, where what keeps all values is in any order: one that is put back is the last write.
fn json(record: &Option<Record>, policies: &Policies) -> Option<String> {
    let mut record = record.clone()?;
    for (name, value) in &mut record {
        if let (Value::List(items), Some(Policy::KeepAll)) = (value, policies.get(name)) {
            items.sort_by_key(value_to_json);
        }
    }
    Some(record_to_json(&record))
}

/// Whether the field at `path` shows a value that one writer wrote as a whole.
fn is_whole(path: &Path, policies: &Policies) -> bool {
    let made = |name: &str| {
        matches!(
            policies.get(name),
            Some(Policy::KeepAll | Policy::Custom { .. })
        )
    };
    match path.as_slice() {
        [name] => {
            let name = name.as_str();
            PLAIN.contains(&name) || (RULED.contains(&name) && name != UNION && !made(name))
        }
        [outer, _] => outer == MAP,
        _ => false,
    }
}

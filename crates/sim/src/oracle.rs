//! What the merged records may hold, worked out from who had seen which write.
//!
//! The oracle knows nothing of automerge. It is told each write with the hashes of its changes and the set of changes
//! that its writer had, and follows for every plain field which writes were superseded by one that had seen them. A
//! write over several documents may be seen in part; of what follows from that it claims nothing.

use crate::coverage::{Case, Coverage};
use crate::generate::{COUNTER, INNER, LIST, MAP, MIXED, PLAIN, TEXT};
use automerge::ChangeHash;
use headwater_core::{Record, Value};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// One write to one record.
pub struct Wrote<'a> {
    /// The collection and key.
    pub record: (&'a str, &'a str),
    /// What its writer saw before.
    pub before: Option<&'a Record>,
    /// What its writer saw afterwards.
    pub after: Option<&'a Record>,
    /// Whether it wrote the whole record, so that it may have settled conflicts of fields that it did not change.
    pub whole: bool,
    /// The changes that carry it, at least one.
    pub hashes: Vec<ChangeHash>,
    /// The partition count that its writer wrote with.
    pub count: u32,
    /// The changes that its writer had.
    pub seen: &'a HashSet<ChangeHash>,
}

/// Whether something happened to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    No,
    Perhaps,
    Yes,
}

/// How much of a write its reader had.
fn known(hashes: &[ChangeHash], seen: &HashSet<ChangeHash>) -> Fate {
    match hashes.iter().filter(|hash| seen.contains(hash)).count() {
        0 => Fate::No,
        n if n == hashes.len() => Fate::Yes,
        _ => Fate::Perhaps,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Recreate,
    Edit,
    Delete,
}

#[derive(Debug)]
struct Step {
    kind: Kind,
    fields: BTreeSet<String>,
    count: u32,
    hashes: Vec<ChangeHash>,
}

#[derive(Debug)]
struct Delete {
    hashes: Vec<ChangeHash>,
    /// Whether it had seen every write to the record that there ever was.
    saw_all: bool,
    /// Whether someone who had seen it wrote the record again.
    undone: bool,
}

/// A value that was put into a plain field.
#[derive(Debug)]
struct Put {
    value: i64,
    hashes: Vec<ChangeHash>,
    superseded: Fate,
    /// The writes that superseded it.
    by: Vec<Vec<ChangeHash>>,
    deleted: Fate,
}

impl Put {
    /// Whether a writer that has `seen` may find it standing.
    fn stands_for(&self, seen: &HashSet<ChangeHash>) -> bool {
        let superseded = self.by.iter().any(|by| known(by, seen) == Fate::Yes);
        known(&self.hashes, seen) != Fate::No && !superseded
    }
}

/// What a counter, a text and a list must hold, unless something was done that loses edits by design.
#[derive(Debug, Default)]
struct Exact {
    sum: i64,
    chars: BTreeMap<char, i64>,
    items: BTreeSet<i64>,
    removed: BTreeSet<i64>,
    created: BTreeMap<&'static str, u32>,
    unknown: BTreeSet<&'static str>,
}

#[derive(Debug, Default)]
struct History {
    steps: Vec<Step>,
    deletes: Vec<Delete>,
    plain: BTreeMap<String, Vec<Put>>,
    exact: Exact,
}

/// The histories of all records of a program.
#[derive(Default)]
pub struct Oracle {
    records: BTreeMap<(String, String), History>,
    /// Collections for which anyone ever declared that deletes win.
    delete_wins: BTreeSet<String>,
}

impl Oracle {
    /// Takes note that deletes may win in `collection`.
    pub fn declared_delete_wins(&mut self, collection: &str) {
        self.delete_wins.insert(collection.to_owned());
    }

    /// Takes note of a write.
    pub fn wrote(&mut self, wrote: &Wrote<'_>, coverage: &mut Coverage) {
        let (collection, key) = wrote.record;
        let record = (collection.to_owned(), key.to_owned());
        let history = self.records.entry(record).or_default();
        let step = history.step(wrote);
        history.count(&step, wrote.seen, coverage);
        match step.kind {
            Kind::Delete => history.deleted(wrote),
            kind => history.edited(kind, wrote),
        }
        history.steps.push(step);
    }

    /// Holds what every peer now shows against what it may show; `deletes_win` as the merged catalogs say.
    pub fn check(
        &self,
        get: impl Fn(&str, &str) -> Option<Record>,
        deletes_win: impl Fn(&str) -> bool,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        for ((collection, key), history) in &self.records {
            let record = get(collection, key);
            let rule = Rule {
                ever_deletes_win: self.delete_wins.contains(collection),
                deletes_win: deletes_win(collection),
            };
            history
                .check(record.as_ref(), rule, coverage)
                .map_err(|error| {
                    format!("{collection}/{key} is {record:?}, but {error}\n{history:#?}")
                })?;
        }
        Ok(())
    }
}

struct Rule {
    ever_deletes_win: bool,
    deletes_win: bool,
}

/// A record's plain fields by path, those of the nested map too.
fn plain(record: Option<&Record>) -> BTreeMap<String, i64> {
    let mut fields = BTreeMap::new();
    for name in PLAIN {
        if let Some(Value::Int(n)) = record.and_then(|record| record.get(name)) {
            fields.insert(name.to_owned(), *n);
        }
    }
    if let Some(Value::Map(map)) = record.and_then(|record| record.get(MAP)) {
        for name in INNER {
            if let Some(Value::Int(n)) = map.get(name) {
                fields.insert(format!("{MAP}/{name}"), *n);
            }
        }
    }
    fields
}

fn field<'a>(record: Option<&'a Record>, name: &str) -> Option<&'a Value> {
    record?.get(name)
}

fn ints(value: &Value) -> BTreeSet<i64> {
    match value {
        Value::List(items) => items.iter().filter_map(Value::as_int).collect(),
        _ => BTreeSet::new(),
    }
}

fn chars(value: &Value) -> BTreeMap<char, i64> {
    let mut counts = BTreeMap::new();
    for c in value.as_str().unwrap_or_default().chars() {
        *counts.entry(c).or_default() += 1;
    }
    counts
}

impl History {
    fn step(&self, wrote: &Wrote<'_>) -> Step {
        let existed = || {
            let mut steps = self.steps.iter();
            steps.any(|step| known(&step.hashes, wrote.seen) != Fate::No)
        };
        let kind = match (wrote.before, wrote.after) {
            (_, None) => Kind::Delete,
            (Some(_), _) => Kind::Edit,
            (None, _) if existed() => Kind::Recreate,
            (None, _) => Kind::Create,
        };
        let names = wrote.before.into_iter().chain(wrote.after);
        let fields = names
            .flat_map(Record::keys)
            .filter(|name| field(wrote.before, name) != field(wrote.after, name))
            .cloned()
            .collect();
        Step {
            kind,
            fields,
            count: wrote.count,
            hashes: wrote.hashes.clone(),
        }
    }

    /// Counts the conflicts of a new step with those that its writer had not seen.
    fn count(&self, step: &Step, seen: &HashSet<ChangeHash>, coverage: &mut Coverage) {
        for other in &self.steps {
            if known(&other.hashes, seen) != Fate::No {
                continue;
            }
            if other.count != step.count {
                coverage.add(Case::PartitionCounts);
            }
            match (other.kind, step.kind) {
                (Kind::Delete, Kind::Delete) => coverage.add(Case::DeleteDelete),
                (Kind::Delete, Kind::Recreate) | (Kind::Recreate, _) | (_, Kind::Recreate) => {
                    coverage.add(Case::Recreate);
                }
                (Kind::Delete, _) | (_, Kind::Delete) => coverage.add(Case::DeleteEdit),
                (Kind::Create, Kind::Create) => coverage.add(Case::CreateCreate),
                _ => {}
            }
            let mut both = other.fields.intersection(&step.fields).peekable();
            if both.peek().is_none() && step.kind == Kind::Edit && other.kind == Kind::Edit {
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
    }

    fn deleted(&mut self, wrote: &Wrote<'_>) {
        for put in self.plain.values_mut().flatten() {
            put.deleted = put.deleted.max(known(&put.hashes, wrote.seen));
        }
        let saw_all = self
            .steps
            .iter()
            .all(|step| known(&step.hashes, wrote.seen) == Fate::Yes || step.kind == Kind::Delete);
        self.deletes.push(Delete {
            hashes: wrote.hashes.clone(),
            saw_all,
            undone: false,
        });
    }

    fn edited(&mut self, kind: Kind, wrote: &Wrote<'_>) {
        for delete in &mut self.deletes {
            delete.saw_all = false;
            delete.undone |= known(&delete.hashes, wrote.seen) != Fate::No;
        }
        self.edited_plain(kind, wrote);
        self.exact.edited(kind, wrote);
    }

    fn edited_plain(&mut self, kind: Kind, wrote: &Wrote<'_>) {
        let (before, after) = (plain(wrote.before), plain(wrote.after));
        let paths: BTreeSet<String> = before
            .keys()
            .chain(after.keys())
            .chain(self.plain.keys())
            .cloned()
            .collect();
        for path in paths {
            let (old, new) = (before.get(&path), after.get(&path));
            let rewritten = wrote.whole || path.starts_with(MAP);
            let puts = self.plain.entry(path).or_default();
            let standing = puts.iter().filter(|put| put.stands_for(wrote.seen)).count();
            // Writing again what a conflict shows may settle it: either of the two writes can be what stands then.
            let settles = rewritten && old.is_some() && old == new && standing > 1;
            if old == new && !settles && kind != Kind::Recreate {
                continue;
            }
            for put in puts.iter_mut() {
                let fate = known(&put.hashes, wrote.seen);
                let fate = if settles {
                    fate.min(Fate::Perhaps)
                } else {
                    fate
                };
                if fate != Fate::No {
                    put.by.push(wrote.hashes.clone());
                }
                put.superseded = put.superseded.max(fate);
            }
            if let Some(value) = new {
                puts.push(Put {
                    value: *value,
                    hashes: wrote.hashes.clone(),
                    superseded: if settles { Fate::Perhaps } else { Fate::No },
                    by: Vec::new(),
                    deleted: Fate::No,
                });
            }
        }
    }

    fn check(
        &self,
        record: Option<&Record>,
        rule: Rule,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let Some(shown) = record else {
            return self.check_gone(rule, coverage);
        };
        if self.deletes.iter().any(|delete| delete.saw_all) {
            return Err("a delete had seen everything".into());
        }
        if rule.deletes_win && self.deletes.iter().any(|delete| !delete.undone) {
            return Err("it was deleted, and deletes win".into());
        }
        let values = plain(record);
        for (path, puts) in &self.plain {
            let value = values.get(path);
            let stands = |put: &Put| put.superseded != Fate::Yes && Some(&put.value) == value;
            if value.is_some() && !puts.iter().any(stands) {
                return Err(format!("{path:?} shows a value that was superseded"));
            }
            let must = |put: &Put| put.superseded == Fate::No;
            if self.claims(path) && puts.iter().any(must) {
                if value.is_none() {
                    return Err(format!("{path:?} lost what no one had superseded"));
                }
                coverage.add(Case::Kept);
            }
        }
        if let Some(path) = values.keys().find(|path| !self.plain.contains_key(*path)) {
            return Err(format!("{path:?} was never written"));
        }
        self.exact.check(shown, coverage)
    }

    fn check_gone(&self, rule: Rule, coverage: &mut Coverage) -> Result<(), String> {
        if self.deletes.is_empty() {
            return Err("no one deleted it".into());
        }
        coverage.add(Case::Gone);
        if rule.ever_deletes_win {
            return Ok(());
        }
        for (path, puts) in &self.plain {
            let survives = |put: &Put| put.superseded == Fate::No && put.deleted == Fate::No;
            if self.claims(path) && puts.iter().any(survives) {
                return Err(format!("no delete had seen the last write of {path:?}"));
            }
        }
        Ok(())
    }

    /// Whether writes of `path` are lost to nothing but a write of the same path.
    fn claims(&self, path: &str) -> bool {
        !(path.starts_with(MAP) && self.exact.unknown.contains(MAP))
    }
}

impl Exact {
    fn edited(&mut self, kind: Kind, wrote: &Wrote<'_>) {
        for name in [MAP, COUNTER, TEXT, LIST] {
            let (old, new) = (field(wrote.before, name), field(wrote.after, name));
            // A whole that is removed takes with it what others did inside.
            if kind == Kind::Recreate || (old.is_some() && new.is_none()) {
                self.unknown.insert(name);
            }
            let Some(new) = new else { continue };
            if old.is_none() {
                *self.created.entry(name).or_default() += 1;
            }
            let none = Value::Null;
            let old = old.unwrap_or(&none);
            match name {
                COUNTER => self.sum += new.as_int().unwrap_or(0) - old.as_int().unwrap_or(0),
                TEXT => self.edited_text(old, new),
                LIST => {
                    let (old, new) = (ints(old), ints(new));
                    self.items.extend(&new);
                    self.removed.extend(old.difference(&new));
                }
                _ => {}
            }
        }
        // Of texts and lists that both sides created one is shown.
        for name in [TEXT, LIST] {
            if self.created.get(name).is_some_and(|created| *created > 1) {
                self.unknown.insert(name);
            }
        }
    }

    fn edited_text(&mut self, old: &Value, new: &Value) {
        let (old, new) = (chars(old), chars(new));
        for c in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let added = new.get(c).unwrap_or(&0) - old.get(c).unwrap_or(&0);
            if added < 0 {
                // Two may remove the same character.
                self.unknown.insert(TEXT);
            }
            *self.chars.entry(*c).or_default() += added;
        }
    }

    fn check(&self, shown: &Record, coverage: &mut Coverage) -> Result<(), String> {
        let none = Value::Null;
        for name in [COUNTER, TEXT, LIST] {
            if self.unknown.contains(name) || !self.created.contains_key(name) {
                continue;
            }
            let shown = shown.get(name).unwrap_or(&none);
            let exact = match name {
                COUNTER => *shown == Value::Counter(self.sum),
                TEXT => chars(shown) == self.chars,
                _ => {
                    let left: Vec<i64> = self.items.difference(&self.removed).copied().collect();
                    let Value::List(items) = shown else {
                        return Err(format!("{name:?} is {shown:?}"));
                    };
                    ints(shown).into_iter().eq(left) && items.len() == ints(shown).len()
                }
            };
            if !exact {
                return Err(format!("{name:?} is {shown:?}, which is not what was done"));
            }
            coverage.add(Case::Exact);
        }
        Ok(())
    }
}

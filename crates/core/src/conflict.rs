//! What lost: the writes that stand in a record and that it does not show.
//!
//! The ledger is a pure function of the documents' heads, like the records. A write leaves it when someone who has seen it
//! writes the field again, or settles the conflict; it stays in the document's history.

use crate::catalog::DeleteRule;
use crate::database::{Database, Found, Scan};
use crate::document::Provenance;
use crate::event::Attribution;
use crate::id::Partition;
use crate::names;
use crate::policy::{Policy, Rule};
use crate::read::{Candidate, Cell, Reader, Source, View, counter, fields, is_set, maps_among};
use crate::tombstone;
use crate::value::{MAX_DEPTH, Record, Value};
use automerge::ObjId;
use std::collections::BTreeMap;
use std::fmt;

/// Something that was written and is not shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The collection.
    pub collection: String,
    /// The record's key.
    pub key: String,
    /// The field, from the record inwards; empty if it is about the record as a whole.
    pub field: Vec<String>,
    /// What met.
    pub kind: ConflictKind,
    /// What decided: a policy's or a delete rule's name.
    pub policy: String,
    /// What is shown: the field's value, or the record; `None` if the record is deleted.
    pub shown: Option<Value>,
    /// The write that is shown; `None` if it is made of several.
    pub winner: Option<Claim>,
    /// The writes that are not, the one that would win next last.
    pub losers: Vec<Claim>,
    /// Whether the policy could be carried out here: a custom function may be missing.
    pub resolved: bool,
}

impl Conflict {
    /// The field as one text that no other field has: the names with dots between them, a name that would not be told apart
    /// so as a JSON string. Empty if it is about the record as a whole.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for name in &self.field {
            if !path.is_empty() {
                path.push('.');
            }
            let quoted = |c: char| matches!(c, '.' | '"') || c.is_control();
            match name.is_empty() || name.contains(quoted) {
                true => crate::json::write_string(&mut path, name),
                false => path.push_str(name),
            }
        }
        path
    }
}

/// What met in a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictKind {
    /// Several values of one field.
    Values,
    /// Edits of a record that others deleted; the delete won. The one of the record as a whole has what the record would
    /// show; where that in turn passes over a value, there is one of the field.
    EditLost,
    /// A delete of a record that others edited; the edit won.
    DeleteLost,
}

impl ConflictKind {
    /// As it is written for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::EditLost => "edit-lost",
            Self::DeleteLost => "delete-lost",
        }
    }
}

/// One write in a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Which write; the same on every peer.
    pub id: ClaimId,
    /// The value; `None` for a delete.
    pub value: Option<Value>,
    /// The change that wrote it, and what its writer claims of it.
    pub by: Option<Attribution>,
}

/// Names a write within its record: `<partition count>/<counter>@<actor>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimId(pub String);

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How to settle a conflict. All of these are writes: they supersede what their writer sees, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// What is shown stays, and what lost is superseded.
    Accept,
    /// This one of the writes is shown.
    Keep(ClaimId),
    /// Another value, or another record.
    Write(Value),
}

impl Database {
    /// What lost in one record.
    pub fn conflicts_of(&self, collection: &str, key: &str) -> Vec<Conflict> {
        self.look(collection, key).conflicts
    }

    /// What lost in a collection, in the order of keys. `scan` chooses among the keys; its limit counts records.
    pub fn conflicts(&self, collection: &str, scan: &Scan) -> Vec<Conflict> {
        self.standing(collection, scan)
            .map(|standing| standing.conflicts)
            .filter(|conflicts| !conflicts.is_empty())
            .take(scan.limit.unwrap_or(usize::MAX))
            .flatten()
            .collect()
    }

    /// Declarations of a collection that lost to others: the path is that in the catalog's record, such as `fields`, the
    /// field's name, `policy`. They are settled by declaring again.
    pub fn declaration_conflicts(&self, collection: &str) -> Vec<Conflict> {
        let views = [View::now(&self.root.doc)];
        let found = crate::database::find(Reader::plain(&views), collection, DeleteRule::default());
        let mut ledger = Ledger::new(collection, collection, &[0]);
        ledger.walk(Reader::plain(&views), &found.sources, 0);
        ledger.conflicts
    }

    /// Who wrote what a record shows: the change of each field by its path, of nested fields too. Of a text or list it is the
    /// newest change among what is left of it; empty if there is no such record.
    pub fn provenance(&self, collection: &str, key: &str) -> BTreeMap<Vec<String>, Attribution> {
        let (_, views) = self.views(collection, key);
        let found = self.find(collection, &views, key);
        let mut all = BTreeMap::new();
        if found.record.is_some() {
            let reader = self.reader(collection, &views);
            writers(reader, &found.sources, &mut Vec::new(), &mut all);
        }
        all
    }

    /// A record, and what lost in it.
    pub(crate) fn look(&self, collection: &str, key: &str) -> Look {
        let (partitions, views) = self.views(collection, key);
        self.look_with(collection, key, &partitions, &views)
    }

    /// A record, and what lost in it, read from these views of the partitions.
    pub(crate) fn look_with(
        &self,
        collection: &str,
        key: &str,
        partitions: &[&Partition],
        views: &[View<'_>],
    ) -> Look {
        let found = self.find(collection, views, key);
        let counts: Vec<u32> = partitions.iter().map(|partition| partition.count).collect();
        Look {
            conflicts: self.ledger(collection, key, &found, views, &counts),
            record: found.record,
        }
    }

    pub(crate) fn ledger(
        &self,
        collection: &str,
        key: &str,
        found: &Found,
        views: &[View<'_>],
        counts: &[u32],
    ) -> Vec<Conflict> {
        if !found.contested {
            return Vec::new();
        }
        let mut ledger = Ledger::new(collection, key, counts);
        let reader = self.reader(collection, views);
        if found.marked {
            ledger.deletes(reader, found, self.delete_rule(collection));
        }
        if found.record.is_some() {
            ledger.walk(reader, &found.sources, 0);
        }
        ledger.conflicts
    }
}

/// What is to be known of a record before and after a change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub record: Option<Record>,
    pub conflicts: Vec<Conflict>,
}

/// Collects the conflicts of one record.
struct Ledger<'l> {
    collection: &'l str,
    key: &'l str,
    /// The partition count of each view's document.
    counts: &'l [u32],
    path: Vec<String>,
    conflicts: Vec<Conflict>,
}

impl<'l> Ledger<'l> {
    fn new(collection: &'l str, key: &'l str, counts: &'l [u32]) -> Self {
        Self {
            collection,
            key,
            counts,
            path: Vec::new(),
            conflicts: Vec::new(),
        }
    }

    fn walk(&mut self, reader: Reader<'_>, sources: &[Source], depth: usize) {
        for (stored, candidates) in fields(reader.views, sources) {
            if let Some(name) = names::shown(&stored) {
                self.path.push(name.to_owned());
                self.field(reader, name, &candidates, depth);
                self.path.pop();
            }
        }
    }

    fn field(&mut self, reader: Reader<'_>, name: &str, candidates: &[Candidate], depth: usize) {
        let rule = reader.rule(name).unwrap_or(Rule::LAST_WRITER);
        let register = reader.is_register(name);
        let maps = maps_among(candidates);
        let whole = counter(reader.views, &maps).is_some() || is_set(reader.views, &maps);
        let wins = matches!(candidates.last(), Some(last) if last.cell == Cell::Map);
        if !register && !whole && wins && depth < MAX_DEPTH {
            self.walk(reader.nested(), &maps, depth + 1);
        }
        // Maps merge into what is shown, unless a policy chooses between them.
        let merged = |candidate: &Candidate| !register && wins && candidate.cell == Cell::Map;
        if candidates.len() < 2 || candidates.iter().all(merged) {
            return;
        }
        if *rule.policy == Policy::KeepAll {
            return;
        }
        let values = reader.each(candidates, depth);
        let resolved = rule.resolve(values.clone());
        let Some(resolved) = resolved else { return };
        // What a policy chose is what is shown; it is not asked again, since it may be an application's function.
        let shown = match register {
            true => Some(resolved.value),
            false => reader.field(name, candidates, depth, &mut false),
        };
        let index = resolved.index.filter(|index| !merged(&candidates[*index]));
        let mut losers = Vec::new();
        for (i, (candidate, value)) in candidates.iter().zip(&values).enumerate() {
            if Some(i) != index && !merged(candidate) && Some(value) != shown.as_ref() {
                losers.push(self.claim(reader, &candidate.source, Some(value.clone())));
            }
        }
        if losers.is_empty() && resolved.carried_out {
            return;
        }
        let winner = index.and_then(|i| {
            let value = values.get(i).cloned();
            Some(self.claim(reader, &candidates.get(i)?.source, value))
        });
        self.add(
            ConflictKind::Values,
            rule.policy.to_string(),
            shown,
            winner,
            losers,
        );
        if let Some(conflict) = self.conflicts.last_mut() {
            conflict.resolved = resolved.carried_out;
        }
    }

    /// What met between the record's edits and its deletes.
    fn deletes(&mut self, reader: Reader<'_>, found: &Found, rule: DeleteRule) {
        let mut deletes: Vec<(Source, ObjId)> = Vec::new();
        for source in &found.sources {
            let Some(view) = reader.views.get(source.rank) else {
                continue;
            };
            let markers = view.all(&source.object, names::DELETED);
            deletes.extend(markers.into_iter().map(|(id, _)| (source.clone(), id)));
        }
        deletes.sort_by(|a, b| (a.0.rank, &a.1).cmp(&(b.0.rank, &b.1)));
        deletes.dedup_by(|a, b| a.0.rank == b.0.rank && a.1 == b.1);
        let mut claims: Vec<Claim> = deletes
            .into_iter()
            .map(|(source, object)| {
                let rank = source.rank;
                self.claim(reader, &Source { rank, object }, None)
            })
            .collect();
        if let Some(record) = &found.record {
            let shown = Some(Value::Map(record.clone()));
            self.add(
                ConflictKind::DeleteLost,
                rule.name().to_owned(),
                shown,
                None,
                claims,
            );
            return;
        }
        let edited = tombstone::edited_since_delete(reader.views, &found.sources, self.key);
        let Some(source) = edited.then(|| found.sources.last()).flatten() else {
            return;
        };
        let merged: Record = reader.merge(&found.sources, 0).record;
        let newest = newest_edit(reader, &found.sources).unwrap_or_else(|| source.clone());
        let mut loser = self.claim(reader, source, Some(Value::Map(merged)));
        loser.by = attribution(reader, &newest);
        let winner = claims.pop();
        self.add(
            ConflictKind::EditLost,
            rule.name().to_owned(),
            None,
            winner,
            vec![loser],
        );
        // What the record would show if it stood has in turn passed over values.
        let mut within = Ledger::new(self.collection, self.key, self.counts);
        within.walk(reader, &found.sources, 0);
        let lost = within.conflicts.into_iter();
        let lost = lost.filter(|conflict| !conflict.losers.is_empty());
        self.conflicts.extend(lost.map(|conflict| Conflict {
            kind: ConflictKind::EditLost,
            policy: rule.name().to_owned(),
            shown: None,
            winner: None,
            resolved: true,
            ..conflict
        }));
    }

    fn add(
        &mut self,
        kind: ConflictKind,
        policy: String,
        shown: Option<Value>,
        winner: Option<Claim>,
        losers: Vec<Claim>,
    ) {
        self.conflicts.push(Conflict {
            collection: self.collection.to_owned(),
            key: self.key.to_owned(),
            field: self.path.clone(),
            kind,
            policy,
            shown,
            winner,
            losers,
            resolved: true,
        });
    }

    fn claim(&self, reader: Reader<'_>, source: &Source, value: Option<Value>) -> Claim {
        Claim {
            id: claim_id(source, self.counts),
            value,
            by: attribution(reader, source),
        }
    }
}

/// The id of the write at `source`, whose document has the partition count of its rank.
pub(crate) fn claim_id(source: &Source, counts: &[u32]) -> ClaimId {
    let count = counts.get(source.rank).copied().unwrap_or_default();
    ClaimId(match &source.object {
        ObjId::Id(counter, actor, _) => format!("{count}/{counter}@{}", actor.to_hex_string()),
        ObjId::Root => format!("{count}/0"),
    })
}

/// The write of the highest op id among the fields of a record.
fn newest_edit(reader: Reader<'_>, sources: &[Source]) -> Option<Source> {
    fields(reader.views, sources)
        .into_iter()
        .filter(|(stored, _)| names::shown(stored).is_some())
        .flat_map(|(_, candidates)| candidates)
        .map(|candidate| candidate.source)
        .max()
}

/// Collects the writer of every field below `path`.
fn writers(
    reader: Reader<'_>,
    sources: &[Source],
    path: &mut Vec<String>,
    all: &mut BTreeMap<Vec<String>, Attribution>,
) {
    for (stored, candidates) in fields(reader.views, sources) {
        let Some(name) = names::shown(&stored) else {
            continue;
        };
        // Where a policy makes a value of several, the newest stands for all of them.
        let chosen = reader.chosen(name, &candidates);
        let made = chosen.is_none();
        let Some(last) = chosen.or(candidates.last()) else {
            continue;
        };
        path.push(name.to_owned());
        let maps = match reader.is_register(name) {
            true => maps_among(std::slice::from_ref(last)),
            false => maps_among(&candidates),
        };
        let leaf = made || counter(reader.views, &maps).is_some() || is_set(reader.views, &maps);
        match &last.cell {
            Cell::Map if !leaf && path.len() <= MAX_DEPTH => {
                writers(reader.nested(), &maps, path, all);
            }
            _ => {
                let newest = newest_write(reader, last);
                if let Some(by) = newest.and_then(|source| attribution(reader, &source)) {
                    all.insert(path.clone(), by);
                }
            }
        }
        path.pop();
    }
}

/// The newest of the writes that make what a candidate shows.
fn newest_write(reader: Reader<'_>, shown: &Candidate) -> Option<Source> {
    let view = reader.views.get(shown.source.rank)?;
    let object = &shown.source.object;
    let inside: Vec<ObjId> = match shown.cell {
        Cell::Text | Cell::List => view.items(object).into_iter().map(|(id, _)| id).collect(),
        Cell::Map => view
            .entries(object)
            .into_iter()
            .map(|entry| entry.id)
            .collect(),
        Cell::Scalar(_) => Vec::new(),
    };
    let rank = shown.source.rank;
    let inside = inside.into_iter().map(|object| Source { rank, object });
    inside.chain([shown.source.clone()]).max()
}

/// The change that made an op.
fn attribution(reader: Reader<'_>, source: &Source) -> Option<Attribution> {
    let doc = reader.views.get(source.rank)?.doc;
    let hash = doc.hash_for_opid(&source.object)?;
    let change = doc.get_change_meta_by_hash(&hash)?;
    Some(Attribution {
        hash,
        actor: change.actor.clone().into_owned(),
        provenance: Provenance::read(change.message.as_deref(), change.timestamp),
    })
}

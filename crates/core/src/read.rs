//! Reading a record out of one or more documents, merging what was created more than once.
//!
//! A key that two peers created apart from each other has two map objects; both stay, and they are merged here, field by
//! field. The same goes for nested maps. Candidates are ordered by the rank of their document (a collection that was
//! declared with several partition counts has a key in several) and then by op id; the last one wins. Lists and texts
//! pick a winner. The result depends on nothing but the documents' heads.

use crate::names;
use crate::policy::{Policy, Rule, Rules};
use crate::value::{MAX_DEPTH, Record, Value};
use automerge::{
    Automerge, ChangeHash, ObjId, ObjType, ReadDoc as _, ScalarValueRef as ScalarRef, ValueRef,
    iter::{MapRange, MapRangeItem},
};
use std::collections::BTreeMap;

/// A document as it is now, or as it was at earlier heads.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub doc: &'a Automerge,
    pub at: Option<&'a [ChangeHash]>,
}

/// What one op put under a name. The content of an object is read by its id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Scalar(Value),
    Map,
    List,
    Text,
}

/// A map object in the document of this rank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub rank: usize,
    pub object: ObjId,
}

/// One of the values that stand under a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// Where it stands, and for an object which one it is.
    pub source: Source,
    pub cell: Cell,
}

impl Candidate {
    /// Whether it is this very value; an object is never.
    pub fn is(&self, value: &Value) -> bool {
        matches!(&self.cell, Cell::Scalar(scalar) if scalar == value)
    }
}

pub(crate) struct Entry {
    pub name: String,
    pub id: ObjId,
    pub cell: Cell,
    pub conflict: bool,
}

impl<'a> View<'a> {
    pub fn now(doc: &'a Automerge) -> Self {
        Self { doc, at: None }
    }

    /// What stands in a map, the last writer's value under each name, in the order of names.
    pub fn range(&self, object: &ObjId) -> MapRange<'a> {
        match self.at {
            None => self.doc.map_range(object, ..),
            Some(heads) => self.doc.map_range_at(object, .., heads),
        }
    }

    pub fn entries(&self, object: &ObjId) -> Vec<Entry> {
        self.range(object)
            .map(|item| Entry {
                id: item.id(),
                cell: cell(&item.value),
                conflict: item.conflict,
                name: item.key.into_owned(),
            })
            .collect()
    }

    /// The least name in a map.
    pub fn first_name(&self, object: &ObjId) -> Option<String> {
        self.range(object).next().map(|item| item.key.into_owned())
    }

    /// All values that stand under an item's name, in the order of op ids.
    fn standing(&self, source: &Source, item: &MapRangeItem<'_>) -> Vec<Candidate> {
        let all = match item.conflict {
            true => self.all(&source.object, &item.key),
            false => vec![(item.id(), cell(&item.value))],
        };
        let rank = source.rank;
        let candidate = |(object, cell)| Candidate {
            source: Source { rank, object },
            cell,
        };
        all.into_iter().map(candidate).collect()
    }

    /// Everything that stands under `name`, in the order of op ids.
    pub fn all(&self, object: &ObjId, name: &str) -> Vec<(ObjId, Cell)> {
        let found = match self.at {
            None => self.doc.get_all(object, name),
            Some(heads) => self.doc.get_all_at(object, name, heads),
        };
        // An error means that the object is not in the document: nothing stands there.
        let mut all: Vec<_> = found
            .unwrap_or_default()
            .into_iter()
            .map(|(value, id)| (id, owned_cell(&value)))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub fn text(&self, object: &ObjId) -> String {
        match self.at {
            None => self.doc.text(object),
            Some(heads) => self.doc.text_at(object, heads),
        }
        .unwrap_or_default()
    }

    /// The elements of a list, or the characters of a text.
    pub fn items(&self, object: &ObjId) -> Vec<(ObjId, Cell)> {
        let range = match self.at {
            None => self.doc.list_range(object, ..),
            Some(heads) => self.doc.list_range_at(object, .., heads),
        };
        range.map(|item| (item.id(), cell(&item.value))).collect()
    }
}

fn cell(value: &ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Object(kind) => object_cell(*kind),
        ValueRef::Scalar(value) => Cell::Scalar(scalar(value)),
    }
}

fn scalar(value: &ScalarRef<'_>) -> Value {
    match value {
        ScalarRef::Null => Value::Null,
        ScalarRef::Boolean(b) => Value::Bool(*b),
        ScalarRef::Int(n) => Value::Int(*n),
        ScalarRef::Uint(n) => Value::from(*n),
        ScalarRef::F64(f) => Value::Float(*f),
        ScalarRef::Str(s) => Value::String(s.clone().into_owned()),
        ScalarRef::Bytes(b) => Value::Bytes(b.clone().into_owned()),
        ScalarRef::Timestamp(ms) => Value::Timestamp(*ms),
        ScalarRef::Counter(n) => Value::Counter(*n),
        ScalarRef::Unknown { bytes, .. } => Value::Bytes(bytes.clone().into_owned()),
    }
}

fn owned_cell(value: &automerge::Value<'_>) -> Cell {
    use automerge::ScalarValue as S;
    let automerge::Value::Scalar(scalar) = value else {
        return value.to_objtype().map_or(Cell::Map, object_cell);
    };
    Cell::Scalar(match scalar.as_ref() {
        S::Null => Value::Null,
        S::Boolean(b) => Value::Bool(*b),
        S::Int(n) => Value::Int(*n),
        S::Uint(n) => Value::from(*n),
        S::F64(f) => Value::Float(*f),
        S::Str(s) => Value::String(s.to_string()),
        S::Bytes(b) => Value::Bytes(b.clone()),
        S::Timestamp(ms) => Value::Timestamp(*ms),
        S::Counter(_) => Value::Counter(scalar.as_i64().unwrap_or_default()),
        S::Unknown { bytes, .. } => Value::Bytes(bytes.clone()),
    })
}

fn object_cell(kind: ObjType) -> Cell {
    match kind {
        ObjType::Map | ObjType::Table => Cell::Map,
        ObjType::List => Cell::List,
        ObjType::Text => Cell::Text,
    }
}

/// The map objects that stand under `name` in `parents`, in the order in which later ones win.
pub(crate) fn maps_under(views: &[View<'_>], parents: &[Source], name: &str) -> Vec<Source> {
    candidates(views, parents, name)
        .into_iter()
        .filter(|candidate| candidate.cell == Cell::Map)
        .map(|candidate| candidate.source)
        .collect()
}

/// All values that stand under `name` in `sources`, the winner last.
pub(crate) fn candidates(views: &[View<'_>], sources: &[Source], name: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    for source in sources {
        let Some(view) = views.get(source.rank) else {
            continue;
        };
        for (object, cell) in view.all(&source.object, name) {
            let rank = source.rank;
            found.push(Candidate {
                source: Source { rank, object },
                cell,
            });
        }
    }
    found.sort_by(|a, b| a.source.cmp(&b.source));
    found
}

/// All values that stand in `sources`, by stored name; the winner of each last.
pub(crate) fn fields(views: &[View<'_>], sources: &[Source]) -> BTreeMap<String, Vec<Candidate>> {
    let mut fields: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    for source in sources {
        let Some(view) = views.get(source.rank) else {
            continue;
        };
        for item in view.range(&source.object) {
            let all = view.standing(source, &item);
            fields.entry(item.key.into_owned()).or_default().extend(all);
        }
    }
    if sources.len() > 1 {
        for found in fields.values_mut() {
            found.sort_by(|a, b| a.source.cmp(&b.source));
        }
    }
    fields
}

/// What maps that are one record show.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub record: Record,
    /// Whether one of them carries a delete marker.
    pub marked: bool,
    /// Whether a field holds several values, at any depth.
    pub contested: bool,
}

/// Reads records under a collection's rules.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub views: &'a [View<'a>],
    /// What is declared of the fields; nested fields have no rules.
    pub rules: Option<Rules<'a>>,
}

impl<'a> Reader<'a> {
    /// One for what no rules apply to.
    pub fn plain(views: &'a [View<'a>]) -> Self {
        Self { views, rules: None }
    }

    /// Without the rules: for what is nested in a field.
    pub fn nested(self) -> Self {
        Self::plain(self.views)
    }

    /// What is declared to decide over a field.
    pub fn rule(&self, name: &str) -> Option<Rule<'a>> {
        self.rules?.of(name)
    }

    /// Whether the field's policy chooses between whole values, so that nothing merges inside of one.
    pub fn is_register(self, name: &str) -> bool {
        self.rule(name)
            .is_some_and(|rule| rule.policy.is_register())
    }

    /// The candidate that a field shows, for a map the last of those that merge; `None` if what it shows is made of several.
    pub fn chosen<'c>(self, name: &str, candidates: &'c [Candidate]) -> Option<&'c Candidate> {
        match self.rule(name) {
            Some(rule) if rule.policy.is_register() => {
                let values = self.each(candidates, 0);
                candidates.get(rule.resolve(values)?.index?)
            }
            _ => candidates.last(),
        }
    }

    /// The fields of maps that are one record or one nested map.
    pub fn merge(self, sources: &[Source], depth: usize) -> Merged {
        if let [source] = sources {
            return self.merge_one(source, depth);
        }
        let mut merged = Merged::default();
        for (stored, candidates) in fields(self.views, sources) {
            merged.marked |= stored == names::DELETED;
            if let Some(name) = names::shown(&stored)
                && let Some(value) = self.field(name, &candidates, depth, &mut merged.contested)
            {
                merged.record.insert(name.to_owned(), value);
            }
        }
        merged
    }

    /// As [`Self::merge`], of what was created once, which nearly everything is.
    fn merge_one(self, source: &Source, depth: usize) -> Merged {
        let mut merged = Merged::default();
        let Some(view) = self.views.get(source.rank) else {
            return merged;
        };
        for item in view.range(&source.object) {
            merged.marked |= item.key == names::DELETED;
            let Some(name) = names::shown(&item.key) else {
                continue;
            };
            let value = match &item.value {
                // A scalar alone is what it shows, and needs no candidate made of it.
                ValueRef::Scalar(value) if !item.conflict && !self.decides(name, 1) => {
                    Some(scalar(value))
                }
                _ => {
                    let all = view.standing(source, &item);
                    self.field(name, &all, depth, &mut merged.contested)
                }
            };
            merged
                .record
                .extend(value.map(|value| (name.to_owned(), value)));
        }
        merged
    }

    /// Whether the field's policy has a say in what so many values show: sets merge by themselves, of one value most make
    /// nothing else, and what an unknown policy would make of several is not known.
    fn decides(self, name: &str, values: usize) -> bool {
        match self.rule(name).map(|rule| rule.policy) {
            None => false,
            Some(Policy::LastWriter | Policy::Union | Policy::Other(_)) => false,
            Some(Policy::KeepAll) => true,
            Some(Policy::Max | Policy::Min | Policy::Custom { .. }) => values > 1,
        }
    }

    /// The value that these candidates of a field show.
    pub fn field(
        self,
        name: &str,
        candidates: &[Candidate],
        depth: usize,
        contested: &mut bool,
    ) -> Option<Value> {
        *contested |= candidates.len() > 1;
        match self.rule(name) {
            Some(rule) if self.decides(name, candidates.len()) => {
                let values = self.each(candidates, depth);
                rule.resolve(values).map(|resolved| resolved.value)
            }
            _ => self.nested().winner(candidates, depth, contested),
        }
    }

    /// What each candidate would show if it stood alone.
    pub fn each(self, candidates: &[Candidate], depth: usize) -> Vec<Value> {
        let alone = |one| {
            self.nested()
                .winner(std::slice::from_ref(one), depth, &mut false)
        };
        candidates.iter().filter_map(alone).collect()
    }

    /// The value that the last writer's candidate shows, nested maps merged.
    fn winner(self, candidates: &[Candidate], depth: usize, contested: &mut bool) -> Option<Value> {
        let last = candidates.last()?;
        let view = self.views.get(last.source.rank)?;
        // What is nested deeper than anyone may write it is not followed: a peer must not exhaust our stack.
        let too_deep = depth >= MAX_DEPTH;
        Some(match &last.cell {
            Cell::Scalar(value) => value.clone(),
            Cell::Text => Value::Text(view.text(&last.source.object)),
            Cell::List if too_deep => Value::Null,
            Cell::List => Value::List(
                view.items(&last.source.object)
                    .into_iter()
                    .filter_map(|(object, cell)| {
                        let rank = last.source.rank;
                        let source = Source { rank, object };
                        self.winner(&[Candidate { source, cell }], depth + 1, contested)
                    })
                    .collect(),
            ),
            Cell::Map => {
                let maps = maps_among(candidates);
                if let Some(counter) = counter(self.views, &maps) {
                    Value::Counter(counter.value)
                } else if too_deep {
                    Value::Null
                } else if is_set(self.views, &maps) {
                    Value::List(set(self, &maps, depth).into_values().collect())
                } else {
                    let merged = self.merge(&maps, depth + 1);
                    *contested |= merged.contested;
                    Value::Map(merged.record)
                }
            }
        })
    }
}

/// Whether the map that wins among `maps` is a set.
pub(crate) fn is_set(views: &[View<'_>], maps: &[Source]) -> bool {
    let first = |map: &Source| views.get(map.rank)?.first_name(&map.object);
    maps.last().and_then(first).as_deref() == Some(names::SET)
}

/// The elements of maps that are a set, by their canonical JSON, which they are shown in the order of.
pub(crate) fn set(reader: Reader<'_>, maps: &[Source], depth: usize) -> BTreeMap<String, Value> {
    let mut items = BTreeMap::new();
    for (stored, candidates) in fields(reader.views, maps) {
        if stored.starts_with(names::ITEM)
            && let Some(value) = reader.nested().winner(&candidates, depth + 1, &mut false)
        {
            items.insert(crate::json::value_to_json(&value), value);
        }
    }
    items
}

/// The map objects among candidates.
pub(crate) fn maps_among(candidates: &[Candidate]) -> Vec<Source> {
    candidates
        .iter()
        .filter(|candidate| candidate.cell == Cell::Map)
        .map(|candidate| candidate.source.clone())
        .collect()
}

/// A counter: its value, and the entries that it is the sum of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counter {
    pub value: i64,
    entries: Vec<(Source, String, i64)>,
}

impl Counter {
    /// The entry that `by` can be added to; `None` if the sum would leave 64 bits. While it does not, the least or the
    /// greatest entry has room.
    pub fn entry_for(&self, by: i64) -> Option<(Source, String)> {
        self.value.checked_add(by)?;
        let mut entries = self.entries.iter().rev();
        let (source, name, _) = entries.find(|(_, _, value)| value.checked_add(by).is_some())?;
        Some((source.clone(), name.clone()))
    }
}

/// Reads maps as a counter: each concurrent creation has an entry of its own under its actor, and their sum is exact
/// whatever was merged. `None` if there is no such entry.
pub(crate) fn counter(views: &[View<'_>], maps: &[Source]) -> Option<Counter> {
    let mut entries = Vec::new();
    for map in maps {
        for item in views.get(map.rank)?.range(&map.object) {
            if !item.key.starts_with(names::COUNTER) {
                return None;
            }
            if let ValueRef::Scalar(value) = &item.value {
                let value = scalar(value).as_int().unwrap_or_default();
                entries.push((map.clone(), item.key.into_owned(), value));
            }
        }
    }
    let add = |sum: i64, (_, _, value): &(Source, String, i64)| sum.wrapping_add(*value);
    let value = entries.iter().fold(0, add);
    (!entries.is_empty()).then_some(Counter { value, entries })
}

//! Local writes.

use crate::catalog::{Collection, CollectionSchema, DEFAULT_PARTITIONS, FieldType, MAX_PARTITIONS};
use crate::conflict::{Look, Settlement};
use crate::database::Database;
use crate::document::Making;
use crate::edit::{
    Edit, Patch, WriteContext, WriteError, check_collection, check_key, check_patch, check_record,
};
use crate::event::{Attribution, Event, Observe};
use crate::genesis::bucket_object;
use crate::id::{DocumentId, Partition, Placement};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::read::{Reader, View};
use crate::settle::Contested;
use crate::step::{Step, record_to_hydrate};
use crate::typed::Known;
use crate::undo::UndoneWrite;
use crate::value::{Record, Value};
use automerge::{ActorId, AutomergeError, Change, ChangeHash};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A write to one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The collection. It is declared with defaults if no one has yet.
    pub collection: String,
    /// What to write.
    pub operation: Operation,
    /// Who writes, and when.
    pub context: WriteContext,
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Makes each record equal to the given one, creating it if needed. Fields that are equal already are not written.
    /// A key may stand once.
    Put(BTreeMap<String, Record>),
    /// As a put by a writer that knows some fields of its records: the others stay as they are.
    PutKnown(BTreeMap<String, Record>, Arc<Known>),
    /// Edits a record that is there.
    Patch(String, Patch),
    /// Deletes a record that is there.
    Delete(String),
    /// Settles what lost in a record, or in one of its fields: a path from the record inwards, empty for what met a delete.
    Settle(String, Vec<String>, Settlement),
    /// Takes back what these changes of one write did to records of the collection, and nothing that anyone did since. Only
    /// their author can; what is undone already stays as it is.
    Undo(BTreeMap<DocumentId, ChangeHash>),
    /// Declares the collection, adding to what was declared before.
    Declare(CollectionSchema),
}

/// How many records a write changed, and by which changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Records that were not there before.
    pub inserted: usize,
    /// Records that were there and are different now.
    pub updated: usize,
    /// Records that were as they should be.
    pub unchanged: usize,
    /// Records that are gone.
    pub deleted: usize,
    /// The changes of records, by which the write can be undone.
    pub changes: Vec<(DocumentId, ChangeHash)>,
}

impl Written {
    /// The changes of each of the writes that were added up, the last write first: as they are undone. Writes that share no
    /// document may be one.
    pub fn writes(&self) -> Vec<BTreeMap<DocumentId, ChangeHash>> {
        let mut writes: Vec<BTreeMap<DocumentId, ChangeHash>> = Vec::new();
        for (document, hash) in self.changes.iter().rev() {
            match writes.last_mut() {
                Some(write) if !write.contains_key(document) => {
                    write.insert(*document, *hash);
                }
                _ => writes.push(BTreeMap::from([(*document, *hash)])),
            }
        }
        writes
    }

    /// Counts a record that `operation` changes.
    fn count(&mut self, operation: &Operation, before: &Look) {
        match (operation, &before.record) {
            (Operation::Delete(_), _) => self.deleted += 1,
            (_, None) => self.inserted += 1,
            (_, Some(_)) => self.updated += 1,
        }
    }
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.deleted += other.deleted;
        self.changes.extend(other.changes);
    }
}

/// A write that was applied in memory; it is safe once `changes` are stored.
#[derive(Debug, Default)]
pub struct LocalWrite {
    /// How many records changed.
    pub written: Written,
    /// The changes to store, each after those that it depends on.
    pub changes: Vec<(DocumentId, Change)>,
    /// What changed, if it is observed.
    pub events: Vec<Event>,
}

/// A record that is being written: what it was, and how it is to change.
struct Pending {
    key: String,
    before: Look,
}

/// The operations of a write, by partition.
pub(crate) type Steps = BTreeMap<Partition, Vec<Step>>;

/// What a write is to do.
#[derive(Default)]
struct Planned {
    pending: Vec<Pending>,
    steps: Steps,
    /// The change of each document that it takes back.
    undoes: BTreeMap<DocumentId, ChangeHash>,
}

impl Database {
    /// How many records a write would change; `changes` stays empty, and nothing is changed.
    pub fn preview(&self, write: &Write) -> Result<Written, WriteError> {
        check_collection(&write.collection)?;
        let mut local = LocalWrite::default();
        let planned = self.plan(write, &write.operation, &mut local)?;
        self.check_ops(&write.collection, &planned.steps)?;
        let mut written = local.written;
        for pending in &planned.pending {
            written.count(&write.operation, &pending.before);
        }
        Ok(written)
    }

    /// Applies a write. On an error nothing is changed.
    pub fn write(&mut self, write: Write) -> Result<LocalWrite, WriteError> {
        check_collection(&write.collection)?;
        let mut local = LocalWrite::default();
        match &write.operation {
            Operation::Declare(schema) => self.declare(&write, schema, &mut local)?,
            operation => {
                let planned = self.plan(&write, operation, &mut local)?;
                self.check_ops(&write.collection, &planned.steps)?;
                if !planned.steps.is_empty() {
                    self.declare_if_new(&write, &mut local)?;
                }
                self.carry_out(&write, planned, &mut local)?;
            }
        }
        Ok(local)
    }

    fn plan(
        &self,
        write: &Write,
        operation: &Operation,
        local: &mut LocalWrite,
    ) -> Result<Planned, WriteError> {
        let collection = &*write.collection;
        let mut steps = Steps::new();
        let mut pending = Vec::new();
        let mut undoes = BTreeMap::new();
        let mut plan_one = |key: &str, action: Action<'_>| -> Result<(), WriteError> {
            check_key(key)?;
            let writer = Writer::now(&self.actor);
            let (before, changed) =
                self.plan_record(collection, key, action, writer, &mut steps)?;
            if changed {
                let key = key.to_owned();
                pending.push(Pending { key, before });
            } else {
                local.written.unchanged += 1;
            }
            Ok(())
        };
        match operation {
            Operation::Put(records) | Operation::PutKnown(records, _) => {
                let known = match operation {
                    Operation::PutKnown(_, known) => known,
                    _ => &Known::All,
                };
                for (key, record) in records {
                    check_record(key, record)?;
                    let record = self.fit_record(collection, record)?;
                    plan_one(key, Action::Put(&record, known))?;
                }
            }
            Operation::Patch(key, patch) => {
                check_patch(key, patch)?;
                let patch = self.fit_patch(collection, patch)?;
                plan_one(key, Action::Patch(&patch))?;
            }
            Operation::Delete(key) => plan_one(key, Action::Delete)?,
            Operation::Settle(key, path, how) => {
                let how = self.fit_settlement(collection, key, path, how)?;
                plan_one(key, Action::Settle(path, &how))?;
            }
            Operation::Undo(changes) => {
                let undone = self.undone(write, changes)?;
                for key in &undone.keys {
                    plan_one(key, Action::Undo(&undone))?;
                }
                local.written.unchanged += undone.undone;
                let targets = undone.targets.into_iter();
                undoes.extend(targets.map(|(document, target)| (document, target.hash)));
            }
            Operation::Declare(_) => {}
        }
        Ok(Planned {
            pending,
            steps,
            undoes,
        })
    }

    /// Plans the write of one record; gives what it was, and whether anything is to change.
    pub(crate) fn plan_record(
        &self,
        collection: &str,
        key: &str,
        action: Action<'_>,
        writer: Writer<'_>,
        steps: &mut Steps,
    ) -> Result<(Look, bool), WriteError> {
        let home = self.home(collection, key);
        let (mut partitions, mut views) = self.views(collection, key);
        if let Some(seen) = writer.seen {
            for (partition, view) in partitions.iter().zip(&mut views) {
                view.at = seen.get(partition).map(Vec::as_slice);
            }
        }
        let empty;
        if partitions.last() != Some(&&home) {
            // The document that new records go to is not there yet; an empty one stands in for it while planning.
            empty = automerge::Automerge::new();
            partitions.push(&home);
            views.push(View::now(&empty));
        }
        let found = self.find(collection, &views, key);
        let reader = self.reader(collection, &views);
        let mut plan = Plan::new(reader, writer.actor);
        let counts: Vec<u32> = partitions.iter().map(|partition| partition.count).collect();
        let contested = Contested {
            key,
            found: &found,
            counts: &counts,
        };
        let creates = match action {
            Action::Undo(undone) => {
                self.plan_undo(
                    &mut plan,
                    &contested,
                    undone,
                    (&partitions, &views),
                    collection,
                )?;
                false
            }
            action => action.plan(&mut plan, &contested, collection)?,
        };
        let created = plan
            .take_created()
            .or_else(|| creates.then(|| record_to_hydrate(&Record::new(), writer.actor)));
        let bucket = bucket_object(Placement::of(key).bucket());
        let created = created.map(|map| {
            let rank = partitions.len() - 1;
            (rank, Step::Put(bucket, key.to_owned(), map))
        });
        let mut changed = false;
        for (rank, step) in plan.steps.into_iter().chain(created) {
            changed = true;
            if let Some(partition) = partitions.get(rank) {
                steps.entry((*partition).clone()).or_default().push(step);
            }
        }
        let conflicts = self.ledger(collection, key, &found, &views, &counts);
        let record = found.record;
        Ok((Look { record, conflicts }, changed))
    }

    /// Nobody would take a change with too many operations, nor any later one of its document.
    pub(crate) fn check_ops(&self, collection: &str, steps: &Steps) -> Result<(), WriteError> {
        let max = self.limits.ops_per_change;
        for (partition, steps) in steps {
            let stored = self.stored(&partition.document(&self.id));
            let doc = stored.map(|document| &document.doc);
            let ops = steps.iter().map(|step| step.ops(doc) as u64).sum();
            if ops > max {
                let collection = collection.to_owned();
                return Err(WriteError::TooManyOperations {
                    collection,
                    ops,
                    max,
                });
            }
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        write: &Write,
        planned: Planned,
        local: &mut LocalWrite,
    ) -> Result<(), WriteError> {
        let mut by = None;
        let actor = self.actor.clone();
        for (partition, steps) in planned.steps {
            let id = partition.document(&self.id);
            self.ensure(&partition)
                .map_err(internal(&write.collection))?;
            let undoes = planned.undoes.get(&id).copied();
            let making = Making {
                actor: &actor,
                context: &write.context,
                undoes,
                request: None,
                seen: None,
            };
            let change = self
                .commit(id, steps, making, local)
                .map_err(internal(&write.collection))?;
            let hash = change.as_ref().map(Change::hash);
            local.written.changes.extend(hash.map(|hash| (id, hash)));
            by = change.as_ref().map(Attribution::of).or(by);
        }
        for Pending { key, before } in planned.pending {
            local.written.count(&write.operation, &before);
            if self.observe == Observe::Nothing {
                continue;
            }
            let events = &mut local.events;
            self.tell(&write.collection, &key, before, by.clone(), true, events);
        }
        Ok(())
    }

    pub(crate) fn commit(
        &mut self,
        id: DocumentId,
        steps: Vec<Step>,
        making: Making<'_>,
        local: &mut LocalWrite,
    ) -> Result<Option<Change>, AutomergeError> {
        let fresh = self.fresh.contains(&id);
        let Some(document) = self.document_mut(id) else {
            return Ok(None);
        };
        let change = document.commit(steps, making)?;
        if let Some(change) = &change {
            if fresh {
                local.changes.push((id, document.genesis.clone()));
                self.fresh.remove(&id);
            }
            local.changes.push((id, change.clone()));
        }
        Ok(change)
    }

    pub(crate) fn declare_if_new(
        &mut self,
        write: &Write,
        local: &mut LocalWrite,
    ) -> Result<(), WriteError> {
        let declared = self
            .collections
            .get(&write.collection)
            .is_some_and(|collection| !collection.partitions.is_empty());
        if declared {
            return Ok(());
        }
        let schema = CollectionSchema::new().partitions(DEFAULT_PARTITIONS);
        self.declare(write, &schema, local)
    }

    fn declare(
        &mut self,
        write: &Write,
        schema: &CollectionSchema,
        local: &mut LocalWrite,
    ) -> Result<(), WriteError> {
        let mut schema = schema.clone();
        let known = self.collections.get(&write.collection);
        if known.is_none_or(|collection| collection.partitions.is_empty()) {
            schema.partitions.get_or_insert(DEFAULT_PARTITIONS);
        }
        if let Some(found) = schema.partitions
            && !(1..=MAX_PARTITIONS).contains(&found)
        {
            return Err(WriteError::Partitions { found });
        }
        let name = &write.collection;
        let declaration = Collection::declaration(&schema);
        let views = [View::now(&self.root.doc)];
        let found = crate::database::find(Reader::plain(&views), name, Default::default());
        let mut plan = Plan::new(Reader::plain(&views), &self.actor);
        plan.patch(&found.sources, &as_patch(declaration))?;
        let bucket = bucket_object(Placement::of(name).bucket());
        let created = plan
            .take_created()
            .map(|map| Step::Put(bucket, name.clone(), map));
        let steps = plan.steps.into_iter().map(|(_, step)| step).chain(created);
        let steps: Vec<_> = steps.collect();
        let actor = self.actor.clone();
        let making = Making {
            actor: &actor,
            context: &write.context,
            undoes: None,
            request: None,
            seen: None,
        };
        self.commit(self.id.root(), steps, making, local)
            .map_err(internal(&write.collection))?;
        let changed = self.refresh_catalog([name.clone()]);
        self.catalog_events(changed, &mut local.events);
        Ok(())
    }

    pub(crate) fn fit_record(
        &self,
        collection: &str,
        record: &Record,
    ) -> Result<Record, WriteError> {
        record
            .iter()
            .map(|(name, value)| {
                let value = self.fit_value(collection, name, value.clone())?;
                Ok((name.clone(), value))
            })
            .collect()
    }

    pub(crate) fn fit_settlement(
        &self,
        collection: &str,
        key: &str,
        path: &[String],
        how: &Settlement,
    ) -> Result<Settlement, WriteError> {
        let Settlement::Write(value) = how else {
            return Ok(how.clone());
        };
        Ok(Settlement::Write(match (path, value) {
            ([], Value::Map(record)) => {
                check_record(key, record)?;
                Value::Map(self.fit_record(collection, record)?)
            }
            ([], other) => other.clone(),
            (path, value) => {
                let name = path.join(".");
                check_record(key, &Record::from([(name, value.clone())]))?;
                match path {
                    [name] => self.fit_value(collection, name, value.clone())?,
                    _ => value.clone(),
                }
            }
        }))
    }

    pub(crate) fn fit_patch(&self, collection: &str, patch: &Patch) -> Result<Patch, WriteError> {
        patch
            .iter()
            .map(|(name, edit)| {
                let edit = match edit {
                    Edit::Set(value) => {
                        Edit::Set(self.fit_value(collection, name, value.clone())?)
                    }
                    Edit::Reset(value) => {
                        Edit::Reset(self.fit_value(collection, name, value.clone())?)
                    }
                    edit => edit.clone(),
                };
                Ok((name.clone(), edit))
            })
            .collect()
    }

    fn fit_value(&self, collection: &str, name: &str, value: Value) -> Result<Value, WriteError> {
        let Some(catalog) = self.collections.get(collection) else {
            return Ok(value);
        };
        let Some(declared) = catalog.fields.get(name) else {
            return Ok(value);
        };
        // A keep-all field shows a list of values of its type, which can be written back.
        let several = catalog.policies.get(name) == Some(&Policy::KeepAll);
        let fitted = match value {
            Value::List(all) if several && *declared != FieldType::List => all
                .into_iter()
                .map(|value| declared.fit(value))
                .collect::<Result<_, _>>()
                .map(Value::List),
            value => declared.fit(value),
        };
        fitted.map_err(|value| WriteError::TypeMismatch {
            field: name.to_owned(),
            declared: declared.name().into_owned(),
            found: value.kind(),
        })
    }
}

/// Who plans a write, and what they had seen.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub actor: &'a ActorId,
    /// The heads of each partition, if not all that there is.
    pub seen: Option<&'a BTreeMap<Partition, Vec<ChangeHash>>>,
}

impl<'a> Writer<'a> {
    pub fn now(actor: &'a ActorId) -> Self {
        Self { actor, seen: None }
    }
}

/// What to do with one record.
#[derive(Clone, Copy)]
pub(crate) enum Action<'a> {
    Put(&'a Record, &'a Known),
    Patch(&'a Patch),
    Delete,
    Settle(&'a [String], &'a Settlement),
    Undo(&'a UndoneWrite),
}

impl Action<'_> {
    /// Fills the plan; gives whether the record has to be created even if it has no field.
    fn plan(
        self,
        plan: &mut Plan<'_>,
        contested: &Contested<'_>,
        collection: &str,
    ) -> Result<bool, WriteError> {
        let (key, found) = (contested.key, contested.found);
        let sources = &found.sources;
        if found.record.is_none() && matches!(self, Self::Patch(_) | Self::Delete) {
            return Err(WriteError::NotFound {
                collection: collection.to_owned(),
                key: key.to_owned(),
            });
        }
        match self {
            Self::Put(record, _) if found.record.is_none() => {
                // Also clears the delete marker, which is not among the record's fields.
                plan.recreate(sources, record);
                return Ok(sources.is_empty());
            }
            Self::Put(record, known) => plan.replace(sources, record, known)?,
            Self::Patch(patch) => plan.patch(sources, patch)?,
            Self::Delete => {
                plan.mark_deleted(sources);
                return Ok(false);
            }
            Self::Settle(path, how) => {
                // It clears the markers by itself, or renews them.
                plan.settle(contested, path, how)?;
                return Ok(false);
            }
            // It needs the documents as they were.
            Self::Undo(_) => return Ok(false),
        }
        if found.marked {
            plan.revive(sources);
        }
        Ok(false)
    }
}

/// A declaration adds to what the catalog has, so its maps are merged, not replaced.
fn as_patch(record: Record) -> Patch {
    record
        .into_iter()
        .map(|(name, value)| {
            let edit = match value {
                Value::Map(map) => Edit::Merge(as_patch(map)),
                value => Edit::Set(value),
            };
            (name, edit)
        })
        .collect()
}

pub(crate) fn internal(key: &str) -> impl Fn(AutomergeError) -> WriteError {
    let key = key.to_owned();
    move |source| WriteError::Internal {
        key: key.clone(),
        source: Arc::new(source),
    }
}

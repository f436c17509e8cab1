//! Records by key.

use crate::Database;
use crate::error::Error;
use crate::subscription::Subscription;
use headwater_core::schema::Schema;
use headwater_core::typed::{Known, from_record, to_record};
use headwater_core::{
    Attribution, Conflict, ConflictEvent, MAX_PUT_COST, Operation, Patch, Record, Scan, Settlement,
    Written, put_cost,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

/// How many records go into one change when many are put at once.
const PUT_BATCH: usize = 1000;

/// Records by key, each a map of named values.
#[derive(Debug, Clone)]
pub struct Collection {
    database: Database,
    name: String,
    /// What its writer knows of a record.
    known: Arc<Known>,
}

impl Collection {
    pub(crate) fn new(database: Database, name: String) -> Self {
        Self {
            database,
            name,
            known: Arc::default(),
        }
    }

    /// The same collection for a writer that knows only fields of these names: a put leaves the others as they are, because
    /// a newer version of the application wrote them.
    pub fn knowing(&self, fields: impl IntoIterator<Item = String>) -> Self {
        let fields = fields.into_iter().map(|name| (name, Known::All));
        Self {
            known: Arc::new(Known::Fields(fields.collect())),
            ..self.clone()
        }
    }

    /// The same collection with records of a type with serde's traits.
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> TypedCollection<T> {
        TypedCollection {
            untyped: self.clone(),
            known: Arc::default(),
            record: PhantomData,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the record of this key equal to `record`: what it does not have is removed, if the writer
    /// [knows](Self::knowing) of it. Resolves once it is stored.
    pub async fn put(&self, key: &str, record: Record) -> Result<Written, Error> {
        self.put_many([(key.to_owned(), record)]).await
    }

    /// Puts many records, in batches that are each stored as a whole. A later record of a key replaces an earlier one.
    pub async fn put_many(
        &self,
        records: impl IntoIterator<Item = (String, Record)>,
    ) -> Result<Written, Error> {
        let mut total = Written::default();
        for batch in batches(records) {
            let operation = Operation::PutKnown(batch, Arc::clone(&self.known));
            total += self.database.write(&self.name, operation).await?;
        }
        Ok(total)
    }

    /// How many records [`put_many`](Self::put_many) would insert, update and leave as they are, without doing it. Each key
    /// should stand once.
    pub fn preview_put(
        &self,
        records: impl IntoIterator<Item = (String, Record)>,
    ) -> Result<Written, Error> {
        let mut total = Written::default();
        for batch in batches(records) {
            let operation = Operation::PutKnown(batch, Arc::clone(&self.known));
            total += self.database.preview(&self.name, operation)?;
        }
        Ok(total)
    }

    /// Edits fields of a record that is there. Resolves once the edit is stored.
    pub async fn patch(&self, key: &str, patch: Patch) -> Result<Written, Error> {
        let operation = Operation::Patch(key.to_owned(), patch);
        self.database.write(&self.name, operation).await
    }

    /// Deletes a record that is there. Resolves once that is stored.
    pub async fn delete(&self, key: &str) -> Result<Written, Error> {
        let operation = Operation::Delete(key.to_owned());
        self.database.write(&self.name, operation).await
    }

    /// The record of this key; `None` if there is none.
    pub fn get(&self, key: &str) -> Option<Record> {
        let node = &self.database.node.node;
        node.read(|replica| replica.0.get(&self.name, key))
    }

    /// Records in the order of their keys.
    pub fn scan(&self, scan: &Scan) -> Vec<(String, Record)> {
        let node = &self.database.node.node;
        node.read(|replica| replica.0.scan(&self.name, scan))
    }

    /// Every change to its records from now on, local or remote.
    pub fn subscribe(&self) -> Subscription {
        let subscribers = &self.database.node.tracker.subscribers;
        subscribers.records.subscribe(Some(self.name.clone()))
    }

    /// What lost and is not settled, in the order of keys. The limit of `scan` counts records.
    pub fn conflicts(&self, scan: &Scan) -> Vec<Conflict> {
        let node = &self.database.node.node;
        node.read(|replica| replica.0.conflicts(&self.name, scan))
    }

    /// What lost in one record and is not settled.
    pub fn conflicts_of(&self, key: &str) -> Vec<Conflict> {
        let node = &self.database.node.node;
        node.read(|replica| replica.0.conflicts_of(&self.name, key))
    }

    /// Settles the conflict of one field, by its path from the record inwards, or that of edits and deletes of the record if
    /// the path is empty. Resolves once that is stored.
    ///
    /// # Errors
    /// [`WriteError::NothingToSettle`](crate::WriteError::NothingToSettle) if it is not open any more.
    pub async fn settle(
        &self,
        key: &str,
        field: &[String],
        how: Settlement,
    ) -> Result<Written, Error> {
        let operation = Operation::Settle(key.to_owned(), field.to_vec(), how);
        self.database.write(&self.name, operation).await
    }

    /// Takes back what a write of this collection did, and nothing that anyone did since: a field that was written again
    /// stays, and texts, lists and counters lose just what the write put into them. Resolves once that is stored; what it
    /// returns can be undone in turn, and what is undone already stays as it is. Of several writes that were added up the
    /// last is taken back first, each stored as a whole.
    ///
    /// # Errors
    /// [`WriteError::NothingToUndo`](crate::WriteError::NothingToUndo) if the write is of another collection or not here,
    /// [`WriteError::NotTheAuthor`](crate::WriteError::NotTheAuthor) if someone else made it: another user or, without
    /// users, another store.
    pub async fn undo(&self, written: &Written) -> Result<Written, Error> {
        let mut total = Written::default();
        for changes in written.writes() {
            let operation = Operation::Undo(changes);
            total += self.database.write(&self.name, operation).await?;
        }
        Ok(total)
    }

    /// What loses in its records, and is settled, from now on.
    pub fn subscribe_conflicts(&self) -> Subscription<ConflictEvent> {
        let subscribers = &self.database.node.tracker.subscribers;
        subscribers.conflicts.subscribe(Some(self.name.clone()))
    }

    /// Who wrote each field of a record, and what they claim of when and where: by the path of the field, from the record
    /// inwards. Empty if there is no such record.
    pub fn provenance(&self, key: &str) -> BTreeMap<Vec<String>, Attribution> {
        let node = &self.database.node.node;
        node.read(|replica| replica.0.provenance(&self.name, key))
    }
}

/// Records as they go into one change each: of a bounded size, and no key twice.
fn batches(
    records: impl IntoIterator<Item = (String, Record)>,
) -> impl Iterator<Item = BTreeMap<String, Record>> {
    let mut records = records.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = BTreeMap::new();
        let mut cost = 0;
        while let Some((key, record)) = records.next() {
            cost += put_cost(&record);
            batch.insert(key, record);
            let ends = records.peek().is_none_or(|(next, record)| {
                batch.contains_key(next) || cost + put_cost(record) > MAX_PUT_COST
            });
            if ends || batch.len() == PUT_BATCH {
                break;
            }
        }
        (!batch.is_empty()).then_some(batch)
    })
}

/// Records by key, each a `T`.
#[derive(Debug)]
pub struct TypedCollection<T> {
    untyped: Collection,
    /// What `T` knows of a record.
    known: Arc<OnceLock<Arc<Known>>>,
    record: PhantomData<fn() -> T>,
}

impl<T> Clone for TypedCollection<T> {
    fn clone(&self) -> Self {
        Self {
            untyped: self.untyped.clone(),
            known: Arc::clone(&self.known),
            record: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned> TypedCollection<T> {
    /// The collection with untyped records, for what does not depend on the type.
    pub fn untyped(&self) -> &Collection {
        &self.untyped
    }

    /// Declares the types, policies and rules of `T`, adding to what was declared before.
    pub async fn declare(&self) -> Result<(), Error>
    where
        T: Schema,
    {
        let collection = &self.untyped;
        collection
            .database
            .declare(&collection.name, T::schema())
            .await
    }

    /// Makes the record of this key equal to `value`. Fields that `T` does not know, because a newer version of the
    /// application wrote them, stay as they are. Resolves once it is stored.
    pub async fn put(&self, key: &str, value: &T) -> Result<Written, Error> {
        let known = self.known.get_or_init(|| Arc::new(Known::of::<T>()));
        let records = BTreeMap::from([(key.to_owned(), to_record(value)?)]);
        let operation = Operation::PutKnown(records, Arc::clone(known));
        let Collection { database, name, .. } = &self.untyped;
        database.write(name, operation).await
    }

    /// Edits fields of a record that is there. Resolves once the edit is stored.
    pub async fn patch(&self, key: &str, patch: Patch) -> Result<Written, Error> {
        self.untyped.patch(key, patch).await
    }

    /// Deletes a record that is there. Resolves once that is stored.
    pub async fn delete(&self, key: &str) -> Result<Written, Error> {
        self.untyped.delete(key).await
    }

    /// The record of this key; `None` if there is none.
    pub fn get(&self, key: &str) -> Result<Option<T>, Error> {
        let record = self.untyped.get(key);
        Ok(record.as_ref().map(from_record).transpose()?)
    }

    /// Records in the order of their keys.
    pub fn scan(&self, scan: &Scan) -> Result<Vec<(String, T)>, Error> {
        let records = self.untyped.scan(scan);
        records
            .into_iter()
            .map(|(key, record)| Ok((key, from_record(&record)?)))
            .collect()
    }
}

use crate::error::{of_engine, thrown};
use crate::listen::Subscription;
use crate::value::{self, Place};
use crate::{conflict, edit, read, resolver};
use headwater::{Scan, Written};
use js_sys::{Array, Function};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

/// Records by key.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Collection(pub(crate) headwater::Collection);

#[wasm_bindgen]
impl Collection {
    /// Makes a record equal to an object.
    pub async fn put(&self, key: JsValue, record: JsValue) -> Result<JsValue, JsValue> {
        let key = value::string(&key, &Place::argument("key"))?;
        let record = value::record(&record, &mut Place::argument("record"))?;
        written(self.0.put(&key, record).await)
    }

    /// Puts an array of pairs of a key and a record.
    #[wasm_bindgen(js_name = putMany)]
    pub async fn put_many(&self, entries: Array) -> Result<JsValue, JsValue> {
        let mut records = Vec::with_capacity(entries.length() as usize);
        for (index, entry) in entries.iter().enumerate() {
            let mut place = Place::argument(&format!("entries[{index}]"));
            if !Array::is_array(&entry) {
                return Err(place.error("must be a pair of a key and a record"));
            }
            let entry: &Array = entry.unchecked_ref();
            let key = value::string(&entry.get(0), &place)?;
            records.push((key, value::record(&entry.get(1), &mut place)?));
        }
        written(self.0.put_many(records).await)
    }

    /// Edits fields of a record that is there.
    pub async fn patch(&self, key: JsValue, patch: JsValue) -> Result<JsValue, JsValue> {
        let key = value::string(&key, &Place::argument("key"))?;
        let patch = edit::patch(&patch, &mut Place::argument("patch"))?;
        written(self.0.patch(&key, patch).await)
    }

    /// Deletes a record that is there.
    pub async fn delete(&self, key: JsValue) -> Result<JsValue, JsValue> {
        let key = value::string(&key, &Place::argument("key"))?;
        written(self.0.delete(&key).await)
    }

    /// The record of a key; `undefined` if there is none.
    pub fn get(&self, key: JsValue) -> Result<JsValue, JsValue> {
        resolver::not_inside()?;
        let key = value::string(&key, &Place::argument("key"))?;
        Ok(read::optional(self.0.get(&key).as_ref()))
    }

    /// Pairs of a key and its record, in the order of the keys.
    pub fn scan(
        &self,
        prefix: Option<String>,
        after: Option<String>,
        limit: Option<f64>,
    ) -> Result<Array, JsValue> {
        resolver::not_inside()?;
        let found = self.0.scan(&scan(prefix, after, limit)?);
        let pairs = found
            .iter()
            .map(|(key, record)| Array::of2(&key.into(), &read::record(record)));
        Ok(pairs.collect())
    }

    /// Calls `listener` with every change from now on, and `missed` when some came too fast and are lost to it.
    pub fn subscribe(&self, listener: Function, missed: Function) -> Subscription {
        let collection = self.0.clone();
        Subscription::follow(
            move || collection.subscribe(),
            read::event,
            listener,
            missed,
        )
    }

    /// What lost and is not settled, in the order of the keys.
    pub fn conflicts(
        &self,
        prefix: Option<String>,
        after: Option<String>,
        limit: Option<f64>,
    ) -> Result<Array, JsValue> {
        resolver::not_inside()?;
        let found = self.0.conflicts(&scan(prefix, after, limit)?);
        Ok(conflict::list(&found))
    }

    /// What lost in one record and is not settled.
    #[wasm_bindgen(js_name = conflictsOf)]
    pub fn conflicts_of(&self, key: JsValue) -> Result<Array, JsValue> {
        resolver::not_inside()?;
        let key = value::string(&key, &Place::argument("key"))?;
        Ok(conflict::list(&self.0.conflicts_of(&key)))
    }

    /// Settles the conflict of a field by its path, or that of the record itself if the path is empty.
    pub async fn settle(
        &self,
        key: JsValue,
        field: Array,
        how: JsValue,
    ) -> Result<JsValue, JsValue> {
        let key = value::string(&key, &Place::argument("key"))?;
        let field = conflict::path_from(&field)?;
        let how = conflict::settlement(&how)?;
        written(self.0.settle(&key, &field, how).await)
    }

    /// Takes back the changes of a write: an array of pairs of a document and a change.
    pub async fn undo(&self, changes: Array) -> Result<JsValue, JsValue> {
        let pair = |pair: JsValue| {
            let pair: Array = pair.dyn_into().ok()?;
            let document = pair.get(0).as_string()?.parse().ok()?;
            Some((document, pair.get(1).as_string()?.parse().ok()?))
        };
        let changes: Option<Vec<_>> = changes.iter().map(pair).collect();
        let changes = changes.ok_or_else(|| {
            let message = "undo takes what a write resolved with";
            thrown("bad-argument", message)
        })?;
        let undone = Written {
            changes,
            ..Written::default()
        };
        written(self.0.undo(&undone).await)
    }

    /// Calls `listener` with what is open in a record whenever that changes, and `missed` as `subscribe` does.
    #[wasm_bindgen(js_name = subscribeConflicts)]
    pub fn subscribe_conflicts(&self, listener: Function, missed: Function) -> Subscription {
        let collection = self.0.clone();
        let again = move || collection.subscribe_conflicts();
        Subscription::follow(again, conflict::event, listener, missed)
    }

    /// Who wrote each field of a record.
    pub fn provenance(&self, key: JsValue) -> Result<Array, JsValue> {
        resolver::not_inside()?;
        let key = value::string(&key, &Place::argument("key"))?;
        let writers = self.0.provenance(&key);
        let fields = writers.iter().map(|(path, by)| {
            let field = conflict::path(path);
            read::object([("field", field.into()), ("by", read::author(by))])
        });
        Ok(fields.collect())
    }
}

fn scan(
    prefix: Option<String>,
    after: Option<String>,
    limit: Option<f64>,
) -> Result<Scan, JsValue> {
    let limit = match limit {
        Some(limit) if limit.fract() == 0.0 && limit >= 0.0 => Some(limit as usize),
        Some(_) => return Err(thrown("bad-argument", "limit must be an integer from 0 on")),
        None => None,
    };
    Ok(Scan {
        prefix: prefix.unwrap_or_default(),
        after,
        limit,
    })
}

fn written(result: Result<Written, headwater::Error>) -> Result<JsValue, JsValue> {
    let written = result.map_err(of_engine)?;
    let count = |records: usize| JsValue::from(records as f64);
    let changes = written.changes.iter().map(|(document, change)| {
        Array::of2(&document.to_string().into(), &change.to_string().into())
    });
    Ok(read::object([
        ("inserted", count(written.inserted)),
        ("updated", count(written.updated)),
        ("unchanged", count(written.unchanged)),
        ("deleted", count(written.deleted)),
        ("changes", changes.collect::<Array>().into()),
    ]))
}

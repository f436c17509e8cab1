//! Records, one at a time or a page of them.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::extract::{Asked, At, Body};
use super::lookup::{self, Action};
use super::writes::{IfChanged, Op, Written, key_change, key_write, write_one};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Json;
use headwater::json::record_to_json;
use headwater::{Record, Scan};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// How many bytes of records a page has at most, unless one record has more.
const PAGE_BYTES: usize = 8 << 20;

/// A record.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RecordEntry {
    key: String,
    /// What its reader has seen; a write can say that it was made as of this version. Opaque.
    version: String,
    /// Its fields.
    #[schema(value_type = Object)]
    value: Box<RawValue>,
    /// How many writes lost in it and are not settled; absent if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    unresolved: Option<usize>,
}

/// Records in the order of their keys.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RecordList {
    records: Vec<RecordEntry>,
    /// To be given as `after` for more; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only records after this key.
    after: Option<String>,
    /// Only records whose key begins so.
    prefix: Option<String>,
    /// At most so many, from 1 to 10,000; 1,000 unless given. A page of large records may have fewer.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// How a write is made.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteQuery {
    /// The version that the writer had read: the write is made as of it.
    version: Option<String>,
    /// What becomes of the write if the record is not as it was at that version: `merge`, by the policies, or `fail`.
    if_changed: Option<IfChanged>,
}

/// What is told of a record beside its fields.
struct Seen {
    version: String,
    lost: usize,
}

impl Seen {
    fn of(core: &headwater_core::Database, collection: &str, key: &str) -> Self {
        let conflicts = core.conflicts_of(collection, key);
        Self {
            version: core.version_of(collection, key).to_string(),
            lost: conflicts.iter().map(|one| one.losers.len()).sum(),
        }
    }

    fn entry(self, key: String, record: &Record) -> Answer<RecordEntry> {
        Ok(RecordEntry {
            key,
            version: self.version,
            value: raw(record)?,
            unresolved: (self.lost > 0).then_some(self.lost),
        })
    }
}

pub(super) fn raw(record: &Record) -> Answer<Box<RawValue>> {
    RawValue::from_string(record_to_json(record)).map_err(Problem::internal)
}

/// Records of a collection.
#[utoipa::path(get, path = "/v1/databases/{db}/collections/{collection}/records", tag = "records",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("collection" = String, Path, min_length = 1, max_length = 200), ListQuery),
    responses((status = 200, body = RecordList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At((db, collection)): At<(String, String)>,
    Asked(query): Asked<ListQuery>,
) -> Answer<Json<RecordList>> {
    let database = lookup::database(&shared, &access, &db, Action::Read).await?;
    lookup::collection(&database, &collection)?;
    let limit = lookup::limit(query.limit, 1_000, 10_000)?;
    let scan = Scan {
        prefix: query.prefix.unwrap_or_default(),
        after: query.after,
        limit: Some(limit + 1),
    };
    let read = move || {
        database.inspect(|core| {
            let records = core.scan(&collection, &scan).into_iter();
            let with_more = records.map(|(key, record)| {
                let seen = Seen::of(core, &collection, &key);
                (key, record, seen)
            });
            with_more.collect::<Vec<_>>()
        })
    };
    let found = tokio::task::spawn_blocking(read).await;
    let found = found.map_err(Problem::internal)?;
    let mut records: Vec<RecordEntry> = Vec::new();
    let (mut bytes, mut next) = (0, None);
    for (key, record, seen) in found {
        if records.len() == limit || bytes > PAGE_BYTES {
            next = records.last().map(|last| last.key.clone());
            break;
        }
        let entry = seen.entry(key, &record)?;
        bytes += entry.value.get().len();
        records.push(entry);
    }
    Ok(Json(RecordList { records, next }))
}

/// One record.
#[utoipa::path(get, path = "/v1/databases/{db}/collections/{collection}/records/{key}", tag = "records",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("collection" = String, Path, min_length = 1, max_length = 200), ("key" = String, Path, min_length = 1, max_length = 1024)),
    responses((status = 200, body = RecordEntry)))]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At((db, collection, key)): At<(String, String, String)>,
) -> Answer<Json<RecordEntry>> {
    let database = lookup::database(&shared, &access, &db, Action::Read).await?;
    lookup::collection(&database, &collection)?;
    let (found, seen) = database.inspect(|core| {
        let seen = Seen::of(core, &collection, &key);
        (core.get(&collection, &key), seen)
    });
    let record = found.ok_or_else(|| {
        let key: String = key.chars().take(64).collect();
        let message = format!("{collection} has no record {key:?}; PUT creates one");
        Problem::missing("unknown-record", message)
    })?;
    seen.entry(key, &record).map(Json)
}

type Place = (String, String, String);

/// Makes a record equal to the body, creating it if needed.
#[utoipa::path(put, path = "/v1/databases/{db}/collections/{collection}/records/{key}", tag = "records",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("collection" = String, Path, min_length = 1, max_length = 200), ("key" = String, Path, min_length = 1, max_length = 1024), WriteQuery,
        ("Headwater-Origin" = Option<String>, Header, description = "The job or application that writes; `http` unless given", min_length = 1, max_length = 128)),
    request_body = Object, responses((status = 200, body = Written)))]
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<Place>,
    Asked(query): Asked<WriteQuery>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Written>> {
    let text = body.text()?;
    write(
        &shared,
        &access,
        place,
        query,
        &headers,
        (Op::Put, Some(text)),
    )
    .await
}

/// Edits a record that is there, by a JSON merge patch: a null removes a field, an object is merged.
#[utoipa::path(patch, path = "/v1/databases/{db}/collections/{collection}/records/{key}", tag = "records",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("collection" = String, Path, min_length = 1, max_length = 200), ("key" = String, Path, min_length = 1, max_length = 1024), WriteQuery,
        ("Headwater-Origin" = Option<String>, Header, description = "The job or application that writes; `http` unless given", min_length = 1, max_length = 128)),
    request_body = Object, responses((status = 200, body = Written)))]
pub(super) async fn patch(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<Place>,
    Asked(query): Asked<WriteQuery>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Written>> {
    let text = body.text()?;
    write(
        &shared,
        &access,
        place,
        query,
        &headers,
        (Op::Patch, Some(text)),
    )
    .await
}

/// Deletes a record. One that is not there stays so.
#[utoipa::path(delete, path = "/v1/databases/{db}/collections/{collection}/records/{key}", tag = "records",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("collection" = String, Path, min_length = 1, max_length = 200), ("key" = String, Path, min_length = 1, max_length = 1024), WriteQuery,
        ("Headwater-Origin" = Option<String>, Header, description = "The job or application that writes; `http` unless given", min_length = 1, max_length = 128)),
    responses((status = 200, body = Written)))]
pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<Place>,
    Asked(query): Asked<WriteQuery>,
    headers: HeaderMap,
) -> Answer<Json<Written>> {
    write(&shared, &access, place, query, &headers, (Op::Delete, None)).await
}

async fn write(
    shared: &Shared,
    access: &Access,
    (db, collection, key): Place,
    query: WriteQuery,
    headers: &HeaderMap,
    (op, value): (Op, Option<&str>),
) -> Answer<Json<Written>> {
    let database = lookup::database(shared, access, &db, Action::Write).await?;
    let writer = lookup::written_by(&database, access, headers)?;
    let version = query.version.as_deref();
    let if_changed = query.if_changed.unwrap_or_default();
    let change = key_change(op, value)?;
    let write = key_write(&collection, &key, change, version, if_changed)?;
    write_one(&writer, write).await.map(Json)
}

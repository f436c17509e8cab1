//! What lost when people wrote the same, and how to settle it.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::extract::{Asked, At, Body};
use super::lookup::{self, Action};
use super::writes::{IfChanged, key_write, write_one};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Json;
use headwater::json::{value_from_str, value_to_json};
use headwater::{Claim, ClaimId, Conflict, KeyChange, Scan, Settlement, Value, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// A write in a conflict.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConflictingWrite {
    /// To be given as `keep`.
    id: String,
    /// What it wrote; absent if it deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    value: Option<Box<RawValue>>,
    user: Option<String>,
    origin: Option<String>,
    /// When, by the writer's clock, in milliseconds since 1970.
    at: Option<i64>,
}

/// Something that was written and is not shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConflictEntry {
    collection: String,
    key: String,
    /// What a reader of this has seen of the record.
    version: String,
    /// The field, from the record inwards; empty if it is about the record as a whole.
    path: Vec<String>,
    /// `values`, `edit-lost` or `delete-lost`.
    kind: String,
    /// What decided.
    policy: String,
    /// Whether the policy could be carried out here.
    resolved: bool,
    /// What is shown; absent if the record is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    shown: Option<Box<RawValue>>,
    /// The write that is shown; absent if it is made of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    winner: Option<ConflictingWrite>,
    losers: Vec<ConflictingWrite>,
}

/// Conflicts in the order of their records' keys.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConflictList {
    conflicts: Vec<ConflictEntry>,
    /// To be given as `after`, with the collection, for more; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// The collection.
    collection: String,
    /// Only records after this key.
    after: Option<String>,
    /// At most those of so many records, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

fn raw(value: &Value) -> Answer<Box<RawValue>> {
    RawValue::from_string(value_to_json(value)).map_err(Problem::internal)
}

fn write(claim: &Claim) -> Answer<ConflictingWrite> {
    let by = claim.by.as_ref().map(|by| &by.provenance);
    Ok(ConflictingWrite {
        id: claim.id.to_string(),
        value: claim.value.as_ref().map(raw).transpose()?,
        user: by.and_then(|by| by.user.clone()),
        origin: by.and_then(|by| by.origin.clone()),
        at: by.map(|by| by.at),
    })
}

fn entry((conflict, version): (Conflict, Version)) -> Answer<ConflictEntry> {
    let losers = conflict.losers.iter().map(write);
    Ok(ConflictEntry {
        kind: conflict.kind.name().to_owned(),
        shown: conflict.shown.as_ref().map(raw).transpose()?,
        winner: conflict.winner.as_ref().map(write).transpose()?,
        losers: losers.collect::<Result<_, _>>()?,
        version: version.to_string(),
        collection: conflict.collection,
        key: conflict.key,
        path: conflict.field,
        policy: conflict.policy,
        resolved: conflict.resolved,
    })
}

/// What lost in a collection and is not settled.
#[utoipa::path(get, path = "/v1/databases/{db}/conflicts", tag = "conflicts",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ListQuery),
    responses((status = 200, body = ConflictList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(db): At<String>,
    Asked(query): Asked<ListQuery>,
) -> Answer<Json<ConflictList>> {
    let database = lookup::database(&shared, &access, &db, Action::Read).await?;
    lookup::collection(&database, &query.collection)?;
    let limit = lookup::limit(query.limit, 100, 1_000)?;
    let scan = Scan {
        after: query.after,
        limit: Some(limit),
        ..Scan::default()
    };
    let name = query.collection;
    let read = move || {
        database.inspect(|core| {
            let conflicts = core.conflicts(&name, &scan).into_iter();
            let with_version = conflicts.map(|conflict| {
                let version = core.version_of(&name, &conflict.key);
                (conflict, version)
            });
            with_version.collect::<Vec<_>>()
        })
    };
    let found = tokio::task::spawn_blocking(read).await;
    let found = found.map_err(Problem::internal)?;
    let records = found.chunk_by(|(a, _), (b, _)| a.key == b.key).count();
    let next = found.last().filter(|_| records == limit);
    Ok(Json(ConflictList {
        next: next.map(|(last, _)| last.key.clone()),
        conflicts: found.into_iter().map(entry).collect::<Result<_, _>>()?,
    }))
}

/// Which conflict to settle, and how: one of `accept`, `keep` and `write`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settle {
    collection: String,
    key: String,
    /// The field, from the record inwards; empty for the record as a whole.
    path: Vec<String>,
    /// What is shown stays.
    #[serde(default)]
    accept: bool,
    /// This one of the writes is shown.
    keep: Option<String>,
    /// This value is shown, or this record.
    #[schema(value_type = Option<Value>)]
    write: Option<Box<RawValue>>,
    /// The version that came with the conflict: what others wrote since is not settled by this.
    version: Option<String>,
    #[serde(default)]
    if_changed: IfChanged,
}

/// What is left.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Settled {
    collection: String,
    key: String,
    /// What the one who settled has seen of the record now.
    version: String,
    /// How many conflicts are open in the record.
    open: usize,
}

/// Settles a conflict: a write that supersedes what is here, and nothing that others write meanwhile.
#[utoipa::path(post, path = "/v1/databases/{db}/conflicts/settle", tag = "conflicts",
    params(("db" = String, Path, description = "The database's id, or its name on this server"),
        ("Headwater-Origin" = Option<String>, Header, description = "The job or application that writes; `http` unless given", min_length = 1, max_length = 128)),
    request_body = Settle, responses((status = 200, body = Settled)))]
pub(super) async fn settle(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(db): At<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Settled>> {
    let database = lookup::database(&shared, &access, &db, Action::Write).await?;
    let writer = lookup::written_by(&database, &access, &headers)?;
    let sent: Settle = body.json()?;
    let how = match (sent.accept, sent.keep, sent.write) {
        (true, None, None) => Settlement::Accept,
        (false, Some(id), None) => Settlement::Keep(ClaimId(id)),
        (false, None, Some(value)) => {
            let value = value_from_str(value.get());
            let value =
                value.map_err(|error| Problem::bad("bad-request", format!("write: {error}")))?;
            Settlement::Write(value)
        }
        _ => {
            let message =
                "say one of \"accept\": true, \"keep\": the id of a write, and \"write\": a value";
            return Err(Problem::bad("bad-request", message));
        }
    };
    lookup::collection(&database, &sent.collection)?;
    let change = KeyChange::Settle(sent.path, how);
    let version = sent.version.as_deref();
    let write = key_write(
        &sent.collection,
        &sent.key,
        change,
        version,
        sent.if_changed,
    )?;
    let written = write_one(&writer, write).await?;
    let left = database
        .collection(&*written.collection)
        .conflicts_of(&written.key);
    Ok(Json(Settled {
        collection: written.collection,
        key: written.key,
        version: written.version,
        open: left.len(),
    }))
}

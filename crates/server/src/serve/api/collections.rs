//! The collections of a database, and what is declared of them.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::extract::{At, Sent};
use super::lookup::{self, Action};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Json;
use headwater_core::catalog::Collection;
use headwater_core::{CollectionSchema, DeleteRule, FieldType, Policy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is declared of a collection.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CollectionEntry {
    name: String,
    /// The declared type of each field that has one, such as `int`.
    fields: BTreeMap<String, String>,
    /// What decides between concurrent values of each field that has a policy, such as `max`.
    policies: BTreeMap<String, String>,
    /// What becomes of an edit that met a delete: `edit-wins` or `delete-wins`.
    delete: String,
    /// The application's number for this schema; 0 if nobody declared one.
    version: u32,
    /// Into how many partitions new records are spread.
    partitions: u32,
}

/// Collections in the order of their names.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CollectionList {
    collections: Vec<CollectionEntry>,
}

fn entry(name: &str, declared: &Collection) -> CollectionEntry {
    let fields = declared.fields.iter();
    let policies = declared.policies.iter();
    CollectionEntry {
        name: name.to_owned(),
        fields: fields
            .map(|(name, kind)| (name.clone(), kind.name().into_owned()))
            .collect(),
        policies: policies
            .map(|(name, policy)| (name.clone(), policy.to_string()))
            .collect(),
        delete: declared.delete.name().to_owned(),
        version: declared.version,
        partitions: declared.partitions.last().copied().unwrap_or(0),
    }
}

/// The collections of a database.
#[utoipa::path(get, path = "/v1/databases/{db}/collections", tag = "collections",
    params(("db" = String, Path, description = "The database's id, or its name on this server")),
    responses((status = 200, body = CollectionList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(db): At<String>,
) -> Answer<Json<CollectionList>> {
    let database = lookup::database(&shared, &access, &db, Action::Read).await?;
    let all = database.collections();
    let entries = all.iter().map(|(name, declared)| entry(name, declared));
    Ok(Json(CollectionList {
        collections: entries.collect(),
    }))
}

/// One collection.
#[utoipa::path(get, path = "/v1/databases/{db}/collections/{collection}", tag = "collections",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("collection" = String, Path, min_length = 1, max_length = 200)),
    responses((status = 200, body = CollectionEntry)))]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At((db, collection)): At<(String, String)>,
) -> Answer<Json<CollectionEntry>> {
    let database = lookup::database(&shared, &access, &db, Action::Read).await?;
    let declared = lookup::collection(&database, &collection)?;
    Ok(Json(entry(&collection, &declared)))
}

/// What to declare; it adds to what was declared before.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Declaration {
    /// Types of fields: bool, int, float, decimal(PRECISION,SCALE), string, text, counter, date, timestamp, bytes, list or map.
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// Policies of fields: last-writer, max, min, union, keep-all or custom:NAME@VERSION.
    #[serde(default)]
    policies: BTreeMap<String, String>,
    /// What becomes of an edit that met a delete: `edit-wins` or `delete-wins`.
    delete: Option<String>,
    /// The application's number for this schema. The greatest that anyone declared is kept.
    version: Option<u32>,
    /// Into how many partitions new records are spread, from 1 to 4,096.
    #[schema(minimum = 1, maximum = 4096)]
    partitions: Option<u32>,
}

/// Declares types, policies and rules of a collection, which comes into being if there is none.
#[utoipa::path(patch, path = "/v1/databases/{db}/collections/{collection}", tag = "collections",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("collection" = String, Path, min_length = 1, max_length = 200)),
    request_body = Declaration, responses((status = 200, body = CollectionEntry)))]
pub(super) async fn declare(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At((db, collection)): At<(String, String)>,
    headers: HeaderMap,
    Sent(declaration): Sent<Declaration>,
) -> Answer<Json<CollectionEntry>> {
    let database = lookup::database(&shared, &access, &db, Action::Write).await?;
    let schema = schema(declaration)?;
    let writer = lookup::written_by(&database, &access, &headers)?;
    writer.declare(&collection, schema).await?;
    let declared = lookup::collection(&database, &collection)?;
    Ok(Json(entry(&collection, &declared)))
}

fn schema(declaration: Declaration) -> Answer<CollectionSchema> {
    let wrong = |message: String| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "invalid-declaration", message)
    };
    let mut schema = CollectionSchema::new();
    for (field, name) in declaration.fields {
        match FieldType::of_name(&name) {
            FieldType::Other(_) => {
                let known = headwater::TYPE_NAMES;
                return Err(wrong(format!("{name:?} is no type; there are {known}")));
            }
            kind => schema = schema.field(field, kind),
        }
    }
    for (field, name) in declaration.policies {
        match Policy::of_name(&name) {
            Policy::Other(_) => {
                let known = "last-writer, max, min, union, keep-all and custom:NAME@VERSION";
                return Err(wrong(format!("{name:?} is no policy; there are {known}")));
            }
            policy => schema = schema.policy(field, policy),
        }
    }
    schema.delete = match declaration.delete.as_deref() {
        None => None,
        Some("edit-wins") => Some(DeleteRule::EditWins),
        Some("delete-wins") => Some(DeleteRule::DeleteWins),
        Some(name) => {
            let message =
                format!("{name:?} is no delete rule; there are edit-wins and delete-wins");
            return Err(wrong(message));
        }
    };
    schema.version = declaration.version;
    schema.partitions = declaration.partitions;
    Ok(schema)
}

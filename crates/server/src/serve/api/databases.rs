//! The databases of the server.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::extract::{Asked, At, Sent};
use super::lookup::{self, Action};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A database.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DatabaseEntry {
    /// Its id, by which it is found everywhere.
    id: String,
    /// The name that stands for it on this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Databases in the order of their ids.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DatabaseList {
    databases: Vec<DatabaseEntry>,
    /// To be given as `after` for more; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only databases after this id.
    after: Option<String>,
    /// At most so many, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// The databases that the sender may read.
#[utoipa::path(get, path = "/v1/databases", tag = "databases", params(ListQuery),
    responses((status = 200, body = DatabaseList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    access: Access,
    Asked(query): Asked<ListQuery>,
) -> Answer<Json<DatabaseList>> {
    let limit = lookup::limit(query.limit, 100, 1_000)?;
    let mut infos = shared.peer.databases().await?;
    infos.retain(|info| access.read(&info.id).is_ok());
    let entries = infos.into_iter().map(|info| DatabaseEntry {
        id: info.id.to_string(),
        name: info.names.into_iter().next(),
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries.retain(|entry| query.after.as_ref().is_none_or(|after| entry.id > *after));
    let next = entries.len() > limit;
    entries.truncate(limit);
    Ok(Json(DatabaseList {
        next: entries.last().filter(|_| next).map(|last| last.id.clone()),
        databases: entries,
    }))
}

/// What a new database is to be.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDatabase {
    /// A name that is to stand for it on this server.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// Creates a database.
#[utoipa::path(post, path = "/v1/databases", tag = "databases", request_body = NewDatabase,
    responses((status = 201, body = DatabaseEntry)))]
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    access: Access,
    Sent(new): Sent<NewDatabase>,
) -> Answer<(StatusCode, Json<DatabaseEntry>)> {
    access.write_all()?;
    if let Some(name) = &new.name
        && (name.is_empty() || name.len() > 200 || name.chars().any(char::is_control))
    {
        let message = "a database's name has 1 to 200 bytes and no control characters";
        return Err(Problem::bad("bad-name", message));
    }
    let database = shared.peer.create(new.name.as_deref()).await?;
    let entry = DatabaseEntry {
        id: database.id().to_string(),
        name: new.name,
    };
    Ok((StatusCode::CREATED, Json(entry)))
}

/// One database, by its id or its name on this server.
#[utoipa::path(get, path = "/v1/databases/{db}", tag = "databases",
    params(("db" = String, Path, description = "The database's id, or its name on this server")),
    responses((status = 200, body = DatabaseEntry)))]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(db): At<String>,
) -> Answer<Json<DatabaseEntry>> {
    let database = lookup::database(&shared, &access, &db, Action::Read).await?;
    let infos = shared.peer.databases().await?;
    let info = infos.into_iter().find(|info| info.id == database.id());
    Ok(Json(DatabaseEntry {
        id: database.id().to_string(),
        name: info.and_then(|info| info.names.into_iter().next()),
    }))
}

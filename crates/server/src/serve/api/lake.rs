//! The lake: publishing, what was published, and whether it is right.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::lake::{Check, CheckReport};
use super::super::problem::Problem;
use super::Answer;
use super::extract::{Asked, At};
use super::lookup;
use axum::extract::State;
use axum::response::Json;
use headwater_materialize::{Snapshot, snapshots};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A state of the lake.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Publication {
    /// Its number, which is the snapshot's too.
    snapshot: u64,
    /// When it was published, in milliseconds since 1970.
    at: i64,
    /// The tables that were not the same in the one before.
    tables: Vec<String>,
}

impl From<Snapshot> for Publication {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            snapshot: snapshot.version,
            at: snapshot.at,
            tables: snapshot.tables,
        }
    }
}

/// The publications that are kept, the latest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PublicationList {
    publications: Vec<Publication>,
}

/// The snapshot in which everything is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Published {
    snapshot: u64,
    /// The same, as the feed's `_commit_version`.
    version: u64,
}

/// Publishes everything that was acknowledged before; answers when it is in the lake.
#[utoipa::path(post, path = "/v1/publish", tag = "lake", responses((status = 200, body = Published)))]
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    access: Access,
) -> Answer<Json<Published>> {
    access.read_all()?;
    for database in shared.peer.open_databases() {
        // From then on the lake knows of all that was acknowledged.
        database.inspect_durable(|_| ()).await?;
    }
    let version = shared.feed.publish().await;
    let version =
        version.map_err(|error| Problem::storage(format!("the lake is not published: {error}")))?;
    Ok(Json(Published {
        snapshot: version,
        version,
    }))
}

/// How many.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// At most so many, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

async fn kept(shared: &Shared) -> Answer<Vec<Snapshot>> {
    let root = shared.lake.clone();
    let read = tokio::task::spawn_blocking(move || snapshots(&root)).await;
    Ok(read.map_err(Problem::internal)??)
}

/// The publications that are kept.
#[utoipa::path(get, path = "/v1/publications", tag = "lake", params(ListQuery),
    responses((status = 200, body = PublicationList)))]
pub(super) async fn publications(
    State(shared): State<Arc<Shared>>,
    access: Access,
    Asked(query): Asked<ListQuery>,
) -> Answer<Json<PublicationList>> {
    access.read_all()?;
    let limit = lookup::limit(query.limit, 100, 1_000)?;
    let all = kept(&shared).await?;
    let latest = all.into_iter().rev().take(limit);
    Ok(Json(PublicationList {
        publications: latest.map(Publication::from).collect(),
    }))
}

/// One publication.
#[utoipa::path(get, path = "/v1/publications/{id}", tag = "lake", params(("id" = u64, Path)),
    responses((status = 200, body = Publication)))]
pub(super) async fn publication(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(id): At<u64>,
) -> Answer<Json<Publication>> {
    access.read_all()?;
    let all = kept(&shared).await?;
    let found = all.into_iter().find(|one| one.version == id);
    let found = found.ok_or_else(|| {
        let message = format!("there is no publication {id}, or not any more; GET /v1/publications lists those that are kept");
        Problem::missing("unknown-publication", message)
    })?;
    Ok(Json(found.into()))
}

/// Compares the lake with the databases, record by record. What differs is in the answer; nothing is mended.
#[utoipa::path(post, path = "/v1/lake/verify", tag = "lake", responses((status = 200, body = CheckReport)))]
pub(super) async fn verify(
    State(shared): State<Arc<Shared>>,
    access: Access,
) -> Answer<Json<CheckReport>> {
    access.read_all()?;
    let feed = Arc::clone(&shared.feed);
    let report = tokio::task::spawn_blocking(move || feed.check(Check::Verify)).await;
    let report = report.map_err(Problem::internal)?;
    report.map(Json).map_err(Problem::storage)
}

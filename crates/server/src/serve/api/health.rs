//! Whether the server is at work, and whether it can do its work.

use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

/// That a server is at work.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// `ok`.
    status: String,
    /// The server's version.
    version: String,
    /// How long it has been at work, in seconds.
    uptime_seconds: u64,
}

/// That the server's process is at work, whatever state its disks are in.
#[utoipa::path(get, path = "/v1/health", tag = "server", responses((status = 200, body = Health)))]
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Json<Health> {
    Json(answer(&shared))
}

/// That what is written can be stored and the lake be published. 503 says what fails; it is tried again until it works.
#[utoipa::path(get, path = "/v1/ready", tag = "server", responses((status = 200, body = Health)))]
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Answer<Json<Health>> {
    let of_plain = || shared.plain.as_ref()?.storage_failure();
    let storage = shared.peer.storage_failure().or_else(of_plain);
    let lake = shared.feed.status().error;
    if storage.is_none() && lake.is_none() {
        return Ok(Json(answer(&shared)));
    }
    let failing = match (&storage, &lake) {
        (Some(why), _) => format!("storage fails: {why}"),
        (None, why) => format!("the lake fails: {}", why.as_deref().unwrap_or_default()),
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "storage", failing);
    Err(problem.with(json!({ "storage": storage, "lake": lake })))
}

fn answer(shared: &Shared) -> Health {
    Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: shared.started.elapsed().as_secs(),
    }
}

//! The HTTP API, under `/v1`: records, the change feed and the lake for programs. Its description is made from the code.

mod changes;
mod collections;
mod conflicts;
mod consumers;
mod cursor;
mod databases;
mod description;
mod extract;
mod health;
mod lag;
mod lake;
mod lookup;
mod records;
mod requests;
mod state;
mod writes;

pub(super) use lag::{Behind, of_all as consumer_lags};
pub(super) use state::State as ApiState;
pub use state::StateError;

use super::endpoints::Shared;
use super::problem::{self, Problem};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The description of the API, as `/v1/openapi.json` serves it.
pub fn description() -> OpenApi {
    let (_, open) = open_routes().split_for_parts();
    let (_, guarded) = guarded_routes().split_for_parts();
    description::complete(open, guarded)
}

fn open_routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
}

fn guarded_routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(databases::list, databases::create))
        .routes(routes!(databases::show))
        .routes(routes!(collections::list))
        .routes(routes!(collections::show, collections::declare))
        .routes(routes!(records::list))
        .routes(routes!(
            records::show,
            records::put,
            records::patch,
            records::delete
        ))
        .routes(routes!(writes::write))
        .routes(routes!(conflicts::list))
        .routes(routes!(conflicts::settle))
        .routes(routes!(changes::list))
        .routes(routes!(changes::head))
        .routes(routes!(consumers::list))
        .routes(routes!(
            consumers::show,
            consumers::create,
            consumers::remove
        ))
        .routes(routes!(consumers::pull))
        .routes(routes!(consumers::commit))
        .routes(routes!(consumers::reset))
        .routes(routes!(lake::publish))
        .routes(routes!(lake::publications))
        .routes(routes!(lake::publication))
        .routes(routes!(lake::verify))
}

/// What is under `/v1` for those whom the gate knows.
pub(super) fn guarded() -> Router<Arc<Shared>> {
    let (guarded, _) = guarded_routes().split_for_parts();
    guarded.method_not_allowed_fallback(problem::no_such_method)
}

/// What is under `/v1` for everyone: whether the server is well, and the description.
pub(super) fn open() -> Router<Arc<Shared>> {
    let (open, _) = open_routes().split_for_parts();
    let json = serde_json::to_string(&description()).unwrap_or_default();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let document = move || async move { (kind, json) };
    open.route("/v1/openapi.json", get(document))
        .route("/v1/docs", get(description::page))
        .method_not_allowed_fallback(problem::no_such_method)
}

type Answer<T> = Result<T, Problem>;

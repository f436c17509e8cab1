//! What is at which path.

use super::access::{Access, Door, Gate, authenticate};
use super::api::{self, ApiState};
use super::health::Health;
use super::lake::{Check, LakeFeed};
use super::limits::Limits;
use super::metrics::{self, Counts};
use super::problem::{self, Problem};
use super::socket::transport;
use super::upgrade::Upgrade;
use crate::airflow::Airflow;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use headwater::plain::PlainStore;
use headwater::{DatabaseId, Peer};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What the endpoints work on.
pub(super) struct Shared {
    pub peer: Peer,
    pub plain: Option<PlainStore>,
    pub feed: Arc<LakeFeed>,
    pub gate: Arc<Gate>,
    pub limits: Arc<Limits>,
    pub counts: Counts,
    pub health: Health,
    pub api: ApiState,
    /// The folder of the lake.
    pub lake: PathBuf,
    pub airflow: Option<Arc<Airflow>>,
    pub started: Instant,
}

impl Shared {
    /// Why storage fails, if it does.
    pub fn storage_failure(&self) -> Option<String> {
        let of_plain = || self.plain.as_ref()?.storage_failure();
        self.peer.storage_failure().or_else(of_plain)
    }
}

/// What is at the address that clients know. Metrics and administration are there too, unless they have one of their own.
pub(super) fn router(shared: Arc<Shared>, admin_apart: bool) -> Router {
    let data = Router::new()
        .route("/sync/{database}", get(sync))
        .route("/link", get(link))
        .route("/", get(plain))
        .merge(api::guarded());
    let guarded = match admin_apart {
        true => data,
        false => data.merge(administration()),
    };
    guard(guarded, api::open(), shared)
}

/// What is at the address for metrics and administration.
pub(super) fn admin(shared: Arc<Shared>) -> Router {
    guard(administration(), Router::new(), shared)
}

fn administration() -> Router<Arc<Shared>> {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/lake/{what}", post(check_lake))
}

/// Lets those in whom the gate knows, and everyone to what tells whether the server is well.
fn guard(guarded: Router<Arc<Shared>>, open: Router<Arc<Shared>>, shared: Arc<Shared>) -> Router {
    let door = Arc::new(Door {
        gate: Arc::clone(&shared.gate),
        limits: Arc::clone(&shared.limits),
        counts: shared.counts.clone(),
    });
    guarded
        .fallback(problem::no_such_path)
        .layer(DefaultBodyLimit::max(shared.limits.body_bytes()))
        .layer(from_fn_with_state(door, authenticate))
        .route("/healthz", get(health))
        .merge(open)
        .layer(from_fn_with_state(Arc::clone(&shared), metrics::count))
        .with_state(shared)
}

/// 200 while everything works; 503 with what is wrong while storage or the lake fails. Both are tried again until they work.
async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let storage = shared.storage_failure();
    let lake = shared.feed.status();
    let healthy = storage.is_none() && lake.error.is_none();
    let body = json!({
        "status": if healthy { "ok" } else { "failing" },
        "storage": storage.as_deref().unwrap_or("ok"),
        "lake": lake.error.as_deref().unwrap_or("ok"),
        "lake_publications": lake.publications,
        "lake_pending": lake.pending,
        "lake_lag_ms": lake.lag.as_millis() as u64,
        "lake_version": lake.version,
        "databases": shared.peer.open_databases().len(),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let code = match healthy {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(body)).into_response()
}

/// Gauges and counters for Prometheus.
async fn show_metrics(
    State(shared): State<Arc<Shared>>,
    access: Access,
) -> Result<Response, Problem> {
    access.read_all()?;
    Ok(metrics::answer(&shared).await)
}

/// Compares the lake with the databases, mends it or makes it anew, and says what came of it.
async fn check_lake(
    State(shared): State<Arc<Shared>>,
    Path(what): Path<String>,
    access: Access,
) -> Result<Response, Problem> {
    access.admin()?;
    let check = Check::of_name(&what)
        .ok_or_else(|| Problem::missing("unknown-path", "there are verify, repair and rebuild"))?;
    let feed = Arc::clone(&shared.feed);
    let checked = tokio::task::spawn_blocking(move || feed.check(check)).await;
    let report = checked
        .map_err(Problem::internal)?
        .map_err(Problem::storage)?;
    Ok(Json(report).into_response())
}

async fn sync(
    State(shared): State<Arc<Shared>>,
    Path(database): Path<String>,
    access: Access,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let bad = |message: String| Problem::bad("bad-request", message);
    let id: DatabaseId = database
        .parse()
        .map_err(|error| bad(format!("/sync/{error}")))?;
    if id == DatabaseId::from_bytes([0; 16]) {
        return Err(bad("no database has this id".into()));
    }
    if let Err(error) = access.write(&id) {
        return Ok(upgrade.deny(error));
    }
    Ok(upgrade.accept(access, move |socket| async move {
        match shared.peer.serve_database(id, transport(socket)).await {
            Ok(ended) => tracing::debug!(database = %id, %ended, "client gone"),
            Err(error) => tracing::error!(database = %id, %error, "database not served"),
        }
    }))
}

async fn link(State(shared): State<Arc<Shared>>, access: Access, upgrade: Upgrade) -> Response {
    if let Err(error) = access.write_all() {
        return upgrade.deny(error);
    }
    upgrade.accept(access, move |socket| async move {
        let ended = shared.peer.serve_link(transport(socket)).await;
        tracing::info!(%ended, "server gone");
    })
}

async fn plain(State(shared): State<Arc<Shared>>, access: Access, upgrade: Upgrade) -> Response {
    if let Err(error) = access.write_all() {
        return upgrade.deny(error);
    }
    upgrade.accept(access, move |socket| async move {
        let ended = match &shared.plain {
            Some(plain) => plain.serve(transport(socket)).await,
            None => {
                let why = "this server does not take plain automerge-repo documents: connect to /sync/<database>, or start \
                    it with --allow-plain";
                shared.peer.turn_away(transport(socket), why).await
            }
        };
        tracing::debug!(%ended, "plain client gone");
    })
}

//! Named readers of a change feed, whose places the server keeps.
//!
//! A page that is pulled is leased: until it is committed or the lease ends, another pull by the same holder gives the same page,
//! and others are refused. So a page that was read and not committed, because whoever read it was killed, is read again as it was.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::changes::{self, ChangePage, Wanted};
use super::cursor::{self, Ends};
use super::extract::{At, Sent};
use super::lag::{self, Lag};
use super::lookup::{self, Action};
use super::state::CONSUMERS;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use headwater::{Database, DatabaseId};
use headwater_materialize::FeedPlace;
use redb::ReadableTableMetadata as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How many consumers there can be, over all databases.
const MAX_CONSUMERS: u64 = 10_000;
/// How long a page is leased, in seconds: usually, and at most.
const LEASE_S: u32 = 60;
const MAX_LEASE_S: u32 = 3600;

/// What is kept of a consumer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Kept {
    pub name: String,
    pub collection: Option<String>,
    pub exclude_origin: Option<String>,
    pub committed: String,
    /// The page that was given out last and is not committed.
    given: Option<Given>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Given {
    id: u64,
    /// Where it ends.
    end: String,
    limit: usize,
    /// Until when it is leased, in milliseconds since 1970.
    until: i64,
    holder: String,
}

/// A consumer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Consumer {
    name: String,
    collection: Option<String>,
    exclude_origin: Option<String>,
    /// The place up to which it has committed.
    committed: String,
    lag: Lag,
    /// The page that is leased to someone.
    #[serde(skip_serializing_if = "Option::is_none")]
    leased: Option<Lease>,
    /// Whether changes after its place are not kept any more: it has to be reset.
    expired: bool,
}

/// A lease of a page.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Lease {
    id: u64,
    /// Until when, in milliseconds since 1970.
    until: i64,
    /// Who has it, as they call themselves.
    holder: String,
}

/// Consumers in the order of their names.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConsumerList {
    consumers: Vec<Consumer>,
}

/// What a consumer is to be.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewConsumer {
    /// Where it begins: `beginning` (unless given), `head`, or a cursor.
    start: Option<String>,
    /// It gets changes of this collection only.
    collection: Option<String>,
    /// It gets nothing that was written under this origin.
    exclude_origin: Option<String>,
}

/// How to pull.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pull {
    /// At most so many changes; 1,000 unless given.
    #[schema(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
    /// For how many seconds to wait for a change if there is none.
    #[schema(minimum = 0, maximum = 60)]
    wait: Option<f64>,
    /// For how many seconds the page is leased; 60 unless given.
    #[schema(minimum = 1, maximum = 3600)]
    lease_s: Option<u32>,
    /// Who pulls: the same holder may read a leased page again.
    #[serde(default)]
    #[schema(max_length = 200)]
    holder: String,
}

/// A page that is leased.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PulledPage {
    #[serde(flatten)]
    page: ChangePage,
    /// Absent if the page is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Lease>,
}

/// How far to commit.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    /// The cursor of the page that was pulled.
    cursor: String,
}

/// Where to go on.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    /// `beginning`, `head`, or a cursor.
    to: String,
}

/// A consumer that is being worked on, by one request at a time.
struct Held {
    database: Database,
    key: String,
    kept: Option<Kept>,
    _alone: tokio::sync::OwnedMutexGuard<()>,
}

impl Held {
    async fn of(
        shared: &Shared,
        access: &Access,
        (db, name): (String, String),
        action: Action,
    ) -> Answer<Self> {
        let database = lookup::database(shared, access, &db, action).await?;
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            let message = "a consumer's name has 1 to 128 bytes and no control characters";
            return Err(Problem::bad("bad-name", message));
        }
        let key = format!("{}\0{name}", database.id());
        let alone = shared.api.lock(&key).await;
        let found = shared.api.get(CONSUMERS, key.clone()).await?;
        let kept = found.map(|bytes| serde_json::from_slice(&bytes));
        let kept = kept.transpose().map_err(Problem::internal)?;
        Ok(Self {
            database,
            key,
            kept,
            _alone: alone,
        })
    }

    fn kept(&self) -> Answer<Kept> {
        self.kept.clone().ok_or_else(|| {
            let message = "this database has no consumer of this name; PUT creates one";
            Problem::missing("unknown-consumer", message)
        })
    }

    async fn keep(&mut self, shared: &Shared, kept: Kept) -> Answer<()> {
        let bytes = serde_json::to_vec(&kept).map_err(Problem::internal)?;
        let key = self.key.clone();
        let is_new = self.kept.is_none();
        let write = move |store: &redb::Database| {
            let transaction = store.begin_write()?;
            {
                let mut consumers = transaction.open_table(CONSUMERS)?;
                if is_new && consumers.len()? >= MAX_CONSUMERS {
                    return Ok(false);
                }
                consumers.insert(&*key, &*bytes)?;
            }
            transaction.commit()?;
            Ok(true)
        };
        if !shared.api.with(write).await? {
            let message =
                format!("there are {MAX_CONSUMERS} consumers; delete those that nobody uses");
            return Err(Problem::conflict("too-many-consumers", message));
        }
        self.kept = Some(kept);
        Ok(())
    }

    async fn show(&self, shared: &Shared) -> Answer<Consumer> {
        describe(shared, self.database.id(), self.kept()?).await
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Given {
    fn is_leased(&self) -> bool {
        self.until > now_ms()
    }

    fn lease(&self) -> Lease {
        Lease {
            id: self.id,
            until: self.until,
            holder: self.holder.clone(),
        }
    }
}

async fn describe(shared: &Shared, database: DatabaseId, kept: Kept) -> Answer<Consumer> {
    let lag = lag::of(shared, database, &kept).await?;
    let leased = kept.given.as_ref().filter(|given| given.is_leased());
    Ok(Consumer {
        leased: leased.map(Given::lease),
        name: kept.name,
        collection: kept.collection,
        exclude_origin: kept.exclude_origin,
        committed: kept.committed,
        expired: lag.expired,
        lag,
    })
}

/// The consumers of a database.
#[utoipa::path(get, path = "/v1/databases/{db}/consumers", tag = "consumers",
    params(("db" = String, Path, description = "The database's id, or its name on this server")),
    responses((status = 200, body = ConsumerList)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(db): At<String>,
) -> Answer<Json<ConsumerList>> {
    let database = lookup::database(&shared, &access, &db, Action::Read).await?;
    let mut consumers = Vec::new();
    for bytes in shared.api.of_database(CONSUMERS, database.id()).await? {
        let kept = serde_json::from_slice(&bytes).map_err(Problem::internal)?;
        consumers.push(describe(&shared, database.id(), kept).await?);
    }
    Ok(Json(ConsumerList { consumers }))
}

/// One consumer.
#[utoipa::path(get, path = "/v1/databases/{db}/consumers/{name}", tag = "consumers",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("name" = String, Path, min_length = 1, max_length = 128)),
    responses((status = 200, body = Consumer)))]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<(String, String)>,
) -> Answer<Json<Consumer>> {
    let held = Held::of(&shared, &access, place, Action::Read).await?;
    held.show(&shared).await.map(Json)
}

/// Creates a consumer (201). One that is there keeps its place (200).
#[utoipa::path(put, path = "/v1/databases/{db}/consumers/{name}", tag = "consumers",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("name" = String, Path, min_length = 1, max_length = 128)),
    request_body = NewConsumer, responses((status = 200, body = Consumer), (status = 201, body = Consumer)))]
pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<(String, String)>,
    Sent(new): Sent<NewConsumer>,
) -> Answer<(StatusCode, Json<Consumer>)> {
    let name = place.1.clone();
    let mut held = Held::of(&shared, &access, place, Action::Read).await?;
    if let Some(kept) = &held.kept {
        if kept.collection != new.collection || kept.exclude_origin != new.exclude_origin {
            let message = "there is a consumer of this name that gets other changes; delete it first, or choose another name";
            return Err(Problem::conflict("other-consumer", message));
        }
        return Ok((StatusCode::OK, Json(held.show(&shared).await?)));
    }
    let ends = Ends::now(&shared).await?;
    let place = ends.place(new.start.as_deref().unwrap_or("beginning"))?;
    if !ends.has(&place) {
        return Err(ends.gone("cursor-expired"));
    }
    let kept = Kept {
        name,
        collection: new.collection,
        exclude_origin: new.exclude_origin,
        committed: cursor::text(&place),
        given: None,
    };
    held.keep(&shared, kept).await?;
    Ok((StatusCode::CREATED, Json(held.show(&shared).await?)))
}

/// Deletes a consumer.
#[utoipa::path(delete, path = "/v1/databases/{db}/consumers/{name}", tag = "consumers",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("name" = String, Path, min_length = 1, max_length = 128)),
    responses((status = 204, description = "It is deleted")))]
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<(String, String)>,
) -> Answer<StatusCode> {
    let held = Held::of(&shared, &access, place, Action::Write).await?;
    held.kept()?;
    let key = held.key.clone();
    let write = move |store: &redb::Database| {
        let transaction = store.begin_write()?;
        transaction.open_table(CONSUMERS)?.remove(&*key)?;
        transaction.commit()?;
        Ok(())
    };
    shared.api.with(write).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn place_of(kept: &Kept) -> Answer<FeedPlace> {
    cursor::parse(&kept.committed)
        .ok_or_else(|| Problem::internal("a consumer's place cannot be read"))
}

/// Gives the next page and leases it.
#[utoipa::path(post, path = "/v1/databases/{db}/consumers/{name}/pull", tag = "consumers",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("name" = String, Path, min_length = 1, max_length = 128)),
    request_body = Pull, responses((status = 200, body = PulledPage)))]
pub(super) async fn pull(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<(String, String)>,
    Sent(pull): Sent<Pull>,
) -> Answer<Json<PulledPage>> {
    let limit = lookup::limit(pull.limit, 1_000, 10_000)?;
    let wait = changes::wait(pull.wait)?;
    let lease_s = pull.lease_s.unwrap_or(LEASE_S);
    if !(1..=MAX_LEASE_S).contains(&lease_s) || pull.holder.len() > 200 {
        let message =
            format!("lease_s is from 1 to {MAX_LEASE_S}, and holder has at most 200 bytes");
        return Err(Problem::bad("bad-request", message));
    }
    if !wait.is_zero() {
        wait_for_change(&shared, &access, &place, wait).await?;
    }
    let mut held = Held::of(&shared, &access, place, Action::Read).await?;
    let mut kept = held.kept()?;
    let leased = kept.given.as_ref().filter(|given| given.is_leased());
    if let Some(given) = leased
        && given.holder != pull.holder
    {
        let message = format!(
            "the next page is leased to {:?}; it is free when that commits, or its lease ends",
            given.holder
        );
        let details = json!({ "holder": given.holder, "until": given.until });
        return Err(Problem::conflict("leased", message).with(details));
    }
    let wanted = Wanted {
        database: held.database.id(),
        collection: kept.collection.clone(),
        exclude_origin: kept.exclude_origin.clone(),
        limit: leased.map_or(limit, |given| given.limit),
    };
    let until = leased.and_then(|given| cursor::parse(&given.end));
    let page = changes::page(&shared, &wanted, place_of(&kept)?, until, Duration::ZERO).await?;
    let page = changes::answer(page)?;
    if page.changes_len() == 0 && !page.more() {
        return Ok(Json(PulledPage { page, lease: None }));
    }
    let given = Given {
        id: kept
            .given
            .as_ref()
            .map_or(1, |given| given.id + u64::from(!given.is_leased())),
        end: page.end().to_owned(),
        limit: wanted.limit,
        until: now_ms() + i64::from(lease_s) * 1000,
        holder: pull.holder,
    };
    let lease = Some(given.lease());
    kept.given = Some(given);
    held.keep(&shared, kept).await?;
    Ok(Json(PulledPage { page, lease }))
}

/// Waits for something to pull, without keeping others from the consumer.
async fn wait_for_change(
    shared: &Shared,
    access: &Access,
    place: &(String, String),
    wait: Duration,
) -> Answer<()> {
    let held = Held::of(shared, access, place.clone(), Action::Read).await?;
    let kept = held.kept()?;
    let database = held.database.id();
    drop(held);
    let wanted = Wanted {
        database,
        collection: kept.collection.clone(),
        exclude_origin: kept.exclude_origin.clone(),
        limit: 1,
    };
    changes::page(shared, &wanted, place_of(&kept)?, None, wait)
        .await
        .map(drop)
}

/// Moves a consumer's place to the end of the page that was pulled. Repeating it changes nothing.
#[utoipa::path(post, path = "/v1/databases/{db}/consumers/{name}/commit", tag = "consumers",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("name" = String, Path, min_length = 1, max_length = 128)),
    request_body = Commit, responses((status = 200, body = Consumer)))]
pub(super) async fn commit(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<(String, String)>,
    Sent(commit): Sent<Commit>,
) -> Answer<Json<Consumer>> {
    let mut held = Held::of(&shared, &access, place, Action::Read).await?;
    let mut kept = held.kept()?;
    if kept.committed != commit.cursor {
        let given = kept
            .given
            .as_ref()
            .filter(|given| given.end == commit.cursor);
        if given.is_none() {
            let message = "this cursor is not the end of the page that was pulled last: pull again, and commit that page's cursor";
            let details = json!({ "committed": kept.committed });
            return Err(Problem::conflict("not-leased", message).with(details));
        }
        kept.committed = commit.cursor;
        kept.given = None;
        held.keep(&shared, kept).await?;
    }
    held.show(&shared).await.map(Json)
}

/// Moves a consumer to another place, whatever it had.
#[utoipa::path(post, path = "/v1/databases/{db}/consumers/{name}/reset", tag = "consumers",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ("name" = String, Path, min_length = 1, max_length = 128)),
    request_body = Reset, responses((status = 200, body = Consumer)))]
pub(super) async fn reset(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(place): At<(String, String)>,
    Sent(reset): Sent<Reset>,
) -> Answer<Json<Consumer>> {
    let mut held = Held::of(&shared, &access, place, Action::Read).await?;
    let mut kept = held.kept()?;
    let ends = Ends::now(&shared).await?;
    let place = ends.place(&reset.to)?;
    if !ends.has(&place) {
        return Err(ends.gone("cursor-expired"));
    }
    kept.committed = cursor::text(&place);
    kept.given = None;
    held.keep(&shared, kept).await?;
    held.show(&shared).await.map(Json)
}

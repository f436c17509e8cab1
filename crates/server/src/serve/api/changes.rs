//! The change feed of a database.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::cursor::{self, Ends};
use super::extract::{Asked, At};
use super::lookup::{self, Action};
use super::records::raw;
use axum::extract::State;
use axum::response::Json;
use headwater::{DatabaseId, RecordChange};
use headwater_materialize::{ChangeEvent, FeedPage, FeedPlace, FeedQuery, LakeError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a request may wait for changes.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);
/// How many bytes of events a page has at most, about.
const PAGE_BYTES: usize = 8 << 20;
/// How many events are looked at for one page.
const SCAN: usize = 50_000;

/// Something that happened to a record.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Change {
    /// The same whenever the change is told.
    id: String,
    collection: String,
    key: String,
    /// `insert`, `update` or `delete`.
    op: String,
    /// The record before; null if there was none.
    #[schema(value_type = Option<Object>)]
    before: Option<Box<RawValue>>,
    /// The record after; null if there is none any more.
    #[schema(value_type = Option<Object>)]
    after: Option<Box<RawValue>>,
    /// The user who wrote, as far as one is claimed.
    who: Option<String>,
    /// The job or application that wrote, as far as one is claimed.
    origin: Option<String>,
    /// When it came into the feed, by the server's clock, in milliseconds since 1970.
    at: i64,
    /// The place after it.
    cursor: String,
}

/// Changes in the order of the feed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ChangePage {
    /// Where the page begins.
    from: String,
    /// Where the next one begins.
    cursor: String,
    changes: Vec<Change>,
    /// Whether there may be more already.
    more: bool,
}

/// Which changes.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesQuery {
    /// Changes after this place: a cursor, or `head` for now; from the first that is kept unless given.
    cursor: Option<String>,
    /// At most so many, from 1 to 10,000; 1,000 unless given. A page of large records may have fewer.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
    /// For how many seconds to wait for a change if there is none, 0 to 60.
    #[param(minimum = 0, maximum = 60)]
    wait: Option<f64>,
    /// Leave out what was written under this origin; the cursor moves on all the same.
    exclude_origin: Option<String>,
    /// Changes of this collection only.
    collection: Option<String>,
}

/// What is wanted of the feed.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub database: DatabaseId,
    pub collection: Option<String>,
    pub exclude_origin: Option<String>,
    pub limit: usize,
}

pub(super) fn wait(seconds: Option<f64>) -> Answer<Duration> {
    let seconds = seconds.unwrap_or(0.0);
    match (0.0..=MAX_WAIT.as_secs_f64()).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(Problem::bad(
            "bad-request",
            "wait must be from 0 to 60 seconds",
        )),
    }
}

/// Reads a page; waits for a change if there is none.
pub(super) async fn page(
    shared: &Shared,
    wanted: &Wanted,
    mut after: FeedPlace,
    until: Option<FeedPlace>,
    wait: Duration,
) -> Answer<FeedPage> {
    let deadline = Instant::now() + wait;
    let mut published = shared.feed.head();
    let mut from = None;
    let mut waits = None;
    loop {
        published.mark_unchanged();
        let query = FeedQuery {
            database: wanted.database,
            collection: wanted.collection.clone(),
            exclude_origin: wanted.exclude_origin.clone(),
            after: Some(after.clone()),
            until: until.clone(),
            limit: wanted.limit,
            bytes: PAGE_BYTES,
            scan: SCAN,
        };
        let read =
            cursor::read(shared, move |lake| (lake.feed_page(&query), Ends::of(lake))).await?;
        let mut page = match read {
            (Ok(page), _) => page,
            (Err(LakeError::ExpiredCursor { .. }), ends) => return Err(ends.gone("cursor-expired")),
            (Err(error), _) => return Err(error.into()),
        };
        // Where it began is where the sender was, also if what came meanwhile was of others.
        page.from = from.get_or_insert(page.from).clone();
        let left = deadline.saturating_duration_since(Instant::now());
        if !page.events.is_empty() || page.more || until.is_some() || left.is_zero() {
            return Ok(page);
        }
        if waits.is_none() {
            let place = shared.limits.wait();
            waits = Some(place.inspect_err(|full| shared.counts.refused(full.why))?);
        }
        after = page.next.clone();
        if !matches!(
            tokio::time::timeout(left, published.changed()).await,
            Ok(Ok(()))
        ) {
            return Ok(page);
        }
    }
}

pub(super) fn change((collection, event): (String, ChangeEvent), epoch: u64) -> Answer<Change> {
    let place = FeedPlace {
        epoch,
        version: event.cursor.version,
        collection: Some((collection.clone(), event.cursor.event)),
    };
    let op = match event.change {
        RecordChange::Insert => "insert",
        RecordChange::Update => "update",
        RecordChange::Delete => "delete",
    };
    let (who, origin) = event.by.map_or((None, None), |by| (by.user, by.origin));
    Ok(Change {
        id: event.id,
        collection,
        key: event.key,
        op: op.to_owned(),
        before: event.before.as_ref().map(raw).transpose()?,
        after: event.after.as_ref().map(raw).transpose()?,
        who,
        origin,
        at: event.at,
        cursor: cursor::text(&place),
    })
}

pub(super) fn answer(page: FeedPage) -> Answer<ChangePage> {
    let epoch = page.next.epoch;
    let changes = page.events.into_iter().map(|event| change(event, epoch));
    Ok(ChangePage {
        from: cursor::text(&page.from),
        cursor: cursor::text(&page.next),
        changes: changes.collect::<Result<_, _>>()?,
        more: page.more,
    })
}

/// Changes of a database's records, in the order in which the lake took them in.
#[utoipa::path(get, path = "/v1/databases/{db}/changes", tag = "changes",
    params(("db" = String, Path, description = "The database's id, or its name on this server"), ChangesQuery),
    responses((status = 200, body = ChangePage)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(db): At<String>,
    Asked(query): Asked<ChangesQuery>,
) -> Answer<Json<ChangePage>> {
    let database = lookup::database(&shared, &access, &db, Action::Read).await?;
    let wanted = Wanted {
        database: database.id(),
        collection: query.collection,
        exclude_origin: query.exclude_origin,
        limit: lookup::limit(query.limit, 1_000, 10_000)?,
    };
    let wait = wait(query.wait)?;
    let ends = Ends::now(&shared).await?;
    let after = ends.place(query.cursor.as_deref().unwrap_or("beginning"))?;
    let page = page(&shared, &wanted, after, None, wait).await?;
    Ok(Json(answer(page)?))
}

/// The end of the feed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Head {
    cursor: String,
    /// Which log the cursors belong to; those of another have expired.
    epoch: String,
}

/// The end of the feed now; costs nothing.
#[utoipa::path(get, path = "/v1/databases/{db}/changes/head", tag = "changes",
    params(("db" = String, Path, description = "The database's id, or its name on this server")),
    responses((status = 200, body = Head)))]
pub(super) async fn head(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(db): At<String>,
) -> Answer<Json<Head>> {
    lookup::database(&shared, &access, &db, Action::Read).await?;
    let head = shared.feed.head().borrow().clone();
    let head =
        head.ok_or_else(|| Problem::unavailable("the lake is not published yet; try again"))?;
    Ok(Json(Head {
        cursor: cursor::text(&head),
        epoch: format!("{:x}", head.epoch),
    }))
}

impl ChangePage {
    pub fn changes_len(&self) -> usize {
        self.changes.len()
    }

    pub fn more(&self) -> bool {
        self.more
    }

    /// Where the next page begins.
    pub fn end(&self) -> &str {
        &self.cursor
    }
}

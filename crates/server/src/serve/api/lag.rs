//! How far consumers are behind.

use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::consumers::Kept;
use super::cursor;
use super::state::CONSUMERS;
use headwater::DatabaseId;
use headwater_materialize::FeedQuery;
use serde::Serialize;

/// How many changes are counted at most.
const COUNTED: usize = 1_000;
/// How many events are looked at for them, of whatever database and origin.
const SCAN: usize = 10_000;
/// How many bytes of events are read for them, about.
const BYTES: usize = 8 << 20;

/// How far a consumer is behind.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Lag {
    /// How many changes; null if they are more than a thousand, or too large to be counted.
    changes: Option<u64>,
    /// How long the oldest of them has been in the feed, in seconds; 0 if there is none.
    seconds: f64,
    /// Whether changes after its place are not kept any more: it has to be reset.
    #[serde(skip)]
    pub expired: bool,
}

/// How far one of all consumers is behind.
#[derive(Debug)]
pub(in super::super) struct Behind {
    pub database: String,
    pub consumer: String,
    pub seconds: f64,
    pub expired: bool,
}

pub(super) async fn of(shared: &Shared, database: DatabaseId, kept: &Kept) -> Answer<Lag> {
    measure(shared, database, kept, COUNTED).await
}

/// How far all are, for those who watch the server.
pub(in super::super) async fn of_all(shared: &Shared) -> Answer<Vec<Behind>> {
    let mut found = Vec::new();
    for (key, bytes) in shared.api.all(CONSUMERS).await? {
        let database = key.split('\0').next().unwrap_or_default();
        let id = database.parse().map_err(Problem::internal)?;
        let kept: Kept = serde_json::from_slice(&bytes).map_err(Problem::internal)?;
        let lag = measure(shared, id, &kept, 1).await?;
        found.push(Behind {
            database: database.to_owned(),
            consumer: kept.name,
            seconds: lag.seconds,
            expired: lag.expired,
        });
    }
    Ok(found)
}

async fn measure(
    shared: &Shared,
    database: DatabaseId,
    kept: &Kept,
    counted: usize,
) -> Answer<Lag> {
    let query = FeedQuery {
        database,
        collection: kept.collection.clone(),
        exclude_origin: kept.exclude_origin.clone(),
        after: cursor::parse(&kept.committed),
        until: None,
        limit: counted,
        bytes: BYTES,
        scan: SCAN,
    };
    let page = cursor::read(shared, move |lake| lake.feed_page(&query)).await?;
    Ok(match page {
        Err(_) => Lag {
            changes: None,
            seconds: 0.0,
            expired: true,
        },
        Ok(page) => {
            let now = jiff::Timestamp::now().as_millisecond();
            let first = page.events.first();
            Lag {
                changes: (!page.more).then_some(page.events.len() as u64),
                seconds: first.map_or(0.0, |(_, first)| (now - first.at).max(0) as f64 / 1000.0),
                expired: false,
            }
        }
    })
}

//! Places in the change feed as text.

use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_materialize::{FeedPlace, Lake};
use serde_json::json;

/// The text of a place; opaque to whoever gets it.
pub(super) fn text(place: &FeedPlace) -> String {
    let FeedPlace { epoch, version, .. } = place;
    match &place.collection {
        None => format!("{epoch:x}.{version:x}"),
        Some((name, event)) => {
            let name = URL_SAFE_NO_PAD.encode(name);
            format!("{epoch:x}.{version:x}.{event:x}.{name}")
        }
    }
}

/// The place of a text that [`text`] gave.
pub(super) fn parse(text: &str) -> Option<FeedPlace> {
    let mut pieces = text.splitn(4, '.');
    let mut number = || u64::from_str_radix(pieces.next()?, 16).ok();
    let (epoch, version) = (number()?, number()?);
    let collection = match pieces.next() {
        None => None,
        Some(event) => {
            let event = u32::from_str_radix(event, 16).ok()?;
            let name = URL_SAFE_NO_PAD.decode(pieces.next()?).ok()?;
            Some((String::from_utf8(name).ok()?, event))
        }
    };
    Some(FeedPlace {
        epoch,
        version,
        collection,
    })
}

/// Which places there are now.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    pub oldest: FeedPlace,
    pub head: FeedPlace,
}

impl Ends {
    pub fn of(lake: &Lake) -> Self {
        Self {
            oldest: lake.feed_oldest(),
            head: lake.feed_head(),
        }
    }

    pub async fn now(shared: &Shared) -> Answer<Self> {
        read(shared, Self::of).await
    }

    /// That events after a place are not kept any more, or that there never was one.
    pub fn gone(&self, code: &'static str) -> Problem {
        let message = "this server's change feed does not have this cursor, or not any more: read the collection anew, and go on \
            from `head`, or from `oldest` with what is still kept";
        let details = json!({ "oldest": text(&self.oldest), "head": text(&self.head) });
        Problem::new(StatusCode::GONE, code, message).with(details)
    }

    /// The place that is meant: `beginning`, `head`, or a cursor.
    pub fn place(&self, wanted: &str) -> Answer<FeedPlace> {
        match wanted {
            "beginning" => Ok(self.oldest.clone()),
            "head" => Ok(self.head.clone()),
            cursor => parse(cursor).ok_or_else(|| self.gone("cursor-unknown")),
        }
    }

    /// Whether all events after a place are kept.
    pub fn has(&self, place: &FeedPlace) -> bool {
        let is_kept = place == &self.oldest || place.is_after(&self.oldest);
        is_kept && !place.is_after(&self.head)
    }
}

/// Reads the lake between two publications.
pub(super) async fn read<T: Send + 'static>(
    shared: &Shared,
    read: impl FnOnce(&Lake) -> T + Send + 'static,
) -> Answer<T> {
    let read = shared.feed.read(read).await;
    read.ok_or_else(|| Problem::unavailable("the server is stopping; try again"))
}

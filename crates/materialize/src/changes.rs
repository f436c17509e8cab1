//! The change feed: what happened to the rows of a collection, in the order in which it was committed.

use crate::declared::DeclaredType;
use crate::error::LakeError;
use crate::rows::RowKey;
use crate::types::TIMESTAMPS;
use headwater_core::id::ParseIdError;
use headwater_core::json::record_from_str;
use headwater_core::{Attribution, DatabaseId, Record, RecordChange};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The columns of a change feed beside those of `before` and `after`, which are as wide as the collection's own.
pub(crate) const COLUMNS: [(&str, DeclaredType); 10] = [
    (CHANGE_TYPE, DeclaredType::Text),
    (COMMIT_VERSION, DeclaredType::Int),
    (COMMIT_TIMESTAMP, DeclaredType::Timestamp),
    ("_event_id", DeclaredType::Text),
    (CURSOR, DeclaredType::Text),
    ("_actor", DeclaredType::Text),
    ("_user", DeclaredType::Text),
    ("_origin", DeclaredType::Text),
    ("_change", DeclaredType::Text),
    ("_edited_at", DeclaredType::Timestamp),
];
pub(crate) const CHANGE_TYPE: &str = "_change_type";
pub(crate) const COMMIT_VERSION: &str = "_commit_version";
pub(crate) const COMMIT_TIMESTAMP: &str = "_commit_timestamp";
pub(crate) const CURSOR: &str = "_cursor";
/// The columns that hold the row before and after.
pub(crate) const BEFORE: &str = "before";
pub(crate) const AFTER: &str = "after";

/// A place in a change feed: after it comes all that it had not seen. Its text is opaque, and in the order of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Which log it belongs to: a lake that was begun anew does not know the places of the one before.
    pub epoch: u64,
    /// The commit.
    pub version: u64,
    /// The event in the commit; [`Cursor::END`] after the last.
    pub event: u32,
}

impl Cursor {
    /// Stands for the end of a commit in [`Cursor::event`].
    pub const END: u32 = u32::MAX;

    /// The key under which the event stands.
    pub(crate) fn row_key(&self) -> RowKey {
        RowKey {
            database: NOWHERE,
            key: format!("{:016x}-{:08x}", self.version, self.event).into(),
        }
    }
}

/// A feed has one order over all databases.
const NOWHERE: DatabaseId = DatabaseId::from_bytes([0; 16]);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            epoch,
            version,
            event,
        } = self;
        write!(f, "{epoch:012x}-{version:016x}-{event:08x}")
    }
}

/// A text that no feed gave as a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a cursor; use one that the feed gave, or none to begin with what it still has"
)]
pub struct ParseCursorError {
    text: String,
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut numbers = text.split('-');
            let mut next = |digits: usize| {
                let number = numbers.next().filter(|number| number.len() == digits)?;
                let is_hex = number
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                is_hex
                    .then(|| u64::from_str_radix(number, 16).ok())
                    .flatten()
            };
            let (epoch, version, event) = (next(12)?, next(16)?, next(8)?);
            let event = u32::try_from(event).ok()?;
            numbers.next().is_none().then_some(Self {
                epoch,
                version,
                event,
            })
        };
        parse().ok_or_else(|| ParseCursorError {
            text: text.chars().take(64).collect(),
        })
    }
}

/// Something that happened to a row.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEvent {
    /// Its place in the feed.
    pub cursor: Cursor,
    /// 32 hexadecimal digits, the same whenever the event is told.
    pub id: String,
    /// Whether the row was inserted, updated or deleted.
    pub change: RecordChange,
    /// When it was committed, in milliseconds since 1970 by this server's clock.
    pub at: i64,
    /// The database.
    pub database: DatabaseId,
    /// The record's key.
    pub key: String,
    /// The record before; `None` if there was none.
    pub before: Option<Record>,
    /// The record after; `None` if there is none any more.
    pub after: Option<Record>,
    /// The latest change that led to it, as far as it is known, and what its writer claims.
    pub by: Option<EditClaims>,
}

/// Which change of which replica, and what is claimed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditClaims {
    /// The change's hash, in hexadecimal.
    pub change: String,
    /// The replica's session that made it.
    pub actor: String,
    /// Who wrote, as claimed.
    pub user: Option<String>,
    /// Which application or job wrote, as claimed.
    pub origin: Option<String>,
    /// When, by the writer's clock, in milliseconds since 1970.
    pub at: i64,
}

/// An event as it is kept: `row` has the columns of the feed.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    database: Cow<'a, str>,
    key: Cow<'a, str>,
    #[serde(borrow)]
    row: Cow<'a, RawValue>,
}

/// The cells of an event, in canonical JSON.
#[derive(Serialize, Deserialize)]
struct Cells<'a> {
    _change_type: Cow<'a, str>,
    _commit_version: u64,
    _commit_timestamp: Timestamp,
    _event_id: Cow<'a, str>,
    _cursor: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    _actor: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    _user: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    _origin: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    _change: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    _edited_at: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    before: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    after: Option<&'a RawValue>,
}

#[derive(Serialize, Deserialize)]
struct Timestamp {
    #[serde(rename = "$timestamp")]
    ms: i64,
}

/// What is known of an event when it is committed.
pub(crate) struct NewEvent<'a> {
    pub cursor: Cursor,
    pub at: i64,
    pub collection: &'a str,
    pub key: &'a RowKey,
    /// Canonical JSON.
    pub before: Option<&'a str>,
    pub after: Option<&'a str>,
    pub by: Option<&'a Attribution>,
}

impl NewEvent<'_> {
    /// Of its place in the log, which it keeps: the change that led to it does not tell it from others, since under another
    /// rule the same change may show a record again.
    fn id(&self) -> String {
        let mut hash = Sha256::new_with_prefix(b"headwater/event/1\0");
        hash.update(self.key.database.as_bytes());
        for text in [self.collection, &self.key.key] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.update(self.cursor.to_string());
        hash.finalize()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The content of its row.
    pub(crate) fn content(&self) -> Result<String, LakeError> {
        let failed = |error: &dyn fmt::Display| LakeError::Row {
            collection: self.collection.to_owned(),
            key: self.key.key.to_string(),
            reason: error.to_string(),
        };
        let raw = |json: Option<&str>| {
            json.map(|json| RawValue::from_string(json.to_owned()))
                .transpose()
        };
        let before = raw(self.before).map_err(|error| failed(&error))?;
        let after = raw(self.after).map_err(|error| failed(&error))?;
        let claims = self.by.map(|by| &by.provenance);
        let cells = Cells {
            _change_type: match (&before, &after) {
                (None, _) => "insert",
                (_, None) => "delete",
                _ => "update",
            }
            .into(),
            _commit_version: self.cursor.version,
            _commit_timestamp: Timestamp { ms: self.at },
            _event_id: self.id().into(),
            _cursor: self.cursor.to_string().into(),
            _actor: self.by.map(|by| by.actor.to_hex_string().into()),
            _user: claims
                .and_then(|claims| claims.user.as_deref())
                .map(Cow::Borrowed),
            _origin: claims
                .and_then(|claims| claims.origin.as_deref())
                .map(Cow::Borrowed),
            _change: self.by.map(|by| by.hash.to_string().into()),
            _edited_at: claims.map(|claims| Timestamp { ms: claims.at }),
            before: before.as_deref(),
            after: after.as_deref(),
        };
        let row = serde_json::value::to_raw_value(&cells).map_err(|error| failed(&error))?;
        let stored = Stored {
            database: self.key.database.to_string().into(),
            key: Cow::Borrowed(&self.key.key),
            row: Cow::Owned(row),
        };
        serde_json::to_string(&stored).map_err(|error| failed(&error))
    }
}

/// The database, the key and the cells of an event's row.
pub(crate) fn row_of(content: &str) -> Result<(DatabaseId, String, Record), String> {
    let stored: Stored<'_> = serde_json::from_str(content).map_err(|error| error.to_string())?;
    let mut record = record_from_str(stored.row.get()).map_err(|error| error.to_string())?;
    // A clock may say anything; what Drill cannot hold must not make the column text for everyone.
    let holds = |value: &headwater_core::Value| match value {
        headwater_core::Value::Timestamp(ms) => TIMESTAMPS.contains(ms),
        _ => false,
    };
    if !record.get("_edited_at").is_some_and(holds) {
        record.remove("_edited_at");
    }
    let database = stored
        .database
        .parse()
        .map_err(|error: ParseIdError| error.to_string())?;
    Ok((database, stored.key.into_owned(), record))
}

/// An event from the content of its row.
pub(crate) fn event_of(content: &str) -> Result<ChangeEvent, String> {
    let text = |error: &dyn fmt::Display| error.to_string();
    let stored: Stored<'_> = serde_json::from_str(content).map_err(|error| text(&error))?;
    let cells: Cells<'_> = serde_json::from_str(stored.row.get()).map_err(|error| text(&error))?;
    let record = |raw: Option<&RawValue>| raw.map(|raw| record_from_str(raw.get())).transpose();
    let (before, after) = (
        record(cells.before).map_err(|error| text(&error))?,
        record(cells.after).map_err(|error| text(&error))?,
    );
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    Ok(ChangeEvent {
        cursor: cells._cursor.parse().map_err(|error| text(&error))?,
        id: cells._event_id.into_owned(),
        change: match (&before, &after) {
            (None, _) => RecordChange::Insert,
            (_, None) => RecordChange::Delete,
            _ => RecordChange::Update,
        },
        at: cells._commit_timestamp.ms,
        database: stored.database.parse().map_err(|error| text(&error))?,
        key: stored.key.into_owned(),
        before,
        after,
        by: cells._change.map(|change| EditClaims {
            change: change.into_owned(),
            actor: cells._actor.unwrap_or_default().into_owned(),
            user: owned(cells._user),
            origin: owned(cells._origin),
            at: cells._edited_at.map_or(0, |at| at.ms),
        }),
    })
}

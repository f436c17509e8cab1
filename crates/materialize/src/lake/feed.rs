//! The change feeds of several collections as one, a page at a time.

use super::{Lake, Result};
use crate::changes::{ChangeEvent, Cursor, event_of};
use crate::error::LakeError;
use crate::rows::{RowKey, Rows};
use crate::table::Table;
use crate::tree::Part;
use headwater_core::DatabaseId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A place in the feed over all collections: by commit, in it by collection, and in that by event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which log it belongs to.
    pub epoch: u64,
    /// The commit.
    pub version: u64,
    /// The collection that the last event was of; all of the commit's if there is none.
    pub collection: Option<(String, u32)>,
}

impl Place {
    /// Orders the places of one log.
    fn order(&self) -> (u64, bool, Option<&(String, u32)>) {
        (
            self.version,
            self.collection.is_none(),
            self.collection.as_ref(),
        )
    }

    /// Whether this place is after another of the same log.
    pub fn is_after(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.order() > other.order()
    }

    /// Whether this place is before the end of a commit.
    fn is_before_end(&self, version: u64) -> bool {
        self.version < version || (self.version == version && self.collection.is_some())
    }
}

/// Which events a page has.
#[derive(Debug, Clone)]
pub struct FeedQuery {
    /// Of this database.
    pub database: DatabaseId,
    /// Of this collection only.
    pub collection: Option<String>,
    /// None of what was written under this origin.
    pub exclude_origin: Option<String>,
    /// After this place; from the first that is kept if there is none.
    pub after: Option<Place>,
    /// Up to this place, if the page is to be one that was given before.
    pub until: Option<Place>,
    /// At most so many events.
    pub limit: usize,
    /// The page ends after about so many bytes of events.
    pub bytes: usize,
    /// The page ends after so many events that were looked at, of whatever database and origin.
    pub scan: usize,
}

/// Some events, and where to go on.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// Where it began.
    pub from: Place,
    /// Where the next one begins.
    pub next: Place,
    /// The events, with the collection of each.
    pub events: Vec<(String, ChangeEvent)>,
    /// Whether there may be more.
    pub more: bool,
}

/// One collection's part of the feed, read a part at a time.
struct Source<'a> {
    name: &'a str,
    table: &'a Table,
    parts: Vec<&'a Part>,
    /// What was read and is not used yet, the next last.
    rows: Vec<(u64, u32, String)>,
}

/// What comes next of a source, or when at the earliest: a part that is not read begins at its first key.
type Due = Reverse<(u64, usize, u32)>;

impl Lake {
    /// The end of the feed: after all that is committed.
    pub fn feed_head(&self) -> Place {
        Place {
            epoch: self.state.epoch,
            version: self.version,
            collection: None,
        }
    }

    /// The first place after which all events are kept.
    pub fn feed_oldest(&self) -> Place {
        let trimmed = self.collections.values().map(|one| one.changes.trimmed);
        Place {
            epoch: self.state.epoch,
            version: trimmed.max().unwrap_or(0),
            collection: None,
        }
    }

    /// A page of the feed of a database. It costs as much as the page is long, wherever it begins.
    ///
    /// # Errors
    /// [`LakeError::ExpiredCursor`] if events after the place are not kept any more, or there never was such a place.
    pub fn feed_page(&self, query: &FeedQuery) -> Result<FeedPage> {
        let head = self.feed_head();
        let from = query.after.clone().unwrap_or_else(|| self.feed_oldest());
        self.check_kept(&from)?;
        let mut page = FeedPage {
            next: from.clone(),
            from,
            events: Vec::new(),
            more: false,
        };
        let mut sources = self.sources(query, &page.from);
        let mut due: BinaryHeap<Due> = BinaryHeap::new();
        for (index, source) in sources.iter_mut().enumerate() {
            due.extend(source.due(index));
        }
        let (mut bytes, mut seen) = (0, 0);
        while let Some(Reverse((_, index, _))) = due.pop() {
            let Some(source) = sources.get_mut(index) else {
                continue;
            };
            if source.rows.is_empty() {
                source.read(self, &page.from)?;
                due.extend(source.due(index));
                continue;
            }
            if page.events.len() >= query.limit || bytes >= query.bytes || seen >= query.scan {
                page.more = true;
                return Ok(page);
            }
            let Some((version, number, content)) = source.rows.pop() else {
                continue;
            };
            let place = Place {
                epoch: head.epoch,
                version,
                collection: Some((source.name.to_owned(), number)),
            };
            if let Some(until) = &query.until
                && place.is_after(until)
            {
                page.next = until.clone();
                page.more = true;
                return Ok(page);
            }
            page.next = place;
            due.extend(source.due(index));
            seen += 1;
            let event = event_of(&content).map_err(|reason| LakeError::Row {
                collection: source.name.to_owned(),
                key: number.to_string(),
                reason,
            })?;
            let origin = event.by.as_ref().and_then(|by| by.origin.as_ref());
            let excluded =
                query.exclude_origin.is_some() && origin == query.exclude_origin.as_ref();
            if event.database == query.database && !excluded {
                bytes += content.len();
                page.events.push((source.name.to_owned(), event));
            }
        }
        page.next = match &query.until {
            Some(until) if head.is_after(until) => until.clone(),
            _ => head,
        };
        Ok(page)
    }

    /// Whether all events after a place are kept, if there ever was such a place.
    fn check_kept(&self, from: &Place) -> Result<()> {
        let is_kept = from.epoch == self.state.epoch
            && !from.is_before_end(self.feed_oldest().version)
            && from.version <= self.version;
        match is_kept {
            true => Ok(()),
            false => Err(LakeError::ExpiredCursor {
                cursor: Cursor {
                    epoch: from.epoch,
                    version: from.version,
                    event: Cursor::END,
                },
            }),
        }
    }

    fn sources(&self, query: &FeedQuery, from: &Place) -> Vec<Source<'_>> {
        let wanted = |name: &str| query.collection.as_ref().is_none_or(|one| one == name);
        let collections = self.collections.iter().filter(|(name, _)| wanted(name));
        collections
            .map(|(name, collection)| {
                let table = &collection.changes;
                let key = after(from, name).row_key();
                let first = table.tree.part_of(&key).map(|part| part.id);
                let parts = table.tree.parts();
                let parts = parts.skip_while(|part| first.is_some_and(|first| part.id != first));
                let mut parts: Vec<_> = parts.collect();
                parts.reverse();
                Source {
                    name,
                    table,
                    parts,
                    rows: Vec::new(),
                }
            })
            .collect()
    }
}

/// The place as one in the feed of a collection: those before the place's own come first in a commit.
fn after(place: &Place, collection: &str) -> Cursor {
    let Place { epoch, version, .. } = *place;
    let at = |version, event| Cursor {
        epoch,
        version,
        event,
    };
    match &place.collection {
        None => at(version, Cursor::END),
        Some((name, event)) if name == collection => at(version, *event),
        Some((name, _)) if collection < name.as_str() => at(version, Cursor::END),
        Some(_) => at(version.saturating_sub(1), Cursor::END),
    }
}

impl Source<'_> {
    fn due(&self, index: usize) -> Option<Due> {
        if let Some((version, event, _)) = self.rows.last() {
            return Some(Reverse((*version, index, *event)));
        }
        let (version, event) = number_of(&self.parts.last()?.first.key)?;
        Some(Reverse((version, index, event)))
    }

    /// Reads the next part, of which some may come before `from`.
    fn read(&mut self, lake: &Lake, from: &Place) -> Result<()> {
        let Some(part) = self.parts.pop() else {
            return Ok(());
        };
        let rows: Rows = self.table.files.load(&lake.disk, part)?;
        let after: RowKey = after(from, self.name).row_key();
        let rows = rows.iter().filter(|row| row.compare(&after).is_gt());
        let rows = rows.filter_map(|row| {
            let (version, event) = number_of(row.key)?;
            Some((version, event, row.content.to_owned()))
        });
        self.rows = rows.collect();
        self.rows.reverse();
        Ok(())
    }
}

/// The commit and the number of the event that stands under a key.
fn number_of(key: &str) -> Option<(u64, u32)> {
    let (version, event) = key.split_once('-')?;
    let version = u64::from_str_radix(version, 16).ok()?;
    Some((version, u32::from_str_radix(event, 16).ok()?))
}

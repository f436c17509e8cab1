//! Taking in what peers send.

use crate::conflict::Look;
use crate::database::{Database, LARGE_BATCH, keys_in};
use crate::document::{Document, DocumentError, Parsed, Whole, parse};
use crate::event::{Attribution, ConflictEvent, Event, Observe, RecordEvent};
use crate::genesis::Header;
use crate::id::{BUCKETS, DocumentId, Partition};
use crate::touched::touched;
use automerge::{Change, ChangeHash, ReadDoc as _};
use std::collections::{BTreeMap, BTreeSet};

/// What came in with changes from outside.
#[derive(Debug, Default)]
pub struct Applied {
    /// The changes that are new here, each after those that it depends on; what has to be stored.
    pub changes: Vec<Change>,
    /// Which of the chunks is a whole document that was taken over as it is.
    pub whole: Option<TakenOver>,
    /// What they changed, if it is observed.
    pub events: Vec<Event>,
}

/// A chunk that was taken over as a whole document, and so can be stored as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    /// Which of the chunks.
    pub chunk: usize,
    /// Its heads.
    pub heads: Vec<ChangeHash>,
    /// How many of the new changes, from the first on, are in it.
    pub changes: usize,
}

impl Database {
    /// Applies change and document chunks of automerge's for `document`. A document that is not known yet is placed by
    /// its genesis change, which must be among them. On an error nothing is changed.
    pub fn apply(
        &mut self,
        document: DocumentId,
        chunks: &[&[u8]],
    ) -> Result<Applied, DocumentError> {
        let parsed = parse(chunks, &self.limits)?;
        let known = self.stored(&document).is_some();
        self.place(document, parsed.first())?;
        let result = self.take_in(document, parsed);
        if result.is_err() && !known {
            self.forget(document);
        }
        result
    }

    fn take_in(&mut self, document: DocumentId, parsed: Parsed) -> Result<Applied, DocumentError> {
        let (whole, changes) = match self.is_empty(document) {
            true => self.whole_and_changes(document, parsed, LARGE_BATCH)?,
            false => self.whole_and_changes(document, parsed, usize::MAX)?,
        };
        let unknown = self.unknown(document, changes)?;
        let mut applied = Applied::default();
        if let (true, Some(partition)) =
            (self.fresh.contains(&document), self.placed.get(&document))
        {
            self.catalog_events(vec![partition.collection.clone()], &mut applied.events);
        }
        if let (true, Some(target)) = (self.fresh.contains(&document), self.stored(&document)) {
            applied.changes.push(target.genesis.clone());
        }
        let before = self.heads_of(document);
        if let Err(error) = self.apply_unknown(document, unknown, whole, &mut applied) {
            if let Some(target) = self.document_mut(document) {
                target.rewind(&before);
            }
            return Err(error);
        }
        self.fresh.remove(&document);
        if document == self.id.root() && self.heads_of(document) != before {
            let names = touched(&self.root.doc, &applied.changes).into_keys();
            let changed = self.refresh_catalog(names);
            self.catalog_events(changed, &mut applied.events);
        }
        Ok(applied)
    }

    fn apply_unknown(
        &mut self,
        document: DocumentId,
        mut unknown: Vec<Change>,
        whole: Option<Whole>,
        applied: &mut Applied,
    ) -> Result<(), DocumentError> {
        if let Some(whole) = whole {
            self.swap_in(document, whole, applied);
            unknown = self.unknown(document, unknown)?;
        }
        let groups: Vec<Vec<Change>> = match self.observe {
            Observe::Changes if unknown.len() <= LARGE_BATCH => {
                unknown.into_iter().map(|change| vec![change]).collect()
            }
            _ => vec![unknown],
        };
        if groups.len() > 1
            && let Some(target) = self.document_mut(document)
        {
            target.check(&groups.concat())?;
        }
        for group in groups {
            self.apply_group(document, group, applied)?;
        }
        Ok(())
    }

    /// The whole document that is to take the place of what is there, if one came that has more than `least` changes and
    /// holds all of it; and all changes that came besides.
    pub(crate) fn whole_and_changes(
        &self,
        document: DocumentId,
        parsed: Parsed,
        least: usize,
    ) -> Result<(Option<Whole>, Vec<Change>), DocumentError> {
        let Parsed { whole, mut changes } = parsed;
        let (Some(mut whole), Some(target)) = (whole, self.stored(&document)) else {
            return Ok((None, changes));
        };
        if whole.len > least && target.is_in(&whole.doc) {
            self.unknown(document, std::mem::take(&mut whole.first))?;
            return Ok((Some(whole), changes));
        }
        changes.extend(whole.doc.get_changes(&[]));
        Ok((None, changes))
    }

    pub(crate) fn catalog_events(&self, changed: Vec<String>, events: &mut Vec<Event>) {
        if self.observe != Observe::Nothing {
            let told = changed.into_iter();
            events.extend(told.map(|collection| Event::Catalog { collection }));
        }
    }

    fn apply_group(
        &mut self,
        document: DocumentId,
        group: Vec<Change>,
        applied: &mut Applied,
    ) -> Result<(), DocumentError> {
        let partition = self.placed.get(&document).cloned();
        let (Some(partition), true) = (partition, self.observe != Observe::Nothing) else {
            if let Some(target) = self.document_mut(document) {
                applied.changes.extend(target.apply(group)?);
            }
            return Ok(());
        };
        let Some(target) = self.stored(&document) else {
            return Ok(());
        };
        // Changes that wait inside automerge for their dependencies may be released by these.
        let waiting = !target.doc.get_missing_deps(&[]).is_empty();
        let heads = if waiting { target.heads() } else { Vec::new() };
        let keys = touched(&target.doc, &group);
        let before: BTreeMap<String, Look> = keys
            .keys()
            .map(|key| (key.clone(), self.look(&partition.collection, key)))
            .collect();
        let attributions: Vec<Attribution> = group.iter().map(Attribution::of).collect();
        let changes = match self.document_mut(document) {
            Some(target) => target.apply(group)?,
            None => Vec::new(),
        };
        let told: BTreeSet<String> = before.keys().cloned().collect();
        for (key, before) in before {
            let by = keys.get(&key).and_then(|index| attributions.get(*index));
            let events = &mut applied.events;
            self.tell(
                &partition.collection,
                &key,
                before,
                by.cloned(),
                false,
                events,
            );
        }
        if waiting {
            let events = &mut applied.events;
            self.released_events(document, &partition, &heads, &changes, &told, events);
        }
        applied.changes.extend(changes);
        Ok(())
    }

    /// Events of `changes` of which some had waited inside automerge, for records that are not among those already `told`.
    /// What they were before is read from the history, which is slow and rare.
    fn released_events(
        &self,
        document: DocumentId,
        partition: &Partition,
        heads: &[ChangeHash],
        changes: &[Change],
        told: &BTreeSet<String>,
        events: &mut Vec<Event>,
    ) {
        let Some(target) = self.stored(&document) else {
            return;
        };
        for (key, index) in touched(&target.doc, changes) {
            if !told.contains(&key) {
                let before = self.look_at(document, &partition.collection, &key, heads);
                let by = changes.get(index).map(Attribution::of);
                self.tell(&partition.collection, &key, before, by, false, events);
            }
        }
    }

    /// Tells what a change did to a record.
    pub(crate) fn tell(
        &self,
        collection: &str,
        key: &str,
        before: Look,
        by: Option<Attribution>,
        local: bool,
        events: &mut Vec<Event>,
    ) {
        let after = self.look(collection, key);
        if before.record != after.record {
            events.push(Event::Record(RecordEvent {
                collection: collection.to_owned(),
                key: key.to_owned(),
                before: before.record,
                after: after.record,
                by,
                local,
            }));
        }
        if before.conflicts != after.conflicts {
            events.push(Event::Conflicts(ConflictEvent {
                collection: collection.to_owned(),
                key: key.to_owned(),
                open: after.conflicts,
            }));
        }
    }

    /// Takes over a whole document where there was nothing yet, and tells every record that it shows or changes.
    fn swap_in(&mut self, document: DocumentId, whole: Whole, applied: &mut Applied) {
        let at = self.heads_of(document);
        let Some(target) = self.document_mut(document) else {
            return;
        };
        let chunk = whole.chunk;
        target.swap(whole.doc);
        applied.changes.extend(target.doc.get_changes(&at));
        applied.whole = Some(TakenOver {
            chunk,
            heads: target.heads(),
            changes: applied.changes.len(),
        });
        let (Some(partition), Some(target), true) = (
            self.placed.get(&document),
            self.stored(&document),
            self.observe != Observe::Nothing,
        ) else {
            return;
        };
        let counts = self.collections.get(&partition.collection);
        let alone = counts.is_none_or(|collection| collection.partitions.len() == 1);
        for bucket in 0..BUCKETS {
            for key in keys_in(partition, target, bucket) {
                // A document of another partition count may have the record already.
                let before = if alone {
                    Look::default()
                } else {
                    self.look_at(document, &partition.collection, &key, &at)
                };
                let events = &mut applied.events;
                self.tell(&partition.collection, &key, before, None, false, events);
            }
        }
    }

    /// Makes sure that `document` is there, placing it by its genesis, the `first` of its changes, if it is new.
    pub(crate) fn place<'c>(
        &mut self,
        document: DocumentId,
        mut first: impl Iterator<Item = &'c Change>,
    ) -> Result<(), DocumentError> {
        if self.stored(&document).is_some() {
            return Ok(());
        }
        let refuse = |reason| DocumentError::Unplaceable {
            document,
            database: self.id,
            reason,
        };
        let genesis = first
            .next()
            .ok_or_else(|| refuse("its genesis change was not sent"))?;
        let (header, ours, doc) = Header::recreate(genesis)
            .ok_or_else(|| refuse("it does not begin with a genesis change of Headwater's"))?;
        match header {
            Header::Partition(database, _) if database != self.id => {
                Err(refuse("it belongs to another database"))
            }
            Header::Partition(database, partition) if partition.document(&database) == document => {
                crate::edit::check_collection(&partition.collection)
                    .map_err(|_| refuse("its collection's name cannot be used"))?;
                if partition.count > crate::catalog::MAX_PARTITIONS {
                    return Err(refuse("its collection has too many partitions"));
                }
                self.add(partition, Document::created((ours, doc)));
                Ok(())
            }
            _ => Err(refuse("its genesis change is another document's")),
        }
    }

    pub(crate) fn unknown(
        &self,
        document: DocumentId,
        changes: Vec<Change>,
    ) -> Result<Vec<Change>, DocumentError> {
        let Some(target) = self.stored(&document) else {
            return Ok(Vec::new());
        };
        target
            .unknown(changes)
            .map_err(|reason| DocumentError::Unplaceable {
                document,
                database: self.id,
                reason,
            })
    }

    fn forget(&mut self, document: DocumentId) {
        if let Some(partition) = self.placed.remove(&document) {
            self.partitions.remove(&partition);
            self.fresh.remove(&document);
            self.refresh_catalog([partition.collection]);
        }
    }

    /// A record, and what had lost in it, as it was when `document` was at `heads`.
    fn look_at(
        &self,
        document: DocumentId,
        collection: &str,
        key: &str,
        heads: &[ChangeHash],
    ) -> Look {
        let (partitions, mut views) = self.views(collection, key);
        for (partition, view) in partitions.iter().zip(&mut views) {
            if self.placed.get(&document) == Some(*partition) {
                view.at = Some(heads);
            }
        }
        self.look_with(collection, key, &partitions, &views)
    }

    fn heads_of(&self, document: DocumentId) -> Vec<ChangeHash> {
        self.stored(&document)
            .map(|target| target.heads())
            .unwrap_or_default()
    }

    fn is_empty(&self, document: DocumentId) -> bool {
        self.stored(&document)
            .is_some_and(|target| target.heads() == [target.genesis.hash()])
    }
}

//! Databases with records in them, as a store keeps them, for a server and for a peer that edits them.

use crate::records::{database, fill, saved, write};
use anyhow::{Context, Result};
use headwater::storage::{Batch, MemoryDisk, NativeStorage, Storage as _};
use headwater::{Options, Peer};
use headwater_core::{CollectionSchema, DatabaseId, Operation};
use std::path::Path;

/// How records are spread over databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// How many databases; at most 255.
    pub databases: usize,
    /// How many records each of them has.
    pub each: usize,
}

impl Layout {
    /// All records.
    pub fn rows(self) -> usize {
        self.databases * self.each
    }

    /// In words.
    pub fn name(self) -> String {
        match self.databases {
            1 => format!("1 database of {} rows", grouped(self.each)),
            many => format!("{many} databases of {} rows", grouped(self.each)),
        }
    }
}

/// A number with a comma before every three digits.
pub fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}

/// Databases as a store keeps them.
pub struct Fixture {
    /// How they are spread.
    pub layout: Layout,
    /// The databases' ids.
    pub ids: Vec<DatabaseId>,
    batches: Vec<Batch>,
}

impl Fixture {
    /// Writes all records.
    pub fn make(layout: Layout) -> Result<Self> {
        let (mut ids, mut batches) = (Vec::new(), Vec::new());
        for seed in 1..=layout.databases {
            let seed = u8::try_from(seed).context("too many databases")?;
            let mut database = database(seed)?;
            write(&mut database, Operation::Declare(CollectionSchema::new()))?;
            fill(&mut database, layout.each)?;
            ids.push(database.id());
            batches.push(saved(&database)?);
        }
        Ok(Self {
            layout,
            ids,
            batches,
        })
    }

    /// Keeps them in a new folder.
    pub async fn store(&self, folder: &Path) -> Result<()> {
        let storage = NativeStorage::open(folder)?;
        for batch in &self.batches {
            storage.commit(batch.clone()).await?;
        }
        Ok(storage.close().await?)
    }

    /// A peer that has the same in memory, under a name of its own.
    pub async fn peer(&self) -> Result<Peer> {
        let disk = MemoryDisk::default();
        let storage = disk.open();
        for batch in &self.batches {
            storage.commit(batch.clone()).await?;
        }
        storage.close().await?;
        Ok(Peer::open(Options::memory_disk(disk).origin("bench")).await?)
    }
}

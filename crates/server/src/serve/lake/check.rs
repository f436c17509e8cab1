//! Whether the lake shows what the databases hold, and how to make it so again.

use super::keeper::{CHUNK, KeepError, Keeper, Rebuilt, at_rest};
use super::{Asked, lock};
use headwater::Database;
use headwater_materialize::{FilesReport, canonical};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Compare.
    Verify,
    /// Compare, and mend what differs.
    Repair,
    /// Make everything anew out of the databases. Another epoch of the change feeds begins.
    Rebuild,
}

impl Check {
    /// Its name in commands and paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::Rebuild => "rebuild",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Verify, Self::Repair, Self::Rebuild];
        all.into_iter().find(|check| check.name() == name)
    }
}

/// How many keys that differ are named for each collection of a database.
const NAMED: usize = 10;

/// What was compared, and what differed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckReport {
    /// Whether the lake is what it must be (now, if it was mended).
    pub ok: bool,
    /// Each collection of each database.
    pub tables: Vec<TableReport>,
    /// How many files of rows were read, with their texts, and their size in bytes.
    pub files: usize,
    /// The size of the texts, in bytes.
    pub bytes: u64,
    /// What is wrong with files, in plain English.
    pub damaged: Vec<String>,
    /// What was mended, as it had been found.
    pub mended: Vec<String>,
    /// Whether the change feeds had to begin another epoch.
    pub new_epoch: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How many records were read anew, and seconds spent on reading them and on writing.
    pub records: u64,
    /// Of these seconds, those for reading records out of documents.
    pub resolving_seconds: f64,
    /// Of these seconds, those for writing rows.
    pub writing_seconds: f64,
    /// Of these seconds, those for comparing files and rows with what they must be.
    pub verifying_seconds: f64,
}

/// A collection of a database, and its rows in the lake.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TableReport {
    /// The database's id.
    pub database: String,
    /// The collection's name.
    pub collection: String,
    /// How many records the database has.
    pub records: u64,
    /// How many rows the lake has of it.
    pub rows: u64,
    /// SHA-256 over all records, keys and canonical JSON in the order of keys, in hexadecimal.
    pub records_hash: String,
    /// The same over all rows.
    pub rows_hash: String,
    /// Keys that differ, the first ten.
    pub differing: Vec<String>,
}

impl TableReport {
    /// Whether its rows are its records.
    pub fn is_equal(&self) -> bool {
        self.records_hash == self.rows_hash
            && self.records == self.rows
            && self.differing.is_empty()
    }
}

impl Keeper {
    /// Does what was asked for meanwhile.
    pub fn answer_asked(&mut self) {
        let asked = std::mem::take(&mut *lock(&self.feed.asked));
        for one in asked {
            // Whoever asked may not wait any more.
            match one {
                Asked::Check(check, answer) => {
                    let result = self.check(check).map_err(|error| error.to_string());
                    let _ = answer.send(result);
                }
                Asked::Publish(answer) => {
                    let result = self.publish_all().map_err(|error| error.to_string());
                    let _ = answer.send(result.map(|()| lock(&self.feed.status).version));
                }
            }
        }
    }

    fn check(&mut self, check: Check) -> Result<CheckReport, KeepError> {
        let started = Instant::now();
        let mut report = match check {
            Check::Verify => self.verify()?,
            Check::Repair => self.repair()?,
            Check::Rebuild => self.rebuild()?,
        };
        report.seconds = started.elapsed().as_secs_f64();
        Ok(report)
    }

    fn verify(&mut self) -> Result<CheckReport, KeepError> {
        self.publish_all()?;
        let started = Instant::now();
        let files = self.lake.check_files()?;
        let mut report = of_files(&files);
        if !files.is_beyond_repair() {
            report.tables = self.compare()?;
        }
        report.ok = report.damaged.is_empty() && report.tables.iter().all(TableReport::is_equal);
        report.verifying_seconds = started.elapsed().as_secs_f64();
        Ok(report)
    }

    fn repair(&mut self) -> Result<CheckReport, KeepError> {
        let files = self.lake.check_files()?;
        let found = match files.is_beyond_repair() {
            true => of_files(&files),
            false => {
                self.lake.mend_files(&files);
                self.verify_rows(&files)?
            }
        };
        let mut rebuilt = Rebuilt::default();
        if files.is_beyond_repair() {
            self.lake.begin_anew()?;
            rebuilt = self.read_all()?;
        } else if !found.tables.iter().all(TableReport::is_equal) {
            rebuilt = self.read_all()?;
        }
        self.publish_all()?;
        let mut report = self.verify()?;
        report.new_epoch = files.is_beyond_repair();
        report.mended = found.damaged;
        report.mended.extend(
            found
                .tables
                .iter()
                .filter(|table| !table.is_equal())
                .map(|table| {
                    format!(
                        "{} of the database {}: {} records, {} rows; differing: {:?}",
                        table.collection,
                        table.database,
                        table.records,
                        table.rows,
                        table.differing
                    )
                }),
        );
        Ok(with_shares(report, rebuilt))
    }

    fn verify_rows(&mut self, files: &FilesReport) -> Result<CheckReport, KeepError> {
        self.publish_all()?;
        Ok(CheckReport {
            tables: self.compare()?,
            ..of_files(files)
        })
    }

    fn rebuild(&mut self) -> Result<CheckReport, KeepError> {
        self.take_over();
        self.lake.begin_anew()?;
        let mut rebuilt = self.read_all()?;
        let started = Instant::now();
        self.publish_all()?;
        rebuilt.writing += started.elapsed();
        let report = CheckReport {
            new_epoch: true,
            ..self.verify()?
        };
        Ok(with_shares(report, rebuilt))
    }

    /// Reads every record of every database.
    fn read_all(&mut self) -> Result<Rebuilt, KeepError> {
        self.forget_read();
        self.read_unread()
    }

    /// Compares each collection of each database with its rows.
    fn compare(&mut self) -> Result<Vec<TableReport>, KeepError> {
        let databases: Vec<Database> = lock(&self.feed.queue).databases.values().cloned().collect();
        let mut tables = Vec::new();
        for database in databases {
            for collection in database.collections().into_keys() {
                tables.push(self.compare_collection(&database, &collection)?);
            }
        }
        Ok(tables)
    }

    fn compare_collection(
        &mut self,
        database: &Database,
        collection: &str,
    ) -> Result<TableReport, KeepError> {
        let name = collection.to_owned();
        let keys = at_rest(database, move |core| core.keys(&name))?;
        let mut keys: Vec<String> = keys.into_iter().collect();
        keys.reverse();
        let mut hashes = [Sha256::new(), Sha256::new()];
        let mut report = TableReport {
            database: database.id().to_string(),
            collection: collection.to_owned(),
            ..TableReport::default()
        };
        let mut after: Option<String> = None;
        loop {
            let rows = self
                .lake
                .rows_of(database.id(), collection, after.as_deref(), CHUNK)?;
            let end = rows.last().map(|(key, _)| key.clone());
            let upto = |key: &String| end.as_ref().is_none_or(|end| key <= end);
            let mut chunk = Vec::new();
            while let Some(key) = keys.pop_if(|key| upto(key)) {
                chunk.push(key);
            }
            let rows: BTreeMap<String, String> = rows.into_iter().collect();
            let (records, waiting) = self.records(database, collection, chunk)?;
            report.compare(&mut hashes, &records, &rows, &waiting);
            match end {
                Some(end) => after = Some(end),
                None => break,
            }
        }
        let [records, rows] = hashes.map(|hash| hex(&hash.finalize()));
        (report.records_hash, report.rows_hash) = (records, rows);
        Ok(report)
    }

    /// Records as they are durable now, and the keys of those that changed since the lake took them over.
    fn records(
        &self,
        database: &Database,
        collection: &str,
        keys: Vec<String>,
    ) -> Result<(BTreeMap<String, String>, BTreeSet<String>), KeepError> {
        let (feed, name) = (Arc::clone(&self.feed), collection.to_owned());
        at_rest(database, move |core| {
            let read = |key: String| Some((core.get(&name, &key).map(canonical)?, key));
            let records = keys
                .into_iter()
                .filter_map(read)
                .map(|(record, key)| (key, record));
            let queue = lock(&feed.queue);
            let waits = queue.waiting.rows.keys();
            let own = waits.filter(|(id, collection, _)| *id == core.id() && *collection == name);
            (
                records.collect(),
                own.map(|(_, _, key)| key.clone()).collect(),
            )
        })
    }
}

impl TableReport {
    fn compare(
        &mut self,
        [of_records, of_rows]: &mut [Sha256; 2],
        records: &BTreeMap<String, String>,
        rows: &BTreeMap<String, String>,
        waiting: &BTreeSet<String>,
    ) {
        let settled = |all: &BTreeMap<String, String>, hash: &mut Sha256| {
            let mut count = 0;
            for (key, content) in all.iter().filter(|(key, _)| !waiting.contains(*key)) {
                hash.update((key.len() as u64).to_be_bytes());
                hash.update(key);
                hash.update((content.len() as u64).to_be_bytes());
                hash.update(content);
                count += 1;
            }
            count
        };
        self.records += settled(records, of_records);
        self.rows += settled(rows, of_rows);
        let keys: BTreeSet<_> = records.keys().chain(rows.keys()).collect();
        let differs =
            |key: &&String| !waiting.contains(*key) && records.get(*key) != rows.get(*key);
        let room = NAMED - self.differing.len().min(NAMED);
        self.differing
            .extend(keys.into_iter().filter(differs).take(room).cloned());
    }
}

fn of_files(files: &FilesReport) -> CheckReport {
    let named = files.findings.iter().map(|finding| {
        format!(
            "{} ({}): {}",
            finding.path.display(),
            finding.table,
            finding.reason
        )
    });
    CheckReport {
        files: files.parts,
        bytes: files.bytes,
        damaged: named.collect(),
        ..CheckReport::default()
    }
}

fn with_shares(report: CheckReport, rebuilt: Rebuilt) -> CheckReport {
    CheckReport {
        records: rebuilt.records,
        resolving_seconds: rebuilt.resolving.as_secs_f64(),
        writing_seconds: rebuilt.writing.as_secs_f64(),
        ..report
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

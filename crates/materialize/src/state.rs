//! What the lake remembers: where the rows are, what is recorded of their types, and up to which heads they were taken in.
//! One commit of it makes a change of any number of tables, with the events that tell of it, one step.

use crate::error::LakeError;
use crate::tree::Group;
use automerge::ChangeHash;
use headwater_core::{DatabaseId, DocumentId};
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format that this version reads and writes.
const FORMAT: u64 = 2;

const LOGGED: &str = "logged";
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const SCHEMAS: TableDefinition<&str, &[u8]> = TableDefinition::new("schemas");
/// By table: the version of its last change, and up to which version its log was trimmed.
const CHANGED: TableDefinition<&str, (u64, u64)> = TableDefinition::new("changed");
const GROUPS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("groups");
/// By database and document: the heads up to which it was taken in.
const HEADS: TableDefinition<([u8; 16], [u8; 16]), &[u8]> = TableDefinition::new("heads");

/// Heads of a database's documents.
pub type Heads = BTreeMap<DocumentId, Vec<ChangeHash>>;

/// What becomes of one table.
#[derive(Debug, Default)]
pub(crate) struct TableCommit {
    pub folder: String,
    /// Its schema, if that is new.
    pub schema: Option<Vec<u8>>,
    pub new_groups: Vec<Arc<Group>>,
    pub old_groups: Vec<u64>,
    pub trimmed: u64,
}

/// One step.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub version: u64,
    pub tables: Vec<TableCommit>,
    pub heads: BTreeMap<DatabaseId, Heads>,
    /// Another epoch begins: no database is taken in, and no log is there.
    pub epoch: Option<u64>,
}

/// What is recorded of one table.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub schema: Vec<u8>,
    pub changed: u64,
    pub trimmed: u64,
    pub groups: Vec<Arc<Group>>,
}

/// The file, which is opened again after a failure.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    database: Option<Database>,
    /// When the lake was begun, in milliseconds since 1970; names its log.
    pub epoch: u64,
}

impl State {
    /// Opens or begins it.
    pub(crate) fn open(path: &Path, now: u64) -> Result<Self, LakeError> {
        let mut state = Self {
            path: path.to_owned(),
            database: None,
            epoch: now,
        };
        let epoch = state.attempt(|database| begin(database, now))?;
        state.epoch = epoch.map_err(|format| LakeError::Newer {
            path: path.to_owned(),
            format,
        })?;
        Ok(state)
    }

    /// The last commit's version.
    pub(crate) fn version(&mut self) -> Result<u64, LakeError> {
        self.attempt(|database| {
            let meta = database.begin_read()?.open_table(META)?;
            Ok(meta.get("version")?.map_or(0, |version| version.value()))
        })
    }

    /// Whether what was there at first has been published.
    pub(crate) fn is_logged(&mut self) -> Result<bool, LakeError> {
        self.attempt(|database| {
            let meta = database.begin_read()?.open_table(META)?;
            Ok(meta.get(LOGGED)?.is_some())
        })
    }

    /// Records that what was there at first has been published.
    pub(crate) fn begin_log(&mut self) -> Result<(), LakeError> {
        self.attempt(|database| {
            let write = database.begin_write()?;
            write.open_table(META)?.insert(LOGGED, 1)?;
            write.commit()?;
            Ok(())
        })
    }

    /// All tables by their folders.
    pub(crate) fn tables(&mut self) -> Result<BTreeMap<String, Recorded>, LakeError> {
        self.attempt(|database| {
            let read = database.begin_read()?;
            let mut tables: BTreeMap<String, Recorded> = BTreeMap::new();
            for entry in read.open_table(SCHEMAS)?.iter()? {
                let (folder, schema) = entry?;
                let table = tables.entry(folder.value().to_owned()).or_default();
                table.schema = schema.value().to_vec();
            }
            for entry in read.open_table(CHANGED)?.iter()? {
                let (folder, value) = entry?;
                let table = tables.entry(folder.value().to_owned()).or_default();
                (table.changed, table.trimmed) = value.value();
            }
            for entry in read.open_table(GROUPS)?.iter()? {
                let (key, group) = entry?;
                let (folder, _) = key.value();
                let damaged = |error: serde_json::Error| redb::Error::Corrupted(error.to_string());
                let group = serde_json::from_slice(group.value()).map_err(damaged)?;
                let table = tables.entry(folder.to_owned()).or_default();
                table.groups.push(Arc::new(group));
            }
            Ok(tables)
        })
    }

    /// Up to which heads a database was taken in; empty if it never was.
    pub(crate) fn heads(&mut self, id: DatabaseId) -> Result<Heads, LakeError> {
        self.attempt(|database| {
            let table = database.begin_read()?.open_table(HEADS)?;
            let all = (*id.as_bytes(), [0; 16])..=(*id.as_bytes(), [0xff; 16]);
            let mut heads = Heads::new();
            for entry in table.range(all)? {
                let (key, value) = entry?;
                let hashes = value.value().chunks_exact(32).map(|hash| {
                    let mut bytes = [0; 32];
                    bytes.copy_from_slice(hash);
                    ChangeHash(bytes)
                });
                heads.insert(DocumentId::from_bytes(key.value().1), hashes.collect());
            }
            Ok(heads)
        })
    }

    /// The databases that were taken in.
    pub(crate) fn databases(&mut self) -> Result<Vec<DatabaseId>, LakeError> {
        self.attempt(|database| {
            let table = database.begin_read()?.open_table(HEADS)?;
            let mut all = Vec::new();
            for entry in table.iter()? {
                let id = DatabaseId::from_bytes(entry?.0.value().0);
                if all.last() != Some(&id) {
                    all.push(id);
                }
            }
            Ok(all)
        })
    }

    /// Makes a step durable. After an error it may have been made or not: see [`Self::version`].
    pub(crate) fn commit(&mut self, commit: &Commit) -> Result<(), LakeError> {
        self.attempt(|database| {
            let write = database.begin_write()?;
            write_commit(&write, commit)?;
            write.commit()?;
            Ok(())
        })?;
        self.epoch = commit.epoch.unwrap_or(self.epoch);
        Ok(())
    }

    /// Runs what redb does with its file. After an error it must be opened anew; damage it can answer with a panic.
    fn attempt<T>(
        &mut self,
        run: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, LakeError> {
        let opened = self.database.take();
        let path = &self.path;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let database = match opened {
                Some(database) => database,
                None => Database::create(path)?,
            };
            run(&database).map(|value| (database, value))
        }));
        match result {
            Ok(Ok((database, value))) => {
                self.database = Some(database);
                Ok(value)
            }
            // What redb says of a file that is not, or no longer, one of its own.
            Ok(Err(redb::Error::Io(error)))
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                ) =>
            {
                Err(self.damaged(error.to_string()))
            }
            Ok(Err(redb::Error::Io(error))) => Err(LakeError::io("use", &self.path, error)),
            Ok(Err(error)) => Err(self.damaged(error.to_string())),
            Err(_) => Err(self.damaged("redb panicked while it used the file".to_owned())),
        }
    }

    fn damaged(&self, reason: String) -> LakeError {
        LakeError::DamagedState {
            path: self.path.clone(),
            reason,
        }
    }
}

/// Makes sure that all tables are there. Gives the epoch, or the file's format if that is not ours.
fn begin(database: &Database, now: u64) -> Result<Result<u64, u64>, redb::Error> {
    let write = database.begin_write()?;
    let epoch = {
        let mut meta = write.open_table(META)?;
        let format = meta.get("format")?.map(|format| format.value());
        if let Some(format) = format.filter(|format| *format != FORMAT) {
            return Ok(Err(format));
        }
        let epoch = meta.get("epoch")?.map(|epoch| epoch.value());
        if epoch.is_none() {
            meta.insert("format", FORMAT)?;
            meta.insert("epoch", now)?;
        }
        write.open_table(SCHEMAS)?;
        write.open_table(CHANGED)?;
        write.open_table(GROUPS)?;
        write.open_table(HEADS)?;
        epoch
    };
    match epoch {
        Some(epoch) => Ok(Ok(epoch)),
        None => {
            write.commit()?;
            Ok(Ok(now))
        }
    }
}

fn write_commit(write: &WriteTransaction, commit: &Commit) -> Result<(), redb::Error> {
    let mut meta = write.open_table(META)?;
    meta.insert("version", commit.version)?;
    if let Some(epoch) = commit.epoch {
        meta.insert("epoch", epoch)?;
        meta.remove(LOGGED)?;
        write.delete_table(HEADS)?;
    }
    let mut schemas = write.open_table(SCHEMAS)?;
    let mut changed = write.open_table(CHANGED)?;
    let mut groups = write.open_table(GROUPS)?;
    for table in &commit.tables {
        let folder = table.folder.as_str();
        if let Some(schema) = &table.schema {
            schemas.insert(folder, schema.as_slice())?;
        }
        changed.insert(folder, (commit.version, table.trimmed))?;
        for id in &table.old_groups {
            groups.remove((folder, *id))?;
        }
        for group in &table.new_groups {
            // Numbers, strings and lists of them: nothing that serde_json could refuse.
            let json = serde_json::to_vec(&**group).unwrap_or_default();
            groups.insert((folder, group.id), json.as_slice())?;
        }
    }
    let mut heads = write.open_table(HEADS)?;
    for (database, documents) in &commit.heads {
        for (document, hashes) in documents {
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            heads.insert(
                (*database.as_bytes(), *document.as_bytes()),
                bytes.as_slice(),
            )?;
        }
    }
    Ok(())
}

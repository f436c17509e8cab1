//! One table: its rows in memory, and how a new version of it gets into the folder.

use crate::conflicts;
use crate::declared::{Catalogs, Declaration, DeclaredType};
use crate::disk::Disk;
use crate::error::LakeError;
use crate::parts::{Parts, RowKey};
use crate::rejected::{self, Rejected};
use crate::render::Renderer;
use crate::schema::{Schema, SchemaError};
use crate::view;
use headwater_core::json::record_from_str;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, LakeError>;

const SCHEMA: &str = "schema.json";
/// A name under which a file is written before it is renamed.
const STAGED: &str = "staged";

/// Where the lake is and how its views name it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder that Drill knows, which shows the views.
    pub root: PathBuf,
    /// The folder in it that holds the rest.
    pub hidden: &'static str,
    /// Drill's name of the folder.
    pub drill_schema: String,
}

/// What publishing one table wrote.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The folder of the version that was visible before.
    pub replaced: Option<PathBuf>,
    pub parts: usize,
    pub kept: usize,
    pub bytes: u64,
}

/// What a table shows of its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The records, a row each.
    Records,
    /// What lost in them, a row for each write that did.
    Conflicts,
    /// What does not fit in them, a row for each value.
    Rejected,
}

/// Ends the folder names of tables of conflicts.
const CONFLICTS: &str = "_conflicts";
/// The same of rejected values.
const REJECTED: &str = "_rejected";

impl Kind {
    /// What the table in the folder `name` shows, if it is one of a table.
    pub(crate) fn of_folder(name: &str) -> Option<Self> {
        let (hash, kind) = if let Some(hash) = name.strip_suffix(CONFLICTS) {
            (hash, Self::Conflicts)
        } else if let Some(hash) = name.strip_suffix(REJECTED) {
            (hash, Self::Rejected)
        } else {
            (name, Self::Records)
        };
        let is_hash = hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then_some(kind)
    }

    /// The folder of a collection's table: a hash, since the name is whatever a user chose and Drill reads patterns in paths.
    pub(crate) fn folder_of(self, collection: &str) -> String {
        match self {
            Self::Records => hash(collection),
            Self::Conflicts => hash(collection) + CONFLICTS,
            Self::Rejected => hash(collection) + REJECTED,
        }
    }

    /// The columns that such a table always has.
    fn columns(self) -> &'static [(&'static str, DeclaredType)] {
        match self {
            Self::Records => &[],
            Self::Conflicts => &conflicts::COLUMNS,
            Self::Rejected => &rejected::COLUMNS,
        }
    }
}

/// A collection's current rows.
#[derive(Debug)]
pub(crate) struct Table {
    kind: Kind,
    pub schema: Schema,
    /// What the databases declare of it.
    pub catalogs: Catalogs,
    pub parts: Parts,
    /// Whether something changed since the last publication.
    pub pending: bool,
    /// What the last publication found in each row that it wrote.
    pub rejected: Vec<(RowKey, Vec<Rejected>)>,
    recorded: Vec<u8>,
    /// The visible version, its files and its view.
    version: Option<u64>,
    files: BTreeSet<String>,
    view: String,
}

impl Table {
    pub(crate) fn new(mut schema: Schema, kind: Kind) -> Self {
        let typed = |(column, kind): &(&str, _)| {
            let declaration = Declaration {
                kind: Some(*kind),
                column: None,
            };
            ((*column).to_owned(), declaration)
        };
        schema.declare(kind.columns().iter().map(typed).collect());
        Self {
            kind,
            schema,
            catalogs: Catalogs::default(),
            parts: Parts::default(),
            pending: true,
            rejected: Vec::new(),
            recorded: Vec::new(),
            version: None,
            files: BTreeSet::new(),
            view: String::new(),
        }
    }

    /// Reads what is recorded of a table in the folder `name`. Returns it with the highest version that the folder holds
    /// and the folders of versions that are not visible (any more); nothing if the folder records no table.
    pub(crate) fn open(
        disk: &Disk,
        place: &Place,
        name: &str,
        kind: Kind,
    ) -> Result<Option<(Self, u64, Vec<Orphan>)>> {
        let folder = place.root.join(place.hidden).join(name);
        let path = folder.join(SCHEMA);
        let Some(recorded) = disk.read(&path)? else {
            return Ok(None);
        };
        let schema = Schema::from_json(&recorded).map_err(|error| match error {
            SchemaError::Damaged(reason) => LakeError::Damaged { path, reason },
            SchemaError::Newer(format) => LakeError::Newer { path, format },
        })?;
        let mut table = Self::new(schema, kind);
        table.recorded = recorded;
        disk.remove_file(&folder.join(STAGED))?;
        let path = place.root.join(view::file_name(&table.schema.table));
        if let Some(text) = disk.read(&path)? {
            table.view = String::from_utf8_lossy(&text).into_owned();
            table.version = view::version(&table.view, &format!("{}/{name}", place.hidden));
        }
        let mut highest = table.version.unwrap_or(0);
        let mut orphans = Vec::new();
        for entry in disk.list(&folder)? {
            let Ok(version) = entry.parse::<u64>() else {
                continue;
            };
            highest = highest.max(version);
            if Some(version) == table.version {
                table.files = disk.list(&folder.join(entry))?.into_iter().collect();
            } else {
                // A version above the visible one was never seen by a query.
                let seen = table.version.is_some_and(|visible| version < visible);
                orphans.push(Orphan {
                    path: folder.join(entry),
                    seen,
                });
            }
        }
        Ok(Some((table, highest, orphans)))
    }

    /// Makes the present rows visible as `version`, or nothing at all. On an error what was visible stays so.
    pub(crate) fn publish(
        &mut self,
        disk: &Disk,
        place: &Place,
        version: u64,
    ) -> Result<Option<Written>> {
        let view_folder = format!(
            "{}/{}",
            place.hidden,
            self.kind.folder_of(&self.schema.collection)
        );
        let table = place.root.join(&view_folder);
        if self.schema.settle() {
            self.parts.forget_files();
        }
        self.parts.recut();
        let mut staging = Staging {
            disk,
            version,
            folder: table.join(version.to_string()),
            visible: self.version.map(|visible| table.join(visible.to_string())),
            table,
            exists: false,
            written: Written::default(),
        };
        match self.write_version(&mut staging, place, &view_folder) {
            Ok(Some(files)) => {
                self.version = Some(version);
                self.note_files(files);
                staging.written.replaced = staging.visible;
                Ok(Some(staging.written))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                // Room on the disk for the next try; what cannot be removed now is removed when the lake is opened.
                if staging.exists {
                    let _ = disk.remove_dir(&staging.folder);
                }
                Err(error)
            }
        }
    }

    fn write_version(
        &mut self,
        staging: &mut Staging,
        place: &Place,
        view_folder: &str,
    ) -> Result<Option<Vec<String>>> {
        let typed = self.schema.is_nested() || self.parts.rows() == 0;
        let files = self.write_parts(staging, typed)?;
        let view = |version| {
            view::text(
                &place.drill_schema,
                &format!("{view_folder}/{version}"),
                &self.schema,
                typed,
            )
        };
        let names: BTreeSet<_> = files.iter().cloned().collect();
        let recorded = self.schema.to_json();
        if names == self.files
            && recorded == self.recorded
            && self
                .version
                .is_some_and(|visible| view(visible) == self.view)
        {
            self.note_files(files);
            return Ok(None);
        }
        let (text, table) = (view(staging.version), staging.table.clone());
        self.link_kept(staging, &names)?;
        staging.disk.sync_dir(&staging.folder)?;
        if recorded != self.recorded {
            replace(staging.disk, &table, &table.join(SCHEMA), &recorded)?;
            self.recorded = recorded;
        }
        staging.disk.sync_dir(&table)?;
        // From here on a query sees the new version.
        let path = place.root.join(view::file_name(&self.schema.table));
        replace(staging.disk, &table, &path, text.as_bytes())?;
        self.view = text;
        Ok(Some(files))
    }

    /// Writes the parts that no file of the visible version holds. Returns the files of all parts in their order.
    fn write_parts(&mut self, staging: &mut Staging, typed: bool) -> Result<Vec<String>> {
        self.rejected.clear();
        let mut files = Vec::new();
        let mut renderer = Renderer::new(&self.schema);
        let mut text = String::new();
        for part in self.parts.iter() {
            if let Some(file) = &part.file {
                files.push(file.clone());
                continue;
            }
            text.clear();
            if typed {
                renderer.typing_row(&mut text);
            }
            let rows = part.rows.iter();
            for (key, json) in rows.flat_map(|(key, rows)| rows.lines().map(move |row| (key, row)))
            {
                let record = record_from_str(json).map_err(|error| LakeError::Row {
                    collection: self.schema.collection.clone(),
                    key: key.key.to_string(),
                    reason: error.to_string(),
                })?;
                let rejected = renderer.row(&mut text, key, &record);
                self.rejected.push((key.clone(), rejected));
            }
            files.push(staging.write(&self.files, &text)?);
        }
        if files.is_empty() {
            // Without a file Drill refuses the folder, and without a row it does not know the types.
            renderer.typing_row(&mut text);
            files.push(staging.write(&self.files, &text)?);
        }
        let Renderer {
            long,
            long_keys,
            long_more,
            ..
        } = renderer;
        self.schema.note_long(&long, long_keys, long_more);
        Ok(files)
    }

    /// Gives the new version the files that it shares with the visible one.
    fn link_kept(&mut self, staging: &mut Staging, names: &BTreeSet<String>) -> Result<()> {
        let Some(visible) = staging.visible.clone() else {
            return Ok(());
        };
        staging.create()?;
        for name in names.intersection(&self.files) {
            let linked = staging
                .disk
                .link(&visible.join(name), &staging.folder.join(name));
            if let Err(error) = linked {
                // Should someone have removed the file, the next try writes it from memory.
                self.files.clear();
                self.parts.forget_files();
                return Err(error);
            }
            staging.written.kept += 1;
        }
        Ok(())
    }

    fn note_files(&mut self, files: Vec<String>) {
        for (part, file) in self.parts.iter_mut().zip(&files) {
            part.file = Some(file.clone());
        }
        self.files = files.into_iter().collect();
        self.schema.mark_rendered();
        self.pending = false;
    }
}

/// A version's folder that no view names.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub path: PathBuf,
    /// Whether a query may be reading it.
    pub seen: bool,
}

/// A version that is being written.
struct Staging<'a> {
    disk: &'a Disk,
    version: u64,
    table: PathBuf,
    folder: PathBuf,
    visible: Option<PathBuf>,
    exists: bool,
    written: Written,
}

impl Staging<'_> {
    fn create(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.exists, true) {
            self.disk.create_dir(&self.folder)?;
        }
        Ok(())
    }

    /// Writes a part under a name that is the hash of its content, unless `visible` has it. Returns the name.
    fn write(&mut self, visible: &BTreeSet<String>, text: &str) -> Result<String> {
        let name = format!("{}.json", hash(text));
        if !visible.contains(&name) {
            self.create()?;
            self.disk.write(&self.folder.join(&name), text.as_bytes())?;
            self.written.parts += 1;
            self.written.bytes += text.len() as u64;
        }
        Ok(name)
    }
}

/// The first 128 bits of the SHA-256 in hexadecimal.
fn hash(text: &str) -> String {
    let mut name = String::with_capacity(32);
    for byte in &Sha256::digest(text.as_bytes())[..16] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Replaces the file `path` atomically, by way of the folder `staged` on the same file system.
fn replace(disk: &Disk, staged: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = staged.join(STAGED);
    disk.write(&staged, bytes)?;
    disk.rename(&staged, path)
}

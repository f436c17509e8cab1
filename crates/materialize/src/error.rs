//! What can go wrong with the lake's folder.

use std::io;
use std::path::{Path, PathBuf};

/// Why the lake's folder could not be opened or written. The tables published before stay readable in every case.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Another process publishes into the folder.
    #[error(
        "the lake folder {folder} is in use by another process; stop that one or choose another folder"
    )]
    InUse {
        /// The lake's folder.
        folder: PathBuf,
    },
    /// The disk, or the quota on it, is full.
    #[error(
        "no room left to write {path}; free some space and the next publication succeeds (nothing is lost until then)"
    )]
    Full {
        /// What was being written.
        path: PathBuf,
        /// From the operating system.
        source: io::Error,
    },
    /// The folder cannot be written: permissions, a read-only file system, or something else in its place.
    #[error("cannot write {path}; the lake needs a folder that this process may write to")]
    NotWritable {
        /// What was being written.
        path: PathBuf,
        /// From the operating system.
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error(
        "cannot {doing} {path}; see whether the disk is well, the next publication tries again"
    )]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// From the operating system.
        source: io::Error,
    },
    /// What the lake remembers cannot be read.
    #[error(
        "{path} is damaged ({reason}); put the lake's folder back from a backup, or delete it: the tables are made anew, and their change feeds begin anew"
    )]
    DamagedState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of rows is damaged or gone.
    #[error("{path} is damaged ({reason}); `headwater lake repair` makes it anew")]
    DamagedPart {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A state of the lake that cannot be read.
    #[error(
        "there is no snapshot {version}: those from {oldest} to {newest} are kept (`headwater lake snapshots` lists them)"
    )]
    NoSnapshot {
        /// The snapshot asked for.
        version: u64,
        /// The oldest that is kept.
        oldest: u64,
        /// The newest.
        newest: u64,
    },
    /// A place in a change feed that it no longer has, or never had.
    #[error(
        "the cursor {cursor} has expired: events after it are no longer kept, or the lake was begun anew; read the table as a snapshot and go on from that snapshot's cursor"
    )]
    ExpiredCursor {
        /// The cursor.
        cursor: crate::Cursor,
    },
    /// A lake that a later version of Headwater wrote.
    #[error(
        "{path} has format {format}, which this version does not know; use the version of Headwater that wrote it, or a later one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it declares.
        format: u64,
    },
    /// A row that was taken in cannot be read back from memory, which is a bug.
    #[error(
        "the row {key:?} of {collection:?} cannot be written ({reason}); please report this as a bug"
    )]
    Row {
        /// The collection.
        collection: String,
        /// The record's key.
        key: String,
        /// What happened.
        reason: String,
    },
}

impl LakeError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let path = path.to_owned();
        match source.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => Self::Full { path, source },
            Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::NotADirectory
            | Kind::AlreadyExists => Self::NotWritable { path, source },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }
}

//! The few file operations that publishing needs, each durable where it says so.

use crate::error::LakeError;
use std::fs::{self, File};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::unix::fs::symlink;
#[cfg(windows)]
use std::os::windows::fs::symlink_dir as symlink;
use std::path::{Path, PathBuf};
use std::thread;

type Result<T> = std::result::Result<T, LakeError>;

/// How many files may be open because they are not on the disk yet.
const MOST_UNSYNCED: usize = 128;
/// How many threads wait for the disk at the same time.
const SYNCING: usize = 8;
/// For how many files another thread is not worth its while.
const FEW: usize = 4;

/// The file system. In tests it can be made to stop at any operation, as if the process were killed there.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub fuse: Fuse,
}

impl Disk {
    /// Makes a folder, and those above it.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<()> {
        self.run("make the folder", path, || fs::create_dir_all(path))
    }

    /// Writes a new file and waits until it is on the disk. What stood there is replaced, but not atomically.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.run("write", path, || create(path, &[bytes])?.sync_all())
    }

    /// Writes a new file of several pieces, but leaves it to `later` to wait for the disk.
    pub(crate) fn write_for(
        &self,
        later: &mut Unsynced,
        path: &Path,
        pieces: &[&[u8]],
    ) -> Result<()> {
        let file = self.run("write", path, || create(path, pieces))?;
        later.files.push((path.to_owned(), file));
        match later.files.len() < MOST_UNSYNCED {
            true => Ok(()),
            false => self.sync(later),
        }
    }

    /// Leaves it to `later` to wait until the names in a folder are on the disk.
    pub(crate) fn sync_dir_for(&self, later: &mut Unsynced, path: &Path) -> Result<()> {
        let folder = self.run("open", path, || File::open(path))?;
        later.files.push((path.to_owned(), folder));
        Ok(())
    }

    /// Waits until all files are on the disk that were left to `later`: of several at the same time, since a disk takes about as
    /// long for many as for one.
    pub(crate) fn sync(&self, later: &mut Unsynced) -> Result<()> {
        let files = std::mem::take(&mut later.files);
        let share = files.len().div_ceil(SYNCING).max(FEW);
        let failed = std::thread::scope(|scope| {
            let mut shares = files.chunks(share);
            let own = shares.next().unwrap_or_default();
            let spawn = |files| {
                let thread = thread::Builder::new();
                let spawned = thread.spawn_scoped(scope, move || sync_all(files));
                spawned.map_err(|_| files)
            };
            let others: Vec<_> = shares.map(spawn).collect();
            let own = sync_all(own);
            let others = others.into_iter().filter_map(|other| match other {
                Ok(thread) => thread.join().ok()?,
                // There are no more threads to be had.
                Err(files) => sync_all(files),
            });
            // Not only to the first that fails, as some have no thread that goes on.
            own.into_iter().chain(others).last()
        });
        let (path, result) = match failed {
            Some((path, error)) => (path, Err(error)),
            None => (Path::new(""), Ok(())),
        };
        self.run("write", path, || result)
    }

    /// Makes `path` a symbolic link to `target`, a name relative to the folder of `path`.
    pub(crate) fn symlink(&self, target: &str, path: &Path) -> Result<()> {
        self.run("link", path, || symlink(target, path))
    }

    /// Makes `to` another name of the file `from`, or a copy where the file system has no hard links.
    pub(crate) fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.run("link", to, || match fs::hard_link(from, to) {
            Err(error) if is_final(&error) => Err(error),
            Err(_) => fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()),
            Ok(()) => Ok(()),
        })
    }

    /// Renames, replacing `to` atomically.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.run("rename to", to, || fs::rename(from, to))
    }

    /// Waits until the names in a folder are on the disk.
    pub(crate) fn sync_dir(&self, path: &Path) -> Result<()> {
        self.run("write", path, || File::open(path)?.sync_all())
    }

    /// Removes a folder with all that is in it. It may be gone already.
    pub(crate) fn remove_dir(&self, path: &Path) -> Result<()> {
        self.run("remove", path, || ignore_missing(fs::remove_dir_all(path)))
    }

    /// Removes a file. It may be gone already.
    pub(crate) fn remove_file(&self, path: &Path) -> Result<()> {
        self.run("remove", path, || ignore_missing(fs::remove_file(path)))
    }

    /// Reads a file, if there is one.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LakeError::io("read", path, error)),
        }
    }

    /// The size of a file in bytes, if there is one.
    pub(crate) fn size(&self, path: &Path) -> Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LakeError::io("read", path, error)),
        }
    }

    /// The names in a folder that are UTF-8, as all of ours are; none if there is no such folder.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<String>> {
        let failed = |error| LakeError::io("list", path, error);
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }

    /// Stops here, if a test says so.
    #[cfg(test)]
    pub(crate) fn burn(&self, path: &Path) -> Result<()> {
        self.run("use", path, || Ok(()))
    }

    fn run<T>(
        &self,
        doing: &'static str,
        path: &Path,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> Result<T> {
        #[cfg(test)]
        self.fuse
            .burn()
            .map_err(|error| LakeError::io(doing, path, error))?;
        operation().map_err(|error| LakeError::io(doing, path, error))
    }
}

/// Files and folders that are written, but may not be on the disk yet.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    files: Vec<(PathBuf, File)>,
}

fn create(path: &Path, pieces: &[&[u8]]) -> io::Result<File> {
    let mut file = File::create(path)?;
    for piece in pieces {
        file.write_all(piece)?;
    }
    Ok(file)
}

/// The first that cannot be put on the disk.
fn sync_all(files: &[(PathBuf, File)]) -> Option<(&Path, io::Error)> {
    files
        .iter()
        .find_map(|(path, file)| Some((path.as_path(), file.sync_all().err()?)))
}

/// Whether copying would fail as linking did.
fn is_final(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotFound
            | Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::ReadOnlyFilesystem
            | Kind::AlreadyExists
    )
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Lets so many operations pass and no other after them.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Fuse(std::cell::Cell<Option<u64>>);

#[cfg(test)]
impl Fuse {
    pub(crate) fn set(&self, operations: Option<u64>) {
        self.0.set(operations);
    }

    fn burn(&self) -> io::Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("killed by the test")),
            Some(left) => {
                self.0.set(Some(left - 1));
                Ok(())
            }
        }
    }
}

//! Small file systems that can be filled and made read-only.

use anyhow::{Context as _, ensure};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// The file that takes up the room of a full disk.
const BALLAST: &str = "ballast";

/// A file system in memory with a fixed size. It is unmounted when dropped, so whatever uses it must end before.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one with room for so many mebibytes.
    ///
    /// # Errors
    /// If this process may not mount, which takes root or `CAP_SYS_ADMIN`.
    pub fn mount(mebibytes: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = format!("size={mebibytes}m,mode=0755");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path()))
        .context("this test mounts a small tmpfs: run it as root, or with CAP_SYS_ADMIN")?;
        Ok(Self { folder })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.path().join(BALLAST))?;
        loop {
            match ballast.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives back the room that [`SmallDisk::fill`] took.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path().join(BALLAST))?)
    }

    /// Lets nobody write by any path, or everyone again. Files that are open stay as they are.
    pub fn set_read_only(&self, read_only: bool) -> anyhow::Result<()> {
        if !read_only {
            return unmount(self.path());
        }
        // A read-only mount of the same over it: to remount what has files open for writing is refused.
        run(Command::new("mount")
            .arg("--bind")
            .args([self.path(), self.path()]))?;
        run(Command::new("mount")
            .args(["-o", "remount,bind,ro"])
            .arg(self.path()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A test that failed may leave it read-only, which is a mount of its own.
        while unmount(self.path()).is_ok() {}
    }
}

/// Lazily, as a server may still have a file open.
fn unmount(path: &Path) -> anyhow::Result<()> {
    run(Command::new("umount").arg("--lazy").arg(path))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}

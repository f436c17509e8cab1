//! Tables as they were in a snapshot of the lake.

use super::client::{register, unregister};
use super::{DEFAULT_PLUGIN, DrillError};
use headwater_materialize::{LakeError, views_at};
use std::fs;
use std::path::Path;

/// A schema of Drill's that shows a lake as it was. It goes when this is dropped.
#[derive(Debug)]
pub struct SnapshotSchema {
    url: String,
    name: String,
    _views: tempfile::TempDir,
}

/// Why a snapshot cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read from the lake.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Its views cannot be written to a temporary folder.
    #[error("cannot write the snapshot's views to a temporary folder: {0}")]
    Views(std::io::Error),
    /// Drill does not take it.
    #[error(transparent)]
    Drill(#[from] DrillError),
}

impl SnapshotSchema {
    /// Shows the lake in the folder `lake` as it was in the snapshot `version` to the Drillbit at `url`, on this machine. The
    /// lake itself must be registered, under the name that its views contain.
    ///
    /// # Errors
    /// [`SnapshotError`]; the snapshot must still be kept.
    pub fn open(url: &str, lake: &Path, version: u64) -> Result<Self, SnapshotError> {
        let views = views_at(lake, version)?;
        let folder = tempfile::tempdir().map_err(SnapshotError::Views)?;
        for (table, text) in views {
            let path = folder.path().join(format!("{table}.view.drill"));
            fs::write(path, text).map_err(SnapshotError::Views)?;
        }
        // Several processes may ask at once.
        let name = format!("{DEFAULT_PLUGIN}_v{version}_{}", std::process::id());
        register(url, &name, folder.path())?;
        Ok(Self {
            url: url.to_owned(),
            name,
            _views: folder,
        })
    }

    /// Its name, for tables that are named without a schema.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for SnapshotSchema {
    fn drop(&mut self) {
        if let Err(error) = unregister(&self.url, &self.name) {
            tracing::warn!(%error, plugin = self.name, "Drill keeps a storage plugin for a snapshot");
        }
    }
}

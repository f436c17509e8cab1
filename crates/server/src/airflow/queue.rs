//! Which assets have news that Airflow has not been told of. It is on disk, and holds one entry an asset however much changes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The lake's version up to which publications were looked at.
    version: u64,
    assets: BTreeMap<String, Asset>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Asset {
    /// Whether there is news that Airflow was not told of.
    waits: bool,
    /// The version with the latest news.
    version: u64,
    /// When the oldest of what waits came, in milliseconds since 1970.
    since: u64,
}

impl Asset {
    fn has_news(&mut self, version: u64) {
        if !self.waits {
            self.since = now();
        }
        self.waits = true;
        self.version = version;
    }
}

/// The queue and its file.
#[derive(Debug)]
pub(super) struct Queue {
    path: PathBuf,
    state: State,
    /// Whether the file is behind.
    unsaved: bool,
}

impl Queue {
    /// Reads the file. If publications came that it does not know of, or it cannot be read, every asset may have news.
    pub fn open(path: PathBuf, uris: impl Iterator<Item = String>, version: u64) -> Self {
        let read = read(&path);
        let state = read.unwrap_or_else(|error| {
            tracing::error!(file = %path.display(), error, "the queue for Airflow is lost: every asset gets an event");
            State::default()
        });
        let mut queue = Self {
            path,
            state,
            unsaved: true,
        };
        let uris: Vec<String> = uris.collect();
        queue.state.assets.retain(|uri, _| uris.contains(uri));
        // A lake that was made anew can have a smaller version than before.
        let missed = queue.state.version != version;
        for uri in uris {
            let asset = queue.state.assets.entry(uri).or_default();
            if missed && version > 0 {
                asset.has_news(version);
            }
        }
        queue.state.version = version;
        queue
    }

    /// There is a publication, with news for these assets.
    pub fn published(&mut self, version: u64, uris: impl Iterator<Item = String>) {
        self.state.version = version;
        self.unsaved = true;
        for uri in uris {
            let asset = self.state.assets.entry(uri).or_default();
            asset.has_news(version);
        }
    }

    /// The assets with news, and the version of the latest.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, u64)> {
        let assets = self.state.assets.iter();
        let waiting = assets.filter(|(_, asset)| asset.waits);
        waiting.map(|(uri, asset)| (uri.as_str(), asset.version))
    }

    /// Airflow was told of the news up to a version. Later news still wait.
    pub fn told(&mut self, uri: &str, version: u64) {
        if let Some(asset) = self.state.assets.get_mut(uri) {
            asset.waits = asset.version != version;
            asset.since = now();
            self.unsaved = true;
        }
    }

    /// How long the oldest news waits.
    pub fn oldest(&self) -> Duration {
        let waiting = self.state.assets.values().filter(|asset| asset.waits);
        let since = waiting.map(|asset| asset.since).min();
        since.map_or(Duration::ZERO, |since| {
            Duration::from_millis(now().saturating_sub(since))
        })
    }

    /// Makes the file durable if it is behind. It is whole at every moment.
    pub fn save(&mut self) -> io::Result<()> {
        if !self.unsaved {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&self.state)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        std::fs::File::open(folder)?.sync_all()?;
        self.unsaved = false;
        Ok(())
    }
}

fn read(path: &Path) -> Result<State, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        Ok(metadata) if metadata.len() > MAX_FILE => return Err("it is too large".to_owned()),
        _ => {}
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(queue: &Queue) -> Vec<(&str, u64)> {
        queue.waiting().collect()
    }

    #[test]
    fn news_outlive_a_crash_and_many_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("airflow.json");
        let open = |version| {
            Queue::open(
                path.clone(),
                ["a".to_owned(), "b".to_owned()].into_iter(),
                version,
            )
        };
        let mut queue = open(0);
        assert_eq!(waiting(&queue), []);
        for version in 1..=3 {
            queue.published(version, ["a".to_owned()].into_iter());
        }
        assert_eq!(waiting(&queue), [("a", 3)]);
        queue.save().unwrap();
        let mut queue = open(3);
        assert_eq!(waiting(&queue), [("a", 3)]);
        queue.told("a", 3);
        queue.save().unwrap();
        assert_eq!(waiting(&open(3)), []);
        // A publication that the file does not know of may have been of anything.
        assert_eq!(waiting(&open(4)), [("a", 4), ("b", 4)]);
        // So may all of them, if the file is damaged.
        std::fs::write(&path, "{").unwrap();
        assert_eq!(waiting(&open(3)), [("a", 3), ("b", 3)]);
    }
}

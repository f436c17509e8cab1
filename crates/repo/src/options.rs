use crate::storage::{MemoryDisk, Storage};
use crate::store::Opener;
use headwater_core::policy::{Resolver, Resolvers};
use std::sync::Arc;

/// Where a peer keeps its documents, and what it says of itself.
#[derive(Clone)]
pub struct Options {
    pub(crate) opener: Opener,
    pub(crate) origin: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) resolvers: Resolvers,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("origin", &self.origin)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Keeps documents in a folder, which is created if needed. One process at a time can have it open.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn folder(path: impl Into<std::path::PathBuf>) -> Self {
        let path = path.into();
        Self::with_opener(Arc::new(move || {
            let path = path.clone();
            Box::pin(async move {
                let storage = crate::storage::NativeStorage::open(&path)?;
                Ok(Arc::new(storage) as Arc<dyn Storage>)
            })
        }))
    }

    /// Keeps documents in the browser's IndexedDB, in a database of this name.
    #[cfg(target_arch = "wasm32")]
    pub fn indexed_db(name: impl Into<String>, durability: crate::storage::Durability) -> Self {
        let name = name.into();
        Self::with_opener(Arc::new(move || {
            let name = name.clone();
            Box::pin(async move {
                let storage = crate::storage::IndexedDbStorage::open(&name, durability).await?;
                Ok(Arc::new(storage) as Arc<dyn Storage>)
            })
        }))
    }

    /// Keeps documents in memory, for tests and throw-away peers.
    pub fn memory() -> Self {
        Self::memory_disk(MemoryDisk::default())
    }

    /// Keeps documents in memory that outlives the peer, and whose faults a test decides.
    pub fn memory_disk(disk: MemoryDisk) -> Self {
        Self::with_opener(Arc::new(move || {
            let disk = disk.clone();
            Box::pin(async move { Ok(Arc::new(disk.open()) as Arc<dyn Storage>) })
        }))
    }

    fn with_opener(opener: Opener) -> Self {
        Self {
            opener,
            origin: None,
            user: None,
            resolvers: Resolvers::default(),
        }
    }

    /// Names the application or job, in every change that it makes.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Registers a function for fields whose policy is `custom:<name>@<version>`. It must give the same for the same values on
    /// every peer: another behaviour is another version.
    pub fn resolver(mut self, name: impl Into<String>, version: u32, function: Resolver) -> Self {
        self.resolvers.register(name, version, function);
        self
    }

    /// Names the person, in every change that they make.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }
}

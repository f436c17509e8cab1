//! Where a peer keeps its documents: one small fallible trait and the stores that implement it.
//!
//! A [`Storage`] is an ordered map from byte keys to byte values, written in atomic batches. It knows nothing of
//! documents: [`keys`] lays them out in keys, and [`framing`] wraps each value so that damage is found when it is read.
//!
//! | store | for | a resolved commit survives |
//! |---|---|---|
//! | [`MemoryStorage`] | tests, throw-away peers | nothing |
//! | `NativeStorage` | servers and native peers | a power cut ([`Durability::Strict`]) |
//! | `IndexedDbStorage` | browsers | the death of the browser, or a power cut, as chosen when it is opened |
//!
//! All three pass the same [`conformance`] suite.

pub mod conformance;
pub mod framing;
pub mod keys;
mod memory;

#[cfg(target_arch = "wasm32")]
mod indexeddb;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub use indexeddb::IndexedDbStorage;
pub use memory::{Fault, MemoryDisk, MemoryStorage};
#[cfg(not(target_arch = "wasm32"))]
pub use native::NativeStorage;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

/// What a method of [`Storage`] returns: a boxed future, which can be sent between threads except in the browser.
#[cfg(not(target_arch = "wasm32"))]
pub type StorageFuture<'a, T> = futures::future::BoxFuture<'a, Result<T, StorageError>>;

/// What a method of [`Storage`] returns: a boxed future, which can be sent between threads except in the browser.
#[cfg(target_arch = "wasm32")]
pub type StorageFuture<'a, T> = futures::future::LocalBoxFuture<'a, Result<T, StorageError>>;

/// `Send + Sync`, except in the browser, where nothing that holds a JavaScript value can be either.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSendSync: Send + Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + Sync + ?Sized> MaybeSendSync for T {}

/// `Send + Sync`, except in the browser, where nothing that holds a JavaScript value can be either.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSendSync {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSendSync for T {}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// An ordered map from byte keys to byte values that outlives the process.
///
/// Keys are ordered bytewise. A call does nothing before its future is first polled. A store can be used from many
/// tasks at once; calls that do not await each other run in any order, and each sees every commit that had resolved
/// before it began.
///
/// Any call can fail. After a failed commit a store may refuse everything with [`StorageError::Poisoned`]: what it holds
/// is then known only by opening it again.
pub trait Storage: Debug + MaybeSendSync {
    /// The value of a key, if it has one.
    fn get<'a>(&'a self, key: &'a [u8]) -> StorageFuture<'a, Option<Vec<u8>>>;

    /// All entries whose key begins with `prefix`, in the order of their keys, as they were at one moment. They are
    /// held in memory at once. The empty prefix gives everything.
    fn scan<'a>(&'a self, prefix: &'a [u8]) -> StorageFuture<'a, Vec<Entry>>;

    /// Writes a batch: all of it or, on an error, perhaps nothing, but never a part. When the future resolves to `Ok` the
    /// batch is as durable as [`Storage::durability`] says. A future dropped on its way leaves the batch either
    /// written or not.
    fn commit(&self, batch: Batch) -> StorageFuture<'_, ()>;

    /// What a resolved commit survives.
    fn durability(&self) -> Durability;

    /// Waits for the commits under way, then lets go of the file or folder so that it can be opened again. Every
    /// call after it fails with [`StorageError::Closed`], except this one.
    fn close(&self) -> StorageFuture<'_, ()>;
}

/// Changes that are written together. Deletes come before puts, so a key in both is left with the put's value; of
/// two puts to one key the later one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Keys and their new values.
    pub puts: Vec<Entry>,
    /// Keys to remove; one that does not exist is no error.
    pub deletes: Vec<Vec<u8>>,
}

impl Batch {
    /// Adds a put.
    pub fn put(mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.puts.push((key.into(), value.into()));
        self
    }

    /// Adds a delete.
    pub fn delete(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.deletes.push(key.into());
        self
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }

    /// The length of its keys and values, in bytes.
    pub fn size(&self) -> usize {
        let puts: usize = self.puts.iter().map(|(k, v)| k.len() + v.len()).sum();
        puts + self.deletes.iter().map(Vec::len).sum::<usize>()
    }
}

/// What a resolved commit survives, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: it is gone when the process ends.
    Volatile,
    /// The death of the process, but a power cut can take the last moments.
    Relaxed,
    /// A power cut: it has been flushed to the disk. Only a peer with this may announce to others that it is durable.
    Strict,
}

/// Why a store could not do what it was asked to. `place` names the folder or the browser's database.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk is full or the browser's quota is used up.
    #[error(
        "there is no room left to write to {place}: free some space and open it again; what was acknowledged is safe"
    )]
    Full {
        /// The folder or database.
        place: String,
    },
    /// Another process, or another handle in this one, has the folder open.
    #[error(
        "the folder {} is in use by {}: stop that process, or choose another folder",
        folder.display(),
        owner.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The id of the process that holds it, where that is known.
        owner: Option<u32>,
    },
    /// Another tab has the browser's database open in another version and does not let go of it.
    #[error("{place} is held by another tab in another version: close the other tabs of this site")]
    Blocked {
        /// The database.
        place: String,
    },
    /// The store's own structure is damaged. A damaged value is a [`framing::FramingError`] instead.
    #[error(
        "{place} is damaged ({message}): move it away, restore a backup or sync again from a peer"
    )]
    Corrupt {
        /// The folder or database.
        place: String,
        /// What was found.
        message: String,
    },
    /// An earlier write failed, so what is on disk is not known until the store is opened again.
    #[error("{place} takes nothing more after a failed write ({cause}): open it again")]
    Poisoned {
        /// The folder or database.
        place: String,
        /// The failure.
        cause: String,
    },
    /// The store was closed, or its database deleted from outside.
    #[error("{place} is closed: open it again")]
    Closed {
        /// The folder or database.
        place: String,
    },
    /// Anything else that the operating system or the browser refused.
    #[error("cannot use {place}: {source}")]
    Io {
        /// The folder or database.
        place: String,
        /// What it said.
        source: Arc<std::io::Error>,
    },
}

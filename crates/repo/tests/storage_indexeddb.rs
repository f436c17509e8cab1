//! The store of browsers, in a real one. Run with `wasm-bindgen-test-runner` as cargo's runner for wasm32, and
//! `CHROMEDRIVER` naming chromedriver.
#![cfg(target_arch = "wasm32")]

use futures::channel::oneshot;
use headwater::storage::conformance::{self, Place};
use headwater::storage::{
    Batch, Durability, Entry, IndexedDbStorage, Storage, StorageError, StorageFuture,
};
use std::cell::Cell;
use std::sync::Arc;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{Closure, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

thread_local! {
    static PLACES: Cell<u32> = const { Cell::new(0) };
}

/// A database of its own in the browser's empty profile.
struct Browser {
    name: String,
    durability: Durability,
}

impl Browser {
    fn new(durability: Durability) -> Self {
        let number = PLACES.replace(PLACES.get() + 1);
        let name = format!("place-{number}");
        Self { name, durability }
    }

    async fn storage(&self) -> IndexedDbStorage {
        IndexedDbStorage::open(&self.name, self.durability)
            .await
            .expect("the store opens")
    }
}

impl Place for Browser {
    fn open(&self) -> StorageFuture<'_, Arc<dyn Storage>> {
        Box::pin(async {
            let storage = IndexedDbStorage::open(&self.name, self.durability).await?;
            Ok(Arc::new(storage) as Arc<dyn Storage>)
        })
    }
}

fn script(source: &str) -> JsValue {
    js_sys::eval(source).expect("the script runs")
}

async fn scan(storage: &impl Storage) -> Vec<Entry> {
    storage.scan(b"").await.expect("the store reads")
}

/// Deletes a database as another tab would, and waits until the browser has done so.
async fn delete(name: &str) {
    let factory = script("indexedDB").unchecked_into::<web_sys::IdbFactory>();
    let request = factory.delete_database(name).expect("a request");
    let (done, deleted) = oneshot::channel();
    let success = Closure::once_into_js(move || done.send(()).expect("the test waits"));
    request.set_onsuccess(Some(success.unchecked_ref()));
    deleted.await.expect("the database is deleted");
}

#[wasm_bindgen_test]
async fn relaxed_conforms() {
    conformance::run(|| Browser::new(Durability::Relaxed)).await;
}

#[wasm_bindgen_test]
async fn strict_conforms() {
    conformance::run(|| Browser::new(Durability::Strict)).await;
}

#[wasm_bindgen_test]
async fn the_browser_is_asked_for_the_durability_that_is_announced() {
    script(
        "globalThis.asked = []; globalThis.plain = IDBDatabase.prototype.transaction;
         IDBDatabase.prototype.transaction = function (...given) {
             const transaction = plain.apply(this, given);
             if (transaction.mode === 'readwrite') asked.push(transaction.durability);
             return transaction;
         };",
    );
    for durability in [
        Durability::Volatile,
        Durability::Relaxed,
        Durability::Strict,
    ] {
        let storage = Browser::new(durability).storage().await;
        let expected = durability.max(Durability::Relaxed);
        assert_eq!(storage.durability(), expected);
        let batch = Batch::default().put("a", "1");
        storage.commit(batch).await.expect("a commit");
    }
    script("IDBDatabase.prototype.transaction = plain;");
    let asked = script("asked.join()").as_string();
    assert_eq!(asked.as_deref(), Some("relaxed,relaxed,strict"));
}

#[wasm_bindgen_test]
async fn concurrent_commits_share_transactions() {
    script(
        "globalThis.begun = 0; globalThis.plain = IDBDatabase.prototype.transaction;
         IDBDatabase.prototype.transaction = function (...given) {
             begun += 1;
             return plain.apply(this, given);
         };",
    );
    let storage = Browser::new(Durability::Relaxed).storage().await;
    let commits = (0..100_u8).map(|n| storage.commit(Batch::default().put([n], "1")));
    let results = futures::future::join_all(commits).await;
    script("IDBDatabase.prototype.transaction = plain;");
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(script("begun").as_f64(), Some(1.0));
    assert_eq!(scan(&storage).await.len(), 100);
}

#[wasm_bindgen_test]
async fn a_full_quota_is_named_and_writes_nothing() {
    let storage = Browser::new(Durability::Relaxed).storage().await;
    storage
        .commit(Batch::default().put("a", "1"))
        .await
        .expect("a commit");
    // The second put of the transaction finds no room.
    script(
        "globalThis.plain = IDBObjectStore.prototype.put; globalThis.puts = 0;
         IDBObjectStore.prototype.put = function (...given) {
             puts += 1;
             if (puts === 2) throw new DOMException('no room', 'QuotaExceededError');
             return plain.apply(this, given);
         };",
    );
    let batch = Batch::default().put("b", "2").put("c", "3");
    let error = storage.commit(batch).await;
    script("IDBObjectStore.prototype.put = plain;");
    assert!(matches!(error, Err(StorageError::Full { .. })), "{error:?}");
    assert_eq!(scan(&storage).await, [(b"a".to_vec(), b"1".to_vec())]);
    storage
        .commit(Batch::default().put("d", "4"))
        .await
        .expect("there is room again");
    assert_eq!(scan(&storage).await.len(), 2);
}

#[wasm_bindgen_test]
async fn an_abort_keeps_its_cause_and_writes_nothing() {
    let storage = Browser::new(Durability::Relaxed).storage().await;
    storage
        .commit(Batch::default().put("a", "1"))
        .await
        .expect("a commit");
    // A request that fails later, when all have been issued, aborts the transaction.
    script(
        "globalThis.plain = IDBObjectStore.prototype.put;
         IDBObjectStore.prototype.put = IDBObjectStore.prototype.add;",
    );
    let batch = Batch::default().put("b", "2").put("a", "3");
    let error = storage.commit(batch).await;
    script("IDBObjectStore.prototype.put = plain;");
    let message = error.expect_err("the batch is refused").to_string();
    assert!(message.contains("ConstraintError"), "{message}");
    assert_eq!(scan(&storage).await, [(b"a".to_vec(), b"1".to_vec())]);
}

#[wasm_bindgen_test]
async fn a_database_deleted_elsewhere_is_closed_and_does_not_block() {
    let place = Browser::new(Durability::Relaxed);
    let storage = place.storage().await;
    storage
        .commit(Batch::default().put("a", "1"))
        .await
        .expect("a commit");
    delete(&place.name).await;
    let error = storage.commit(Batch::default().put("b", "2")).await;
    assert!(
        matches!(error, Err(StorageError::Closed { .. })),
        "{error:?}"
    );
    assert_eq!(scan(&place.storage().await).await, []);
}

#[wasm_bindgen_test]
async fn a_database_of_a_later_version_is_refused() {
    let place = Browser::new(Durability::Relaxed);
    let factory = script("indexedDB").unchecked_into::<web_sys::IdbFactory>();
    let request = factory.open_with_u32(&place.name, 2).expect("a request");
    let (done, opened) = oneshot::channel();
    let success = Closure::once_into_js(move || done.send(()).expect("the test waits"));
    request.set_onsuccess(Some(success.unchecked_ref()));
    opened.await.expect("the database is made");
    let error = IndexedDbStorage::open(&place.name, Durability::Relaxed).await;
    let message = error.expect_err("it is refused").to_string();
    assert!(message.contains("VersionError"), "{message}");
}

#[wasm_bindgen_test]
async fn two_tabs_write_to_one_database() {
    let place = Browser::new(Durability::Relaxed);
    let (one, two) = (place.storage().await, place.storage().await);
    let commits = (0..50_u8).flat_map(|n| {
        [
            one.commit(Batch::default().put([1, n], "1")),
            two.commit(Batch::default().put([2, n], "2")),
        ]
    });
    let results = futures::future::join_all(commits).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(scan(&one).await.len(), 100);
    assert_eq!(scan(&two).await, scan(&one).await);
}

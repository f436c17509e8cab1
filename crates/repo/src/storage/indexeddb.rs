//! The store of browsers: IndexedDB, in a window or a worker.
//!
//! A transaction commits by itself as soon as the browser finds no request under way in it, so all its requests are
//! issued at once, and only its `complete` or `abort` event is awaited: no single request's success says that
//! anything is on disk. Commits that arrive while a transaction runs share the next one, which a task of its own
//! drives: whoever drops a commit's future cannot stop it halfway.
//!
//! The database has one object store, `chunks`, with the bytes of keys as binary keys, which IndexedDB orders bytewise.

use super::{Batch, Durability, Entry, Storage, StorageError, StorageFuture};
use futures::channel::oneshot;
use js_sys::{Array, Object, Reflect, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::{Closure, JsValue, wasm_bindgen};
use web_sys::{
    DomException, Event, IdbDatabase, IdbFactory, IdbKeyRange, IdbObjectStore, IdbOpenDbRequest,
    IdbRequest, IdbTransaction,
};

const VERSION: u32 = 1;
const STORE: &str = "chunks";

#[wasm_bindgen]
extern "C" {
    /// A database whose transactions take options, which web-sys has only behind an unstable flag.
    #[derive(Debug)]
    #[wasm_bindgen(extends = IdbDatabase)]
    type Database;

    #[wasm_bindgen(method, catch)]
    fn transaction(
        this: &Database,
        store: &str,
        mode: &str,
        options: &Object,
    ) -> Result<IdbTransaction, JsValue>;
}

/// A durable store in the browser. Several tabs can have one database open at once.
///
/// It closes itself when another tab deletes or upgrades the database, and when the user clears the site's data.
#[derive(Debug)]
pub struct IndexedDbStorage {
    shared: Rc<Shared>,
    _closing: Closure<dyn FnMut(Event)>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    database: Database,
    durability: Durability,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Whether a task drives the queue.
    writing: bool,
    queue: Vec<(Batch, oneshot::Sender<Result<(), StorageError>>)>,
    /// Those who wait for the queue to be empty.
    closing: Vec<oneshot::Sender<()>>,
}

impl IndexedDbStorage {
    /// Opens the database of a name, which is made if it does not exist. [`Durability::Strict`] asks the browser to flush
    /// each transaction to the disk; anything less gives [`Durability::Relaxed`], which is about twice as fast.
    ///
    /// # Errors
    /// [`StorageError::Blocked`] if another tab holds it in another version; [`StorageError::Full`]; and
    /// [`StorageError::Io`] with what the browser says, as when it has no IndexedDB or forbids it.
    pub async fn open(name: &str, durability: Durability) -> Result<Self, StorageError> {
        let request = factory()
            .and_then(|factory| factory.open_with_u32(name, VERSION))
            .map_err(|error| failure(name, &error))?;
        let database = opened(name, &request).await?;
        let shared = Rc::new(Shared {
            name: name.to_owned(),
            database,
            durability: durability.max(Durability::Relaxed),
            state: RefCell::default(),
        });
        let weak = Rc::downgrade(&shared);
        let closing = Closure::<dyn FnMut(Event)>::new(move |_| {
            if let Some(shared) = weak.upgrade() {
                shared.state.borrow_mut().closed = true;
                shared.database.close();
            }
        });
        let handler = Some(closing.as_ref().unchecked_ref());
        shared.database.set_onversionchange(handler);
        shared.database.set_onclose(handler);
        Ok(Self {
            shared,
            _closing: closing,
        })
    }
}

impl Drop for IndexedDbStorage {
    fn drop(&mut self) {
        self.shared.database.set_onversionchange(None);
        self.shared.database.set_onclose(None);
        // Otherwise the task that drives the queue closes it at its end.
        if self.shared.stop().is_none() {
            self.shared.database.close();
        }
    }
}

impl Storage for IndexedDbStorage {
    fn get<'a>(&'a self, key: &'a [u8]) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let read = |store: &IdbObjectStore| store.get(&Uint8Array::from(key));
            let value = self.shared.read(read).await?;
            if value.is_undefined() {
                return Ok(None);
            }
            self.shared.bytes(value).map(Some)
        })
    }

    fn scan<'a>(&'a self, prefix: &'a [u8]) -> StorageFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            let shared = &self.shared;
            shared.check()?;
            let (transaction, store) = shared.begin("readonly")?;
            let requests = range(prefix).and_then(|range| {
                let keys = store.get_all_keys_with_key(&range)?;
                Ok((keys, store.get_all_with_key(&range)?))
            });
            let (keys, values) = requests.map_err(|error| shared.failure(&error))?;
            shared.finished(&transaction).await?;
            let list = |request: IdbRequest| {
                let result = request.result().map_err(|error| shared.failure(&error))?;
                Ok::<_, StorageError>(result.unchecked_into::<Array>())
            };
            let (keys, values) = (list(keys)?, list(values)?);
            keys.iter()
                .zip(values.iter())
                .map(|(key, value)| Ok((Uint8Array::new(&key).to_vec(), shared.bytes(value)?)))
                .collect()
        })
    }

    fn commit(&self, batch: Batch) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            self.shared.check()?;
            {
                let mut state = self.shared.state.borrow_mut();
                state.queue.push((batch, done));
                if !state.writing {
                    state.writing = true;
                    wasm_bindgen_futures::spawn_local(self.shared.clone().drive());
                }
            }
            answer.await.unwrap_or_else(|_| Err(self.shared.closed()))
        })
    }

    fn durability(&self) -> Durability {
        self.shared.durability
    }

    fn close(&self) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            if let Some(drained) = self.shared.stop() {
                // The task that drives the queue answers at its end.
                let _ = drained.await;
            }
            self.shared.database.close();
            Ok(())
        })
    }
}

impl Shared {
    /// Takes no more commits. Gives what to wait for if some are under way.
    fn stop(&self) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        state.writing.then(|| {
            let (done, drained) = oneshot::channel();
            state.closing.push(done);
            drained
        })
    }

    /// Writes what is queued, in a transaction for each group, until nothing is.
    async fn drive(self: Rc<Self>) {
        loop {
            let queue = std::mem::take(&mut self.state.borrow_mut().queue);
            if queue.is_empty() {
                break;
            }
            let (batches, waiting): (Vec<_>, Vec<_>) = queue.into_iter().unzip();
            let result = self.write(&batches).await;
            for done in waiting {
                // Whoever dropped the future does not want to know.
                let _ = done.send(result.clone());
            }
        }
        let mut state = self.state.borrow_mut();
        state.writing = false;
        for done in state.closing.drain(..) {
            let _ = done.send(());
        }
        if state.closed {
            self.database.close();
        }
    }

    async fn write(&self, batches: &[Batch]) -> Result<(), StorageError> {
        let (transaction, store) = self.begin("readwrite")?;
        let issued = batches.iter().try_for_each(|batch| {
            for key in &batch.deletes {
                store.delete(&Uint8Array::from(key.as_slice()))?;
            }
            for (key, value) in &batch.puts {
                let key = Uint8Array::from(key.as_slice());
                store.put_with_key(&Uint8Array::from(value.as_slice()), &key)?;
            }
            Ok(())
        });
        if let Err(error) = issued {
            // What was issued so far must not be written alone.
            let _ = transaction.abort();
            return Err(self.failure(&error));
        }
        self.finished(&transaction).await
    }

    async fn read(
        &self,
        read: impl FnOnce(&IdbObjectStore) -> Result<IdbRequest, JsValue>,
    ) -> Result<JsValue, StorageError> {
        self.check()?;
        let (transaction, store) = self.begin("readonly")?;
        let request = read(&store).map_err(|error| self.failure(&error))?;
        self.finished(&transaction).await?;
        request.result().map_err(|error| self.failure(&error))
    }

    /// Nothing is read after `close`, though what is queued is still written.
    fn check(&self) -> Result<(), StorageError> {
        match self.state.borrow().closed {
            true => Err(self.closed()),
            false => Ok(()),
        }
    }

    fn begin(&self, mode: &str) -> Result<(IdbTransaction, IdbObjectStore), StorageError> {
        let options = Object::new();
        let durability = match self.durability {
            Durability::Strict => "strict",
            Durability::Relaxed | Durability::Volatile => "relaxed",
        };
        Reflect::set(&options, &"durability".into(), &durability.into())
            .and_then(|_| self.database.transaction(STORE, mode, &options))
            .and_then(|transaction| Ok((transaction.object_store(STORE)?, transaction)))
            .map(|(store, transaction)| (transaction, store))
            .map_err(|error| self.failure(&error))
    }

    /// Waits for the end of a transaction. One that is not waited for commits all the same.
    async fn finished(&self, transaction: &IdbTransaction) -> Result<(), StorageError> {
        let mut events = Events::default();
        let complete = events.handler("complete");
        let abort = events.handler("abort");
        transaction.set_oncomplete(Some(complete.as_ref().unchecked_ref()));
        transaction.set_onabort(Some(abort.as_ref().unchecked_ref()));
        let event = events.first().await;
        transaction.set_oncomplete(None);
        transaction.set_onabort(None);
        if event == Some("complete") {
            return Ok(());
        }
        let cause = transaction.error().map_or(JsValue::NULL, JsValue::from);
        Err(self.failure(&cause))
    }

    fn bytes(&self, value: JsValue) -> Result<Vec<u8>, StorageError> {
        match value.dyn_into::<Uint8Array>() {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(_) => Err(StorageError::Corrupt {
                place: place(&self.name),
                message: "it holds a value that is not bytes".to_owned(),
            }),
        }
    }

    fn closed(&self) -> StorageError {
        StorageError::Closed {
            place: place(&self.name),
        }
    }

    fn failure(&self, error: &JsValue) -> StorageError {
        // What the browser says of a database that was closed under a transaction, or before it: no cause, or this one.
        let closed = error.is_null()
            || error
                .dyn_ref::<DomException>()
                .is_some_and(|error| error.name() == "InvalidStateError");
        if closed && self.state.borrow().closed {
            return self.closed();
        }
        failure(&self.name, error)
    }
}

/// Tells which of several events came first. Its handlers must be taken off before they are dropped.
struct Events {
    sender: Rc<RefCell<Option<oneshot::Sender<&'static str>>>>,
    first: oneshot::Receiver<&'static str>,
}

impl Default for Events {
    fn default() -> Self {
        let (sender, first) = oneshot::channel();
        Self {
            sender: Rc::new(RefCell::new(Some(sender))),
            first,
        }
    }
}

impl Events {
    fn handler(&self, event: &'static str) -> Closure<dyn FnMut(Event)> {
        let sender = self.sender.clone();
        Closure::new(move |_| {
            if let Some(sender) = sender.borrow_mut().take() {
                let _ = sender.send(event);
            }
        })
    }

    /// `None` cannot come while there are handlers.
    async fn first(&mut self) -> Option<&'static str> {
        (&mut self.first).await.ok()
    }
}

fn factory() -> Result<IdbFactory, JsValue> {
    // Both a window and a worker have it under this name, and web-sys has no type for what they share.
    Reflect::get(&js_sys::global(), &"indexedDB".into())?
        .dyn_into()
        .map_err(|_| "this browser has no IndexedDB, or forbids it here".into())
}

async fn opened(name: &str, request: &IdbOpenDbRequest) -> Result<Database, StorageError> {
    let upgrade = {
        let request = request.clone();
        Closure::<dyn FnMut(Event)>::new(move |_| {
            // An exception would abort the upgrade, and the request then fails with it.
            let database = request.result().map(JsCast::unchecked_into::<IdbDatabase>);
            let _ = database.and_then(|database| database.create_object_store(STORE));
        })
    };
    let mut events = Events::default();
    let success = events.handler("success");
    let error = events.handler("error");
    let blocked = events.handler("blocked");
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    request.set_onsuccess(Some(success.as_ref().unchecked_ref()));
    request.set_onerror(Some(error.as_ref().unchecked_ref()));
    request.set_onblocked(Some(blocked.as_ref().unchecked_ref()));
    let event = events.first().await;
    request.set_onupgradeneeded(None);
    request.set_onsuccess(None);
    request.set_onerror(None);
    request.set_onblocked(None);
    match event {
        Some("success") => {
            let database = request.result().map_err(|error| failure(name, &error))?;
            Ok(database.unchecked_into())
        }
        Some("blocked") => Err(StorageError::Blocked { place: place(name) }),
        _ => {
            let cause = request.error().ok().flatten();
            Err(failure(name, &cause.map_or(JsValue::NULL, JsValue::from)))
        }
    }
}

fn place(name: &str) -> String {
    format!("the browser's database {name:?}")
}

/// Keeps the name of what the browser threw, since its message is often empty.
fn failure(name: &str, error: &JsValue) -> StorageError {
    let place = place(name);
    let message = match error.dyn_ref::<DomException>() {
        Some(error) if error.name() == "QuotaExceededError" => {
            return StorageError::Full { place };
        }
        Some(error) => format!("{}: {}", error.name(), error.message()),
        None => error
            .as_string()
            .unwrap_or_else(|| "the transaction was aborted".to_owned()),
    };
    let source = Arc::new(std::io::Error::other(message));
    StorageError::Io { place, source }
}

/// The keys that begin with a prefix: from it up to the next sequence of bytes that does not, if there is one.
fn range(prefix: &[u8]) -> Result<IdbKeyRange, JsValue> {
    let lower = Uint8Array::from(prefix);
    let Some(last) = prefix.iter().rposition(|byte| *byte != u8::MAX) else {
        return IdbKeyRange::lower_bound(&lower);
    };
    let mut next: Vec<u8> = prefix.iter().take(last + 1).copied().collect();
    if let Some(byte) = next.last_mut() {
        *byte += 1;
    }
    let upper = Uint8Array::from(next.as_slice());
    IdbKeyRange::bound_with_lower_open_and_upper_open(&lower, &upper, false, true)
}

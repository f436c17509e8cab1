//! Streams of what changes.

use crate::node::Flow;
use futures::channel::mpsc;
use futures::{Stream, StreamExt as _};
use headwater_core::{ConflictEvent, Database, Event, RecordEvent};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

/// How many events may wait for a subscriber.
pub const SUBSCRIPTION_CAPACITY: usize = 10_000;

/// A subscriber was too slow, and has missed events. Read the records again, and subscribe anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the subscriber fell more than {SUBSCRIPTION_CAPACITY} events behind and has missed some: read the records again and subscribe anew"
)]
pub struct Lagged;

/// Events of one collection or of all, from the moment of subscribing on, local or remote, each once it is durable here: by
/// default the changes to records. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription<E = RecordEvent> {
    events: mpsc::Receiver<Result<E, Lagged>>,
}

impl<E> Subscription<E> {
    /// The next event; `None` after [`Lagged`] or when the peer is closed.
    pub async fn next(&mut self) -> Option<Result<E, Lagged>> {
        self.events.next().await
    }
}

impl<E> Stream for Subscription<E> {
    type Item = Result<E, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}

#[derive(Debug)]
struct Subscriber<E> {
    /// All collections if none.
    collection: Option<String>,
    events: mpsc::Sender<Result<E, Lagged>>,
    /// A place that is kept free to tell that events were missed.
    last: mpsc::Sender<Result<E, Lagged>>,
}

/// Those who subscribe to one kind of event.
#[derive(Debug)]
pub(crate) struct Topic<E>(Mutex<Vec<Subscriber<E>>>);

impl<E> Default for Topic<E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<E: Clone> Topic<E> {
    pub fn subscribe(&self, collection: Option<String>) -> Subscription<E> {
        // Each sender has one place of its own besides the shared ones.
        let (sender, events) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let subscriber = Subscriber {
            collection,
            last: sender.clone(),
            events: sender,
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(subscriber);
        Subscription { events }
    }

    fn send(&self, collection: &str, event: &E) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(|subscriber| subscriber.send(collection, event));
    }
}

/// Takes durable changes, with the database that has them and nothing beyond. It is called with the database locked: it must be
/// quick, and must not call back.
#[cfg(not(target_arch = "wasm32"))]
pub type Listener = Box<dyn FnMut(&Database, &[Event]) -> Flow + Send>;
/// Takes durable changes, with the database that has them and nothing beyond. It is called with the database locked: it must be
/// quick, and must not call back.
#[cfg(target_arch = "wasm32")]
pub type Listener = Box<dyn FnMut(&Database, &[Event]) -> Flow>;

#[derive(Default)]
pub(crate) struct Subscribers {
    pub records: Topic<RecordEvent>,
    pub conflicts: Topic<ConflictEvent>,
    listeners: Mutex<Vec<Listener>>,
}

impl std::fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscribers")
            .field("records", &self.records)
            .field("conflicts", &self.conflicts)
            .finish_non_exhaustive()
    }
}

impl Subscribers {
    pub fn follow(&self, listener: Listener) {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push(listener);
    }

    pub fn send(&self, database: &Database, events: &[Event]) -> Flow {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut flow = Flow::GoOn;
        for listener in listeners.iter_mut() {
            if listener(database, events) == Flow::Hold {
                flow = Flow::Hold;
            }
        }
        for event in events {
            match event {
                Event::Record(event) => self.records.send(&event.collection, event),
                Event::Conflicts(event) => self.conflicts.send(&event.collection, event),
                Event::Catalog { .. } => {}
            }
        }
        flow
    }
}

impl<E: Clone> Subscriber<E> {
    /// Whether to go on with this subscriber.
    fn send(&mut self, collection: &str, event: &E) -> bool {
        let mut wanted = self.collection.iter();
        if wanted.any(|wanted| wanted != collection) {
            return !self.events.is_closed();
        }
        match self.events.try_send(Ok(event.clone())) {
            Ok(()) => true,
            Err(error) => {
                if error.is_full() {
                    let _ = self.last.try_send(Err(Lagged));
                }
                false
            }
        }
    }
}

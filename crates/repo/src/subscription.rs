//! Streams of what changes.

use futures::channel::mpsc;
use futures::{Stream, StreamExt as _};
use headwater_core::{Event, RecordEvent};
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

/// Every change to a collection's records from the moment of subscribing on, local or remote, once it is durable here.
/// Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    events: mpsc::Receiver<Result<RecordEvent, Lagged>>,
}

impl Subscription {
    /// The next change; `None` after [`Lagged`] or when the peer is closed.
    pub async fn next(&mut self) -> Option<Result<RecordEvent, Lagged>> {
        self.events.next().await
    }
}

impl Stream for Subscription {
    type Item = Result<RecordEvent, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}

#[derive(Debug)]
struct Subscriber {
    /// All collections if none.
    collection: Option<String>,
    events: mpsc::Sender<Result<RecordEvent, Lagged>>,
    /// A place that is kept free to tell that events were missed.
    last: mpsc::Sender<Result<RecordEvent, Lagged>>,
}

/// Takes durable changes. It is called with the database locked: it must be quick, and must not call back.
#[cfg(not(target_arch = "wasm32"))]
pub type Listener = Box<dyn FnMut(&[Event]) + Send>;
/// Takes durable changes. It is called with the database locked: it must be quick, and must not call back.
#[cfg(target_arch = "wasm32")]
pub type Listener = Box<dyn FnMut(&[Event])>;

#[derive(Default)]
pub(crate) struct Subscribers {
    all: Mutex<Vec<Subscriber>>,
    listeners: Mutex<Vec<Listener>>,
}

impl std::fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Subscribers").field(&self.all).finish()
    }
}

impl Subscribers {
    pub fn subscribe(&self, collection: Option<String>) -> Subscription {
        // Each sender has one place of its own besides the shared ones.
        let (sender, events) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let subscriber = Subscriber {
            collection,
            last: sender.clone(),
            events: sender,
        };
        self.all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(subscriber);
        Subscription { events }
    }

    pub fn follow(&self, listener: Listener) {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push(listener);
    }

    pub fn send(&self, events: Vec<Event>) {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter_mut() {
            listener(&events);
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let Event::Record(event) = event else {
                continue;
            };
            all.retain_mut(|subscriber| subscriber.send(&event));
        }
    }
}

impl Subscriber {
    /// Whether to go on with this subscriber.
    fn send(&mut self, event: &RecordEvent) -> bool {
        let wanted = self
            .collection
            .as_ref()
            .is_none_or(|collection| *collection == event.collection);
        if !wanted {
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

//! One connection at work: what arrives goes to a scope's engines, what they send goes out.

use crate::runtime;
use crate::storage::MaybeSendSync;
use crate::transport::{MaybeSend, Transport, TransportError};
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, select_biased};
use headwater_sync::connection::{
    Connection, ConnectionConfig, PeerMisbehaved, Received, RemotePeer, Role, Transmit,
};
use headwater_sync::engine::ConnectionId;
use headwater_sync::frame::{Frame, PeerId};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How many bytes may wait to be sent on one connection before its peer gets no more changes. It catches up once half of
/// them are out.
const MUCH_QUEUED: usize = 16 << 20;

/// At how many bytes that wait a peer is cut off that asks for more and more without reading. It can come back.
const MAX_QUEUED: usize = 4 * MUCH_QUEUED;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The peer did not keep to the protocol, or went.
    #[error(transparent)]
    Misbehaved(#[from] PeerMisbehaved),
    /// The WebSocket broke.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An engine ended it.
    #[error("{0}")]
    Closed(String),
    /// The peer closed the WebSocket.
    #[error("the peer closed the connection")]
    Ended,
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) type ScopeFuture<'a> = futures::future::BoxFuture<'a, Result<(), SessionError>>;
#[cfg(target_arch = "wasm32")]
pub(crate) type ScopeFuture<'a> = futures::future::LocalBoxFuture<'a, Result<(), SessionError>>;

/// The other end of a connection whose handshake is done.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    /// Which end *we* are.
    pub role: Role,
    pub peer: RemotePeer,
    pub outgoing: Outgoing,
}

/// The documents that a connection is about.
pub(crate) trait Scope: MaybeSendSync {
    /// The handshake is done.
    fn joined(&self, id: ConnectionId, joined: Joined) -> ScopeFuture<'_>;
    /// A frame came.
    fn frame(&self, id: ConnectionId, frame: Frame) -> ScopeFuture<'_>;
    /// The connection is gone.
    fn closed(&self, id: ConnectionId);
}

#[derive(Debug)]
enum Item {
    Transmit(Transmit),
    Close(String),
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Transmit(Transmit::Frame(frame)) => frame.len(),
            Self::Transmit(Transmit::Ping) | Self::Close(_) => 0,
        }
    }
}

/// The queue of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    queue: mpsc::UnboundedSender<Item>,
    queued: Arc<AtomicUsize>,
    /// Is sent to each time that no longer much is queued.
    drained: Arc<watch::Sender<()>>,
    closing: Arc<AtomicBool>,
    /// How many engines want no more to be read for now.
    pauses: Arc<watch::Sender<usize>>,
}

impl Outgoing {
    /// Queues a frame. Returns whether much is queued now.
    pub fn send(&self, frame: Bytes) -> bool {
        if self.closing.load(Ordering::Relaxed) {
            return false;
        }
        if self.queued.load(Ordering::Relaxed) > MAX_QUEUED {
            self.close("it asks for more without reading what it was sent".to_owned());
            return false;
        }
        self.push(Item::Transmit(Transmit::Frame(frame))) > MUCH_QUEUED
    }

    /// Resolves once at most half of what is much is queued, or the connection is gone.
    pub fn drained(&self) -> impl Future<Output = ()> + MaybeSend + 'static {
        let (mut drained, queued) = (self.drained.subscribe(), Arc::clone(&self.queued));
        async move {
            let enough = |(): &()| queued.load(Ordering::Relaxed) <= MUCH_QUEUED / 2;
            let _ = drained.wait_for(enough).await;
        }
    }

    /// Tells the peer why its connection ends.
    pub fn send_error(&self, sender: PeerId, target: PeerId, message: String) {
        let why = Frame::Error {
            sender,
            target,
            message,
        };
        self.send(why.encode());
    }

    pub fn pause(&self) {
        self.pauses.send_modify(|pauses| *pauses += 1);
    }

    pub fn resume(&self) {
        self.pauses
            .send_modify(|pauses| *pauses = pauses.saturating_sub(1));
    }

    pub fn close(&self, message: String) {
        if !self.closing.swap(true, Ordering::Relaxed) {
            self.push(Item::Close(message));
        }
    }

    /// Returns how many bytes are queued with it.
    fn push(&self, item: Item) -> usize {
        let size = item.size();
        let before = self.queued.fetch_add(size, Ordering::Relaxed);
        // If the other end of the queue is gone, so is the connection.
        let _ = self.queue.unbounded_send(item);
        before + size
    }

    /// Notes that so many bytes have left the queue.
    fn sent(&self, size: usize) {
        let before = self.queued.fetch_sub(size, Ordering::Relaxed);
        let enough = MUCH_QUEUED / 2;
        if before > enough && before - size <= enough {
            self.drained.send_replace(());
        }
    }
}

/// Numbers that no other connection of this process has had.
fn next_id() -> ConnectionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Tells the scope that a connection is gone, also when whoever ran it gave it up.
struct Gone {
    scope: Arc<dyn Scope>,
    id: ConnectionId,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.scope.closed(self.id);
    }
}

/// Runs a connection until it ends, or until `stop` says why it has to. `on_joined` is called once the handshake is done.
pub(crate) async fn run<T: Transport>(
    transport: T,
    role: Role,
    config: ConnectionConfig,
    scope: Arc<dyn Scope>,
    on_joined: impl FnOnce(&RemotePeer) + MaybeSend,
    stop: impl Future<Output = String> + MaybeSend,
) -> SessionError {
    let id = next_id();
    let (queue, mut items) = mpsc::unbounded();
    let (pauses, paused) = watch::channel(0);
    let outgoing = Outgoing {
        queue,
        queued: Arc::default(),
        drained: Arc::default(),
        closing: Arc::default(),
        pauses: Arc::new(pauses),
    };
    let gone = Gone {
        scope: Arc::clone(&scope),
        id,
    };
    let (mut sink, stream) = transport.split();
    let session = Session {
        id,
        role,
        scope,
        outgoing: outgoing.clone(),
        paused,
    };
    let name = config.peer_id.clone();
    // Sending and receiving go on independently: two peers that each wait for the other to read would wait for ever.
    let (ended, can_send) = {
        let mut sending = pin!(send_all(&mut sink, &mut items, &outgoing).fuse());
        let mut receiving = pin!(session.receive_all(stream, config, on_joined).fuse());
        let mut stop = pin!(stop.fuse());
        select_biased! {
            why = stop => {
                outgoing.send_error(name, PeerId::new("unknown"), why.clone());
                (SessionError::Closed(why), true)
            }
            ended = receiving => (ended, true),
            ended = sending => {
                let broken = matches!(ended, SessionError::Transport(_));
                (ended, !broken)
            }
        }
    };
    drop(gone);
    if can_send {
        say_goodbye(sink, items).await;
    }
    ended
}

/// Sends what is still queued, such as the frame that says why, and closes, if the peer takes it soon.
async fn say_goodbye(
    mut sink: impl futures::Sink<Transmit, Error = TransportError> + Unpin,
    mut items: mpsc::UnboundedReceiver<Item>,
) {
    let mut flush = pin!(
        async {
            while let Ok(item) = items.try_recv() {
                if let Item::Transmit(transmit) = item
                    && sink.feed(transmit).await.is_err()
                {
                    return;
                }
            }
            // The connection ends either way.
            let _ = sink.close().await;
        }
        .fuse()
    );
    let mut timeout = pin!(runtime::sleep(Duration::from_secs(2)).fuse());
    select_biased! {
        () = flush => {}
        () = timeout => {}
    }
}

async fn send_all(
    sink: &mut (impl futures::Sink<Transmit, Error = TransportError> + Unpin),
    items: &mut mpsc::UnboundedReceiver<Item>,
    outgoing: &Outgoing,
) -> SessionError {
    while let Some(first) = items.next().await {
        let mut next = Some(first);
        while let Some(item) = next {
            let size = item.size();
            match item {
                Item::Close(message) => {
                    return match sink.flush().await {
                        Ok(()) => SessionError::Closed(message),
                        Err(error) => error.into(),
                    };
                }
                Item::Transmit(transmit) => {
                    if let Err(error) = sink.feed(transmit).await {
                        return error.into();
                    }
                }
            }
            outgoing.sent(size);
            next = items.try_recv().ok();
        }
        if let Err(error) = sink.flush().await {
            return error.into();
        }
    }
    SessionError::Ended
}

struct Session {
    id: ConnectionId,
    role: Role,
    scope: Arc<dyn Scope>,
    outgoing: Outgoing,
    paused: watch::Receiver<usize>,
}

impl Session {
    async fn receive_all(
        mut self,
        mut stream: impl futures::Stream<
            Item = Result<headwater_sync::connection::Incoming, TransportError>,
        > + Unpin,
        config: ConnectionConfig,
        on_joined: impl FnOnce(&RemotePeer),
    ) -> SessionError {
        let name = config.peer_id.clone();
        let mut peer_name = PeerId::new("unknown");
        let mut connection = Connection::new(self.role, config, runtime::monotonic());
        let mut on_joined = Some(on_joined);
        loop {
            self.transmit(&mut connection);
            let deadline = connection.poll_timeout();
            let wait = deadline.map(|at| at.saturating_sub(runtime::monotonic()));
            let mut timeout = pin!(
                async {
                    match wait {
                        Some(wait) => runtime::sleep(Duration::from_millis(wait)).await,
                        None => std::future::pending().await,
                    }
                }
                .fuse()
            );
            let arrived = select_biased! {
                arrived = stream.next().fuse() => Some(arrived),
                () = timeout => None,
            };
            let outcome = match arrived {
                None => connection
                    .handle_timeout(runtime::monotonic())
                    .map(|()| Received::Nothing),
                Some(None) => return SessionError::Ended,
                Some(Some(Err(error))) => {
                    // A message that is too large ends the connection, but its sender may still hear of it.
                    self.outgoing.send_error(name, peer_name, error.to_string());
                    return error.into();
                }
                Some(Some(Ok(message))) => connection.receive(message, runtime::monotonic()),
            };
            let outcome = match outcome {
                Err(error) => {
                    self.transmit(&mut connection);
                    return error.into();
                }
                Ok(Received::Nothing) => Ok(()),
                Ok(Received::Joined(peer)) => {
                    peer_name = peer.id.clone();
                    self.transmit(&mut connection);
                    if let Some(on_joined) = on_joined.take() {
                        on_joined(&peer);
                    }
                    let joined = Joined {
                        role: self.role,
                        peer,
                        outgoing: self.outgoing.clone(),
                    };
                    self.scope.joined(self.id, joined).await
                }
                Ok(Received::Frame(frame)) => self.scope.frame(self.id, frame).await,
            };
            if let Err(error) = outcome {
                self.outgoing.send_error(name, peer_name, error.to_string());
                return error;
            }
            // The sender lives as long as this session, so waiting cannot fail.
            let _ = self.paused.wait_for(|pauses| *pauses == 0).await;
        }
    }

    fn transmit(&self, connection: &mut Connection) {
        while let Some(transmit) = connection.poll_transmit() {
            self.outgoing.push(Item::Transmit(transmit));
        }
    }
}

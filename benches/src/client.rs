//! One WebSocket connection that behaves as a stock automerge-repo client does.

use anyhow::{Context, Result, bail, ensure};
use automerge::sync::{self, State, SyncDoc};
use automerge::{Automerge, ChangeHash};
use bytes::Bytes;
use futures::{Sink, SinkExt, StreamExt};
use headwater_core::DocumentId;
use headwater_sync::frame::{Frame, PROTOCOL_VERSION, PeerId, PeerMetadata, SyncFrame};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A connection after its handshake.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    address: Address,
}

/// The peer ids of the two ends, which every frame carries.
#[derive(Debug, Clone)]
pub struct Address {
    sender: PeerId,
    target: PeerId,
}

/// More than any server here sends at once.
const FRAME_LIMIT: usize = 256 << 20;

impl Address {
    /// A frame that carries the sync message `data` about `document`. With `request` its sender lacks the document.
    pub fn sync(&self, request: bool, document: DocumentId, data: Vec<u8>) -> Message {
        let frame = SyncFrame {
            request,
            sender: self.sender.clone(),
            target: self.target.clone(),
            document,
            database: None,
            data: data.into(),
        };
        Message::Binary(Frame::Sync(frame).encode())
    }
}

impl Client {
    /// Connects to `url` (`ws://host:port/path`) as the peer `name`.
    pub async fn connect(url: &str, name: &str) -> Result<Self> {
        let authority = url
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next());
        let stream =
            TcpStream::connect(authority.context("a server's address begins with ws://")?).await?;
        stream.set_nodelay(true)?;
        // The default read buffer of 128 KiB would cost the generator more memory than its work.
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .max_message_size(None);
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        let address = Address {
            sender: PeerId::new(name),
            target: PeerId::new(""),
        };
        let join = Frame::Join {
            sender: address.sender.clone(),
            metadata: PeerMetadata {
                is_ephemeral: true,
                ..PeerMetadata::default()
            },
            versions: vec![PROTOCOL_VERSION.to_owned()],
        };
        let mut client = Self { socket, address };
        client.send(Message::Binary(join.encode())).await?;
        loop {
            match client.next().await? {
                Frame::Peer { sender, .. } => {
                    client.address.target = sender;
                    return Ok(client);
                }
                Frame::Error { message, .. } => {
                    bail!("the server refused the handshake: {message}")
                }
                _ => {}
            }
        }
    }

    /// The peer ids of the two ends.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a message at once.
    pub async fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.socket.send(message).await?)
    }

    /// Sends the sync message `data` about `document`.
    pub async fn send_sync(&mut self, document: DocumentId, data: Vec<u8>) -> Result<()> {
        let message = self.address.sync(false, document, data);
        self.send(message).await
    }

    /// Waits for the next frame.
    pub async fn next(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = read(self.socket.next().await)? {
                return Ok(frame);
            }
        }
    }

    /// The next frame if it has already arrived. It never waits, not even for a timer's tick.
    pub async fn next_ready(&mut self) -> Result<Option<Frame>> {
        loop {
            let ready = poll_fn(|cx| Poll::Ready(self.socket.poll_next_unpin(cx))).await;
            let Poll::Ready(item) = ready else {
                return Ok(None);
            };
            if let Some(frame) = read(item)? {
                return Ok(Some(frame));
            }
        }
    }

    /// Waits for the next sync message about `document`.
    pub async fn next_sync(&mut self, document: DocumentId) -> Result<Bytes> {
        loop {
            let frame = self.next().await?;
            self.decline(&frame, document).await?;
            if let Some(data) = about(frame, document)? {
                return Ok(data);
            }
        }
    }

    /// Answers a request for any document but `document`: it is not here. A server may wait for that answer of all its
    /// clients before it believes one that has the document.
    pub async fn decline(&mut self, frame: &Frame, document: DocumentId) -> Result<()> {
        match frame {
            Frame::Sync(frame) if frame.request && frame.document != document => {
                let answer = Frame::Unavailable {
                    sender: self.address.sender.clone(),
                    target: self.address.target.clone(),
                    document: frame.document,
                    database: None,
                };
                self.send(Message::Binary(answer.encode())).await
            }
            _ => Ok(()),
        }
    }

    /// Runs automerge's own sync of `document` until both ends have the same heads.
    pub async fn synchronise(
        &mut self,
        document: DocumentId,
        content: &mut Automerge,
        state: &mut State,
    ) -> Result<()> {
        loop {
            self.say(document, content, state).await?;
            let heads = content.get_heads();
            if !heads.is_empty() && state.their_heads.as_ref() == Some(&heads) {
                return Ok(());
            }
            let data = self.next_sync(document).await?;
            content.receive_sync_message(state, sync::Message::decode(&data)?)?;
        }
    }

    /// Syncs until the message arrives that brings `content` to `heads`. Returns it with the time of its arrival: applying
    /// it is the caller's, because that would take longer than what is measured.
    pub async fn await_changes(
        &mut self,
        document: DocumentId,
        content: &mut Automerge,
        state: &mut State,
        heads: &[ChangeHash],
    ) -> Result<(Instant, sync::Message)> {
        loop {
            self.say(document, content, state).await?;
            let data = self.next_sync(document).await?;
            let arrived = Instant::now();
            let message = sync::Message::decode(&data)?;
            if message.heads == heads && !message.changes.is_empty() {
                return Ok((arrived, message));
            }
            content.receive_sync_message(state, message)?;
        }
    }

    /// Sends what automerge has to say, by `request` if the document is not here yet.
    async fn say(
        &mut self,
        document: DocumentId,
        content: &Automerge,
        state: &mut State,
    ) -> Result<()> {
        let Some(message) = content.generate_sync_message(state) else {
            return Ok(());
        };
        let message = self
            .address
            .sync(content.is_empty(), document, message.encode());
        self.send(message).await
    }

    /// Splits the connection for a task that writes and one that reads.
    pub fn split(self) -> (impl Sink<Message, Error = Error> + Unpin, Incoming) {
        let (sink, stream) = self.socket.split();
        (sink, Incoming(stream))
    }
}

/// The reading half of a [`Client`].
pub struct Incoming(futures::stream::SplitStream<WebSocketStream<TcpStream>>);

impl Incoming {
    /// Waits for the next sync message about `document`.
    pub async fn next_sync(&mut self, document: DocumentId) -> Result<Bytes> {
        loop {
            if let Some(frame) = read(self.0.next().await)?
                && let Some(data) = about(frame, document)?
            {
                return Ok(data);
            }
        }
    }
}

/// A frame's sync message if it concerns `document`.
pub fn about(frame: Frame, document: DocumentId) -> Result<Option<Bytes>> {
    match frame {
        Frame::Sync(frame) if frame.document == document => Ok(Some(frame.data)),
        Frame::Unavailable { document: id, .. } if id == document => {
            bail!("the server says that it does not have the document {id}")
        }
        Frame::Error { message, .. } => bail!("the server gave up: {message}"),
        _ => Ok(None),
    }
}

fn read(item: Option<Result<Message, Error>>) -> Result<Option<Frame>> {
    match item.context("the server closed the connection")?? {
        Message::Binary(bytes) => Ok(Some(Frame::decode(&bytes, FRAME_LIMIT)?)),
        Message::Close(reason) => bail!("the server closed the connection: {reason:?}"),
        message => {
            ensure!(!message.is_text(), "the server sent a text frame");
            Ok(None)
        }
    }
}

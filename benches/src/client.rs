//! One WebSocket connection that behaves as a stock automerge-repo client does.

use crate::wire::{self, Frame};
use anyhow::{Context, Result, bail, ensure};
use automerge::Automerge;
use automerge::sync::{Message as SyncMessage, State, SyncDoc};
use futures::{Sink, SinkExt, StreamExt};
use std::future::poll_fn;
use std::task::Poll;
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
    sender: String,
    target: String,
}

impl Address {
    /// A frame that carries `message` about `document`.
    pub fn sync(&self, kind: &str, document: &str, message: SyncMessage) -> Result<Message> {
        let frame = wire::sync(
            kind,
            &self.sender,
            &self.target,
            document,
            &message.encode(),
        )?;
        Ok(Message::Binary(frame.into()))
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
            sender: name.to_owned(),
            target: String::new(),
        };
        let mut client = Self { socket, address };
        client
            .send(Message::Binary(wire::join(name)?.into()))
            .await?;
        loop {
            match client.next().await? {
                Frame::Peer(server) => {
                    client.address.target = server;
                    return Ok(client);
                }
                Frame::Error(message) => bail!("the server refused the handshake: {message}"),
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

    /// Sends a sync message about `document`.
    pub async fn send_sync(&mut self, document: &str, message: SyncMessage) -> Result<()> {
        let message = self.address.sync("sync", document, message)?;
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

    /// Waits for the next sync message about `document`; frames about other documents are passed over.
    pub async fn next_sync(&mut self, document: &str) -> Result<Vec<u8>> {
        loop {
            if let Some(data) = about(self.next().await?, document)? {
                return Ok(data);
            }
        }
    }

    /// Runs automerge's own sync of `document` until both ends have the same heads.
    ///
    /// A client without the document asks for it by `request`.
    pub async fn synchronise(
        &mut self,
        document: &str,
        content: &mut Automerge,
        state: &mut State,
    ) -> Result<()> {
        let mut kind = if content.is_empty() {
            "request"
        } else {
            "sync"
        };
        loop {
            if let Some(message) = content.generate_sync_message(state) {
                let message = self.address.sync(kind, document, message)?;
                self.send(message).await?;
                kind = "sync";
            }
            let heads = content.get_heads();
            if !heads.is_empty() && state.their_heads.as_ref() == Some(&heads) {
                return Ok(());
            }
            let data = self.next_sync(document).await?;
            content.receive_sync_message(state, SyncMessage::decode(&data)?)?;
        }
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
    pub async fn next_sync(&mut self, document: &str) -> Result<Vec<u8>> {
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
pub fn about(frame: Frame, document: &str) -> Result<Option<Vec<u8>>> {
    match frame {
        Frame::Sync { document: id, data } if id == document => Ok(Some(data)),
        Frame::Unavailable(id) if id == document => {
            bail!("the server says that it does not have the document {id}")
        }
        Frame::Error(message) => bail!("the server gave up: {message}"),
        _ => Ok(None),
    }
}

fn read(item: Option<Result<Message, Error>>) -> Result<Option<Frame>> {
    match item.context("the server closed the connection")?? {
        Message::Binary(bytes) => Frame::decode(&bytes).map(Some),
        Message::Close(reason) => bail!("the server closed the connection: {reason:?}"),
        message => {
            ensure!(!message.is_text(), "the server sent a text frame");
            Ok(None)
        }
    }
}

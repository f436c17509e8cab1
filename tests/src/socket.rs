//! A client that sends whatever a test wants.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use headwater_sync::frame::{Frame, HeadwaterMetadata, PROTOCOL_VERSION, PeerId, PeerMetadata};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const LIMIT: Duration = Duration::from_secs(20);

/// A connection on which anything can be sent.
#[derive(Debug)]
pub struct RawClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Its own name.
    pub name: PeerId,
    /// The server's name, once joined.
    pub server: PeerId,
}

impl RawClient {
    /// Opens a WebSocket and says nothing.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let (socket, _) = connect_async(url).await?;
        Ok(Self {
            socket,
            name: PeerId::new("raw"),
            server: PeerId::new("unknown"),
        })
    }

    /// Connects and joins, as Headwater or as a stock client of automerge-repo's.
    pub async fn join(url: &str, headwater: bool) -> anyhow::Result<Self> {
        let mut client = Self::connect(url).await?;
        let hello = client.hello(headwater, &[PROTOCOL_VERSION]);
        client.send(hello.encode()).await?;
        match client.receive().await? {
            Some(Frame::Peer { sender, .. }) => client.server = sender,
            other => bail!("the answer to a join was {other:?}"),
        }
        Ok(client)
    }

    /// The frame that begins a connection.
    pub fn hello(&self, headwater: bool, versions: &[&str]) -> Frame {
        let headwater = headwater.then_some(HeadwaterMetadata {
            version: 1,
            durable: false,
        });
        Frame::Join {
            sender: self.name.clone(),
            metadata: PeerMetadata {
                headwater,
                ..PeerMetadata::default()
            },
            versions: versions.iter().map(|&version| version.into()).collect(),
        }
    }

    /// Sends a binary message.
    pub async fn send(&mut self, frame: Bytes) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Binary(frame)).await?)
    }

    /// Sends a text message.
    pub async fn send_text(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// The next frame; nothing once the server has closed.
    pub async fn receive(&mut self) -> anyhow::Result<Option<Frame>> {
        loop {
            let message = timeout(LIMIT, self.socket.next()).await;
            match message.context("the server neither sends nor closes")? {
                Some(Ok(Message::Binary(bytes))) => {
                    return Ok(Some(Frame::decode(&bytes, 1 << 30)?));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Why the server refuses what was sent: the text of the next frame that says so, and whether the connection ends
    /// with it.
    pub async fn refusal(&mut self) -> anyhow::Result<(String, bool)> {
        loop {
            match self.receive().await? {
                Some(Frame::Refused { message, .. }) => return Ok((message, false)),
                Some(Frame::Error { message, .. }) => {
                    while self.receive().await?.is_some() {}
                    return Ok((message, true));
                }
                Some(_) => {}
                None => bail!("the server closed without a reason"),
            }
        }
    }
}

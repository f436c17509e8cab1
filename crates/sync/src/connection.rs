//! One connection: the handshake, who may say what, and keeping it alive. Bytes and times in, bytes and deadlines out.
//!
//! The driver owns the WebSocket. It passes everything that arrives to [`Connection::receive`], sends everything that
//! [`Connection::poll_transmit`] gives, calls [`Connection::handle_timeout`] when [`Connection::poll_timeout`] says so, and
//! once any of them has returned an error sends what is left to send and closes.

use crate::frame::{Frame, FrameError, PROTOCOL_VERSION, PeerId, PeerMetadata};
use bytes::Bytes;
use std::collections::VecDeque;

/// Milliseconds since a moment of the driver's choice. They must not go back.
pub type Millis = u64;

/// How a connection behaves.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Our own name.
    pub peer_id: PeerId,
    /// What we say of ourselves.
    pub metadata: PeerMetadata,
    /// How long the handshake may take.
    pub join_timeout: Millis,
    /// After how long without any bytes from the peer it is asked for a sign of life. As long again without one, and it is
    /// taken for dead. None where the driver cannot send pings, as in a browser.
    pub ping_interval: Option<Millis>,
    /// The largest message to read, in bytes.
    pub max_message: usize,
}

impl ConnectionConfig {
    /// The usual limits: 10 seconds to join, a ping after 30 idle seconds, messages of up to 16 MiB.
    pub fn new(peer_id: PeerId, metadata: PeerMetadata) -> Self {
        Self {
            peer_id,
            metadata,
            join_timeout: 10_000,
            ping_interval: Some(30_000),
            max_message: 16 << 20,
        }
    }
}

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Joins.
    Client,
    /// Answers a join.
    Server,
}

/// What arrived on the WebSocket.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A binary message.
    Binary(Bytes),
    /// A text message, of which the protocol has none.
    Text,
    /// A ping or a pong. The WebSocket library answers pings.
    Control,
}

/// What to send on the WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// A binary message.
    Frame(Bytes),
    /// A ping.
    Ping,
}

/// What [`Connection::receive`] made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The handshake is done: this is the peer.
    Joined(RemotePeer),
    /// A frame for the engine.
    Frame(Frame),
    /// Nothing that anyone must act on.
    Nothing,
}

/// The peer at the other end, as it introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePeer {
    /// Its name.
    pub id: PeerId,
    /// What it said of itself.
    pub metadata: PeerMetadata,
}

/// Why a connection cannot go on: the peer's doing.
#[derive(Debug, thiserror::Error)]
pub enum PeerMisbehaved {
    /// It sent bytes that are no frame.
    #[error(transparent)]
    BadFrame(#[from] FrameError),
    /// It sent a text message.
    #[error("a text message came, but frames are binary messages")]
    Text,
    /// Its first frame was not what begins a connection.
    #[error("the first frame was `{got}`, but it must be `{expected}`")]
    NotJoined {
        /// The frame that was due.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// It joined twice.
    #[error("a second handshake came on a connection that has joined")]
    JoinedTwice,
    /// We have no version of the protocol in common.
    #[error(
        "the peer speaks protocol versions {offered:?}, but this is version {PROTOCOL_VERSION}"
    )]
    Version {
        /// What it speaks.
        offered: Vec<String>,
    },
    /// It spoke in another's name.
    #[error("a frame from {sender} came on the connection of {peer}")]
    WrongSender {
        /// Whose connection it is.
        peer: PeerId,
        /// In whose name the frame was.
        sender: PeerId,
    },
    /// It goes by our own name.
    #[error("the peer goes by our own name, {0}: every peer must draw its own")]
    OurName(PeerId),
    /// It did not join in time.
    #[error("the handshake was not done within {0} ms")]
    JoinTimeout(Millis),
    /// It gave no sign of life.
    #[error("nothing came for {0} ms, not even an answer to a ping")]
    Silent(Millis),
    /// It ended the connection with an error.
    #[error("the peer closed the connection: {0}")]
    Refused(String),
    /// It said that it goes.
    #[error("the peer left")]
    Left,
}

#[derive(Debug)]
enum State {
    /// The handshake must be done by then.
    Joining(Millis),
    Joined(RemotePeer),
    Closed,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Connection {
    config: ConnectionConfig,
    role: Role,
    state: State,
    last_heard: Millis,
    pinged: bool,
    outgoing: VecDeque<Transmit>,
}

impl Connection {
    /// A connection whose WebSocket was opened at `now`. A client's first frame is ready at once.
    pub fn new(role: Role, config: ConnectionConfig, now: Millis) -> Self {
        let mut connection = Self {
            role,
            state: State::Joining(now.saturating_add(config.join_timeout)),
            last_heard: now,
            pinged: false,
            outgoing: VecDeque::new(),
            config,
        };
        if role == Role::Client {
            connection.transmit(&Frame::Join {
                sender: connection.config.peer_id.clone(),
                metadata: connection.config.metadata.clone(),
                versions: vec![PROTOCOL_VERSION.to_owned()],
            });
        }
        connection
    }

    /// Takes what arrived. To be followed by [`Self::poll_transmit`] until it has no more, also after an error.
    ///
    /// # Errors
    /// [`PeerMisbehaved`] if the connection cannot go on. An `error` frame for the peer is then ready, where it needs one.
    pub fn receive(&mut self, message: Incoming, now: Millis) -> Result<Received, PeerMisbehaved> {
        self.last_heard = now;
        self.pinged = false;
        let outcome = match message {
            Incoming::Control => Ok(Received::Nothing),
            Incoming::Text => Err(PeerMisbehaved::Text),
            Incoming::Binary(bytes) => Frame::decode(&bytes, self.config.max_message)
                .map_err(PeerMisbehaved::from)
                .and_then(|frame| self.accept(frame)),
        };
        outcome.map_err(|error| self.close(error))
    }

    /// What to send next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.pop_front()
    }

    /// When to call [`Self::handle_timeout`] if nothing else happens before. To be asked again after every other call.
    pub fn poll_timeout(&self) -> Option<Millis> {
        match self.state {
            State::Joining(deadline) => Some(deadline),
            State::Joined(_) => {
                let interval = self.config.ping_interval?;
                let intervals = if self.pinged { 2 } else { 1 };
                Some(
                    self.last_heard
                        .saturating_add(interval.saturating_mul(intervals)),
                )
            }
            State::Closed => None,
        }
    }

    /// To be called when the time that [`Self::poll_timeout`] gave has come.
    ///
    /// # Errors
    /// [`PeerMisbehaved`] if the peer let a deadline pass; close the connection.
    pub fn handle_timeout(&mut self, now: Millis) -> Result<(), PeerMisbehaved> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        match self.state {
            State::Joining(_) => {
                Err(self.close(PeerMisbehaved::JoinTimeout(self.config.join_timeout)))
            }
            State::Joined(_) if self.pinged => {
                Err(self.close(PeerMisbehaved::Silent(now.saturating_sub(self.last_heard))))
            }
            _ => {
                self.pinged = true;
                self.outgoing.push_back(Transmit::Ping);
                Ok(())
            }
        }
    }

    fn accept(&mut self, frame: Frame) -> Result<Received, PeerMisbehaved> {
        match (&self.state, frame) {
            (_, Frame::Error { message, .. }) => Err(PeerMisbehaved::Refused(message)),
            (State::Joining(_), frame) => self.join(frame),
            (_, Frame::Join { .. } | Frame::Peer { .. }) => Err(PeerMisbehaved::JoinedTwice),
            (State::Joined(peer), frame) => {
                let relayed = matches!(frame, Frame::Ephemeral(_));
                match frame.sender() {
                    Some(sender) if *sender != peer.id && !relayed => {
                        Err(PeerMisbehaved::WrongSender {
                            peer: peer.id.clone(),
                            sender: sender.clone(),
                        })
                    }
                    _ => match frame {
                        Frame::Leave { .. } => Err(PeerMisbehaved::Left),
                        Frame::Unknown { .. } => Ok(Received::Nothing),
                        frame => Ok(Received::Frame(frame)),
                    },
                }
            }
            (State::Closed, _) => Ok(Received::Nothing),
        }
    }

    fn join(&mut self, frame: Frame) -> Result<Received, PeerMisbehaved> {
        let (id, metadata, offered) = match (self.role, frame) {
            (
                Role::Server,
                Frame::Join {
                    sender,
                    metadata,
                    versions,
                },
            ) => (sender, metadata, versions),
            (
                Role::Client,
                Frame::Peer {
                    sender,
                    metadata,
                    version,
                    ..
                },
            ) => (sender, metadata, vec![version]),
            (role, frame) => {
                return Err(PeerMisbehaved::NotJoined {
                    expected: if role == Role::Server { "join" } else { "peer" },
                    got: frame.kind().to_owned(),
                });
            }
        };
        if id == self.config.peer_id {
            return Err(PeerMisbehaved::OurName(id));
        }
        if !offered.iter().any(|version| version == PROTOCOL_VERSION) {
            return Err(PeerMisbehaved::Version { offered });
        }
        let peer = RemotePeer { id, metadata };
        if self.role == Role::Server {
            self.transmit(&Frame::Peer {
                sender: self.config.peer_id.clone(),
                target: peer.id.clone(),
                metadata: self.config.metadata.clone(),
                version: PROTOCOL_VERSION.to_owned(),
            });
        }
        self.state = State::Joined(peer.clone());
        Ok(Received::Joined(peer))
    }

    /// Ends the connection. The peer is told why unless it said so itself or cannot hear it.
    fn close(&mut self, why: PeerMisbehaved) -> PeerMisbehaved {
        let hears = !matches!(
            why,
            PeerMisbehaved::Refused(_) | PeerMisbehaved::Left | PeerMisbehaved::Silent(_)
        );
        let target = match std::mem::replace(&mut self.state, State::Closed) {
            State::Joined(peer) => peer.id,
            // The protocol wants a target in every error, also to those who did not say who they are.
            State::Joining(_) => PeerId::new("unknown"),
            State::Closed => return why,
        };
        if hears {
            self.transmit(&Frame::Error {
                sender: self.config.peer_id.clone(),
                target,
                message: why.to_string(),
            });
        }
        why
    }

    fn transmit(&mut self, frame: &Frame) {
        self.outgoing.push_back(Transmit::Frame(frame.encode()));
    }
}

#[cfg(test)]
mod tests;

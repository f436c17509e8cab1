//! axum's WebSockets as the engine's transport.

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, future};
use headwater::transport::{Transport, TransportError};
use headwater_sync::connection::{Incoming, Transmit};
use headwater_sync::frame::FrameError;
use std::error::Error as _;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::CapacityError;

pub(super) fn transport(socket: WebSocket) -> impl Transport {
    socket
        .map(|message| message.map(incoming).map_err(broken))
        .sink_map_err(broken)
        .with(|transmit| future::ready(Ok(outgoing(transmit))))
}

fn incoming(message: Message) -> Incoming {
    match message {
        Message::Binary(bytes) => Incoming::Binary(bytes),
        Message::Text(_) => Incoming::Text,
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Incoming::Control,
    }
}

fn outgoing(transmit: Transmit) -> Message {
    match transmit {
        Transmit::Frame(bytes) => Message::Binary(bytes),
        Transmit::Ping => Message::Ping(Bytes::new()),
    }
}

fn broken(error: axum::Error) -> TransportError {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    if let Some(WsError::Capacity(CapacityError::MessageTooLong { size, max_size })) = cause {
        // The library refuses it before there is a frame to read; whoever sent it is told the same in either case.
        let (size, limit) = (*size, *max_size);
        return TransportError::Broken(FrameError::TooLarge { size, limit }.to_string());
    }
    TransportError::Broken(format!("the connection broke: {error}"))
}

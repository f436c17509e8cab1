use super::{Transport, TransportError};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, future};
use headwater_sync::connection::{Incoming, Transmit};
use std::time::Duration;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a WebSocket.
pub(crate) async fn connect(
    url: &str,
    max_message: usize,
) -> Result<impl Transport, TransportError> {
    // The default read buffer of 128 KiB would be most of the memory of an idle connection.
    let config = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    let connecting = tokio_tungstenite::connect_async_with_config(url, Some(config), true);
    let (socket, _) = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            TransportError(format!("{url} did not answer within {seconds} s"))
        })?
        .map_err(|error| TransportError(format!("cannot connect to {url}: {error}")))?;
    Ok(socket
        .map(|message| message.map(incoming).map_err(broken))
        .sink_map_err(broken)
        .with(|transmit| future::ready(Ok(outgoing(transmit)))))
}

fn incoming(message: Message) -> Incoming {
    match message {
        Message::Binary(bytes) => Incoming::Binary(bytes),
        Message::Text(_) => Incoming::Text,
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
            Incoming::Control
        }
    }
}

fn outgoing(transmit: Transmit) -> Message {
    match transmit {
        Transmit::Frame(bytes) => Message::Binary(bytes),
        Transmit::Ping => Message::Ping(Bytes::new()),
    }
}

fn broken(error: WsError) -> TransportError {
    TransportError(format!("the connection broke: {error}"))
}

use super::{Transport, TransportError, tls};
use crate::connect::Connect;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, future};
use headwater_sync::connection::{Incoming, Transmit};
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a WebSocket.
pub(crate) async fn connect(
    server: &Connect,
    max_message: usize,
) -> Result<impl Transport, TransportError> {
    let url = &server.url;
    let failed =
        |error: WsError| TransportError::Broken(format!("cannot connect to {url}: {error}"));
    // The default read buffer of 128 KiB would be most of the memory of an idle connection.
    let config = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    let mut request = url.into_client_request().map_err(failed)?;
    if let Some(token) = &server.token {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            TransportError::Denied("the token has characters that no token has".to_owned())
        })?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let connector = match &server.authority {
        Some(file) => Connector::Rustls(tls::trusting(file)?),
        None if url.starts_with("wss://") => Connector::Rustls(tls::system()?),
        None => Connector::Plain,
    };
    let connecting = connect_async_tls_with_config(request, Some(config), true, Some(connector));
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            TransportError::Broken(format!("{url} did not answer within {seconds} s"))
        })?;
    let (socket, _) = connected.map_err(|error| denial(&error).unwrap_or_else(|| failed(error)))?;
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
    TransportError::Broken(format!("the connection broke: {error}"))
}

/// What a server said that does not let us in.
fn denial(error: &WsError) -> Option<TransportError> {
    let WsError::Http(answer) = error else {
        return None;
    };
    let status = answer.status();
    if status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN {
        return None;
    }
    let body: Option<serde_json::Value> = answer
        .body()
        .as_ref()
        .and_then(|body| serde_json::from_slice(body).ok());
    let said = body.and_then(|body| Some(body.get("error")?.get("message")?.as_str()?.to_owned()));
    Some(TransportError::Denied(
        said.unwrap_or_else(|| format!("the server answered {status}")),
    ))
}

//! How a request becomes a WebSocket, or why it does not.

use super::access::{Access, AccessError};
use super::problem::Problem;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use headwater::transport::{CLOSE_FORBIDDEN, CLOSE_UNAUTHORIZED, SUBPROTOCOL};
use std::time::Duration;

/// The largest WebSocket message that is read, in bytes.
const MAX_MESSAGE: usize = 16 << 20;
/// The default read buffer of 128 KiB would be most of the memory of an idle connection.
const READ_BUFFER: usize = 4 << 10;
/// The longest reason that a WebSocket is closed with, in bytes.
const MAX_REASON: usize = 123;
/// How long a client that is denied may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A request that wants to become a WebSocket.
pub(super) struct Upgrade {
    inner: WebSocketUpgrade,
    /// Whether it is a page's, which learns nothing of an answer that is not a WebSocket.
    from_page: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let mut offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let from_page = offered.any(|value| {
            let mut names = value.to_str().unwrap_or_default().split(',');
            names.any(|name| name.trim() == SUBPROTOCOL)
        });
        match WebSocketUpgrade::from_request_parts(parts, state).await {
            Ok(inner) => Ok(Self {
                inner: inner.protocols([SUBPROTOCOL]),
                from_page,
            }),
            Err(_) => {
                let why = "this is a WebSocket endpoint of a Headwater server; see /healthz for its state";
                let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "bad-request", why);
                Err(problem.into_response())
            }
        }
    }
}

impl Upgrade {
    /// Serves the socket for as long as the token is good that opened it.
    pub fn accept<F>(
        self,
        access: Access,
        serve: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = async move |socket| {
            tokio::select! {
                () = serve(socket) => {}
                () = access.withdrawn() => {
                    tracing::info!(token = access.name(), "a connection ends because its token does");
                }
            }
        };
        self.inner
            .read_buffer_size(READ_BUFFER)
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            .on_upgrade(serve)
    }

    /// Tells why there is none.
    pub fn deny(self, error: AccessError) -> Response {
        if !self.from_page {
            return Problem::from(error).into_response();
        }
        let code = match error.status() {
            StatusCode::UNAUTHORIZED => CLOSE_UNAUTHORIZED,
            _ => CLOSE_FORBIDDEN,
        };
        let mut reason = error.to_string();
        while reason.len() > MAX_REASON {
            reason.pop();
        }
        let reason = reason.into();
        let close = async move |mut socket: WebSocket| {
            let frame = Message::Close(Some(CloseFrame { code, reason }));
            let closed = async {
                // Whoever is gone already need not be told.
                if socket.send(frame).await.is_ok() {
                    while let Some(Ok(_)) = socket.recv().await {}
                }
            };
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
        };
        self.inner.max_message_size(READ_BUFFER).on_upgrade(close)
    }
}

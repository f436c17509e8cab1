//! WebSockets, native and the browser's, as a stream of what arrives and a sink of what to send.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
mod tls;

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::connect;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::connect;

use futures::{Sink, Stream};
use headwater_sync::connection::{Incoming, Transmit};

/// Why a connection could not be made or broke.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// It could not be made, or broke.
    #[error("{0}")]
    Broken(String),
    /// The server does not let this peer in.
    #[error("{0}")]
    Denied(String),
}

/// What a Headwater server answers of the subprotocols that a browser offers. A page cannot send headers with a WebSocket, so
/// its token is offered beside this one.
pub const SUBPROTOCOL: &str = "headwater.v1";
/// What comes before a token, as base64url without padding, in a subprotocol.
pub const TOKEN_SUBPROTOCOL: &str = "token.";
/// With which a WebSocket is closed whose token is missing, unknown or expired.
pub const CLOSE_UNAUTHORIZED: u16 = 4401;
/// With which a WebSocket is closed whose token does not reach so far.
pub const CLOSE_FORBIDDEN: u16 = 4403;

/// Can be sent between threads, except in the browser.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + ?Sized> MaybeSend for T {}

/// Can be sent between threads, except in the browser.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSend {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSend for T {}

/// One WebSocket connection. The stream ends when the peer has closed it. The sink is not used again once it has failed.
pub trait Transport:
    Stream<Item = Result<Incoming, TransportError>>
    + Sink<Transmit, Error = TransportError>
    + Unpin
    + MaybeSend
    + 'static
{
}

impl<T> Transport for T where
    T: Stream<Item = Result<Incoming, TransportError>>
        + Sink<Transmit, Error = TransportError>
        + Unpin
        + MaybeSend
        + 'static
{
}

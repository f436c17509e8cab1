//! WebSockets, native and the browser's, as a stream of what arrives and a sink of what to send.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::connect;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::connect;

use futures::{Sink, Stream};
use headwater_sync::connection::{Incoming, Transmit};

/// Why a connection could not be made or broke.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

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

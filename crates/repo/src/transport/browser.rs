use super::{
    CLOSE_FORBIDDEN, CLOSE_UNAUTHORIZED, SUBPROTOCOL, TOKEN_SUBPROTOCOL, Transport, TransportError,
};
use crate::connect::Connect;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::channel::{mpsc, oneshot};
use futures::{Sink, Stream};
use headwater_sync::connection::{Incoming, Transmit};
use js_sys::{Array, ArrayBuffer, JsString, Uint8Array};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

/// Connects to a WebSocket.
pub(crate) async fn connect(
    server: &Connect,
    max_message: usize,
) -> Result<impl Transport, TransportError> {
    let url = &server.url;
    let protocols = Array::of1(&SUBPROTOCOL.into());
    if let Some(token) = &server.token {
        let token = BASE64_URL_SAFE_NO_PAD.encode(token);
        protocols.push(&format!("{TOKEN_SUBPROTOCOL}{token}").into());
    }
    let socket = WebSocket::new_with_str_sequence(url, &protocols)
        .map_err(|error| TransportError::Broken(format!("cannot connect to {url}: {error:?}")))?;
    socket.set_binary_type(BinaryType::Arraybuffer);
    let (arrived, incoming) = mpsc::unbounded();
    let (opened, open) = oneshot::channel();
    let transport = BrowserTransport {
        _callbacks: Callbacks::attach(&socket, arrived, opened, max_message),
        socket,
        incoming,
    };
    match open.await {
        Ok(()) => Ok(transport),
        Err(_) => Err(TransportError::Broken(format!("cannot connect to {url}"))),
    }
}

struct BrowserTransport {
    socket: WebSocket,
    incoming: mpsc::UnboundedReceiver<Result<Incoming, TransportError>>,
    /// Held for as long as the socket can call them.
    _callbacks: Callbacks,
}

/// What the browser calls.
struct Callbacks {
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
    _open: Closure<dyn FnMut()>,
}

impl Callbacks {
    fn attach(
        socket: &WebSocket,
        arrived: mpsc::UnboundedSender<Result<Incoming, TransportError>>,
        opened: oneshot::Sender<()>,
        max_message: usize,
    ) -> Self {
        // Whoever takes it first: an open socket sends, one that closes before drops it, which the waiting side sees.
        let opened = Rc::new(Cell::new(Some(opened)));
        let on_open = Rc::clone(&opened);
        let open = Closure::<dyn FnMut()>::new(move || {
            if let Some(opened) = on_open.take() {
                // The one who waits may have gone; then the socket is closed by its drop.
                let _ = opened.send(());
            }
        });
        let sender = arrived.clone();
        let message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            let data = event.data();
            let item = match data.dyn_ref::<ArrayBuffer>() {
                Some(buffer) if buffer.byte_length() as usize > max_message => Err(
                    TransportError::Broken(format!("a message has more than {max_message} bytes")),
                ),
                Some(buffer) => Ok(Incoming::Binary(Bytes::from(
                    Uint8Array::new(buffer).to_vec(),
                ))),
                None if data.has_type::<JsString>() => Ok(Incoming::Text),
                None => Ok(Incoming::Control),
            };
            let _ = sender.unbounded_send(item);
        });
        let ends = arrived;
        let close = Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| {
            drop(opened.take());
            if [CLOSE_UNAUTHORIZED, CLOSE_FORBIDDEN].contains(&event.code()) {
                let _ = ends.unbounded_send(Err(TransportError::Denied(event.reason())));
            } else if !event.was_clean() {
                let _ = ends.unbounded_send(Err(TransportError::Broken(format!(
                    "the connection broke (code {})",
                    event.code()
                ))));
            }
            ends.close_channel();
        });
        socket.set_onopen(Some(open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(close.as_ref().unchecked_ref()));
        Self {
            _message: message,
            _close: close,
            _open: open,
        }
    }
}

impl Drop for BrowserTransport {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // Closing an already closed socket does nothing.
        let _ = self.socket.close();
    }
}

impl Stream for BrowserTransport {
    type Item = Result<Incoming, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.incoming).poll_next(cx)
    }
}

/// The browser queues what is sent, so the sink is always ready.
impl Sink<Transmit> for BrowserTransport {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, transmit: Transmit) -> Result<(), Self::Error> {
        match transmit {
            Transmit::Frame(bytes) => self.socket.send_with_u8_array(&bytes).map_err(|error| {
                TransportError::Broken(format!("the connection broke: {error:?}"))
            }),
            // A page cannot send pings; the server does.
            Transmit::Ping => Ok(()),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let _ = self.socket.close();
        Poll::Ready(Ok(()))
    }
}

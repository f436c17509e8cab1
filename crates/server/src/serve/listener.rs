//! An address, and what is served there.

use super::error::ServeError;
use super::limits::Limits;
use super::metrics::{Counts, Refusal};
use super::tls::Tls;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

/// How long a client may take to send a request's header, and for the handshake of TLS before that.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take until its first request, at most: hyper waits for its first bytes without end, to see which
/// version of HTTP it is.
const FIRST_REQUEST: Duration = Duration::from_secs(20);
/// How long connections have to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// Takes an address.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| ServeError::Listen { address, source })
}

/// A router at work on an address.
#[derive(Debug)]
pub(super) struct Listener {
    pub address: SocketAddr,
    handle: Handle<SocketAddr>,
    serving: JoinHandle<io::Result<()>>,
}

impl Listener {
    /// Serves `app` on an address that was taken.
    pub fn start(
        listener: TcpListener,
        tls: Option<&Tls>,
        places: Places,
        app: Router,
    ) -> Result<Self, ServeError> {
        let address = listener.local_addr().map_err(ServeError::Serving)?;
        let handle = Handle::new();
        let server = axum_server::from_tcp(listener)
            .map_err(ServeError::Serving)?
            .handle(handle.clone());
        let serving = match tls {
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls.config.clone())
                    .handshake_timeout(HEADER_TIMEOUT)
                    .acceptor(places);
                tokio::spawn(run(server.acceptor(acceptor), app))
            }
            None => tokio::spawn(run(server.acceptor(places), app)),
        };
        Ok(Self {
            address,
            handle,
            serving,
        })
    }

    /// Ends its connections.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.handle.graceful_shutdown(Some(GRACE));
        match self.serving.await {
            Ok(result) => result.map_err(ServeError::Serving),
            Err(error) => Err(ServeError::Internal(error.to_string())),
        }
    }

    /// Resolves if it ends by itself.
    pub async fn ended(&mut self) -> ServeError {
        match (&mut self.serving).await {
            Ok(Ok(())) => ServeError::Internal("the listener ended".to_owned()),
            Ok(Err(error)) => ServeError::Serving(error),
            Err(error) => ServeError::Internal(error.to_string()),
        }
    }
}

/// Gives each connection a place, and ends those for which there is none.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub limits: Arc<Limits>,
    pub counts: Counts,
}

impl<S> Accept<TcpStream, S> for Places {
    type Stream = Placed;
    type Service = Asked<S>;
    type Future = Ready<io::Result<(Placed, Asked<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Some(place) = self.limits.connection() else {
            self.counts.refused(Refusal::Connections);
            return ready(Err(io::Error::other("there are too many connections")));
        };
        let accepted = stream.set_nodelay(true).map(|()| {
            let asked = Arc::new(AtomicBool::new(false));
            let placed = Placed {
                stream,
                first: Some(Box::pin(sleep(FIRST_REQUEST))),
                asked: asked.clone(),
                _place: place,
            };
            (placed, Asked { service, asked })
        });
        ready(accepted)
    }
}

/// A connection that holds its place until it is gone, also when it has become a WebSocket.
#[derive(Debug)]
pub(super) struct Placed {
    stream: TcpStream,
    /// When its first request has to be there.
    first: Option<Pin<Box<Sleep>>>,
    asked: Arc<AtomicBool>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.asked.load(Ordering::Relaxed) {
            self.first = None;
        }
        let late = |first: &mut Pin<Box<Sleep>>| first.as_mut().poll(cx).is_ready();
        match read.is_pending() && self.first.as_mut().is_some_and(late) {
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => read,
        }
    }
}

impl AsyncWrite for Placed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves a connection, and notes that it was asked for something.
#[derive(Debug, Clone)]
pub(super) struct Asked<S> {
    service: S,
    asked: Arc<AtomicBool>,
}

impl<R, S: tower_service::Service<R>> tower_service::Service<R> for Asked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.asked.store(true, Ordering::Relaxed);
        self.service.call(request)
    }
}

/// What serves one connection: the router, with the address of who is at the other end.
type Service = AddExtension<Router, ConnectInfo<SocketAddr>>;

async fn run<A>(mut server: Server<SocketAddr, A>, app: Router) -> io::Result<()>
where
    A: Accept<TcpStream, Service, Service = Asked<Service>> + Clone + Send + Sync + 'static,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send,
    A::Future: Send,
{
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    server.serve(app).await
}

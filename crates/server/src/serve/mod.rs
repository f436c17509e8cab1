//! The server: a peer that others connect to, whose records are in the lake.

mod access;
mod config;
mod endpoints;
mod error;
mod lake;
mod plain;
mod socket;

pub use access::{Access, AccessError, Databases, Level, Token, Tokens, TokensError, parse_time};
pub use config::{Config, ConfigError, LakeConfig, PlainCollection, TokensConfig};
pub use error::ServeError;
pub use lake::{Check, CheckReport, TableReport};

use access::Gate;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use endpoints::Shared;
use headwater::plain::PlainStore;
use headwater::{Link, Observe, Options, Peer};
use headwater_materialize::{Lake, LakeOptions};
use hyper_util::rt::TokioTimer;
use lake::LakeFeed;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a client may take to send a request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections have to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address to listen on. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder that keeps the documents.
    pub data: PathBuf,
    /// The folder that gets the tables.
    pub lake: PathBuf,
    /// Servers to exchange every database with, at `ws://HOST:PORT`.
    pub peers: Vec<String>,
    /// Whether to serve stock automerge-repo clients at `/`.
    pub allow_plain: bool,
    /// Whether not to warn that tokens and data can be read on their way, because something else encrypts it.
    pub allow_insecure: bool,
    /// What the configuration file says.
    pub config: Config,
}

/// A server at work. Dropping it without [`RunningServer::stop`] leaves it at work for as long as the runtime lives.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    peer: Peer,
    links: Vec<Link>,
    feed: Arc<LakeFeed>,
}

/// Starts a server; it is listening when this resolves.
///
/// # Errors
/// [`ServeError`] if an option cannot be honoured: each says what to do.
pub async fn serve(options: ServeOptions) -> Result<RunningServer, ServeError> {
    let started = Instant::now();
    let gate = open_gate(&options)?;
    let listener = TcpListener::bind(options.listen)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| ServeError::Listen {
            address: options.listen,
            source,
        })?;
    let address = listener.local_addr().map_err(|source| ServeError::Listen {
        address: options.listen,
        source,
    })?;
    let peer = Peer::open(Options::folder(&options.data).origin("server")).await?;
    peer.observe(Observe::Batches);
    let lake_options = LakeOptions {
        drill_schema: options.config.drill_schema.clone(),
        keep_snapshots: Duration::from_secs(options.config.lake.keep_snapshots_s),
        keep_changes: Duration::from_secs(options.config.lake.keep_changes_s),
    };
    let lake = Lake::open(&options.lake, lake_options).map_err(ServeError::Lake)?;
    let interval = Duration::from_millis(options.config.lake.publish_interval_ms);
    let feed = LakeFeed::new(interval);
    let on_open = Arc::clone(&feed);
    peer.on_open(Arc::new(move |database| on_open.follow(database)));
    for database in peer.databases().await? {
        peer.open_database(database.id).await?;
    }
    let plain = match options.allow_plain {
        true => Some(open_plain(&peer, &feed, &options.config).await?),
        false => None,
    };
    feed.start(lake)?;
    let links = options.peers.iter().map(|url| peer.link(url));
    let links = links.collect::<Result<Vec<_>, _>>()?;
    let shared = Arc::new(Shared {
        peer: peer.clone(),
        plain,
        feed: Arc::clone(&feed),
        gate,
        started,
    });
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)
        .map_err(|source| ServeError::Listen { address, source })?
        .handle(handle.clone())
        .acceptor(NoDelayAcceptor::new());
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    let app = endpoints::router(shared).into_make_service();
    let serving = tokio::spawn(server.serve(app));
    tracing::info!(%address, data = %options.data.display(), lake = %options.lake.display(),
        allow_plain = options.allow_plain, "listening");
    Ok(RunningServer {
        address,
        handle,
        serving,
        peer,
        links,
        feed,
    })
}

/// What keeps strangers out: tokens, or an address that only this machine reaches.
fn open_gate(options: &ServeOptions) -> Result<Arc<Gate>, ServeError> {
    let tokens = options.config.tokens.as_ref();
    let address = options.listen;
    match tokens {
        None if !address.ip().is_loopback() => return Err(ServeError::NotLoopback { address }),
        None => {
            tracing::warn!("no tokens are configured: everyone on this machine can read and write");
        }
        Some(_) if !address.ip().is_loopback() && !options.allow_insecure => {
            tracing::warn!(%address, "tokens and data travel in clear: whoever is on their way can read them");
        }
        Some(_) => {}
    }
    let file = tokens.map(|tokens| tokens.file.clone());
    Ok(Gate::open(file, options.config.origins.clone())?)
}

async fn open_plain(
    peer: &Peer,
    feed: &Arc<LakeFeed>,
    config: &Config,
) -> Result<PlainStore, ServeError> {
    let changed = Arc::clone(feed);
    let listener = Box::new(move |document| changed.plain_changed(document));
    let store = PlainStore::open(peer, listener).await?;
    feed.map_plain(plain::Mapping::new(store.clone(), &config.plain));
    Ok(store)
}

impl RunningServer {
    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The peer behind it.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Stops listening, ends connections, publishes what is durable and lets go of the folders.
    pub async fn stop(self) -> Result<(), ServeError> {
        tracing::info!("stopping");
        self.links.iter().for_each(Link::close);
        self.handle.graceful_shutdown(Some(GRACE));
        let served = self.serving.await;
        let closed = self.peer.close().await;
        // The lake goes last, so that it has what was acknowledged to the last.
        tokio::task::spawn_blocking(move || self.feed.stop())
            .await
            .map_err(|error| ServeError::Internal(error.to_string()))?;
        closed?;
        match served {
            Ok(result) => result.map_err(ServeError::Serving),
            Err(error) => Err(ServeError::Internal(error.to_string())),
        }
    }

    /// Resolves if the server ends by itself, which is an error.
    pub async fn ended(&mut self) -> ServeError {
        match (&mut self.serving).await {
            Ok(Ok(())) => ServeError::Internal("the listener ended".to_owned()),
            Ok(Err(error)) => ServeError::Serving(error),
            Err(error) => ServeError::Internal(error.to_string()),
        }
    }
}

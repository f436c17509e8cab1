//! The server: a peer that others connect to, whose records are in the lake.

mod access;
mod api;
mod config;
mod endpoints;
mod error;
mod health;
mod lake;
mod limits;
mod listener;
mod metrics;
mod plain;
mod problem;
mod socket;
mod tls;
mod upgrade;

pub use access::{Access, AccessError, Databases, Level, Token, Tokens, TokensError, parse_time};
pub use api::description as api_description;
pub use config::{Config, ConfigError, LakeConfig, PlainCollection, TokensConfig};
pub use error::ServeError;
pub(crate) use lake::News;
pub use lake::{Check, CheckReport, TableReport};
pub use limits::LimitsConfig;
pub use tls::TlsConfig;

use crate::airflow::Airflow;
use access::Gate;
use api::ApiState;
use endpoints::Shared;
use futures::future;
use headwater::plain::PlainStore;
use headwater::{Connect, Link, Observe, Options, Peer};
use headwater_materialize::{Lake, LakeOptions};
use health::Health;
use lake::LakeFeed;
use limits::Limits;
use listener::{Listener, Places, listen};
use metrics::Counts;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::Tls;

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address to listen on. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Another address, for metrics and administration, which then are not at the first.
    pub admin_listen: Option<SocketAddr>,
    /// The folder that keeps the documents.
    pub data: PathBuf,
    /// The folder that gets the tables.
    pub lake: PathBuf,
    /// Servers to exchange every database with.
    pub peers: Vec<Connect>,
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
    main: Listener,
    admin: Option<Listener>,
    /// Follows the certificate's files for as long as it is there.
    _tls: Option<Tls>,
    peer: Peer,
    links: Vec<Link>,
    feed: Arc<LakeFeed>,
    airflow: Option<Arc<Airflow>>,
}

/// Starts a server; it is listening when this resolves.
///
/// # Errors
/// [`ServeError`] if an option cannot be honoured: each says what to do.
pub async fn serve(options: ServeOptions) -> Result<RunningServer, ServeError> {
    let started = Instant::now();
    let gate = open_gate(&options)?;
    let tls = options.config.tls.as_ref().map(Tls::open).transpose()?;
    let listener = listen(options.listen)?;
    let admin_listener = options.admin_listen.map(listen).transpose()?;
    let peer = Peer::open(Options::folder(&options.data).origin("server")).await?;
    peer.observe(Observe::Batches);
    let api = ApiState::open(&options.data)?;
    let lake = open_lake(&options)?;
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
    let airflow = tell_airflow(&options, &feed, lake.version())?;
    feed.start(lake)?;
    let links = options.peers.iter().map(|server| peer.link(server.clone()));
    let links = links.collect::<Result<Vec<_>, _>>()?;
    let shared = Arc::new(Shared {
        peer: peer.clone(),
        plain,
        feed: Arc::clone(&feed),
        gate,
        limits: Arc::new(Limits::new(options.config.limits.clone())),
        counts: Counts::default(),
        health: Health::default(),
        api,
        lake: options.lake.clone(),
        airflow: airflow.clone(),
        started,
    });
    tokio::spawn(health::watch(Arc::downgrade(&shared)));
    let (main, admin) = start_listeners(listener, admin_listener, tls.as_ref(), &shared)?;
    let address = main.address;
    let admin_address = admin.as_ref().map(|listener| listener.address);
    tracing::info!(%address, data = %options.data.display(), lake = %options.lake.display(),
        admin = admin_address.map(tracing::field::display), tls = tls.is_some(),
        allow_plain = options.allow_plain, "listening");
    Ok(RunningServer {
        main,
        admin,
        _tls: tls,
        peer,
        links,
        feed,
        airflow,
    })
}

fn open_lake(options: &ServeOptions) -> Result<Lake, ServeError> {
    let config = &options.config;
    let lake_options = LakeOptions {
        drill_schema: config.drill_schema.clone(),
        keep_snapshots: Duration::from_secs(config.lake.keep_snapshots_s),
        keep_changes: Duration::from_secs(config.lake.keep_changes_s),
    };
    Lake::open(&options.lake, lake_options).map_err(ServeError::Lake)
}

/// Has an Airflow told of what is published from now on, if one is configured.
fn tell_airflow(
    options: &ServeOptions,
    feed: &LakeFeed,
    version: u64,
) -> Result<Option<Arc<Airflow>>, ServeError> {
    let Some(config) = &options.config.airflow else {
        return Ok(None);
    };
    let airflow = Airflow::start(config, options.data.join("airflow.json"), version)
        .map_err(|error| ServeError::Internal(error.to_string()))?;
    feed.tell(Arc::clone(&airflow));
    Ok(Some(airflow))
}

fn start_listeners(
    listener: TcpListener,
    admin_listener: Option<TcpListener>,
    tls: Option<&Tls>,
    shared: &Arc<Shared>,
) -> Result<(Listener, Option<Listener>), ServeError> {
    let app = endpoints::router(Arc::clone(shared), admin_listener.is_some());
    let places = Places {
        limits: Arc::clone(&shared.limits),
        counts: shared.counts.clone(),
    };
    let main = Listener::start(listener, tls, places, app)?;
    let admin = admin_listener
        .map(|listener| {
            // Whoever looks after the server gets in also when all places for clients are taken.
            let places = Places {
                limits: Arc::new(Limits::new(LimitsConfig::default())),
                counts: shared.counts.clone(),
            };
            Listener::start(listener, tls, places, endpoints::admin(Arc::clone(shared)))
        })
        .transpose()?;
    Ok((main, admin))
}

/// What keeps strangers out: tokens, or an address that only this machine reaches.
fn open_gate(options: &ServeOptions) -> Result<Arc<Gate>, ServeError> {
    let config = &options.config;
    let addresses = [Some(options.listen), options.admin_listen];
    let mut addresses = addresses.into_iter().flatten();
    let outside = addresses.find(|address| !address.ip().is_loopback());
    match (&config.tokens, outside) {
        (None, Some(address)) => return Err(ServeError::NotLoopback { address }),
        (None, None) => {
            tracing::warn!("no tokens are configured: everyone on this machine can read and write");
        }
        (Some(_), Some(address)) if config.tls.is_none() && !options.allow_insecure => {
            tracing::warn!(%address, "tokens and data travel in clear, for whoever is on their way to read: configure [tls]");
        }
        (Some(_), _) => {}
    }
    let tokens = config.tokens.as_ref();
    let file = tokens.map(|tokens| tokens.file.clone());
    Ok(Gate::open(file, config.origins.clone())?)
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
        self.main.address
    }

    /// The address that it listens on for metrics and administration, if that is another.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|listener| listener.address)
    }

    /// The peer behind it.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Stops listening, ends connections, publishes what is durable and lets go of the folders.
    pub async fn stop(self) -> Result<(), ServeError> {
        tracing::info!("stopping");
        self.links.iter().for_each(Link::close);
        let admin = future::OptionFuture::from(self.admin.map(Listener::stop));
        let (served, admin_served) = future::join(self.main.stop(), admin).await;
        let closed = self.peer.close().await;
        // The lake goes last, so that it has what was acknowledged to the last.
        tokio::task::spawn_blocking(move || self.feed.stop())
            .await
            .map_err(|error| ServeError::Internal(error.to_string()))?;
        if let Some(airflow) = &self.airflow {
            airflow.stop();
        }
        closed?;
        served.and(admin_served.unwrap_or(Ok(())))
    }

    /// Resolves if the server ends by itself, which is an error.
    pub async fn ended(&mut self) -> ServeError {
        match &mut self.admin {
            Some(admin) => tokio::select! {
                error = self.main.ended() => error,
                error = admin.ended() => error,
            },
            None => self.main.ended().await,
        }
    }
}

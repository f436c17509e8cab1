use super::reach::Reach;
use crate::serve::{Config, ServeOptions, TokensConfig, serve};
use clap::Args;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Run a server.
#[derive(Debug, Args)]
#[command(after_help = "\
Clients sync at ws://ADDR/sync/<database>, other servers at ws://ADDR/link; GET /healthz tells how it goes.
When it is listening, one line of JSON with its address goes to standard output. It stops on SIGINT or SIGTERM.

Examples:
  headwater serve --listen 127.0.0.1:3030 --data data --lake lake
  headwater serve --listen 127.0.0.1:3031 --data data2 --lake lake2 --peer ws://127.0.0.1:3030")]
pub(super) struct Serve {
    /// The address to listen on; port 0 takes a free one. Without tokens, one that only this machine reaches.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3030")]
    listen: SocketAddr,
    /// Another address, for metrics and administration; without it they are at the first.
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// The folder that keeps the documents.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The folder that gets the tables.
    #[arg(long, value_name = "DIR")]
    lake: PathBuf,
    /// Another server to exchange every database with, at ws://HOST:PORT; can be given several times.
    #[arg(long = "peer", value_name = "URL")]
    peers: Vec<String>,
    #[command(flatten)]
    reach: Reach,
    /// A configuration file, in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also serve stock automerge-repo clients, with documents of their own, at ws://ADDR/.
    #[arg(long)]
    allow_plain: bool,
    /// A file of tokens that keep strangers out, as `headwater token new` writes it.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Do not warn that tokens and data can be read on their way, because something else encrypts it.
    #[arg(long)]
    allow_insecure: bool,
}

pub(super) fn run(command: Serve) -> anyhow::Result<()> {
    let mut config = match &command.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    if let Some(file) = command.tokens {
        config.tokens = Some(TokensConfig { file });
    }
    let peers = command.peers.iter();
    let peers = peers.map(|url| command.reach.server(url));
    let peers = peers.collect::<anyhow::Result<_>>()?;
    let options = ServeOptions {
        listen: command.listen,
        admin_listen: command.admin_listen,
        data: command.data,
        lake: command.lake,
        peers,
        allow_plain: command.allow_plain,
        allow_insecure: command.allow_insecure,
        config,
    };
    super::runtime()?.block_on(async {
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let mut server = serve(options).await?;
        let mut listening = json!({ "listening": server.address().to_string() });
        if let Some(admin) = server.admin_address() {
            listening["admin"] = admin.to_string().into();
        }
        println!("{listening}");
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            error = server.ended() => return Err(error.into()),
        }
        Ok(server.stop().await?)
    })
}

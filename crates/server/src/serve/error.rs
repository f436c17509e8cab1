use super::access::TokensError;
use super::config::ConfigError;
use headwater_materialize::LakeError;
use std::net::SocketAddr;

/// Why a server cannot start or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is reachable by others, and nothing would keep them out.
    #[error(
        "{address} can be reached from other machines, and there are no tokens to keep strangers out: listen on a \
         loopback address such as 127.0.0.1:{port}, or make a token by `headwater token new --name me --access admin --file \
         tokens.toml` and serve with `--tokens tokens.toml`",
        port = address.port()
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}. Stop what uses the port, or choose another")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The data folder or a database in it.
    #[error(transparent)]
    Peer(#[from] headwater::Error),
    /// The lake's folder.
    #[error("cannot publish tables: {0}")]
    Lake(LakeError),
    /// The tokens.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The certificate or its key.
    #[error("no TLS: {0}")]
    Tls(String),
    /// What the HTTP API keeps.
    #[error(transparent)]
    Api(#[from] super::api::StateError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The listener broke.
    #[error("serving failed: {0}")]
    Serving(std::io::Error),
    /// A defect of Headwater's.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

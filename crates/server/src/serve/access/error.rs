use super::tokens::Level;
use axum::http::StatusCode;
use headwater_core::DatabaseId;

/// Why a request is not served: its sender's token, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It has no token.
    #[error("this server wants a token: send `Authorization: Bearer <token>`")]
    NoToken,
    /// Its token is not one of the server's.
    #[error(
        "this token is unknown here: it may have been revoked or cut short. Ask whoever runs the server for a new one"
    )]
    UnknownToken,
    /// Its token's time is over.
    #[error("the token {name:?} has expired: ask whoever runs the server for a new one")]
    Expired {
        /// The token's name.
        name: String,
    },
    /// Its token does not reach so far in a database.
    #[error(
        "the token {name:?} lacks {needed} access to the database {database}: ask whoever runs the server for one that has it"
    )]
    Database {
        /// The token's name.
        name: String,
        /// What would be needed.
        needed: Level,
        /// Where.
        database: DatabaseId,
    },
    /// Its token is not for all databases, or not for the server itself.
    #[error("the token {name:?} lacks {needed} access to {}: ask whoever runs the server for one that has it",
        if *needed == Level::Admin { "the server" } else { "all databases" })]
    Everything {
        /// The token's name.
        name: String,
        /// What would be needed.
        needed: Level,
    },
    /// A web page of somewhere else sent it.
    #[error("pages of {origin} may not do this: add it to `origins` in the configuration file")]
    Origin {
        /// Where the page is from.
        origin: String,
    },
    /// It was sent to a name that is not this machine's, to a server without tokens.
    #[error(
        "without tokens this server answers requests to this machine alone, and this one is for {host:?}: give it tokens, or \
         add the address to `origins` in the configuration file"
    )]
    Host {
        /// What the request was sent to.
        host: String,
    },
}

impl AccessError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::UnknownToken | Self::Expired { .. } => StatusCode::UNAUTHORIZED,
            Self::Database { .. }
            | Self::Everything { .. }
            | Self::Origin { .. }
            | Self::Host { .. } => StatusCode::FORBIDDEN,
        }
    }

    /// The `code` of the answer's error.
    pub fn code(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "unauthorized",
            _ => "forbidden",
        }
    }
}

//! What a server does with the connections that it accepts. The listening itself is the server's own.

use crate::connect::Connect;
use crate::error::Error;
use crate::link::Link;
use crate::peer::Peer;
use crate::scope::{DatabaseScope, EveryDatabase};
use crate::session::SessionError;
use crate::transport::Transport;
use crate::{DatabaseId, scope};
use std::sync::Arc;

impl Peer {
    /// Serves one database to a Headwater client until the connection ends. If the database cannot be opened, the client is
    /// told why.
    pub async fn serve_database(
        &self,
        id: DatabaseId,
        transport: impl Transport,
    ) -> Result<SessionError, Error> {
        let node = match self.inner.node(id).await {
            Ok(node) => node,
            Err(error) => {
                let why = format!("the database {id} cannot be opened now: {error}");
                self.turn_away(transport, &why).await;
                return Err(error);
            }
        };
        let scope = Arc::new(DatabaseScope(node));
        Ok(self.inner.serve(transport, scope).await)
    }

    /// Exchanges every database with another server until the connection ends.
    pub async fn serve_link(&self, transport: impl Transport) -> SessionError {
        let scope = Arc::new(EveryDatabase(Arc::clone(&self.inner)));
        self.inner.serve(transport, scope).await
    }

    /// Tells a client why it is not served, in its own protocol.
    pub async fn turn_away(&self, transport: impl Transport, why: &str) -> SessionError {
        let scope = Arc::new(scope::Closed(why.to_owned()));
        self.inner.serve(transport, scope).await
    }

    /// Exchanges every database with the server at `ws://HOST:PORT` from now on, over every interruption.
    pub fn link(&self, server: impl Into<Connect>) -> Result<Link, Error> {
        Link::start_all(self, server.into())
    }
}

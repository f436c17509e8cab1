//! Connections that this peer makes, again and again for as long as they are wanted.

use crate::connect::Connect;
use crate::database::DatabaseNode;
use crate::error::Error;
use crate::peer::{Inner, Peer};
use crate::runtime;
use crate::scope::{DatabaseScope, EveryDatabase};
use crate::session::{self, Scope, SessionError};
use crate::sync_state::{LinkState, LinkStatus, Tracker};
use crate::transport::{self, TransportError};
use futures::{FutureExt as _, future};
use headwater_sync::backoff::Backoff;
use headwater_sync::connection::Role;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A connection that has stood this long was a good one: the next failure begins with short waits again.
const STEADY: Duration = Duration::from_secs(10);

/// A server that is synced with until [`Link::close`]. Dropping the handle does not end it.
#[derive(Debug, Clone)]
pub struct Link {
    control: Arc<watch::Sender<Control>>,
    state: watch::Receiver<LinkState>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Control {
    closed: bool,
    /// Counts the wishes to try at once.
    retries: u64,
}

/// What a link needs to make connections.
struct Dialer {
    inner: Arc<Inner>,
    server: Connect,
    scope: Arc<dyn Scope>,
    control: watch::Receiver<Control>,
    state: watch::Sender<LinkState>,
    /// Where the state is shown as well.
    tracker: Option<Arc<Tracker>>,
}

impl Link {
    pub(crate) fn start(
        peer: &Peer,
        node: &Arc<DatabaseNode>,
        server: Connect,
    ) -> Result<Self, Error> {
        let target = target(server, &format!("/sync/{}", node.id))?;
        let scope = Arc::new(DatabaseScope(Arc::clone(node)));
        let tracker = Arc::clone(&node.tracker);
        Ok(Self::dial(peer, target, scope, Some(tracker)))
    }

    /// A connection to another server that carries every database of both.
    pub(crate) fn start_all(peer: &Peer, server: Connect) -> Result<Self, Error> {
        let target = target(server, "/link")?;
        let scope = Arc::new(EveryDatabase(Arc::clone(&peer.inner)));
        Ok(Self::dial(peer, target, scope, None))
    }

    fn dial(
        peer: &Peer,
        server: Connect,
        scope: Arc<dyn Scope>,
        tracker: Option<Arc<Tracker>>,
    ) -> Self {
        let (control, commands) = watch::channel(Control::default());
        let (state, status) = watch::channel(LinkState::Connecting);
        let dialer = Dialer {
            inner: Arc::clone(&peer.inner),
            server,
            scope,
            control: commands,
            state,
            tracker,
        };
        runtime::spawn(dialer.run());
        Self {
            control: Arc::new(control),
            state: status,
        }
    }

    /// How it goes.
    pub fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// How it goes, as it changes.
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Ends it for good.
    pub fn close(&self) {
        self.control.send_modify(|control| control.closed = true);
    }

    /// Tries at once instead of after the wait, such as when the device is online again.
    pub fn retry_now(&self) {
        self.control.send_modify(|control| control.retries += 1);
    }
}

/// An endpoint on a server.
fn target(server: Connect, path: &str) -> Result<Connect, Error> {
    let url = &server.url;
    let bad = || Error::BadUrl { url: url.clone() };
    let rest = url
        .strip_prefix("ws://")
        .or_else(|| url.strip_prefix("wss://"))
        .ok_or_else(bad)?;
    if rest.is_empty() || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(bad());
    }
    let url = format!("{}{path}", url.trim_end_matches('/'));
    Ok(Connect { url, ..server })
}

impl Dialer {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        while !self.control.borrow_and_update().closed {
            self.show(Some(LinkState::Connecting));
            let started = runtime::monotonic();
            let Some(error) = self.connect_once().await else {
                break;
            };
            tracing::info!(url = self.server.url, %error, "connection ended");
            self.show(Some(match error {
                SessionError::Transport(TransportError::Denied(error)) => {
                    LinkState::Denied { error }
                }
                error => LinkState::Waiting {
                    error: error.to_string(),
                },
            }));
            if u128::from(runtime::monotonic() - started) > STEADY.as_millis() {
                backoff.reset();
            }
            let random = runtime::random::<8>().map_or(u64::MAX, u64::from_le_bytes);
            let mut wait = pin!(runtime::sleep(backoff.next_wait(random)).fuse());
            let mut changed = pin!(self.control.changed().fuse());
            futures::select_biased! {
                changed = changed => if changed.is_err() { break },
                () = wait => {}
            }
        }
        self.show(None);
    }

    /// Why the connection ended; `None` if it was no longer wanted.
    async fn connect_once(&mut self) -> Option<SessionError> {
        let config = self.inner.connection_config();
        let mut control = self.control.clone();
        let mut closed = pin!(
            async move {
                // If nobody can close it any more, it goes on.
                if control.wait_for(|control| control.closed).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            .fuse()
        );
        let session = async {
            let transport = transport::connect(&self.server, config.max_message).await?;
            let joined = |_: &_| self.show(Some(LinkState::Connected));
            let scope = Arc::clone(&self.scope);
            Ok(session::run(
                transport,
                Role::Client,
                config,
                scope,
                joined,
                future::pending(),
            )
            .await)
        };
        let mut session = pin!(session.fuse());
        futures::select_biased! {
            () = closed => None,
            ended = session => Some(ended.unwrap_or_else(SessionError::Transport)),
        }
    }

    fn show(&self, state: Option<LinkState>) {
        if let Some(state) = &state {
            self.state.send_replace(state.clone());
        }
        if let Some(tracker) = &self.tracker {
            tracker.update(|shown| {
                let known = shown
                    .links
                    .iter()
                    .position(|link| link.url == self.server.url);
                match (known, state) {
                    (Some(index), Some(state)) => shown.links[index].state = state,
                    (Some(index), None) => drop(shown.links.remove(index)),
                    (None, Some(state)) => shown.links.push(LinkStatus {
                        url: self.server.url.clone(),
                        state,
                    }),
                    (None, None) => {}
                }
            });
        }
    }
}

//! How much one sender, and all together, may ask of the server.

use super::access::Access;
use super::metrics::Refusal;
use axum::body::{Body, HttpBody as _};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use futures::{StreamExt as _, stream};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What `[limits]` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// How many requests a second each token may send, and each address without one.
    pub requests_per_second: NonZeroU32,
    /// How many of them may come at once.
    pub burst: NonZeroU32,
    /// How many requests are answered at the same time.
    pub requests: usize,
    /// How many of them may wait for changes to come.
    pub waiting: usize,
    /// How many connections there may be at the address of clients, syncing ones included.
    pub connections: usize,
    /// The largest body of a request, in bytes.
    pub body_bytes: usize,
    /// How long a request's body may take to come, in seconds.
    pub body_seconds: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_second: NonZeroU32::MIN.saturating_add(999),
            burst: NonZeroU32::MIN.saturating_add(1999),
            requests: 1024,
            waiting: 512,
            connections: 10_000,
            body_bytes: 16 << 20,
            body_seconds: 60,
        }
    }
}

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Sender {
    Token(String),
    /// An IPv4 address, or the half of an IPv6 address that its network gave out.
    Address(IpAddr),
}

/// The limits at work.
#[derive(Debug)]
pub(crate) struct Limits {
    config: LimitsConfig,
    rates: DefaultKeyedRateLimiter<Sender>,
    requests: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// A request's part of what is limited, for as long as it is being answered.
#[derive(Debug)]
pub(crate) struct Share {
    _request: OwnedSemaphorePermit,
    _waiting: Option<OwnedSemaphorePermit>,
}

/// Why a request is not answered now.
#[derive(Debug)]
pub(crate) struct Overloaded {
    pub why: Refusal,
    retry_after: Duration,
}

impl Limits {
    pub fn new(config: LimitsConfig) -> Self {
        let quota = Quota::per_second(config.requests_per_second).allow_burst(config.burst);
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            rates: DefaultKeyedRateLimiter::keyed(quota),
            requests: permits(config.requests),
            waiting: permits(config.waiting),
            connections: permits(config.connections),
            config,
        }
    }

    /// Counts a request, of a token if it has a good one. The share is to be held until it is answered.
    pub fn take(
        &self,
        access: Option<&Access>,
        address: Option<SocketAddr>,
        uri: &Uri,
    ) -> Result<Share, Overloaded> {
        let sender = match access.and_then(Access::name) {
            Some(name) => Sender::Token(name.to_owned()),
            None => Sender::Address(network(address)),
        };
        if let Err(early) = self.rates.check_key(&sender) {
            return Err(Overloaded {
                why: Refusal::Rate,
                retry_after: early.wait_time_from(DefaultClock::default().now()),
            });
        }
        let full = |why| Overloaded {
            why,
            retry_after: Duration::from_secs(1),
        };
        let request = Arc::clone(&self.requests).try_acquire_owned();
        let request = request.map_err(|_| full(Refusal::Requests))?;
        let waiting = match waits(uri) {
            true => {
                let waiting = Arc::clone(&self.waiting).try_acquire_owned();
                Some(waiting.map_err(|_| full(Refusal::Waiting))?)
            }
            false => None,
        };
        Ok(Share {
            _request: request,
            _waiting: waiting,
        })
    }

    /// A place for a connection, if there is one.
    pub fn connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// How many connections there are.
    pub fn connections_in_use(&self) -> usize {
        let all = self.config.connections.min(Semaphore::MAX_PERMITS);
        all.saturating_sub(self.connections.available_permits())
    }

    /// The largest body, in bytes.
    pub fn body_bytes(&self) -> usize {
        self.config.body_bytes
    }

    /// Forgets senders that have asked for nothing of late. To be called now and then.
    pub fn forget_idle(&self) {
        self.rates.retain_recent();
        self.rates.shrink_to_fit();
    }

    /// A body that fails if it has not come to its end in time, however its bytes trickle.
    pub fn timed(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let seconds = self.config.body_seconds;
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let chunks = Some(body.into_data_stream());
        Body::from_stream(stream::unfold(chunks, move |chunks| async move {
            let mut chunks = chunks?;
            match tokio::time::timeout_at(deadline, chunks.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(chunks))),
                Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
                Err(_) => {
                    let why = format!("the body had not come to its end after {seconds} s");
                    Some((Err(io::Error::new(io::ErrorKind::TimedOut, why)), None))
                }
            }
        }))
    }
}

fn network(address: Option<SocketAddr>) -> IpAddr {
    match address.map(|address| address.ip().to_canonical()) {
        Some(IpAddr::V6(ip)) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        Some(ip) => ip,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn waits(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| parameter.starts_with("wait=") && parameter != "wait=0")
}

impl IntoResponse for Overloaded {
    fn into_response(self) -> Response {
        // A client that comes back too early is refused again, so the time is rounded up.
        let seconds = self.retry_after.as_secs_f64().ceil().max(1.0) as u64;
        let (status, code, what) = match self.why {
            Refusal::Rate => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "more requests came than this server takes from one sender",
            ),
            Refusal::Waiting => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "too many requests wait for changes here",
            ),
            _ => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "too many requests are being answered",
            ),
        };
        let message = format!("{what}: send it again in {seconds} s");
        let body = json!({ "error": { "code": code, "message": message } });
        let retry = [(header::RETRY_AFTER, seconds.to_string())];
        (status, retry, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_counts_as_one_sender() {
        let of = |text: &str| network(Some(SocketAddr::new(text.parse().unwrap(), 1)));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[tokio::test]
    async fn a_body_that_trickles_in_is_ended() {
        let limits = Limits::new(LimitsConfig {
            body_seconds: 0,
            ..LimitsConfig::default()
        });
        let trickle = stream::iter([Ok::<_, io::Error>("a")]).chain(stream::pending());
        let body = limits.timed(Body::from_stream(trickle));
        let read = axum::body::to_bytes(body, 100).await;
        assert!(format!("{:?}", read.unwrap_err()).contains("after 0 s"));
        let whole = Limits::new(LimitsConfig::default()).timed(Body::from("abc"));
        assert_eq!(axum::body::to_bytes(whole, 100).await.unwrap(), "abc");
    }

    #[test]
    fn those_who_wait_are_told_apart() {
        let waits = |text: &str| waits(&text.parse().unwrap());
        assert!(waits("/v1/databases/a/changes?limit=1&wait=60"));
        assert!(!waits("/v1/databases/a/changes?wait=0"));
        assert!(!waits("/v1/databases/a/changes?limit=1&await=1"));
    }
}

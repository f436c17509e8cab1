//! How much one sender, and all together, may ask of the server.

use super::access::Access;
use super::metrics::Refusal;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use futures::{StreamExt as _, stream};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use serde::Deserialize;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio::time::error::Elapsed;

/// How many bytes of a body are taken in that nobody reads.
const MAX_UNREAD: usize = 64 << 20;

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

/// A part of what is limited, taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Share(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

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
        share(&self.requests, Refusal::Requests)
    }

    /// Counts a request that waits for changes, for as long as it does.
    pub fn wait(&self) -> Result<Share, Overloaded> {
        share(&self.waiting, Refusal::Waiting)
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
        let incoming = Incoming {
            chunks: Some(body.into_data_stream()),
            deadline: Instant::now() + Duration::from_secs(seconds),
        };
        Body::from_stream(stream::unfold(incoming, move |mut incoming| async move {
            match incoming.next().await {
                Ok(None) => None,
                Ok(Some(chunk)) => Some((chunk.map_err(io::Error::other), incoming)),
                Err(_) => {
                    let why = format!("the body had not come to its end after {seconds} s");
                    let error = io::Error::new(io::ErrorKind::TimedOut, why);
                    Some((Err(error), incoming))
                }
            }
        }))
    }
}

/// A body on its way. What nobody reads of it is thrown away as it comes, up to a bound: a client that is refused while it
/// still sends would otherwise see a broken connection and not why.
struct Incoming {
    /// None once it is at its end, or has failed.
    chunks: Option<BodyDataStream>,
    deadline: Instant,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Result<Bytes, axum::Error>>, Elapsed> {
        let Some(chunks) = &mut self.chunks else {
            return Ok(None);
        };
        let next = tokio::time::timeout_at(self.deadline, chunks.next()).await;
        if !matches!(next, Ok(Some(Ok(_)))) {
            self.chunks = None;
        }
        next
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let (Some(chunks), Ok(runtime)) = (self.chunks.take(), Handle::try_current()) else {
            return;
        };
        let mut rest = Self {
            chunks: Some(chunks),
            deadline: self.deadline,
        };
        runtime.spawn(async move {
            let mut left = MAX_UNREAD;
            while let Ok(Some(Ok(chunk))) = rest.next().await
                && let Some(less) = left.checked_sub(chunk.len())
            {
                left = less;
            }
            // Or dropping it would begin anew.
            drop(rest.chunks.take());
        });
    }
}

fn network(address: Option<SocketAddr>) -> IpAddr {
    match address.map(|address| address.ip().to_canonical()) {
        Some(IpAddr::V6(ip)) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        Some(ip) => ip,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn share(of: &Arc<Semaphore>, why: Refusal) -> Result<Share, Overloaded> {
    let permit = Arc::clone(of).try_acquire_owned();
    permit.map(Share).map_err(|_| Overloaded {
        why,
        retry_after: Duration::from_secs(1),
    })
}

impl Overloaded {
    /// After how many seconds to come back. Whoever comes too early is refused again, so it is rounded up.
    pub fn seconds(&self) -> u64 {
        self.retry_after.as_secs_f64().ceil().max(1.0) as u64
    }
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.why {
            Refusal::Rate => "more requests came than this server takes from one sender",
            Refusal::Waiting => "too many requests wait for changes here",
            _ => "too many requests are being answered",
        };
        write!(f, "{what}: send it again in {} s", self.seconds())
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
    async fn a_body_that_nobody_reads_is_taken_in_up_to_a_bound() {
        let limits = Limits::new(LimitsConfig::default());
        for (chunks, taken) in [(3, 3), (1000, 65)] {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            // Tells how much was taken in once it is dropped.
            let counted = (0, Some(sender), chunks);
            let body = stream::unfold(Told(counted), |mut told| async move {
                let (sent, _, chunks) = &mut told.0;
                (*sent < *chunks).then(|| *sent += 1)?;
                Some((Ok::<_, io::Error>(vec![0; 1 << 20]), told))
            });
            drop(limits.timed(Body::from_stream(body)));
            assert_eq!(receiver.await, Ok(taken));
        }
    }

    struct Told((usize, Option<tokio::sync::oneshot::Sender<usize>>, usize));

    impl Drop for Told {
        fn drop(&mut self) {
            let (sent, sender, _) = &mut self.0;
            sender.take().unwrap().send(*sent).unwrap();
        }
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
}

//! When each edit was sent, acknowledged, and everywhere.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};

/// The clock and the window of one run. Shared by the writer and all readers.
pub struct Ledger {
    start: Instant,
    entries: Vec<Entry>,
    sent: AtomicUsize,
    acknowledged: AtomicUsize,
    complete: AtomicUsize,
    /// One permit for each further edit that the writer may have in flight.
    pub window: Semaphore,
    progress: Notify,
}

/// Times are in nanoseconds since the start; 0 is not yet.
struct Entry {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    everywhere: AtomicU64,
    awaited: AtomicU32,
}

/// Latencies of one kind, sorted.
pub struct Latencies(Vec<Duration>);

impl Ledger {
    /// For at most `edits` edits, `window` of them in flight to `readers` readers.
    pub fn new(edits: usize, readers: usize, window: usize) -> Self {
        let entry = |_| Entry {
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            everywhere: AtomicU64::new(0),
            awaited: AtomicU32::new(readers as u32),
        };
        Self {
            start: Instant::now(),
            entries: (0..edits).map(entry).collect(),
            sent: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            complete: AtomicUsize::new(0),
            window: Semaphore::new(window),
            progress: Notify::new(),
        }
    }

    /// The writer is about to send edit `number`.
    pub fn sent(&self, number: usize) {
        self.entries[number]
            .sent
            .store(self.now(), Ordering::Relaxed);
        self.sent.store(number + 1, Ordering::Release);
    }

    /// The server returned heads that hold all edits up to and including `number`.
    pub fn acknowledged(&self, number: usize) {
        let before = self.acknowledged.fetch_max(number + 1, Ordering::AcqRel);
        let now = self.now();
        for entry in self.entries.get(before..=number).unwrap_or_default() {
            entry.acknowledged.store(now, Ordering::Relaxed);
        }
        self.progress.notify_one();
    }

    /// One reader has these edits, and had them not before.
    pub fn read(&self, edits: Range<usize>) {
        if edits.is_empty() {
            return;
        }
        let now = self.now();
        let mut everywhere = 0;
        for entry in &self.entries[edits] {
            if entry.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
                entry.everywhere.store(now, Ordering::Relaxed);
                everywhere += 1;
            }
        }
        if everywhere > 0 {
            self.complete.fetch_add(everywhere, Ordering::AcqRel);
            self.window.add_permits(everywhere);
        }
        self.progress.notify_one();
    }

    /// Waits until everything sent is acknowledged and everywhere, until nothing has moved for `stall`, or until
    /// `limit`. Returns whether it ended before the limit.
    pub async fn settle(&self, stall: Duration, limit: Instant) -> bool {
        while self.complete() < self.sent_count() || self.acknowledged_count() < self.sent_count() {
            let until = (Instant::now() + stall).min(limit);
            let moved = tokio::time::timeout_at(until.into(), self.progress.notified()).await;
            if moved.is_err() {
                break;
            }
        }
        Instant::now() < limit
    }

    /// How many edits were sent.
    pub fn sent_count(&self) -> usize {
        self.sent.load(Ordering::Acquire)
    }

    /// How many edits the server has returned in its heads.
    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// How many edits every reader has.
    pub fn complete(&self) -> usize {
        self.complete.load(Ordering::Acquire)
    }

    /// From the start to when the last complete edit was everywhere.
    pub fn elapsed(&self) -> Duration {
        let last = self
            .entries
            .iter()
            .map(|entry| entry.everywhere.load(Ordering::Relaxed))
            .max();
        Duration::from_nanos(last.unwrap_or(0))
    }

    /// When the last complete edit was everywhere.
    pub fn finished(&self) -> Instant {
        self.start + self.elapsed()
    }

    /// From sending an edit until every reader had it.
    pub fn to_all(&self) -> Latencies {
        self.latencies(|entry| &entry.everywhere)
    }

    /// From sending an edit until the server returned it in its heads.
    pub fn to_writer(&self) -> Latencies {
        self.latencies(|entry| &entry.acknowledged)
    }

    fn latencies(&self, end: impl Fn(&Entry) -> &AtomicU64) -> Latencies {
        let mut latencies: Vec<_> = self.entries[..self.sent_count()]
            .iter()
            .filter_map(|entry| match end(entry).load(Ordering::Relaxed) {
                0 => None,
                end => Some(Duration::from_nanos(
                    end.saturating_sub(entry.sent.load(Ordering::Relaxed)),
                )),
            })
            .collect();
        latencies.sort_unstable();
        Latencies(latencies)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

impl Latencies {
    /// Those of several ledgers together.
    pub fn merge(parts: impl Iterator<Item = Self>) -> Self {
        let mut latencies: Vec<_> = parts.flat_map(|part| part.0).collect();
        latencies.sort_unstable();
        Self(latencies)
    }

    /// The latency in milliseconds below which `share` (0 to 1) of them lie; nothing if there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let rank = (last as f64 * share).round() as usize;
        self.0
            .get(rank)
            .map(|latency| latency.as_secs_f64() * 1000.0)
    }
}

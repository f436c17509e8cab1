//! Since when something fails, said in the log once it begins and once it is over.

use super::endpoints::Shared;
use prometheus_client::metrics::counter::Counter;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How far the lake may be behind before it is said.
const BEHIND: Duration = Duration::from_secs(10);

/// Since when one thing fails.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Instant>>);

impl Trouble {
    /// For how long it has failed; 0 if it does not.
    pub fn seconds(&self) -> f64 {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(0.0, |since| since.elapsed().as_secs_f64())
    }

    /// Notes how it is now, and says so if it was otherwise before.
    fn note(&self, what: &str, why: Option<&str>, failures: Option<&Counter>) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (*since, why) {
            (None, Some(why)) => {
                *since = Some(Instant::now());
                if let Some(failures) = failures {
                    failures.inc();
                }
                tracing::error!(why, "{what}");
            }
            (Some(begun), None) => {
                *since = None;
                let seconds = begun.elapsed().as_secs();
                tracing::info!(seconds, "over: {what}");
            }
            _ => {}
        }
    }
}

/// How the server is.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub storage: Trouble,
    pub lake: Trouble,
    behind: Trouble,
}

/// Looks after the server for as long as it is there.
pub(super) async fn watch(shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let (health, counts) = (&shared.health, &shared.counts);
        let storage = shared.storage_failure();
        health.storage.note(
            "storage fails; what is written meanwhile is not acknowledged",
            storage.as_deref(),
            Some(&counts.storage_failures),
        );
        let lake = shared.feed.status();
        health.lake.note(
            "publishing fails; the tables stay as they are",
            lake.error.as_deref(),
            Some(&counts.lake_failures),
        );
        let why = (lake.lag > BEHIND).then(|| {
            let cause = lake
                .error
                .as_deref()
                .unwrap_or("changes come faster than they are published");
            let seconds = lake.lag.as_secs();
            format!(
                "{} rows wait, the oldest for {seconds} s: {cause}",
                lake.pending
            )
        });
        health
            .behind
            .note("the lake is behind", why.as_deref(), None);
        shared.limits.forget_idle();
    }
}

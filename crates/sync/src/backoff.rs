//! When to try again to reach a peer.

use std::time::Duration;

/// Exponential backoff with full jitter: each wait is drawn evenly between nothing and a ceiling that doubles, so that the
/// clients of a server that went away do not all come back in the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// With waits of at most `first` after the first failure and at most `max` after many.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            failures: 0,
        }
    }

    /// How long to wait after another failure. `random` is a fresh evenly distributed number.
    pub fn next_wait(&mut self, random: u64) -> Duration {
        let ceiling = self
            .first
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(self.max);
        self.failures = (self.failures + 1).min(31);
        // 32 bits of chance are plenty, and the product of two numbers below 2^32 seconds fits.
        let nanos = (ceiling.as_nanos() * u128::from(random >> 32)) >> 32;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Begins anew. To be called once a connection has lived for a while, not as soon as it stands: a server that accepts
    /// and then fails would be asked without pause.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

impl Default for Backoff {
    /// Up to half a second at first and up to a minute later.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_maximum_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let longest = |backoff: &mut Backoff| backoff.next_wait(u64::MAX).as_secs_f64().round();
        let waits: Vec<f64> = (0..40).map(|_| longest(&mut backoff)).collect();
        assert_eq!(waits[..6], [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
        assert_eq!(waits[39], 10.0);
        backoff.reset();
        assert_eq!(longest(&mut backoff), 1.0);
    }

    #[test]
    fn waits_are_spread_from_nothing_to_the_ceiling() {
        let wait = |random| Backoff::default().next_wait(random);
        assert_eq!(wait(0), Duration::ZERO);
        assert_eq!(wait(u64::MAX / 2 + 1), Duration::from_millis(250));
    }
}

//! What differs between native peers and browsers: tasks, timers, clocks and random numbers.

use std::time::Duration;

/// Runs a future to its end beside the caller.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

/// Runs a future to its end beside the caller.
#[cfg(target_arch = "wasm32")]
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(future);
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(target_arch = "wasm32")]
pub(crate) async fn sleep(duration: Duration) {
    gloo_timers::future::sleep(duration).await;
}

/// The wall clock, milliseconds since 1970.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn wall_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// The wall clock, milliseconds since 1970.
#[cfg(target_arch = "wasm32")]
pub(crate) fn wall_clock() -> i64 {
    js_sys::Date::now() as i64
}

/// Milliseconds since some moment in the past; never goes back.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn monotonic() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since some moment in the past; never goes back.
#[cfg(target_arch = "wasm32")]
pub(crate) fn monotonic() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LATEST: AtomicU64 = AtomicU64::new(0);
    let now = js_sys::Date::now() as u64;
    LATEST.fetch_max(now, Ordering::Relaxed).max(now)
}

/// Random bytes from the operating system or the browser.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], crate::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| crate::Error::Random(error.to_string()))?;
    Ok(bytes)
}

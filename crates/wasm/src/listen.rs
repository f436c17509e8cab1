//! JavaScript functions that are called again and again.

use crate::error::thrown;
use futures::future::{AbortHandle, abortable};
use js_sys::Function;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// Shows an error as one that nobody caught.
    #[wasm_bindgen(js_name = reportError)]
    fn report_error(error: &JsValue);
}

/// A listener that is called until it is stopped.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Subscription {
    running: AbortHandle,
}

#[wasm_bindgen]
impl Subscription {
    /// Ends it.
    pub fn stop(&self) {
        self.running.abort();
    }
}

impl Subscription {
    /// Runs `calls` until it ends or is stopped.
    pub(crate) fn start(calls: impl Future<Output = ()> + 'static) -> Self {
        let (calls, running) = abortable(calls);
        wasm_bindgen_futures::spawn_local(async move {
            // Being stopped is how it usually ends.
            let _ = calls.await;
        });
        Self { running }
    }

    /// Calls `listener` with each event, and `missed` when some came too fast and are lost to it.
    pub(crate) fn follow<E: Clone + 'static>(
        subscribe: impl Fn() -> headwater::Subscription<E> + 'static,
        shown: fn(&E) -> JsValue,
        listener: Function,
        missed: Function,
    ) -> Self {
        let mut events = subscribe();
        Self::start(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => call(&listener, &shown(&event)),
                    Err(lagged) => {
                        // Listening again comes first, so that what `missed` reads has no gap to what follows.
                        events = subscribe();
                        call(&missed, &thrown("missed-changes", &lagged.to_string()));
                    }
                }
            }
        })
    }
}

/// Calls a listener. What it throws is its own affair: it is reported, and the next call comes all the same.
pub(crate) fn call(listener: &Function, argument: &JsValue) {
    if let Err(error) = listener.call1(&JsValue::UNDEFINED, argument) {
        report_error(&error);
    }
}

//! Headwater for JavaScript: thin classes over the headwater crate, and JavaScript's values as Headwater's.
//!
//! The package `headwater` in packages/js wraps them in TypeScript; nothing else should use them. It is empty except
//! on wasm32.
#![cfg(target_arch = "wasm32")]
// A browser has one thread; the types are the same as natively, where they are shared between several.
#![allow(clippy::arc_with_non_send_sync)]

mod collection;
mod conflict;
mod database;
mod edit;
mod error;
mod listen;
mod peer;
mod read;
mod resolver;
mod schema;
mod value;

pub use collection::Collection;
pub use database::{Database, Link};
pub use listen::Subscription;
pub use peer::Peer;

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Runs when the module is instantiated.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        console_error(&format!(
            "Headwater stopped after an internal error; load the page again. What was acknowledged is stored. \
             Please report this: {panic}"
        ));
    }));
}

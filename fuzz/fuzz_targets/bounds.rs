//! Chunks with right checksums and any content: what passes the check must not make automerge panic.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/core/tests/bounds/build.rs"]
mod build;

use automerge::{Automerge, Change};
use headwater_core::bounds::{Guard, Limits, check_chunks};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, content)) = data.split_first() else {
        return;
    };
    let limits = Limits {
        ops_per_change: 5_000,
        ops: 5_000,
        changes: 5_000,
        inflated_bytes: 1 << 20,
        ..Limits::default()
    };
    let kind = kind % 3;
    let bytes = match kind {
        2 => build::compressed_change(content),
        kind => build::chunk(kind, content),
    };
    if check_chunks(&bytes, &limits).is_err() {
        return;
    }
    if kind == 0 {
        if let Ok(doc) = Automerge::load(&bytes) {
            Automerge::load(&doc.save()).expect("what was loaded can be saved and loaded");
        }
        return;
    }
    let change = Change::from_bytes(bytes).expect("a checked change can be read");
    let mut doc = Automerge::new();
    if Guard::new(limits).apply(&mut doc, vec![change]).is_ok() {
        Automerge::load(&doc.save()).expect("what fits can be saved and loaded");
    }
});

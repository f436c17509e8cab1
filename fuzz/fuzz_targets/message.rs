//! Sync messages: what is read can be written, handed to automerge, and read again.
#![no_main]

use headwater_core::bounds::Limits;
use headwater_sync::message::SyncMessage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        ops_per_change: 5_000,
        ops: 5_000,
        changes: 5_000,
        inflated_bytes: 1 << 20,
        ..Limits::default()
    };
    let Ok((message, _)) = SyncMessage::decode(data, &limits) else {
        return;
    };
    let automerge = message.to_automerge().expect("a checked message suits automerge");
    let written = message.encode();
    assert_eq!(automerge.encode(), written);
    let (again, _) = SyncMessage::decode(&written, &limits).expect("what is written can be read");
    assert_eq!(again, message);
    let hash = automerge::ChangeHash([7; 32]);
    for have in &message.have {
        have.to_automerge().expect("a checked filter can be read").bloom.contains_hash(&hash);
    }
});

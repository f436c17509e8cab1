//! Frames: what is read can be written and read again.
#![no_main]

use bytes::Bytes;
use headwater_sync::frame::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(frame) = Frame::decode(&bytes, 1 << 20) {
        let again = Frame::decode(&frame.encode(), 2 << 20).expect("what is written can be read");
        assert_eq!(again.kind(), frame.kind());
        assert_eq!(again.document(), frame.document());
    }
});

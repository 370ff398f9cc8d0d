//! Bytes out of the ring buffer.

use std::time::{Duration, UNIX_EPOCH};

use pfnwatch::bpf::decode::{Context, decode};
use pfnwatch::export::line;

/// Bytes are a record that prints as one line of JSON and in words, or an error that says why they are none.
pub fn check(bytes: &[u8]) {
    let booted = UNIX_EPOCH + Duration::from_secs(1 << 30);
    let context = Context { booted, page_size: 4096, struct_page_size: Some(64) };
    match decode(bytes, &context) {
        Ok(event) => {
            let line = serde_json::to_string(&event);
            assert!(line.is_ok_and(|line| !line.contains('\n')), "{event:?}");
            assert!(!line::of(&event).is_empty());
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

//! Bytes out of the ring buffer.

use std::time::{Duration, UNIX_EPOCH};

use pfnwatch::analysis::memmap_return::{MemoryOwners, not_returned};
use pfnwatch::bpf::decode::{Context, decode, memmap_removal};
use pfnwatch::export::line;
use pfnwatch::model::facts::KernelParameters;
use pfnwatch::model::memmap_return::MemmapEvidence;

/// Bytes are a record that prints as one line of JSON and in words, or an error that says why they are none.
pub fn check(bytes: &[u8]) {
    let booted = UNIX_EPOCH + Duration::from_secs(1 << 30);
    let context = Context { booted, page_size: 4096, struct_page_size: Some(64) };
    if let Some(removal) = memmap_removal(bytes, &context) {
        let host = KernelParameters {
            page_size: 4096,
            compat: 2 << 20,
            struct_page: Some(64),
            max_struct_page: None,
            allows_empty: None,
            aligns: None,
            deduplicates: Some(true),
            may_lose_memmap: true,
        };
        let lost = not_returned(&removal, &MemoryOwners::default(), &host, MemmapEvidence::Code, "6.18.15");
        assert!(lost.is_none_or(|lost| lost.returned_bytes + lost.lost_bytes == lost.removed_bytes), "{removal:?}");
        return;
    }
    match decode(bytes, &context) {
        Ok(event) => {
            let line = serde_json::to_string(&event);
            assert!(line.is_ok_and(|line| !line.contains('\n')), "{event:?}");
            assert!(!line::of(&event).is_empty());
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

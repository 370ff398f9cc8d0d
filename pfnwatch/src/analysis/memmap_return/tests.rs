use std::time::UNIX_EPOCH;

use super::*;
use crate::model::event::Time;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const HOST: KernelParameters = KernelParameters::SAMPLE;

fn removal(start: u64, size: u64, align: u64) -> MemmapRemoval {
    MemmapRemoval { time: Time(UNIX_EPOCH), start, size, align, on_media: Some(false), is_inferred: false, by: None }
}

fn namespace(start_address: u64, size_bytes: u64) -> NamespaceId {
    NamespaceId { namespace: format!("at {start_address:#x}"), namespace_uuid: None, start_address, size_bytes }
}

fn lost(removal: &MemmapRemoval, host: &KernelParameters) -> Option<(u64, u64, bool)> {
    let event = not_returned(removal, &MemoryOwners::default(), host, MemmapEvidence::Code, "6.18.15")?;
    assert_eq!(event.removed_bytes, event.returned_bytes + event.lost_bytes);
    Some((event.removed_bytes, event.lost_bytes, event.at_most))
}

#[cfg(target_arch = "x86_64")]
#[test]
fn one_page_of_each_piece_of_2_mib_is_returned() {
    let piece = 2 * MIB - 4096;
    for (start, size, align, expected) in [
        (4 * GIB, GIB, 4096, Some((16 * MIB, 8 * piece, false))),
        // Deduplicated: single pages.
        (4 * GIB, GIB, 2 * MIB, None),
        // Two of eight sections in part: their memmaps are made of single pages.
        (4 * GIB + 64 * MIB, GIB, 4096, Some((16 * MIB, 7 * piece, false))),
        (4 * GIB + 2 * MIB, 126 * MIB, 4096, None),
        // The kernel does not map it so: an upper limit.
        (4 * GIB + 4096, GIB, 4096, Some((16 * MIB, 16 * MIB, true))),
        (4 * GIB, 0, 4096, None),
    ] {
        assert_eq!(lost(&removal(start, size, align), &HOST), expected, "{start:#x} {size} {align}");
    }
    let on_media = MemmapRemoval { on_media: Some(true), ..removal(4 * GIB, GIB, 4096) };
    assert_eq!(lost(&on_media, &HOST), None);
    let unknown = KernelParameters { deduplicates: None, ..HOST };
    assert_eq!(lost(&removal(4 * GIB, GIB, 2 * MIB), &unknown), Some((16 * MIB, 16 * MIB, true)));
    assert_eq!(lost(&removal(4 * GIB, GIB, 4096), &KernelParameters { struct_page: None, ..HOST }), None);
}

#[test]
fn a_range_lies_in_the_namespace_that_was_there_last() {
    let mut known = NamespaceIndex::default();
    for (start, size) in [(4 * GIB, GIB), (5 * GIB, GIB), (4 * GIB + 512 * MIB, 256 * MIB), (8 * GIB, GIB)] {
        known.insert(namespace(start, size));
    }
    let name = |start, size| known.around(start, size).map(|it| it.start_address);
    assert_eq!(name(4 * GIB, GIB), None, "another namespace was made inside it");
    assert_eq!(name(4 * GIB + 514 * MIB, 254 * MIB), Some(4 * GIB + 512 * MIB));
    assert_eq!(name(5 * GIB, GIB), Some(5 * GIB));
    assert_eq!((name(5 * GIB, GIB + 4096), name(7 * GIB, MIB), name(0, MIB)), (None, None, None));
    known.insert(namespace(u64::MAX, GIB));
    assert_eq!(known.around(u64::MAX, 1), None);
}

fn used(free: u64, cache: u64) -> MemoryUse {
    MemoryUse { free, others: [("nr_file_pages".to_owned(), cache)].into() }
}

#[test]
fn only_a_quiet_host_confirms_a_loss() {
    let confirms = |after: &MemoryUse| confirms_loss(&used(GIB, 64 * MIB), after, 16 * MIB, 16 * MIB - 32768);
    assert!(confirms(&used(GIB + 32768, 64 * MIB)));
    assert!(confirms(&used(GIB - MIB, 65 * MIB)));
    assert!(!confirms(&used(GIB + 16 * MIB, 64 * MIB)), "returned");
    assert!(!confirms(&used(GIB, 80 * MIB)), "returned, and taken by the page cache");
    assert!(!confirms(&used(GIB - 16 * MIB, 64 * MIB)), "more is gone");
    assert!(!confirms(&MemoryUse { free: GIB, others: BTreeMap::new() }), "not the same counters");
    assert!(!confirms_loss(&used(GIB, 0), &used(GIB, 0), 0, 0));
}

use std::time::{Duration, UNIX_EPOCH};
use zerocopy::IntoBytes as _;

use pfnwatch_common::Map;
use proptest::prelude::*;

use super::samples::{ENODEV, context, creation, name};
use super::*;
use crate::model::event::{BlockState, SetUp, SetUpOutcome};

fn decoded(record: &Attempt) -> SetUp {
    match decode(record.as_bytes(), &context()).map(|event| event.body) {
        Ok(Body::SetUp(setup)) => *setup,
        other => panic!("not a set-up: {other:?}"),
    }
}

#[test]
fn a_creation_to_the_byte() {
    let setup = decoded(&creation());
    assert_eq!((setup.block, setup.outcome, setup.map), (BlockState::Made, SetUpOutcome::Enabled, Some(Map::Dev)));
    assert_eq!((setup.setup_code, setup.attempt.bind_code), (Some(0), Some(0)));
    let namespace = setup.namespace.expect("a namespace");
    assert_eq!((namespace.namespace.as_str(), namespace.start_address), ("namespace0.0", 4 << 30));
    let sizes = setup.sizes.expect("sizes");
    assert_eq!((sizes.reservation_bytes, sizes.usable_bytes, sizes.end_trunc_bytes), (18 << 20, 1_054_867_456, 0));
    assert_eq!(namespace.size_bytes, sizes.reservation_bytes + sizes.usable_bytes + sizes.end_trunc_bytes);
    assert_eq!((sizes.page_struct_size_bytes, sizes.block_page_size_bytes), (64, Some(4096)));
    assert_eq!(setup.attempt.duration_us, 1_000);
    assert_eq!(setup.attempt.by.map(|actor| (actor.pid, actor.comm)), Some((42, "ndctl".to_owned())));
    assert_eq!(setup.block_uuid, Some(Uuid::from_bytes([7; 16])));
}

#[test]
fn the_time_counts_from_the_boot() {
    let event = decode(creation().as_bytes(), &context()).expect("an event");
    assert_eq!(event.time.0, UNIX_EPOCH + Duration::from_secs(1_000) + Duration::from_millis(5));
}

/// One row for each way in which a set-up ends: what the kernel's functions returned, and what that means.
#[test]
fn what_became_of_block_and_namespace() {
    const VALIDATED: CaptureFlags = CaptureFlags::SETUP_VALIDATED;
    let rows = [
        // validated, setup returned, bound; validate, setup, bind; block, outcome
        ((true, true, true), (ENODEV, 0, 0), (BlockState::Made, SetUpOutcome::Enabled)),
        ((true, true, true), (0, 0, 0), (BlockState::Existing, SetUpOutcome::Enabled)),
        // The driver core hands a driver's own error on as a positive number.
        ((true, true, true), (ENODEV, 0, 16), (BlockState::Made, SetUpOutcome::ReservedNotEnabled)),
        ((true, true, true), (0, 0, 12), (BlockState::Existing, SetUpOutcome::Refused)),
        ((true, true, true), (ENODEV, -6, 6), (BlockState::None, SetUpOutcome::Refused)),
        ((true, true, true), (-95, -95, 95), (BlockState::Rejected, SetUpOutcome::Refused)),
        ((false, true, true), (0, ENODEV, 19), (BlockState::None, SetUpOutcome::Refused)),
        // What was missed is not guessed.
        ((false, true, true), (0, 0, 0), (BlockState::Unknown, SetUpOutcome::Enabled)),
        ((true, false, true), (ENODEV, 0, 5), (BlockState::Unknown, SetUpOutcome::Unknown)),
        ((true, true, false), (ENODEV, 0, 0), (BlockState::Made, SetUpOutcome::Unknown)),
    ];
    for ((validated, returned, bound), (validate, setup, bind), expected) in rows {
        let mut record = creation();
        for (seen, bit) in
            [(validated, VALIDATED), (returned, CaptureFlags::SETUP_RETURNED), (bound, CaptureFlags::BOUND)]
        {
            if !seen {
                record.seen = CaptureFlags(record.seen.0 & !bit.0);
            }
        }
        (record.setup_validate, record.setup_result, record.bind_result) = (validate, setup, bind);
        let found = decoded(&record);
        assert_eq!((found.block, found.outcome), expected, "validate {validate}, setup {setup}, bind {bind}");
        assert_eq!(
            found.sizes.is_some(),
            matches!(expected.0, BlockState::Made | BlockState::Existing),
            "{expected:?}"
        );
        assert!(!found.meaning.is_empty());
    }
}

#[test]
fn a_struct_page_that_is_too_wide_is_the_one_reason() {
    let refused = |change: fn(&mut Attempt)| {
        let mut record = creation();
        record.namespace_start = 4 << 30;
        (record.setup_validate, record.setup_result, record.bind_result) = (ENODEV, -22, 22);
        change(&mut record);
        decoded(&record).meaning
    };
    assert!(refused(|_| ()).contains("struct page is larger than its MAX_STRUCT_PAGE_SIZE"));
    let others: [fn(&mut Attempt); 3] =
        [|record| record.namespace_start += 4096, |record| record.mode = 1, |record| record.setup_validate = -22];
    for change in others {
        assert!(!refused(change).contains("MAX_STRUCT_PAGE_SIZE"), "{}", refused(change));
    }
}

#[test]
fn a_kernel_thread_is_nobody() {
    let mut record = creation();
    record.task.flags = pfnwatch_common::record::PF_KTHREAD;
    assert_eq!(decoded(&record).attempt.by, None);
}

#[test]
fn a_namespace_that_is_passed_on() {
    let record = Attempt {
        personality: Personality::NamespacePmem as u32,
        seen: CaptureFlags::NAMESPACE.with(CaptureFlags::BOUND).with(CaptureFlags::PROBE_VALIDATED),
        bind_result: 6,
        probe_validate: 0,
        device: name("namespace0.0"),
        ..creation()
    };
    let Ok(Body::Probe(probe)) = decode(record.as_bytes(), &context()).map(|event| event.body) else {
        panic!("not a probe")
    };
    assert_eq!((probe.result, probe.found_block), (ProbeResult::PassedOn, Some(true)));
}

#[test]
fn a_device_whose_set_up_was_missed_is_not_called_without_a_memmap() {
    let seen = CaptureFlags::NAMESPACE.with(CaptureFlags::BOUND);
    for (personality, expected) in [
        (Personality::Pfn, ProbeResult::SetUpNotSeen),
        (Personality::Dax, ProbeResult::SetUpNotSeen),
        (Personality::NamespaceIo, ProbeResult::Enabled),
    ] {
        let record = Attempt { personality: personality as u32, seen, bind_result: 0, ..creation() };
        let Ok(Body::Probe(probe)) = decode(record.as_bytes(), &context()).map(|event| event.body) else {
            panic!("not a probe")
        };
        let is_called_without = probe.meaning.contains("without a memmap");
        assert_eq!((probe.result, is_called_without), (expected, expected == ProbeResult::Enabled), "{personality:?}");
    }
}

#[test]
fn usable_bytes_with_map_mem_are_those_of_the_size_attribute() {
    let record = creation();
    let namespace = decoded(&record).namespace.expect("a namespace").size_bytes;
    // The block counts 64 pages of another kernel, or of a namespace that was larger.
    let of_mem = decoded(&Attempt { mode: Map::Mem as u32, npfns: 64, ..record });
    let sizes = of_mem.sizes.expect("sizes");
    assert_eq!(sizes.usable_bytes, namespace - sizes.reservation_bytes - sizes.end_trunc_bytes);
    assert_eq!(decoded(&Attempt { npfns: 64, ..record }).sizes.expect("sizes").usable_bytes, 64 * 4096);
}

#[test]
fn a_claim_loses_its_newline_and_an_empty_one_its_namespace() {
    for (written, namespace) in [("namespace0.0\n", Some("namespace0.0")), ("\n", None), ("", None)] {
        let record = Notice { what: NoticeKind::Claim as u32, namespace: name(written), ..Notice::EMPTY };
        let Ok(Body::Claim(change)) = decode(record.as_bytes(), &context()).map(|event| event.body) else {
            panic!("not a claim")
        };
        assert_eq!(change.namespace.as_deref(), namespace);
    }
}

#[test]
fn bytes_that_are_no_record_are_named() {
    let attempt = creation();
    let cut = &attempt.as_bytes()[..100];
    assert!(matches!(decode(cut, &context()), Err(DecodeError::WrongLength { found: 100, .. })));
    assert_eq!(decode(&[1, 0, 0], &context()), Err(DecodeError::TooShort(3)));
    assert_eq!(decode(&[9, 0, 0, 0], &context()), Err(DecodeError::UnknownKind(9)));
    let strange = Notice { what: 77, ..Notice::EMPTY };
    assert_eq!(decode(strange.as_bytes(), &context()), Err(DecodeError::UnknownNotice(77)));
}

#[test]
fn the_json_has_its_schema_and_units() {
    let event = decode(creation().as_bytes(), &context()).expect("an event");
    let json = serde_json::to_value(event).expect("JSON");
    for (key, value) in [
        ("schema", serde_json::json!(1)),
        ("event", "set_up".into()),
        ("time", "1970-01-01T00:16:40.005000Z".into()),
        ("namespace", "namespace0.0".into()),
        ("personality", "fsdax".into()),
        ("map", "dev".into()),
        ("block", "made".into()),
        ("outcome", "enabled".into()),
        ("reservation_bytes", (18 << 20).into()),
        ("usable_bytes", 1_054_867_456.into()),
        ("size_bytes", (1 << 30).into()),
    ] {
        assert_eq!(json.get(key), Some(&value), "{key}");
    }
}

#[test]
fn a_removal_has_the_range_and_the_compound_pages_of_its_pagemap() {
    let record = MemmapRemoval {
        at_ns: 5_000_000,
        start: 4 << 30,
        end: (5 << 30) - 1,
        vmemmap_shift: 9,
        ..MemmapRemoval::EMPTY
    };
    let removal = |record: &MemmapRemoval| memmap_removal(record.as_bytes(), &context()).expect("a removal");
    let found = removal(&record);
    assert_eq!((found.start, found.size, found.align, found.on_media), (4 << 30, 1 << 30, 2 << 20, Some(false)));
    assert_eq!(found.time.0, UNIX_EPOCH + Duration::from_secs(1_000) + Duration::from_millis(5));
    let blocks = removal(&MemmapRemoval { memory_blocks: 1, vmemmap_shift: 0, ..record });
    assert_eq!((blocks.on_media, blocks.align), (None, 4096), "the record of system RAM does not show it");
    let faulty = MemmapRemoval { seen: CaptureFlags::FAULT, ..record };
    let nonsense = [MemmapRemoval { end: 7, ..record }, MemmapRemoval { vmemmap_shift: u64::MAX, ..record }];
    for record in nonsense.iter().chain([&faulty, &MemmapRemoval { start: 0, end: u64::MAX, ..record }]) {
        assert_eq!(removal(record).size, 0, "{record:?}");
    }
    let other = [&record.as_bytes()[1..], creation().as_bytes(), &[]].map(|bytes| memmap_removal(bytes, &context()));
    assert_eq!(other, [None, None, None]);
    let short = decode(&record.as_bytes()[..40], &context()).unwrap_err();
    assert!(matches!(short, DecodeError::WrongLength { kind: RecordKind::MemmapRemoval, .. }), "{short}");
}

mod judgement;

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes, &context());
    }
}

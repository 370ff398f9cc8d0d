use std::time::UNIX_EPOCH;

use pfnwatch_common::{InfoBlock, Map};

use super::*;
use crate::model::{
    event::{Attempt, NamespaceId, Sizes, Time},
    verdict::{Cause, Evidence, Verdict},
};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

pub(crate) fn host() -> KernelParameters {
    KernelParameters {
        page_size: 4096,
        compat: 2 * MIB,
        struct_page: Some(64),
        max_struct_page: None,
        allows_empty: None,
        deduplicates: Some(true),
        may_lose_memmap: false,
    }
}

/// A creation of 1 GiB at 4 GiB with this reservation, by a kernel with this MAX_STRUCT_PAGE_SIZE.
pub(crate) fn creation(reservation: u64, page_struct_size: u16) -> SetUp {
    let usable = GIB - reservation;
    let block = InfoBlock::sample(reservation, page_struct_size);
    SetUp {
        attempt: Attempt {
            device: "pfn0.1".to_owned(),
            region: None,
            driver: None,
            bind_code: Some(0),
            duration_us: 1,
            incomplete: false,
            by: None,
        },
        namespace: Some(NamespaceId {
            namespace: "namespace0.0".to_owned(),
            namespace_uuid: None,
            start_address: 4 * GIB,
            size_bytes: GIB,
        }),
        personality: SuperblockKind::Pfn,
        map: Some(Map::Dev),
        align_bytes: 2 * MIB,
        block_uuid: None,
        block: BlockState::Made,
        outcome: SetUpOutcome::Enabled,
        setup_code: Some(0),
        meaning: String::new(),
        sizes: Some(Sizes {
            reservation_bytes: reservation,
            dataoff_bytes: reservation,
            start_pad_bytes: 0,
            end_trunc_bytes: 0,
            usable_bytes: usable,
            npfns: usable / 4096,
            page_struct_size_bytes: page_struct_size.into(),
            block_page_size_bytes: Some(4096),
        }),
        struct_page_size_bytes: Some(64),
        judgement: None,
        guard: None,
        info_block: Some(block),
    }
}

fn judged(setup: SetUp) -> EventAssessment {
    let mut event = Event::at(Time(UNIX_EPOCH), Body::SetUp(Box::new(setup)));
    judge(&mut event, &host(), &Thresholds::default());
    match event.body {
        Body::SetUp(setup) => setup.judgement.expect("judged"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_creation_is_ok_by_what_was_observed() {
    let found = judged(creation(18 * MIB, 64));
    assert_eq!((found.verdict, found.excess_bytes, found.evidence), (Verdict::Ok, Some(0), Some(Evidence::Observed)));
}

#[test]
fn a_regressed_creation_is_oversize_to_the_byte() {
    let found = judged(creation(34 * MIB, 128));
    assert_eq!((found.verdict, found.cause, found.class), (Verdict::Oversize, Cause::RegressedKernel, Some('A')));
    assert_eq!((found.ideal_bytes, found.excess_bytes), (Some(18 * MIB), Some(16 * MIB)));
}

#[test]
fn what_the_kernel_refused_is_refused() {
    let setup = SetUp {
        setup_code: Some(-6),
        outcome: SetUpOutcome::Refused,
        block: BlockState::None,
        sizes: None,
        info_block: None,
        ..creation(18 * MIB, 64)
    };
    assert_eq!(judged(setup).verdict, Verdict::Refused);
}

#[test]
fn without_the_block_nothing_is_guessed() {
    let found = judged(SetUp { sizes: None, info_block: None, ..creation(34 * MIB, 128) });
    assert_eq!((found.verdict, found.excess_bytes), (Verdict::Unknown, None));
    assert!(found.detail.contains("could not be read"), "{}", found.detail);
}

/// A block that somebody wrote by hand and enabled by hand: no guard sees it, and the agent reports it all the same.
#[test]
fn a_block_written_by_hand_is_oversize_when_it_is_met() {
    let found = judged(SetUp { block: BlockState::Existing, ..creation(34 * MIB, 64) });
    assert_eq!((found.verdict, found.cause), (Verdict::Oversize, Cause::Unexplained));
    assert_eq!((found.excess_bytes, found.evidence), (Some(16 * MIB), Some(Evidence::InfoBlock)));
}

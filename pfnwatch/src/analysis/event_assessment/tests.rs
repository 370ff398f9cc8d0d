use std::time::UNIX_EPOCH;

use pfnwatch_common::record::{Decision, Judgement, Unjudged};
use pfnwatch_common::{InfoBlock, Map};
use zerocopy::IntoBytes as _;

use super::*;
use crate::model::event::{Attempt, NamespaceId, Sizes, Time};
use crate::model::memmap_return::MemmapVerdict;
use crate::model::verdict::{Cause, Evidence, Verdict};
use crate::testing::events::{context, decode, denial};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

pub(crate) fn host() -> KernelParameters {
    KernelParameters { max_struct_page: None, allows_empty: None, ..KernelParameters::SAMPLE }
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

fn assessed(setup: SetUp) -> EventAssessment {
    let mut event = Event::at(Time(UNIX_EPOCH), Body::SetUp(Box::new(setup)));
    judge(&mut event, &host(), &Thresholds::default());
    match event.body {
        Body::SetUp(setup) => setup.judgement.expect("judged"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_creation_is_ok_by_what_was_observed() {
    let found = assessed(creation(18 * MIB, 64));
    assert_eq!((found.verdict, found.excess_bytes, found.evidence), (Verdict::Ok, Some(0), Some(Evidence::Observed)));
}

#[test]
fn a_regressed_creation_is_oversize_to_the_byte() {
    let found = assessed(creation(34 * MIB, 128));
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
    assert_eq!(assessed(setup).verdict, Verdict::Refused);
}

#[test]
fn without_the_block_nothing_is_guessed() {
    let found = assessed(SetUp { sizes: None, info_block: None, ..creation(34 * MIB, 128) });
    assert_eq!((found.verdict, found.excess_bytes), (Verdict::Unknown, None));
    assert!(found.detail.contains("could not be read"), "{}", found.detail);
}

/// A block that somebody wrote by hand and enabled by hand: no guard sees it, and the agent reports it all the same.
#[test]
fn a_block_written_by_hand_is_oversize_when_it_is_met() {
    let found = assessed(SetUp { block: BlockState::Existing, ..creation(34 * MIB, 64) });
    assert_eq!((found.verdict, found.cause), (Verdict::Oversize, Cause::Unexplained));
    assert_eq!((found.excess_bytes, found.evidence), (Some(16 * MIB), Some(Evidence::InfoBlock)));
}

fn explained_by(record: Judgement, host: &KernelParameters) -> GuardDecision {
    let mut event: Event = decode(record.as_bytes(), &context()).expect("an event");
    judge(&mut event, host, &Thresholds::default());
    event.guard_decision().cloned().expect("judged")
}

fn explained(decision: Decision) -> GuardDecision {
    explained_by(Judgement { decision: decision as u32, ..denial() }, &host())
}

#[test]
fn a_denial_says_why_and_what_else() {
    let decision = explained(Decision::Denied);
    assert_eq!(
        decision.detail,
        "refused before anything was written: this kernel reserves 128 bytes for each page instead of 64 (the \
         regression of Linux 6.1 to 6.1.11)"
    );
    assert_eq!(
        decision.remedies,
        [
            "--map=mem: 2 MiB reserved, and 16 MiB of DRAM for the memmap",
            "a kernel without the regression (Linux 6.1.12 or later, 6.2 or later; `pfnwatch kernel FILE` checks a \
             package): 18 MiB reserved",
            "under this kernel, with an info block that ndctl writes (18 MiB reserved; a debug facility of ndctl): make \
             it with --mode=raw, then `ndctl disable-namespace NAME`, `ndctl write-infoblock --mode=fsdax --map=dev \
             --align=2097152 NAME`, `ndctl enable-namespace NAME`",
            "an exemption for one creation: `pfnwatch allow --region region0 --once --for 10m --reason TEXT`, then try \
             again",
        ]
    );
}

#[test]
fn a_would_deny_needs_no_exemption() {
    let decision = explained(Decision::WouldDeny);
    assert!(decision.detail.starts_with("allowed in audit, enforce would have refused it: "), "{}", decision.detail);
    assert_eq!(decision.remedies.len(), 3);
    assert!(!decision.remedies.iter().any(|remedy| remedy.contains("pfnwatch allow")));
}

#[test]
fn what_was_exempted_needs_no_remedy() {
    let decision = explained(Decision::Exempt);
    assert!(decision.detail.contains("allowed by an exemption"), "{}", decision.detail);
    assert!(decision.remedies.is_empty());
}

#[test]
fn what_was_not_judged_says_why() {
    let of = |why: Unjudged| {
        let (decision, unjudged) = (Decision::Unjudged as u32, why as u32);
        explained_by(Judgement { decision, unjudged, dataoff: 0, ideal_dataoff: 0, ..denial() }, &host())
    };
    let unknown = of(Unjudged::NoMaxStructPage);
    assert!(unknown.detail.contains("what this kernel reserves for each page is not known"), "{}", unknown.detail);
    assert!(unknown.remedies[0].contains("pfnwatch kernel --running"));
    assert!(of(Unjudged::BlockMissed).remedies.is_empty());
    assert!(of(Unjudged::NotArmed).remedies[0].contains("pfnwatch status"));
}

#[test]
fn devdax_may_have_its_tail_pages_deduplicated() {
    let record = Judgement { personality: 2, ..denial() };
    let dedup = explained_by(record, &host());
    assert!(dedup.remedies[0].contains("4 MiB of DRAM"), "{}", dedup.remedies[0]);
    assert!(dedup.remedies[2].contains("--mode=devdax"));
    let plain = explained_by(record, &KernelParameters { deduplicates: None, ..host() });
    assert!(plain.remedies[0].contains("16 MiB of DRAM"), "{}", plain.remedies[0]);
    // On a kernel that does not return 2 MiB pieces of a memmap only the deduplicated one is offered without a word.
    let loses = |host: KernelParameters| {
        let decision = explained_by(record, &KernelParameters { memmap_return: MemmapVerdict::Suspected, ..host });
        decision.remedies[0]
            .ends_with("(this kernel is suspected to lose that DRAM at each disable, until the next boot)")
    };
    assert!(!loses(host()));
    assert!(loses(KernelParameters { deduplicates: None, ..host() }));
}

#[test]
fn an_info_block_by_hand_only_where_it_would_be_right() {
    let by_hand = |record, host: &KernelParameters| {
        explained_by(record, host).remedies.iter().any(|remedy| remedy.contains("write-infoblock"))
    };
    assert!(by_hand(denial(), &host()));
    let coarse = Judgement { align: 1 << 30, namespace_start: (4 << 30) + (2 << 20), ..denial() };
    assert!(!by_hand(coarse, &host()), "ndctl counts from address 0");
    assert!(!by_hand(denial(), &KernelParameters { struct_page: Some(80), ..host() }), "the kernel would refuse it");
    assert!(!by_hand(denial(), &KernelParameters { struct_page: None, ..host() }));
}

#[test]
fn a_creation_that_would_leave_nothing_says_so() {
    let size = 34 << 20;
    let small = Judgement { namespace_end: 0, dataoff: 32 << 20, end_trunc: 2 << 20, ..denial() };
    let end = small.namespace_start + size - 1;
    let empty = explained_by(Judgement { namespace_end: end, ..small }, &host());
    assert!(empty.detail.contains("nothing usable would be left"), "{}", empty.detail);
    let less = Judgement { namespace_end: end, end_trunc: 0, ..small };
    assert!(!explained_by(less, &host()).detail.contains("nothing usable"), "2 MiB are left");
}

#[test]
fn without_a_namespace_there_are_still_words() {
    let decision = explained_by(Judgement { seen: pfnwatch_common::record::CaptureFlags::FAULT, ..denial() }, &host());
    assert_eq!(decision.remedies[0], "--map=mem: the memmap is then in DRAM, of an unknown size");
    assert!(decision.incomplete);
}

#[test]
fn other_struct_pages_have_other_words() {
    let debug = explained_by(Judgement { max_struct_page: 80, ..denial() }, &host());
    assert!(debug.detail.contains("80 bytes for each page instead of 64 (its struct page is wide"), "{}", debug.detail);
    assert!(debug.remedies[1].starts_with("a kernel without memory debug options"), "{}", debug.remedies[1]);
    let mut event = decode(Judgement { max_struct_page: 64, ..denial() }.as_bytes(), &context()).expect("an event");
    judge(&mut event, &host(), &Thresholds { reference_struct_page: 32, ..Thresholds::default() });
    let small = event.guard_decision().expect("judged");
    assert!(
        small.detail.ends_with("64 bytes for each page instead of 32") && small.excess_bytes == Some(16 * MIB),
        "{}",
        small.detail
    );
    assert!(small.remedies[1].starts_with("a kernel with a struct page of 32 bytes"), "{}", small.remedies[1]);
    assert!(!small.remedies.iter().any(|remedy| remedy.contains("write-infoblock")));
}

#[test]
fn a_namespace_without_an_info_block_is_ok() {
    let mut setup =
        SetUp { map: Some(Map::Mem), personality: SuperblockKind::Dax, align_bytes: GIB, ..creation(0, 64) };
    setup.block = BlockState::Existing;
    setup.info_block = Some(InfoBlock { npfns: 0, mode: 1, align: GIB, ..InfoBlock::sample(0, 64) });
    let got = assessed(setup);
    assert_eq!((got.verdict, got.cause, got.excess_bytes), (Verdict::Ok, Cause::None, Some(0)), "{got:?}");
    assert_eq!((got.ideal_bytes, got.memmap_dram_bytes), (Some(0), Some(8192)), "{got:?}");
}

use pfnwatch_common::record::{Decision, Judgement, Unjudged};
use zerocopy::IntoBytes as _;

use crate::{
    analysis::event_assessment::{judge, tests::host},
    model::{
        event::{Event, GuardDecision},
        facts::KernelParameters,
        thresholds::Thresholds,
    },
    testing::events::{context, decode, denial},
};

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
    let judged = explained(Decision::Denied);
    assert_eq!(
        judged.detail,
        "refused before anything was written: this kernel reserves 128 bytes for each page, where 64 suffice (the \
         regression of Linux 6.1 to 6.1.11): 16 MiB too much"
    );
    assert_eq!(
        judged.remedies,
        [
            "--map=mem: 2 MiB reserved, and 16 MiB of DRAM for the memmap",
            "a kernel without the regression (Linux 6.1.12 or later, 6.2 or later; `pfnwatch kernel FILE` tells of a \
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
    let judged = explained(Decision::WouldDeny);
    assert!(judged.detail.starts_with("allowed in audit, enforce would have refused it: "), "{}", judged.detail);
    assert_eq!(judged.remedies.len(), 3);
    assert!(!judged.remedies.iter().any(|remedy| remedy.contains("pfnwatch allow")));
}

#[test]
fn what_was_exempted_needs_no_remedy() {
    let judged = explained(Decision::Exempt);
    assert!(judged.detail.contains("allowed by an exemption"), "{}", judged.detail);
    assert!(judged.remedies.is_empty());
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
        let judged = explained_by(record, &KernelParameters { may_lose_memmap: true, ..host });
        judged.remedies[0]
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
fn without_a_namespace_there_are_still_words() {
    let judged = explained_by(Judgement { seen: pfnwatch_common::record::CaptureFlags::FAULT, ..denial() }, &host());
    assert_eq!(judged.remedies[0], "--map=mem: the memmap then lives in DRAM");
    assert!(judged.incomplete);
}

#[test]
fn other_struct_pages_have_other_words() {
    let debug = explained_by(Judgement { max_struct_page: 80, ..denial() }, &host());
    assert!(
        debug.detail.contains("80 bytes for each page, where 64 suffice (its struct page is wide"),
        "{}",
        debug.detail
    );
    assert!(debug.remedies[1].starts_with("a kernel without memory debug options"), "{}", debug.remedies[1]);
    let mut event = decode(Judgement { max_struct_page: 64, ..denial() }.as_bytes(), &context()).expect("an event");
    judge(&mut event, &host(), &Thresholds { reference_struct_page: 32, ..Thresholds::default() });
    let small = event.guard_decision().expect("judged");
    assert!(small.detail.contains("64 bytes for each page, where 32 suffice: 16 MiB too much"), "{}", small.detail);
    assert!(small.remedies[1].starts_with("a kernel with a struct page of 32 bytes"), "{}", small.remedies[1]);
    assert!(!small.remedies.iter().any(|remedy| remedy.contains("write-infoblock")));
}

//! Whatever the kernel's side sends can be decoded, assessed and written, or is an error.

use pfnwatch_common::record::{Attempt, Judgement, Notice, RecordKind};
use proptest::prelude::*;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::analysis::event_assessment::judge;
use crate::analysis::event_assessment::tests::host;
use crate::export::line;
use crate::model::event::Event;
use crate::model::thresholds::Thresholds;
use crate::testing::events::{context, decode};

/// These bytes as a record of this kind.
fn of_kind(kind: RecordKind, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[..4].copy_from_slice(&(kind as u32).to_ne_bytes());
    bytes
}

/// Whether the event can be written as JSON and as a line of at most 160 characters.
fn can_be_written(event: &Event) -> bool {
    let line = line::of(event);
    let head = line.lines().next().map_or(0, |head| head.chars().count());
    serde_json::to_string(event).is_ok_and(|json| !json.contains('\n')) && (1..=160).contains(&head)
}

proptest! {
    #[test]
    fn any_attempt_can_be_written(bytes in proptest::collection::vec(any::<u8>(), size_of::<Attempt>())) {
        let mut event = decode(&of_kind(RecordKind::Attempt, bytes), &context()).expect("of the right length");
        judge(&mut event, &host(), &Thresholds::default());
        prop_assert!(can_be_written(&event));
    }

    #[test]
    fn any_notice_can_be_written(bytes in proptest::collection::vec(any::<u8>(), size_of::<Notice>())) {
        if let Ok(event) = decode(&of_kind(RecordKind::Notice, bytes), &context()) {
            prop_assert!(can_be_written(&event));
        }
    }

    /// Any bytes of the right length are a judgement or an error.
    #[test]
    fn any_judgement_can_be_written(
        bytes in proptest::collection::vec(any::<u8>(), size_of::<Judgement>()),
        decision in 0..6_u32,
        unjudged in 0..7_u32,
        personality in 0..4_u32,
        device in "\\PC{0,31}",
    ) {
        let mut record = Judgement::read_from_bytes(&bytes).expect("of the right length");
        (record.kind, record.decision, record.unjudged) = (RecordKind::Judgement as u32, decision, unjudged);
        (record.personality, record.device.0) = (personality, [0; 32]);
        let short = device.len().min(31);
        record.device.0[..short].copy_from_slice(&device.as_bytes()[..short]);
        if let Ok(mut event) = decode(record.as_bytes(), &context()) {
            judge(&mut event, &host(), &Thresholds::default());
            prop_assert!(!event.guard_decision().expect("judged").detail.is_empty());
            prop_assert!(can_be_written(&event));
        }
    }
}

mod bytes;

use crate::model::restore_commands;
use std::time::Duration;

use pfnwatch_common::Map;
use pfnwatch_common::record::{Attempt, CaptureFlags, Decision, Judgement, NoticeKind, Personality};
use pfnwatch_common::superblock::SuperblockKind;
use zerocopy::IntoBytes as _;

use super::*;
use crate::testing::events::{block, context, creation, decode, denial, name};

const START: u64 = 4 << 30;

/// The namespace of the decoder's tests.
fn namespace() -> NamespaceId {
    NamespaceId {
        namespace: "namespace0.0".to_owned(),
        namespace_uuid: Some(Uuid::from_bytes([9; 16])),
        start_address: START,
        size_bytes: 1 << 30,
    }
}

fn at(seconds: u64) -> Time {
    Time(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn event(record: &Attempt) -> Event {
    decode(record.as_bytes(), &context()).expect("an event")
}

fn follow(cache: &mut InfoBlockCache, record: &Attempt) {
    cache.follow(&mut event(record));
}

/// The namespace's own driver takes it: raw.
fn enabled_raw() -> Attempt {
    Attempt {
        personality: Personality::NamespacePmem as u32,
        seen: CaptureFlags::NAMESPACE.with(CaptureFlags::BOUND),
        device: name("namespace0.0"),
        ..creation()
    }
}

fn replaced(kept: &mut InfoBlockCache, record: &Judgement) -> Option<ReplacedBlock> {
    let mut event = decode(record.as_bytes(), &context()).expect("an event");
    kept.follow(&mut event);
    event.guard_decision().expect("judged").replaced.clone()
}

/// What ndctl does before it binds: another namespace uuid, another block uuid.
fn reconfigure() -> Judgement {
    Judgement { namespace_uuid: [8; 16], device_uuid: [6; 16], ..denial() }
}

#[test]
fn only_blocks_of_this_namespace_are_kept() {
    let mut kept = InfoBlockCache::default();
    assert!(!kept.read(&namespace(), &[0; superblock::SIZE], at(1)), "no block");
    let foreign = InfoBlock { parent_uuid: [1; 16], ..block() };
    assert!(!kept.read(&namespace(), &foreign.encode(), at(1)), "another namespace's");
    let label_less = NamespaceId { namespace_uuid: None, ..namespace() };
    assert!(!kept.read(&label_less, &block().encode(), at(1)));
    assert!(kept.read(&label_less, &InfoBlock { parent_uuid: [0; 16], ..block() }.encode(), at(1)));
    // What is zero later does not make it forgotten.
    assert!(!kept.read(&label_less, &[0; superblock::SIZE], at(2)));
    assert_eq!(kept.len(), 1);
}

#[test]
fn what_was_seen_is_found_by_any_of_its_names() {
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &creation());
    for which in
        ["namespace0.0", "0x100000000", "09090909-0909-0909-0909-090909090909", "07070707-0707-0707-0707-070707070707"]
    {
        assert!(kept.find(which).is_some(), "{which}");
    }
    for which in ["namespace0.1", "0x1", "0x", "", "00000000-0000-0000-0000-000000000000"] {
        assert!(kept.find(which).is_none(), "{which}");
    }
}

#[test]
fn a_reconfigure_names_the_block_that_was_there() {
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &creation());
    follow(&mut kept, &enabled_raw());
    let old = replaced(&mut kept, &reconfigure()).expect("replaced");
    assert_eq!((old.block_uuid, old.namespace_uuid), (Some(Uuid::from_bytes([7; 16])), namespace().namespace_uuid));
    assert_eq!((old.reservation_bytes, old.dataoff_bytes, old.align_bytes), (Some(18 << 20), 18 << 20, 2 << 20));
    assert_eq!((old.map, old.origin, old.still_on_media), (Some(Map::Dev), BlockOrigin::Made, false));
    assert!(!old.restore_commands.is_empty());
    assert!(kept.find("namespace0.0").is_some_and(|kept| kept.raw_since), "and it stays known");
}

#[test]
fn the_same_uuid_again_is_a_replacement_once_it_was_raw() {
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &creation());
    assert_eq!(replaced(&mut kept, &denial()), None, "nobody could have zeroed it");
    follow(&mut kept, &enabled_raw());
    assert!(replaced(&mut kept, &denial()).is_some());
    // Enabled again as it was: nothing was lost.
    follow(&mut kept, &Attempt { setup_validate: 0, ..creation() });
    assert_eq!(replaced(&mut kept, &denial()), None);
}

#[test]
fn a_block_that_nobody_touched_is_still_there() {
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &creation());
    let old = replaced(&mut kept, &Judgement { device_uuid: [6; 16], ..denial() }).expect("replaced");
    assert!(old.still_on_media);
    assert_eq!(old.restore_commands, ["ndctl disable-namespace namespace0.0", "ndctl enable-namespace namespace0.0"]);
}

#[test]
fn what_passed_has_written_over_the_data() {
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &creation());
    follow(&mut kept, &enabled_raw());
    for decision in [Decision::WouldDeny, Decision::Exempt, Decision::Unjudged] {
        let old = replaced(&mut kept, &Judgement { decision: decision as u32, ..reconfigure() }).expect("replaced");
        assert_eq!((old.restore_commands, old.still_on_media), (Vec::<String>::new(), false));
    }
}

#[test]
fn a_destroyed_namespace_is_not_replaced() {
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &creation());
    let record = pfnwatch_common::record::Notice {
        what: NoticeKind::Label as u32,
        seen: CaptureFlags::NAMESPACE_UUID,
        namespace_uuid: [9; 16],
        ..pfnwatch_common::record::Notice::EMPTY
    };
    let label = decode(record.as_bytes(), &context()).expect("an event");
    let Body::Label(change) = label.body else { panic!("a label") };
    kept.follow(&mut Event { body: Body::Destroy(change), ..label });
    assert_eq!(replaced(&mut kept, &reconfigure()), None);
    assert!(kept.find("namespace0.0").is_some_and(|kept| kept.destroyed), "and it stays known");
}

#[test]
fn the_oldest_falls_out_and_is_counted() {
    let mut kept = InfoBlockCache::default();
    let number = |start: u64| NamespaceId { start_address: start << 30, ..namespace() };
    for start in 0..=MAX_BLOCKS as u64 {
        assert!(kept.read(&number(start), &block().encode(), at(10_000 - start)));
    }
    assert_eq!((kept.len(), kept.evicted()), (MAX_BLOCKS, 1));
    // Of those that were there, the one that was seen the longest ago; the newcomer is the oldest here.
    assert!(kept.find(&format!("{:#x}", (MAX_BLOCKS as u64) << 30)).is_none());
    assert!(kept.find("0x0").is_some());
}

/// The commands to the letter: they are what an operator runs as root.
#[test]
fn the_way_back_in_its_order() {
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &creation());
    let steps = restore_commands::commands("namespace0.0", kept.find("namespace0.0").expect("kept"));
    let uuid = "09090909-0909-0909-0909-090909090909";
    let sysfs = "/sys/bus/nd/devices/namespace0.0";
    assert_eq!(
        steps,
        [
            "pfnwatch events restore-block namespace0.0 -o namespace0.0.infoblock &&".to_owned(),
            "( set -eu".to_owned(),
            format!(
                "grep -qx 0x100000000 {sysfs}/resource || {{ echo 'STOP: namespace0.0 is another one by now' >&2; exit 1; }}"
            ),
            "ndctl disable-namespace namespace0.0".to_owned(),
            format!("grep -qx {uuid} {sysfs}/uuid || echo {uuid} >{sysfs}/uuid"),
            format!("grep -qx 1073741824 {sysfs}/size || echo 1073741824 >{sysfs}/size"),
            format!("grep -qx pfn {sysfs}/holder_class || echo pfn >{sysfs}/holder_class"),
            format!("echo 1 >{sysfs}/force_raw"),
            "ndctl enable-namespace namespace0.0".to_owned(),
            format!("dd if=namespace0.0.infoblock of=/dev/$(ls {sysfs}/block) bs=4096 seek=1 count=1 conv=fsync"),
            "ndctl disable-namespace namespace0.0".to_owned(),
            format!("echo 0 >{sysfs}/force_raw"),
            "ndctl enable-namespace namespace0.0".to_owned(),
            ")".to_owned(),
        ]
    );
}

#[test]
fn from_a_file_that_is_there() {
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &creation());
    let kept = kept.find("namespace0.0").expect("kept");
    let steps = restore_commands::commands_from_file("namespace0.0", "FILE", kept);
    assert_eq!(steps.iter().filter(|step| step.contains("FILE")).count(), 1);
    let fetched = restore_commands::commands("namespace0.0", kept);
    let renamed: Vec<_> = steps.iter().map(|step| step.replace("FILE", "namespace0.0.infoblock")).collect();
    assert_eq!(fetched[1..], renamed);
}

#[test]
fn without_labels_there_is_no_uuid_to_put_back() {
    let mut kept = InfoBlockCache::default();
    let label_less = NamespaceId { namespace_uuid: None, ..namespace() };
    let block = InfoBlock { parent_uuid: [0; 16], kind: SuperblockKind::Dax, ..block() };
    assert!(kept.read(&label_less, &block.encode(), at(1)));
    let steps = restore_commands::commands("namespace0.0", kept.find("namespace0.0").expect("kept"));
    assert!(!steps.iter().any(|step| step.contains("/uuid") || step.contains("/size")));
    assert!(steps[4].starts_with("grep -qx dax ") && steps[4].ends_with("|| true"), "{}", steps[4]);
}

//! The record of a set-up.

use pfnwatch_common::record::{Attempt, CaptureFlags};
use pfnwatch_common::{InfoBlock, Map, superblock};

use super::{Context, bind_code, common, errno, namespace, uuid};
use crate::model::event::{BlockState, SetUp, SetUpOutcome, Sizes};
use crate::model::kernel::COMPAT_ALIGN;

pub(super) fn set_up(record: &Attempt, personality: superblock::SuperblockKind, context: &Context) -> SetUp {
    let setup = record.seen.has(CaptureFlags::SETUP_RETURNED).then_some(record.setup_result);
    let bind = bind_code(record);
    let block = block(record, setup);
    let outcome = outcome(block, setup, bind);
    let info_block = if matches!(block, BlockState::Made | BlockState::Existing) { info_block(record) } else { None };
    SetUp {
        attempt: common(record),
        namespace: namespace(record),
        personality,
        map: Map::from_mode(record.mode),
        align_bytes: record.align,
        block_uuid: uuid(record.seen, CaptureFlags::DEVICE_UUID, record.device_uuid),
        block,
        outcome,
        setup_code: setup,
        meaning: if is_too_wide(record, setup) {
            errno::TOO_WIDE.to_owned()
        } else {
            errno::of_setup(block, outcome, setup, bind)
        },
        sizes: info_block.and_then(|block| sizes(&block, record, context)),
        struct_page_size_bytes: context.struct_page_size,
        judgement: None,
        guard: None,
        info_block,
    }
}

/// Made: `nd_pfn_validate` found none (-ENODEV) and the set-up returned 0. A read-only region, a misaligned start or
/// too little room follow the same answer and end in an error, with nothing written.
fn block(record: &Attempt, setup: Option<i32>) -> BlockState {
    if !record.seen.has(CaptureFlags::SETUP_VALIDATED) {
        return if setup.is_some_and(|code| code < 0) { BlockState::None } else { BlockState::Unknown };
    }
    match (record.setup_validate, setup) {
        (0, _) => BlockState::Existing,
        (errno::ENODEV, Some(0)) => BlockState::Made,
        (errno::ENODEV, Some(_)) => BlockState::None,
        (errno::ENODEV, None) => BlockState::Unknown,
        _ => BlockState::Rejected,
    }
}

/// Whether `nd_pfn_init` refused map=dev for the kernel's struct page alone: a misaligned start is its only other reason
/// for -EINVAL (drivers/nvdimm/pfn_devs.c, 6.1 to 7.3).
fn is_too_wide(record: &Attempt, setup: Option<i32>) -> bool {
    let none_found = record.seen.has(CaptureFlags::SETUP_VALIDATED) && record.setup_validate == errno::ENODEV;
    let aligned = record.seen.has(CaptureFlags::NAMESPACE) && record.namespace_start.is_multiple_of(COMPAT_ALIGN);
    none_found && aligned && setup == Some(errno::EINVAL) && Map::from_mode(record.mode) == Some(Map::Dev)
}

fn outcome(block: BlockState, setup: Option<i32>, bind: Option<i32>) -> SetUpOutcome {
    match (setup, bind, block) {
        (Some(code), _, _) if code < 0 => SetUpOutcome::Refused,
        (_, None, _) => SetUpOutcome::Unknown,
        (_, Some(0), _) => SetUpOutcome::Enabled,
        (_, Some(_), BlockState::Made) => SetUpOutcome::ReservedNotEnabled,
        // Whether a block was written is not known where the set-up's own return was missed.
        (_, Some(_), BlockState::Unknown) => SetUpOutcome::Unknown,
        (_, Some(_), _) => SetUpOutcome::Refused,
    }
}

fn info_block(record: &Attempt) -> Option<InfoBlock> {
    if record.seen.has(CaptureFlags::BLOCK) { InfoBlock::from_head(&record.block).ok() } else { None }
}

fn sizes(block: &InfoBlock, record: &Attempt, context: &Context) -> Option<Sizes> {
    let reservation_bytes = block.reservation()?;
    let usable_bytes = match (Map::from_mode(record.mode), namespace(record)) {
        // nd_pfn.npfns is the block's own: from before a resize, and in pages of the kernel that made it. The driver and the size
        // attribute go by the namespace (pmem_attach_disk, size_show in drivers/nvdimm).
        (Some(Map::Mem), Some(namespace)) => {
            namespace.size_bytes.checked_sub(reservation_bytes)?.checked_sub(block.end_trunc.into())?
        }
        _ => record.npfns.checked_mul(context.page_size)?,
    };
    Some(Sizes {
        reservation_bytes,
        dataoff_bytes: block.dataoff,
        start_pad_bytes: block.start_pad.into(),
        end_trunc_bytes: block.end_trunc.into(),
        usable_bytes,
        npfns: block.npfns,
        page_struct_size_bytes: block.page_struct_size.into(),
        block_page_size_bytes: block.page_size.map(u64::from),
    })
}

//! From the wire records of the eBPF programs to domain events. Pure: what it needs to know is in [`Context`].

mod errno;
mod judgement;
#[cfg(test)]
pub(crate) mod samples;
mod setup;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use pfnwatch_common::record::{
    Attempt, CaptureFlags, Judgement, MemmapRemoval, Notice, NoticeKind, Personality, RecordKind, TaskInfo, Text,
    variant,
};
use pfnwatch_common::superblock;
use thiserror::Error;
use uuid::Uuid;
use zerocopy::FromBytes as _;

use crate::model::event::{self, Body, Event, ProbeResult};
use crate::model::memmap_return;

#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The wall-clock time of the boot: what the records count from.
    pub booted: SystemTime,
    pub page_size: u64,
    /// `sizeof(struct page)` in bytes, if BTF has it.
    pub struct_page_size: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("a record of {0} bytes is too short to have a kind")]
    TooShort(usize),
    #[error("a record of unknown kind {0}: the eBPF programs are not of this agent's version")]
    UnknownKind(u32),
    #[error("a record of kind {kind:?} must have {expected} bytes and has {found}")]
    WrongLength { kind: RecordKind, expected: usize, found: usize },
    #[error("a notice of unknown kind {0}: the eBPF programs are not of this agent's version")]
    UnknownNotice(u32),
    #[error("a judgement of unknown decision {0}: the eBPF programs are not of this agent's version")]
    UnknownDecision(u32),
    #[error(
        "a judgement that was not made for the unknown reason {0}: the eBPF programs are not of this agent's version"
    )]
    UnknownReason(u32),
    #[error("a judgement of a device of kind {0}, which is neither fsdax nor devdax")]
    NotGuarded(u32),
}

pub fn decode(bytes: &[u8], context: &Context) -> Result<Event, DecodeError> {
    let number = bytes.first_chunk().map(|kind| u32::from_ne_bytes(*kind)).ok_or(DecodeError::TooShort(bytes.len()))?;
    let kind = variant::<RecordKind>(number).ok_or(DecodeError::UnknownKind(number))?;
    let wrong = |expected| DecodeError::WrongLength { kind, expected, found: bytes.len() };
    match kind {
        RecordKind::Attempt => {
            let record = Attempt::read_from_bytes(bytes).map_err(|_| wrong(size_of::<Attempt>()))?;
            Ok(event_at(record.ended_ns, attempt(&record, context), context))
        }
        // Info blocks are asked for by the inventory alone, which reads them itself.
        RecordKind::Block => Err(DecodeError::UnknownKind(number)),
        // One of the right length is no event by itself: see `memmap_removal`.
        RecordKind::MemmapRemoval => Err(wrong(size_of::<MemmapRemoval>())),
        RecordKind::Notice => {
            let record = Notice::read_from_bytes(bytes).map_err(|_| wrong(size_of::<Notice>()))?;
            Ok(event_at(record.at_ns, notice(&record)?, context))
        }
        RecordKind::Judgement => {
            let record = Judgement::read_from_bytes(bytes).map_err(|_| wrong(size_of::<Judgement>()))?;
            Ok(event_at(record.at_ns, judgement::judgement(&record)?, context))
        }
    }
}

/// The removal of a memmap that a record reports; `None` if it is another record, or has another length. With a fault, which has been
/// counted, or with nonsense its size is 0.
pub fn memmap_removal(bytes: &[u8], context: &Context) -> Option<memmap_return::MemmapRemoval> {
    let record = MemmapRemoval::read_from_bytes(bytes).ok()?;
    let size = record.end.checked_sub(record.start).and_then(|last| last.checked_add(1));
    let align = u32::try_from(record.vmemmap_shift).ok().and_then(|shift| context.page_size.checked_shl(shift));
    let is_complete = align.is_some() && !record.seen.has(CaptureFlags::FAULT);
    (variant::<RecordKind>(record.kind) == Some(RecordKind::MemmapRemoval)).then(|| memmap_return::MemmapRemoval {
        time: event::wall_clock(context.booted, Duration::from_nanos(record.at_ns)),
        start: record.start,
        size: size.filter(|_| is_complete).unwrap_or(0),
        align: align.unwrap_or(0),
        on_media: (record.memory_blocks == 0).then_some(false),
        is_inferred: false,
        by: actor(&record.task),
    })
}

fn event_at(since_boot_ns: u64, body: Body, context: &Context) -> Event {
    Event::at(event::wall_clock(context.booted, Duration::from_nanos(since_boot_ns)), body)
}

fn attempt(record: &Attempt, context: &Context) -> Body {
    match Personality::from_u32(record.personality) {
        Personality::Pfn if record.seen.has(CaptureFlags::SETUP_ENTERED) => {
            Body::SetUp(Box::new(setup::set_up(record, superblock::SuperblockKind::Pfn, context)))
        }
        Personality::Dax if record.seen.has(CaptureFlags::SETUP_ENTERED) => {
            Body::SetUp(Box::new(setup::set_up(record, superblock::SuperblockKind::Dax, context)))
        }
        _ => Body::Probe(Box::new(probe(record))),
    }
}

fn probe(record: &Attempt) -> event::Probe {
    let code = bind_code(record);
    // pmem_attach_disk and __dax_pmem_probe set a memmap up for every pfn or dax device that they take.
    let set_up_missed = matches!(Personality::from_u32(record.personality), Personality::Pfn | Personality::Dax);
    let found_block = record.seen.has(CaptureFlags::PROBE_VALIDATED).then_some(record.probe_validate != errno::ENODEV);
    let result = match code {
        None => ProbeResult::Unknown,
        Some(0) if set_up_missed => ProbeResult::SetUpNotSeen,
        Some(0) => ProbeResult::Enabled,
        // nd_pmem_probe answers -ENXIO once a btt, pfn or dax device takes the namespace (drivers/nvdimm/pmem.c).
        Some(errno::ENXIO) => ProbeResult::PassedOn,
        Some(_) => ProbeResult::Refused,
    };
    event::Probe {
        meaning: errno::of_probe(result, code),
        attempt: common(record),
        namespace: namespace(record),
        result,
        found_block,
    }
}

fn common(record: &Attempt) -> event::Attempt {
    event::Attempt {
        device: text(&record.device).unwrap_or_default(),
        region: text(&record.region),
        driver: text(&record.driver),
        bind_code: bind_code(record),
        duration_us: record.ended_ns.saturating_sub(record.began_ns) / 1000,
        incomplete: record.seen.has(CaptureFlags::FAULT),
        by: actor(&record.task),
    }
}

/// The driver's or the driver core's error number, negative. `really_probe` returns a driver's own as a positive number
/// (drivers/base/dd.c, since 5.15), which distinguishes it from the driver core's.
fn bind_code(record: &Attempt) -> Option<i32> {
    record.seen.has(CaptureFlags::BOUND).then(|| -record.bind_result.saturating_abs())
}

fn namespace(record: &Attempt) -> Option<event::NamespaceId> {
    let Attempt { seen, namespace, namespace_uuid, namespace_start, namespace_end, .. } = record;
    namespace_of(*seen, namespace, *namespace_uuid, *namespace_start, *namespace_end)
}

fn namespace_of<const N: usize>(
    seen: CaptureFlags,
    name: &Text<N>,
    namespace_uuid: [u8; 16],
    start: u64,
    end: u64,
) -> Option<event::NamespaceId> {
    seen.has(CaptureFlags::NAMESPACE).then(|| event::NamespaceId {
        namespace: text(name).unwrap_or_default(),
        namespace_uuid: uuid(seen, CaptureFlags::NAMESPACE_UUID, namespace_uuid),
        start_address: start,
        // The resource's end is its last byte; an empty one ends before it starts.
        size_bytes: end.wrapping_sub(start).wrapping_add(1),
    })
}

fn notice(record: &Notice) -> Result<Body, DecodeError> {
    let what = variant::<NoticeKind>(record.what).ok_or(DecodeError::UnknownNotice(record.what))?;
    let change = event::NamespaceChange {
        device: text(&record.device).unwrap_or_default(),
        region: text(&record.region),
        // User space ends what it writes with a newline.
        namespace: text(&record.namespace).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        namespace_uuid: uuid(record.seen, CaptureFlags::NAMESPACE_UUID, record.namespace_uuid),
        size_bytes: matches!(what, NoticeKind::Label).then_some(record.size),
        label_name: text(&record.label_name),
        incomplete: record.seen.has(CaptureFlags::FAULT),
        by: actor(&record.task),
    };
    Ok(match what {
        NoticeKind::Unbind => Body::Unbind(change),
        NoticeKind::Claim => Body::Claim(change),
        NoticeKind::Label => Body::Label(change),
    })
}

/// `None` if the kernel acts by itself.
fn actor(task: &TaskInfo) -> Option<event::Actor> {
    (!task.is_kernel_thread()).then(|| event::Actor {
        pid: task.pid,
        uid: task.uid,
        comm: String::from_utf8_lossy(task.comm.bytes()).into_owned(),
        cgroup_id: task.cgroup_id,
        cgroup: None,
    })
}

fn uuid(seen: CaptureFlags, bit: CaptureFlags, bytes: [u8; 16]) -> Option<Uuid> {
    seen.has(bit).then(|| Uuid::from_bytes(bytes)).filter(|uuid| !uuid.is_nil())
}

fn text<const N: usize>(text: &Text<N>) -> Option<String> {
    text.as_str().map(str::to_owned)
}

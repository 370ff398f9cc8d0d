//! An attempt of a driver to bind a libnvdimm device: its beginning and its end.

use aya_ebpf::macros::{fexit, kprobe};
use aya_ebpf::programs::{FExitContext, ProbeContext};
use aya_log_ebpf::debug;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::record::{Attempt, CaptureFlags, Personality};

use crate::counters::count;
use crate::kernel::{Device, Namespace, NdPfn, Read, Region, claimed_by, first_argument};
use crate::maps::ATTEMPTS;
use crate::{begun_binds, emit, globals, known_blocks, ownership, task};

/// `static int nvdimm_bus_probe(struct device *dev)` (drivers/nvdimm/bus.c): an attempt begins.
#[kprobe]
fn bus_probe(ctx: ProbeContext) -> u32 {
    let Some(device) = ctx.arg::<u64>(0).map(Device::at) else { return 0 };
    match device.personality() {
        // A fault has been counted.
        Ok(Personality::Other) => drop(other(device)),
        Ok(personality) if ownership::is_active() => begin(&ctx, device, personality),
        _ => {}
    }
    0
}

/// The bus carries regions and DIMMs too: nothing is reserved for those. Not only where this load is in charge: a region that is enabled in the
/// moment of a take-over is counted by both.
#[inline(always)]
fn other(device: Device) -> Read<()> {
    if device.has_region_driver()? {
        begun_binds::note(device);
        known_blocks::forget_region(Region::of(device)?)
    } else {
        Ok(())
    }
}

#[inline(always)]
fn begin(ctx: &ProbeContext, device: Device, personality: Personality) {
    static EMPTY: Attempt = Attempt::EMPTY;
    begun_binds::note(device);
    let thread = task::thread_id();
    if let Some(earlier) = in_flight() {
        give_up(earlier);
    }
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would go over the stack of 512 bytes")]
    let inserted = ATTEMPTS.insert(thread, &EMPTY, 0);
    if inserted.is_err() {
        count(Counter::TableFull);
        return;
    }
    let Some(attempt) = in_flight() else { return };
    attempt.began_ns = emit::now();
    attempt.device_address = device.address();
    attempt.personality = personality as u32;
    // The driver core has set `dev->driver` by now, and takes it away again before a failed attempt ends.
    if device.driver_name(&mut attempt.driver).is_err() {
        attempt.seen = attempt.seen.with(CaptureFlags::FAULT);
    }
    if globals::debug() {
        debug!(ctx, "attempt begins, personality {}", personality as u32);
    }
}

/// The attempt of the current thread; `None` if another load is active.
#[inline(always)]
pub(super) fn in_flight() -> Option<&'static mut Attempt> {
    if !ownership::is_active() {
        return None;
    }
    let attempt = ATTEMPTS.get_ptr_mut(task::thread_id())?;
    // SAFETY: the entry is this thread's own: only the programs on its own path write it, one after the other, and it
    // is removed at the end of that path; memory of a removed entry outlives the program (RCU).
    Some(unsafe { &mut *attempt })
}

/// A probe inside a probe, or one whose end was missed: the earlier attempt can no longer be followed. It is sent as
/// far as it was seen, which is all of it if only the end was missed.
#[inline(always)]
fn give_up(earlier: &mut Attempt) {
    if !earlier.seen.has(CaptureFlags::BOUND) {
        count(Counter::Unpaired);
        earlier.seen = earlier.seen.with(CaptureFlags::FAULT);
    }
    send(earlier);
}

/// `static int really_probe(struct device *dev, struct device_driver *drv)` (drivers/base/dd.c) returns: what it returns is kept.
/// An exit program, since the return probes of one function are limited to two for each CPU, and a probe sleeps.
///
/// It can be preempted, and the kernel does not run an exit program on a CPU where it is held up already (`prog->active`,
/// kernel/bpf/trampoline.c), as long as a burst lasts where the kernel is a preemptible one. So it is short, has a spare, and
/// leaves everything else to [`bind_end`].
#[fexit(function = "really_probe")]
fn bind_result(ctx: FExitContext) -> i32 {
    // A fault has been counted.
    let _ = look_for_beginning(&ctx);
    keep_result(&ctx)
}

#[fexit(function = "really_probe")]
fn bind_result_spare(ctx: FExitContext) -> i32 {
    keep_result(&ctx)
}

#[inline(always)]
fn keep_result(ctx: &FExitContext) -> i32 {
    let Some(attempt) = in_flight() else { return 0 };
    // dax_pmem's probe makes a device on the dax bus, whose own probe ends inside ours.
    if ctx.arg::<u64>(0) != attempt.device_address || attempt.seen.has(CaptureFlags::BOUND) {
        return 0;
    }
    if let Ok(result) = ctx.ret::<i32>() {
        attempt.bind_result = result;
        attempt.ended_ns = emit::now();
        attempt.seen = attempt.seen.with(CaptureFlags::BOUND);
    }
    0
}

/// What `really_probe` returns if the guard refuses the link `driver` (`kernfs_create_link`, fs/kernfs/symlink.c): no driver's
/// probe ran, so that none was seen to begin.
const REFUSED: i32 = -12;

/// If no probe saw this bind begin, nobody knows what is on the namespace, or in the region, and the guard judges nothing there until
/// it is seen again.
#[inline(always)]
fn look_for_beginning(ctx: &FExitContext) -> Read<()> {
    if !ownership::is_active() {
        return Ok(());
    }
    let device = Device::at(first_argument(ctx)?);
    if begun_binds::take(device) || matches!(ctx.ret::<i32>(), Ok(REFUSED)) {
        return Ok(());
    }
    match device.personality()? {
        Personality::Pfn | Personality::Dax => known_blocks::mark_unseen(NdPfn::of(device)?),
        Personality::NamespacePmem | Personality::NamespaceIo => {
            known_blocks::mark_namespace_unseen(Namespace::of(device)?)
        }
        Personality::Other if device.has_region_driver()? => known_blocks::forget_region(Region::of(device)?),
        // A btt device makes no such block: with what was known of one that it overwrites the guard allows more, not less.
        Personality::Btt | Personality::Other => Ok(()),
    }
}

/// `int __pm_runtime_idle(struct device *dev, int rpmflags)` (drivers/base/power/runtime.c): the first thing that the driver core
/// does with a device once `really_probe` has returned, however that went (`__driver_probe_device`, drivers/base/dd.c). A probe
/// at a function's entry is not preempted, so that no end goes unseen here; to others that let a device idle it costs a look
/// for an attempt that is not there.
#[kprobe]
fn bind_end(ctx: ProbeContext) -> u32 {
    let Some(attempt) = in_flight() else { return 0 };
    if ctx.arg::<u64>(0) != Some(attempt.device_address) {
        return 0;
    }
    let device = Device::at(attempt.device_address);
    if !attempt.seen.has(CaptureFlags::BOUND) {
        attempt.ended_ns = emit::now();
        // Only the number of an error is not known now: a failed attempt leaves no driver behind.
        if matches!(device.has_driver(), Ok(true)) {
            attempt.bind_result = 0;
            attempt.seen = attempt.seen.with(CaptureFlags::BOUND);
        }
    }
    finish(attempt, device);
    0
}

#[inline(always)]
pub(super) fn finish(attempt: &mut Attempt, device: Device) {
    if describe(attempt, device).is_err() {
        attempt.seen = attempt.seen.with(CaptureFlags::FAULT);
    }
    if attempt.validated_address != 0 || attempt.nd_pfn_address != 0 {
        count(Counter::ReturnMissed);
        if attempt.nd_pfn_address != 0 {
            // A fault has been counted.
            let _ = known_blocks::mark_unseen(NdPfn::at(attempt.nd_pfn_address));
        }
    }
    if learn(attempt, device).is_err() {
        attempt.seen = attempt.seen.with(CaptureFlags::FAULT);
    }
    send(attempt);
    let _ = ATTEMPTS.remove(task::thread_id());
}

#[inline(always)]
fn send(attempt: &mut Attempt) {
    if is_seed(attempt) {
        count(Counter::Seed);
        return;
    }
    if attempt.ended_ns == 0 {
        attempt.ended_ns = emit::now();
    }
    task::describe(&mut attempt.task);
    emit::attempt(attempt);
}

/// Records what a device that a driver took shows of the info block.
#[inline(always)]
fn learn(attempt: &Attempt, device: Device) -> Read<()> {
    if !attempt.seen.has(CaptureFlags::BOUND) {
        return Ok(());
    }
    if attempt.bind_result != 0 {
        return failed(attempt, device);
    }
    match Personality::from_u32(attempt.personality) {
        // There is a valid block with the device's uuid: known by now, unless the return of the set-up was missed.
        Personality::Pfn | Personality::Dax => known_blocks::remember(NdPfn::of(device)?),
        // No block was found, or none was looked for: what is there may be overwritten.
        Personality::NamespacePmem | Personality::NamespaceIo => known_blocks::forget(Namespace::of(device)?),
        Personality::Btt => match claimed_by(device, Personality::Btt)? {
            Some(namespace) => known_blocks::forget(namespace),
            None => Ok(()),
        },
        Personality::Other => Ok(()),
    }
}

/// A bind has failed. Only a set-up writes a block: without one the namespace is what it was before.
#[inline(always)]
fn failed(attempt: &Attempt, device: Device) -> Read<()> {
    let is_set_up = attempt.seen.has(CaptureFlags::SETUP_ENTERED) || attempt.seen.has(CaptureFlags::FAULT);
    match Personality::from_u32(attempt.personality) {
        Personality::Pfn | Personality::Dax if !is_set_up => known_blocks::clear_doubt(NdPfn::of(device)?),
        _ => Ok(()),
    }
}

/// A seed, or a namespace of size 0 (its `res.end` is `res.start - 1`, or both are 0): probed whenever one is made, and
/// nothing can be reserved. Only where that was read without a fault: what is not known is sent.
#[inline(always)]
fn is_seed(attempt: &Attempt) -> bool {
    if attempt.seen.has(CaptureFlags::FAULT) {
        return false;
    }
    !attempt.seen.has(CaptureFlags::NAMESPACE) || attempt.namespace_end <= attempt.namespace_start
}

#[inline(always)]
fn describe(attempt: &mut Attempt, device: Device) -> Read<()> {
    device.name(&mut attempt.device)?;
    if let Some(region) = device.parent()? {
        region.name(&mut attempt.region)?;
    }
    match Personality::from_u32(attempt.personality) {
        Personality::NamespacePmem | Personality::NamespaceIo => namespace(attempt, Namespace::of(device)?),
        personality if !attempt.seen.has(CaptureFlags::NAMESPACE) => match claimed_by(device, personality)? {
            Some(found) => namespace(attempt, found),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

#[inline(always)]
pub(super) fn namespace(attempt: &mut Attempt, namespace: Namespace) -> Read<()> {
    let device = namespace.device()?;
    let personality = device.personality()?;
    attempt.namespace_personality = personality as u32;
    device.name(&mut attempt.namespace)?;
    (attempt.namespace_start, attempt.namespace_end) = namespace.range()?;
    attempt.seen = attempt.seen.with(CaptureFlags::NAMESPACE);
    if namespace.uuid(personality, &mut attempt.namespace_uuid)? {
        attempt.seen = attempt.seen.with(CaptureFlags::NAMESPACE_UUID);
    }
    Ok(())
}

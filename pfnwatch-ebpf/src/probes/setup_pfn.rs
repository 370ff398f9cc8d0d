//! `nvdimm_setup_pfn`: the kernel meets an info block, or makes one and reserves the memmap.

use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use aya_log_ebpf::debug;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::record::{Attempt, CaptureFlags};

use super::bind::{finish, in_flight, namespace};
use crate::counters::count;
use crate::kernel::{Device, NdPfn, Read};
use crate::{globals, known_blocks, ownership, written_uuids};

/// `int nvdimm_setup_pfn(struct nd_pfn *nd_pfn, struct dev_pagemap *pgmap)` (drivers/nvdimm/pfn_devs.c) begins.
#[kprobe]
fn setup_pfn_enter(ctx: ProbeContext) -> u32 {
    let Some(address) = ctx.arg::<u64>(0) else { return 0 };
    let Some(attempt) = in_flight() else {
        if ownership::is_active() {
            count(Counter::Unpaired);
            // A fault has been counted.
            let _ = known_blocks::mark_unseen(NdPfn::at(address));
        }
        return 0;
    };
    let nd_pfn = NdPfn::at(address);
    attempt.nd_pfn_address = nd_pfn.address();
    attempt.seen = attempt.seen.with(CaptureFlags::SETUP_ENTERED);
    if claimed(attempt, nd_pfn).is_err() || wanted(attempt, nd_pfn).is_err() {
        attempt.seen = attempt.seen.with(CaptureFlags::FAULT);
    }
    0
}

#[inline(always)]
fn claimed(attempt: &mut Attempt, nd_pfn: NdPfn) -> Read<()> {
    if let Some(claimed) = nd_pfn.namespace()? {
        namespace(attempt, claimed)?;
    }
    if nd_pfn.uuid(&mut attempt.device_uuid)? {
        attempt.seen = attempt.seen.with(CaptureFlags::DEVICE_UUID);
    }
    Ok(())
}

/// What was requested; after the set-up, what the kernel chose.
#[inline(always)]
fn wanted(attempt: &mut Attempt, nd_pfn: NdPfn) -> Read<()> {
    attempt.mode = nd_pfn.mode()?;
    attempt.align = nd_pfn.align()?;
    attempt.npfns = nd_pfn.npfns()?;
    Ok(())
}

/// -ENODEV of `nd_pfn_validate`.
const NO_BLOCK: i32 = -19;

/// `int nd_pfn_validate(struct nd_pfn *nd_pfn, const char *sig)` (drivers/nvdimm/pfn_devs.c) begins.
#[kprobe]
fn pfn_validate_enter(ctx: ProbeContext) -> u32 {
    if let (Some(attempt), Some(address)) = (in_flight(), ctx.arg::<u64>(0)) {
        if attempt.validated_address != 0 {
            count(Counter::ReturnMissed);
        }
        attempt.validated_address = address;
    }
    0
}

/// `nd_pfn_validate` returns. Inside a set-up, -ENODEV means that a block is about to be made and 0 that there is one;
/// outside, a namespace's probe looks for a block of either signature.
#[kretprobe]
fn pfn_validate_return(ctx: RetProbeContext) -> u32 {
    let Some(attempt) = in_flight() else { return 0 };
    let result = ctx.ret::<i32>();
    if result == 0 && attempt.validated_address != 0 {
        // A fault has been counted.
        let _ = known_blocks::remember(NdPfn::at(attempt.validated_address));
    }
    attempt.validated_address = 0;
    if attempt.nd_pfn_address != 0 {
        attempt.setup_validate = result;
        attempt.seen = attempt.seen.with(CaptureFlags::SETUP_VALIDATED);
    } else if !attempt.seen.has(CaptureFlags::PROBE_VALIDATED) || attempt.probe_validate == NO_BLOCK {
        attempt.probe_validate = result;
        attempt.seen = attempt.seen.with(CaptureFlags::PROBE_VALIDATED);
    }
    0
}

#[kretprobe]
fn setup_pfn_return(ctx: RetProbeContext) -> u32 {
    let Some(attempt) = in_flight() else { return 0 };
    let nd_pfn = NdPfn::at(attempt.nd_pfn_address);
    if nd_pfn.address() == 0 {
        count(Counter::Unpaired);
        // A fault has been counted.
        let _ = NdPfn::of(Device::at(attempt.device_address)).and_then(known_blocks::mark_unseen);
        return 0;
    }
    attempt.nd_pfn_address = 0;
    attempt.setup_result = ctx.ret::<i32>();
    attempt.seen = attempt.seen.with(CaptureFlags::SETUP_RETURNED);
    if result(attempt, nd_pfn).is_err() || learn(attempt, nd_pfn).is_err() {
        attempt.seen = attempt.seen.with(CaptureFlags::FAULT);
    }
    if globals::debug() {
        debug!(&ctx, "set-up returns {}", attempt.setup_result);
    }
    if !globals::bind_seen() {
        let device = Device::at(attempt.device_address);
        finish(attempt, device);
    }
    0
}

/// -EIO: the block may have been written before the flush failed (`nsio_rw_bytes`, drivers/nvdimm/claim.c).
const WRITE_FAILED: i32 = -5;

/// What the set-up has left on the namespace.
#[inline(always)]
fn learn(attempt: &Attempt, nd_pfn: NdPfn) -> Read<()> {
    let has_looked = attempt.seen.has(CaptureFlags::SETUP_VALIDATED);
    let found_none = has_looked && attempt.setup_validate == NO_BLOCK;
    match attempt.setup_result {
        0 => {
            known_blocks::remember(nd_pfn)?;
            if found_none {
                written_uuids::consume(nd_pfn.device()?);
            }
            Ok(())
        }
        WRITE_FAILED => known_blocks::mark_unseen(nd_pfn),
        // `nd_pfn_init` writes the block last, and only if it has found none (drivers/nvdimm/pfn_devs.c).
        _ if has_looked => known_blocks::clear_doubt(nd_pfn),
        _ => Ok(()),
    }
}

#[inline(always)]
fn result(attempt: &mut Attempt, nd_pfn: NdPfn) -> Read<()> {
    wanted(attempt, nd_pfn)?;
    // Before nd_pfn_validate ran, `pfn_sb` may still be a former probe's, and freed.
    if attempt.seen.has(CaptureFlags::SETUP_VALIDATED) && nd_pfn.block(&mut attempt.block)? {
        attempt.seen = attempt.seen.with(CaptureFlags::BLOCK);
    }
    Ok(())
}

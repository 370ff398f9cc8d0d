//! The guard: refuses an oversize creation before anything is written. If it cannot judge, it allows and counts.

mod assess;
mod creation;
mod exemption;
mod passed_nodes;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::record::{Decision, Judgement, Personality};

use self::assess::GuardAssessment;
use self::creation::Creation;
use crate::counters::count;
use crate::kernel::{Device, KernfsNode, Read};
use crate::{emit, known_blocks};

/// What the driver core gets for a refusal; it returns another error to its own caller.
const EPERM: i32 = 1;

/// `int security_kernfs_init_security(struct kernfs_node *kn_dir, struct kernfs_node *kn)`: a node of sysfs or of a cgroup
/// is made. For each bind, `driver_sysfs_add` (drivers/base/dd.c) makes a link "driver" in the device's directory before
/// the driver's probe runs: refused there, the bind ends before anything is written.
///
/// Most calls are for nodes that are no links: they end with the first test.
#[lsm(hook = "kernfs_init_security")]
fn guard(ctx: LsmContext) -> i32 {
    on_node(&ctx)
}

/// The same again, attached only where the kernel does not run a program of this hook on a CPU on which another task was
/// preempted inside it (`prog->active`, kernel/bpf/trampoline.c, up to 6.1.53): then this one judges. A creation that
/// [`guard`] has allowed is not judged again, see [`passed_nodes`].
#[lsm(hook = "kernfs_init_security")]
fn guard_spare(ctx: LsmContext) -> i32 {
    on_node(&ctx)
}

#[inline(always)]
fn on_node(ctx: &LsmContext) -> i32 {
    // SAFETY: the hook's second argument is a `struct kernfs_node *`.
    let node = unsafe { KernfsNode::argument(ctx.arg(1)) };
    if node.is_link() { link(ctx) } else { previous_result(ctx) }
}

/// What an earlier program on the hook has answered. A kernel whose verifier asks for a return from -4095 to 0 (6.12 and
/// later) knows that this is one.
#[inline(always)]
fn previous_result(ctx: &LsmContext) -> i32 {
    ctx.arg(2)
}

/// A link is made. A function of its own in the kernel, too: what it needs of registers to be saved and of stack the usual
/// way then does not pay for, 9 instructions of the 20 that it may cost.
#[inline(never)]
fn link(ctx: &LsmContext) -> i32 {
    let before = previous_result(ctx);
    if before != 0 {
        return before;
    }
    // SAFETY: both arguments are a `struct kernfs_node *`.
    let (directory, node) = unsafe { (KernfsNode::argument(ctx.arg(0)), KernfsNode::argument(ctx.arg(1))) };
    if denies(directory, node) { -EPERM } else { 0 }
}

#[inline(always)]
fn denies(directory: KernfsNode, node: KernfsNode) -> bool {
    match (device(directory, node), node.id()) {
        (Ok(Some((device, personality))), Some(id)) if !passed_nodes::has_passed(id) => decide(device, personality, id)
            .unwrap_or_else(|_| {
                count(Counter::GuardFault);
                false
            }),
        _ => false,
    }
}

#[inline(always)]
fn device(directory: KernfsNode, node: KernfsNode) -> Read<Option<(Device, Personality)>> {
    if !node.is_named_driver()? {
        return Ok(None);
    }
    let Some(kobject) = directory.private() else { return Ok(None) };
    let device = Device::of_kobject(kobject)?;
    Ok(match device.personality()? {
        personality @ (Personality::Pfn | Personality::Dax) => Some((device, personality)),
        _ => None,
    })
}

#[inline(always)]
fn decide(device: Device, personality: Personality, node: u64) -> Read<bool> {
    let Some(creation) = Creation::of(device, personality)? else { return Ok(false) };
    count(Counter::Judged);
    let judged = assess::assess(&creation);
    let refused = match judged.decision {
        None => false,
        Some(decision) => {
            count(match decision {
                Decision::Denied => Counter::Denied,
                Decision::WouldDeny => Counter::WouldDeny,
                Decision::Exempt => Counter::Exempt,
                Decision::Unjudged => Counter::Unjudged,
            });
            emit_decision(&creation, &judged, decision);
            matches!(decision, Decision::Denied)
        }
    };
    if !refused {
        known_blocks::doubt(&creation.place, &creation.uuid);
        passed_nodes::note_passed(node);
    }
    Ok(refused)
}

#[inline(always)]
fn emit_decision(creation: &Creation, judged: &GuardAssessment, decision: Decision) {
    emit::record(|record: &mut Judgement| {
        record.decision = decision as u32;
        record.unjudged = judged.unjudged as u32;
        record.dataoff = judged.dataoff;
        record.end_trunc = judged.end_trunc;
        record.ideal_dataoff = judged.ideal_dataoff;
        record.max_struct_page = judged.max_struct_page;
        record.policy = judged.policy;
        record.exemption = judged.exemption;
        creation.describe(record)
    });
}

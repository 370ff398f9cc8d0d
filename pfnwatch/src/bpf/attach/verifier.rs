//! What the kernel's verifier answers to each program, without attaching any.

use aya::programs::{FExit, KProbe, Lsm, RawTracePoint};
use aya::{Btf, Ebpf};

use super::{Settings, load, synthetic_btf};
use crate::kernel::programs::{Hook, ProgramPlan};

/// Loads each planned program, attaches none, and removes all. A line for each: that it loads, why it is not loaded, or the
/// verifier's log.
///
/// # Errors
/// The maps cannot be made.
pub fn verify(settings: &Settings, plan: &[ProgramPlan]) -> anyhow::Result<Vec<String>> {
    let mut ebpf = load(settings, true)?;
    let types = synthetic_btf(&settings.functions)?;
    let line = |step: &ProgramPlan| match &step.disabled_reason {
        Some(reason) => format!("{}: not loaded: {reason}", step.name),
        None => match load_program(&mut ebpf, step, &types) {
            Ok(()) => format!("{}: loads", step.name),
            Err(error) => format!("{}: {error:#}", step.name),
        },
    };
    Ok(plan.iter().map(line).collect())
}

fn load_program(ebpf: &mut Ebpf, step: &ProgramPlan, btf: &Btf) -> anyhow::Result<()> {
    let program = ebpf.program_mut(step.name).ok_or_else(|| anyhow::anyhow!("the object has no such program"))?;
    match step.hook {
        Hook::Kprobe(_) | Hook::Kretprobe(_) => TryInto::<&mut KProbe>::try_into(program)?.load()?,
        Hook::Fexit(function) => TryInto::<&mut FExit>::try_into(program)?.load(function, btf)?,
        Hook::Lsm(hook) => TryInto::<&mut Lsm>::try_into(program)?.load(hook, btf)?,
        Hook::RawTracepoint(_) => TryInto::<&mut RawTracePoint>::try_into(program)?.load()?,
    }
    Ok(())
}

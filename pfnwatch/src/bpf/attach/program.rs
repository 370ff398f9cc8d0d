//! Attaching one program of a plan.

use anyhow::Context as _;
use aya::programs::links::FdLink;
use aya::programs::{FExit, KProbe, Lsm, RawTracePoint};
use aya::{Btf, Ebpf};

use crate::kernel::programs::{Hook, ProgramPlan};

/// Loads and attaches a program. `take`: return the link, to be pinned; else the object keeps it, if it is not a probe's that can be
/// asked for misses. Without the returned link the program is detached.
pub(super) fn attach_program(
    ebpf: &mut Ebpf,
    step: &ProgramPlan,
    btf: Option<&Btf>,
    take: bool,
) -> anyhow::Result<Option<FdLink>> {
    let program = ebpf.program_mut(step.name).with_context(|| format!("the object has no program {}", step.name))?;
    match step.hook {
        Hook::Kprobe(function) | Hook::Kretprobe(function) => {
            let probe: &mut KProbe = program.try_into()?;
            probe.load().context("the kernel refuses to load it")?;
            let id = probe.attach(function, 0).map_err(|error| {
                let what = missing_for_probe(&error.to_string(), function);
                anyhow::Error::new(error).context(what)
            })?;
            // aya makes a link exactly then.
            if !take && !aya::features().bpf_perf_link() {
                return Ok(None);
            }
            let link = FdLink::try_from(probe.take_link(id)?);
            link.map(Some).context("this kernel cannot pin a probe: on_agent_exit = \"hold\" needs Linux 5.15 or newer")
        }
        Hook::Fexit(function) => {
            let probe: &mut FExit = program.try_into()?;
            let btf = btf.context("the kernel's types are not there")?;
            probe.load(function, btf).context("the kernel refuses to load it")?;
            let id = probe.attach().with_context(|| format!("the kernel refuses a trampoline on {function}"))?;
            Ok(if take { Some(probe.take_link(id)?.into()) } else { None })
        }
        Hook::Lsm(hook) => {
            let guard: &mut Lsm = program.try_into()?;
            let btf = btf.context("the kernel's types are not there")?;
            guard.load(hook, btf).context("the kernel refuses to load it")?;
            let id =
                guard.attach().with_context(|| format!("the kernel refuses a program on the security hook {hook}"))?;
            Ok(if take { Some(guard.take_link(id)?.into()) } else { None })
        }
        Hook::RawTracepoint(tracepoint) => {
            let probe: &mut RawTracePoint = program.try_into()?;
            probe.load().context("the kernel refuses to load it")?;
            let id = probe.attach(tracepoint).with_context(|| format!("the kernel has no tracepoint {tracepoint}"))?;
            Ok(if take { Some(probe.take_link(id)?.into()) } else { None })
        }
    }
}

/// ENOENT if the kernel has no such function, or has inlined it everywhere; and if it has no kprobe events, whose file aya then
/// names.
fn missing_for_probe(error: &str, function: &str) -> String {
    if error.contains("/event_source/devices/kprobe/") {
        "the kernel was built without kprobe events (CONFIG_KPROBE_EVENTS)".to_owned()
    } else {
        format!("the kernel has no function {function} to probe")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_kind_of_probe_is_not_a_missing_function() {
        let error = "`/sys/bus/event_source/devices/kprobe/type`: No such file or directory (os error 2)";
        assert!(missing_for_probe(error, "nvdimm_setup_pfn").contains("CONFIG_KPROBE_EVENTS"));
        let absent = missing_for_probe("`perf_event_open` failed", "nvdimm_setup_pfn");
        assert_eq!(absent, "the kernel has no function nvdimm_setup_pfn to probe");
    }
}

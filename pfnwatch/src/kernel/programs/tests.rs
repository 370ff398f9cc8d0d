//! Plans for made-up kernels.

use pfnwatch_common::layout::Layout;

use super::*;
use crate::kernel::bpf_runtime::BpfRuntime;
use crate::kernel::layout::{Missing, MissingReason};
use crate::kernel::member_lookup::LookupError;

fn without(structure: Structure, required: bool) -> Resolution {
    let lookup = LookupError::NoStructure { structure: structure.name().to_owned(), file: "vmlinux".to_owned() };
    let missing =
        Missing { structure, field: "field", tried: &["member"], required, why: MissingReason::Lookup(lookup) };
    Resolution { layout: Layout::UNRESOLVED, missing: vec![missing] }
}

const RUNTIME: BpfRuntime = BpfRuntime { preallocates: false, skips_guard: false };

fn plan(kernel: &Resolution) -> Result<Vec<ProgramPlan>, MissingRequiredProgram> {
    super::plan(kernel, RUNTIME)
}

#[test]
fn a_known_kernel_gets_all_programs() {
    let known = Resolution { layout: Layout::UNRESOLVED, missing: Vec::new() };
    let steps = super::plan(&known, BpfRuntime { skips_guard: true, ..RUNTIME }).expect("a plan");
    assert_eq!(steps.len(), PROGRAMS.len());
    assert!(steps.iter().all(|step| step.disabled_reason.is_none()));
}

#[test]
fn the_guard_is_attached_twice_where_one_may_be_skipped_and_only_there() {
    let known = Resolution { layout: Layout::UNRESOLVED, missing: Vec::new() };
    let guards = |skips_guard| {
        let steps = super::plan(&known, BpfRuntime { skips_guard, ..RUNTIME }).expect("a plan");
        steps.iter().filter(|step| matches!(step.hook, Hook::Lsm(_))).map(|step| step.name).collect::<Vec<_>>()
    };
    assert_eq!(guards(false), [names::GUARD]);
    assert_eq!(guards(true), [names::GUARD, names::GUARD_SPARE]);
}

#[test]
fn a_missing_member_switches_off_what_reads_it_and_says_what_is_missed() {
    let steps = plan(&without(Structure::Task, true)).expect("a plan");
    let off: Vec<_> = steps.iter().filter(|step| step.disabled_reason.is_some()).map(|step| step.name).collect();
    assert_eq!(off, [names::BIND_END]);
    let reason = steps.iter().find_map(|step| step.disabled_reason.clone()).unwrap_or_default();
    assert!(reason.contains("task_struct") && reason.contains("not seen for it"), "{reason}");
}

#[test]
fn an_optional_member_switches_nothing_off_and_is_named() {
    let steps = plan(&without(Structure::NdBtt, false)).expect("a plan");
    assert!(steps.iter().all(|step| step.disabled_reason.is_none()));
    let lacking: Vec<_> = steps.iter().filter(|step| step.degraded_reason.is_some()).map(|step| step.name).collect();
    assert_eq!(lacking, [names::BIND_END]);
}

#[test]
fn without_the_structure_of_a_set_up_nothing_can_be_observed() {
    let error = plan(&without(Structure::NdPfn, true)).expect_err("impossible");
    assert_eq!(error.program, names::SETUP_PFN_RETURN);
    assert!(error.to_string().contains("nd_pfn"), "{error}");
}

#[test]
fn an_end_is_attached_before_its_beginning() {
    let at = |name| PROGRAMS.iter().position(|spec| spec.name == name);
    assert!(at(names::BIND_END) < at(names::BUS_PROBE));
    assert!(at(names::BIND_RESULT) < at(names::BUS_PROBE));
    assert!(at(names::SETUP_PFN_RETURN) < at(names::SETUP_PFN_ENTER));
}

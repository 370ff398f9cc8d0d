//! Where a test counts: on which kernel lines, and in which scenario (machine).

use crate::kernel_lines::Lines;

pub const DEFAULT: &str = "default";

/// A larger machine whose libnvdimm is built with MAX_STRUCT_PAGE_SIZE = 128.
pub const MAX128: &str = "max128";
/// The same NVDIMMs with what was made there, under a kernel without the regression.
pub const CARRIED: &str = "carried";
/// The default kernel without `bpf` in its list of security modules.
pub const NO_BPF: &str = "no-bpf";
/// MAX_STRUCT_PAGE_SIZE = 32, below `sizeof(struct page)`.
pub const MAX32: &str = "max32";
pub const MAX32_OVERRIDE: &str = "max32-override";

/// The same machine for the guard's tests, which are more than half of all: two guests can run in parallel.
pub const GUARD: &str = "guard";

pub const SOAK: &str = "soak";

/// One NVDIMM of 257 GiB: binding a namespace of it takes half a minute under emulation.
pub const HUGE: &str = "huge";

/// CXL memory, virtio-pmem, and two ranges of DRAM that the kernel takes for persistent memory; no NVDIMM.
pub const DEVICES: &str = "devices";

/// An arm64 machine with one NVDIMM, for kernels with pages of 4 KiB and of 16 KiB.
pub const ARM64: &str = "arm64";

/// A Debian under systemd, whose kernel is built with MAX_STRUCT_PAGE_SIZE = 128.
pub const DEBIAN: &str = "debian";
pub const DEBIAN_AGAIN: &str = "debian-again";

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scope {
    /// Start of the test's full name: a module of `e2e/` with `::`, or a module and a test.
    pub prefix: &'static str,
    pub lines: Lines,
    pub scenario: &'static str,
}

/// A test of the guard counts on every line that observes, unless the kernel cannot make a difference to it
/// (`decided_by_maps`): what it checks is decided by the contents of the guard's maps, by the agent, or by pins, and
/// what that needs of the kernel (the hook, the arguments, the structures) other tests check on every line. Whatever
/// depends on the order of the kernel's steps, on its locks, on names that it assigns, or on what it refuses stays on
/// every line, and so does every race.
///
/// The longest prefix of a test's name wins; a test without a row counts on every line.
pub const TABLE: &[Scope] = &[
    Scope { prefix: "", lines: Lines::Every, scenario: DEFAULT },
    only("alerts::", "6.12"),
    only("alone::", "6.12"),
    Scope { prefix: "arm64::", lines: Lines::Arm64, scenario: ARM64 },
    // The code of 5.10 is not recognized (LIMITATIONS.md).
    observing("kernel::the_running_code_shows_whether"),
    observing("burst::"),
    Scope { prefix: "busy::", lines: Lines::Only("6.12"), scenario: HUGE },
    Scope { prefix: "devices::", lines: Lines::MemoryDevices, scenario: DEVICES },
    Scope { prefix: "devices::lost_memmaps", lines: Lines::MemoryDevicesAndLoss, scenario: DEVICES },
    // The driver is of 7.2 and later.
    Scope { prefix: "devices::ramdax", lines: Lines::Only("7.3"), scenario: DEVICES },
    only("documents::", "6.12"),
    Scope { prefix: "documents::regressed::", lines: Lines::Every, scenario: MAX128 },
    observing("dram::"),
    only("faults::", "6.18"),
    // What a switch does is another thing from one kernel to the next.
    Scope { prefix: "faults::switched_off", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    observing("geometry::"),
    Scope { prefix: "guard::", lines: Lines::Observing, scenario: GUARD },
    decided_by_maps("guard::allowed::"),
    // Two threads in the kernel at once; a failure behind the guard, in an order that is the kernel's.
    Scope { prefix: "guard::allowed::once_is_spent_by", lines: Lines::Observing, scenario: GUARD },
    decided_by_maps("guard::break_glass::"),
    decided_by_maps("guard::denied::is_just_what_the_verdict_calls_oversize"),
    decided_by_maps("guard::hold::agent_that_ends_as_it_was_asked"),
    decided_by_maps("guard::hold::failed_take_over"),
    decided_by_maps("guard::hold::guard_of_another_version"),
    decided_by_maps("guard::hold::pins_that_are_removed"),
    // What is known is decided by maps; that a region is enabled, the oldest and the newest show.
    decided_by_maps("guard::unseen::existing_block_on_a_region_that_was_enabled_again"),
    decided_by_maps("guard::known_blocks_full::"),
    decided_by_maps("guard::lifecycle::mode_is_taken_while_denials_flood"),
    decided_by_maps("guard::lifecycle::sighup"),
    Scope { prefix: "guard::max128::", lines: Lines::Every, scenario: MAX128 },
    Scope { prefix: "guard::no_bpf::", lines: Lines::Every, scenario: NO_BPF },
    observing("inventory::"),
    observing("kernel::a_kprobe"),
    only("event_store::", "6.12"),
    only("kills::", "6.12"),
    observing("life::"),
    observing("memmap_return::"),
    Scope { prefix: "ndctl_size::", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    observing("neighbours::"),
    only("plan::", "6.12"),
    observing("prediction::"),
    // Capabilities are asked for in other places from one kernel to the next.
    Scope { prefix: "privileges::", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    observing("refusal::"),
    observing("reload::"),
    Scope { prefix: "debug_info::", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    Scope { prefix: "diagnostics::", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    only("web::", "6.12"),
    observing("why::"),
    observing("host::doctor_finds"),
    Scope { prefix: "host::", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    Scope { prefix: "host::doctor_names", lines: Lines::Blind, scenario: DEFAULT },
    Scope { prefix: "host::run_ends_with_4_on_5_10", lines: Lines::Blind, scenario: DEFAULT },
    Scope { prefix: "leftovers::", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    Scope { prefix: "loss::", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    observing("platform::module_btf"),
    Scope { prefix: "platform::no_module_btf", lines: Lines::Blind, scenario: DEFAULT },
    Scope { prefix: "reservation::many_", lines: Lines::OldestAndNewest, scenario: DEFAULT },
    Scope { prefix: "max128::", lines: Lines::Every, scenario: MAX128 },
    // One host's three boots.
    Scope { prefix: "max128_alerted::first", lines: Lines::Every, scenario: NO_BPF },
    Scope { prefix: "max128_alerted::second", lines: Lines::Every, scenario: MAX128 },
    Scope { prefix: "max128_alerted::third", lines: Lines::Every, scenario: CARRIED },
    Scope { prefix: "max128_changed::", lines: Lines::Every, scenario: MAX128 },
    Scope { prefix: "max128_regressed::", lines: Lines::Every, scenario: MAX128 },
    // After the rows above by its name: what it makes has to stay for the next machine.
    Scope { prefix: "max128_then_carried::is_made", lines: Lines::Every, scenario: MAX128 },
    Scope { prefix: "max128_then_carried::", lines: Lines::Every, scenario: CARRIED },
    Scope { prefix: "max32::", lines: Lines::Every, scenario: MAX32 },
    Scope { prefix: "max32_override::", lines: Lines::Every, scenario: MAX32_OVERRIDE },
    Scope { prefix: "soak::", lines: Lines::OldestAndNewest, scenario: SOAK },
    Scope { prefix: "debian::", lines: Lines::Every, scenario: DEBIAN },
    Scope { prefix: "debian_again::", lines: Lines::Every, scenario: DEBIAN_AGAIN },
];

/// Tests that depend on the kernel, and need the agent.
const fn observing(prefix: &'static str) -> Scope {
    Scope { prefix, lines: Lines::Observing, scenario: DEFAULT }
}

const fn only(prefix: &'static str, line: &'static str) -> Scope {
    Scope { prefix, lines: Lines::Only(line), scenario: DEFAULT }
}

/// Tests of the guard to which the kernel cannot make a difference.
const fn decided_by_maps(prefix: &'static str) -> Scope {
    Scope { prefix, lines: Lines::OldestAndNewest, scenario: GUARD }
}

pub fn of(test: &str) -> Scope {
    let rows = TABLE.iter().filter(|row| test.starts_with(row.prefix));
    let fallback = Scope { prefix: "", lines: Lines::Every, scenario: DEFAULT };
    rows.max_by_key(|row| row.prefix.len()).copied().unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_lines::KERNEL_LINES;

    #[test]
    fn longest_prefix_holds() {
        assert_eq!(of("platform::no_module_btf").lines, Lines::Blind);
        assert_eq!(of("platform::anything_else").lines, Lines::Every);
    }

    #[test]
    fn what_is_tried_on_one_line_is_tried() {
        for row in TABLE {
            assert!(KERNEL_LINES.iter().any(|line| row.lines.contain(line)), "{}", row.prefix);
        }
    }
}

//! How the running kernel runs eBPF programs: differences that its types show.

use crate::kernel::member_lookup::MemberLookup;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfRuntime {
    /// A kprobe program must not allocate: its hash maps are allocated as a whole. Otherwise the kernel warns, and refuses the
    /// program under PREEMPT_RT (`check_map_prog_compatibility`, kernel/bpf/verifier.c, before 6.1).
    pub preallocates: bool,
    /// A program on a security hook does not run on a CPU on which another task was preempted inside it (`prog->active`,
    /// kernel/bpf/trampoline.c, up to 6.1.53).
    pub skips_guard: bool,
}

impl BpfRuntime {
    /// `version`: of the kernel, as `uname -v` shows it.
    pub fn of(types: &dyn MemberLookup, has_function: impl Fn(&str) -> bool, version: &str) -> Self {
        Self {
            // The allocator of hash maps that works in any context came with this member.
            preallocates: types.member("bpf_htab", "ma").is_err(),
            // The change that ended the skip introduced this function.
            skips_guard: version.contains("PREEMPT") && !has_function("bpf_trampoline_enter"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::member_lookup::{LookupError, Member};

    struct Types {
        allocator: bool,
    }

    impl MemberLookup for Types {
        fn size_of(&self, structure: &str) -> Result<u32, LookupError> {
            Err(LookupError::NoStructure { structure: structure.to_owned(), file: String::new() })
        }

        fn member(&self, structure: &str, _: &str) -> Result<Member, LookupError> {
            let found = Member { offset_bytes: 256, width_bytes: 16 };
            if self.allocator { Ok(found) } else { self.size_of(structure).map(|_| found) }
        }
    }

    const DEBIAN: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.20-1 (2023-03-19)";

    #[test]
    fn before_6_1_maps_are_allocated_as_a_whole() {
        let of = |allocator| BpfRuntime::of(&Types { allocator }, |_| true, DEBIAN).preallocates;
        assert!(of(false) && !of(true));
    }

    #[test]
    fn only_a_preemptible_kernel_without_the_fix_skips_the_guard() {
        let of = |fixed, version| BpfRuntime::of(&Types { allocator: true }, |_| fixed, version).skips_guard;
        assert!(of(false, DEBIAN));
        assert!(!of(true, DEBIAN), "6.1.54 and later");
        assert!(!of(false, "#1 SMP Debian 6.1.20-1 (2023-03-19)"), "nothing is preempted there");
    }
}

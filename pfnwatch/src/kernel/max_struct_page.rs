//! MAX_STRUCT_PAGE_SIZE of a kernel, by evidence: it is a macro, so nothing in the kernel names it.
//!
//! `code` finds it in machine code, `image/running_code` gets that code from the running kernel (and `image/module_file` from
//! files), `evidence` compares the sources, and `image/max_struct_page` collects all evidence of a host.

mod evidence;
#[cfg(test)]
pub(crate) mod tests;

pub use self::evidence::{Addresses, Evidence, Resolved, Source, Strength, of_release, resolve};
use crate::code::max_struct_page::MaxStructPage;

/// Functions that show the constant, the usual one first: compilers have inlined `nd_pfn_init` into it so far.
pub const FUNCTIONS: [&str; 2] = ["nvdimm_setup_pfn", "nd_pfn_init"];

impl MaxStructPage {
    /// What map=dev is computed with: the override's size if it is set and exists.
    #[must_use]
    pub const fn effective(self, override_set: bool) -> u64 {
        match self.overridden_bytes {
            Some(overridden) if override_set => overridden,
            _ => self.bytes,
        }
    }
}

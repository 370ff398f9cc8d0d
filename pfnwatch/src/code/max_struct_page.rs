//! MAX_STRUCT_PAGE_SIZE out of the machine code of `nvdimm_setup_pfn`.
//!
//! The constant is a macro: no symbol and no BTF has it. The compiled function shows it twice: it is the 16-bit value
//! stored into the info block's `page_struct_size`, 0x5c bytes into it, and it is what the number of pages is multiplied
//! with for dataoff. Registers and order differ from one build to the next, so the values are followed through the
//! function's flow (see `flow`), and bytes are never matched.

use std::collections::BTreeSet;
use std::fmt;

use iced_x86::{Decoder, DecoderOptions, Instruction};
use thiserror::Error;

use super::flow::{Finding, Flow};
use super::{arm64, empty_block};

/// Machine code with the address of its first byte: of a kernel's memory, or of a section in a module file.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// Starts with the function's first byte; bytes behind its end are ignored.
    pub bytes: &'a [u8],
    pub address: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    X86_64,
    Aarch64,
    /// Any other: there the code is no evidence.
    Other(object::Architecture),
}

/// One instruction that shows the constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    pub address: u64,
    /// The sizes in bytes that it can have: two if `page_struct_override` selects one of them at run time.
    pub sizes: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The store into `page_struct_size`.
    pub from_store: Occurrence,
    /// The multiplication for dataoff; `None` if map=dev is always refused (`struct page` larger than the constant), or
    /// if the compiler wrote it in a way that is not recognized.
    pub from_shift: Option<Occurrence>,
    /// The kernel writes an info block that leaves nothing usable; `None` if the code does not show it.
    pub allows_empty: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStructPage {
    /// In bytes.
    pub bytes: u64,
    /// What the module parameter `page_struct_override` replaces it with when set, if the kernel has that parameter and
    /// a `struct page` above the constant.
    pub overridden_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodeError {
    #[error("machine code of {0:?} is not supported: only that of x86_64 and arm64 is decoded")]
    NotSupported(object::Architecture),
    /// No 16-bit store at 0x5c: another function, or a compiler that does it differently.
    #[error("no 16-bit store to page_struct_size (displacement 0x5c) in nvdimm_setup_pfn")]
    NoStore,
    /// The stored value could not be followed to constants.
    #[error("the value stored to page_struct_size at {address:#x} is not a constant that can be followed")]
    Unfollowed { address: u64 },
    /// A kprobe or a debugger replaced the instruction.
    #[error("somebody else's breakpoint at {address:#x} hides what the code does there")]
    Breakpoint { address: u64 },
    /// Store and shift, or two stores, disagree.
    #[error("the code contradicts itself: page_struct_size gets {stored} bytes, dataoff is computed with {shifted}")]
    Conflict { stored: Sizes, shifted: Sizes },
}

/// A set of sizes, for messages: `64`, or `32 or 64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(pub BTreeSet<u64>);

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<_> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&sizes.join(" or "))
    }
}

/// Follows the constant through `code`.
///
/// # Errors
/// [`CodeError`] if the architecture is another, or if the code does not show the constant beyond doubt.
pub fn decode(code: Code<'_>, architecture: Architecture) -> Result<Decoded, CodeError> {
    match architecture {
        Architecture::X86_64 => {
            let instructions = instructions_of(code);
            let flow = Flow::of(&instructions);
            decoded(flow.sightings(), || empty_block::allows_empty(&instructions, &flow))
        }
        Architecture::Aarch64 => decoded(arm64::sightings(code), || None),
        Architecture::Other(other) => Err(CodeError::NotSupported(other)),
    }
}

fn decoded(
    sightings: impl IntoIterator<Item = Finding>,
    allows_empty: impl FnOnce() -> Option<bool>,
) -> Result<Decoded, CodeError> {
    let mut stored = Vec::new();
    let mut shifted = Vec::new();
    for seen in sightings {
        match seen {
            Finding::Breakpoint { address } => return Err(CodeError::Breakpoint { address }),
            Finding::Store { address, sizes: None } => return Err(CodeError::Unfollowed { address }),
            Finding::Store { address, sizes: Some(sizes) } => stored.push(Occurrence { address, sizes }),
            Finding::Product { address, size } => shifted.push(Occurrence { address, sizes: BTreeSet::from([size]) }),
        }
    }
    // The parameter selects between the sizes of one store. Two stores of different sizes contradict each other.
    let agree = stored.windows(2).all(|pair| matches!(pair, [a, b] if a.sizes == b.sizes));
    let from_store = merged(stored).ok_or(CodeError::NoStore)?;
    let decoded = Decoded { from_store, from_shift: merged(shifted), allows_empty: allows_empty() };
    if !agree {
        return Err(decoded.conflict());
    }
    decoded.max_struct_page().map(|_| decoded)
}

impl Decoded {
    /// The constant, if store and shift agree on it.
    ///
    /// # Errors
    /// [`CodeError::Conflict`] if they do not.
    pub fn max_struct_page(&self) -> Result<MaxStructPage, CodeError> {
        let stored = Vec::from_iter(self.from_store.sizes.iter().copied());
        let shifted = self.from_shift.as_ref().map(|shift| Vec::from_iter(shift.sizes.iter().copied()));
        match (stored.as_slice(), shifted.as_deref()) {
            (&[bytes], None) => Ok(MaxStructPage { bytes, overridden_bytes: None }),
            (&[bytes], Some(&[size])) if size == bytes => Ok(MaxStructPage { bytes, overridden_bytes: None }),
            // nd_pfn_init() computes with sizeof(struct page) when the parameter is set, and refuses map=dev otherwise.
            (&[bytes, overridden], Some(&[size])) if size == overridden => {
                Ok(MaxStructPage { bytes, overridden_bytes: Some(overridden) })
            }
            _ => Err(self.conflict()),
        }
    }

    fn conflict(&self) -> CodeError {
        CodeError::Conflict {
            stored: Sizes(self.from_store.sizes.clone()),
            shifted: Sizes(self.from_shift.as_ref().map(|shift| shift.sizes.clone()).unwrap_or_default()),
        }
    }
}

/// The instructions in order; invalid ones stay, as places where the flow ends.
pub(super) fn instructions_of(code: Code<'_>) -> Vec<Instruction> {
    Decoder::with_ip(64, code.bytes, code.address, DecoderOptions::NONE).into_iter().collect()
}

/// All occurrences as one, at the first one's address.
fn merged(sightings: Vec<Occurrence>) -> Option<Occurrence> {
    sightings.into_iter().reduce(|mut all, more| {
        all.sizes.extend(more.sizes);
        all
    })
}

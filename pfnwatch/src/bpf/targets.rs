//! Where programs that go by type information are attached, told to aya by the ids that the agent has already looked up.
//!
//! aya takes the id of a function from types that it has parsed itself: all of vmlinux's, in a form that takes a second
//! pass over 5 MB and a search over every function for each program. It is given a stand-in in their place, which has the
//! wanted functions at their ids and fillers below.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aya::Btf;

/// The ids of functions in the running kernel's own BTF, by name.
pub type FunctionIds = BTreeMap<String, u32>;

/// Above this no kernel has an id: vmlinux has 130,000 types.
const MOST_TYPES: u32 = 1 << 22;
const HEADER_BYTES: u32 = 24;
const MAGIC: u16 = 0xeb9f;
/// `BTF_KIND_FWD` and `BTF_KIND_FUNC` (include/uapi/linux/btf.h), where a type's `info` has them. Both are 12 bytes long.
const FORWARD: u32 = 7 << 24;
const FUNCTION: u32 = 12 << 24;

/// Types that have these functions at these ids, and nothing else of use.
///
/// # Errors
/// An id is none that a kernel has.
pub(super) fn stand_in(functions: &FunctionIds) -> anyhow::Result<Btf> {
    let bytes = image(functions).context("the ids of the kernel's functions are out of range")?;
    Btf::parse(&bytes, aya::Endianness::default()).context("the stand-in for the kernel's types is not understood")
}

fn image(functions: &FunctionIds) -> Option<Vec<u8>> {
    let by_id: BTreeMap<u32, &str> = functions.iter().map(|(name, id)| (*id, name.as_str())).collect();
    let mut strings = vec![0];
    let mut types = Vec::new();
    let mut push = |name: u32, info: u32| [name, info, 0].iter().for_each(|word| types.extend(word.to_ne_bytes()));
    let mut next = 1;
    for (id, name) in by_id {
        if id < next || id > MOST_TYPES {
            return None;
        }
        (next..id).for_each(|_| push(0, FORWARD));
        push(u32::try_from(strings.len()).ok()?, FUNCTION);
        strings.extend(name.bytes().chain([0]));
        next = id + 1;
    }
    let (type_bytes, string_bytes) = (u32::try_from(types.len()).ok()?, u32::try_from(strings.len()).ok()?);
    let mut image = MAGIC.to_ne_bytes().to_vec();
    // Version 1, no flags.
    image.extend([1, 0]);
    for word in [HEADER_BYTES, 0, type_bytes, type_bytes, string_bytes] {
        image.extend(word.to_ne_bytes());
    }
    image.extend(types);
    image.extend(strings);
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel;

    fn ids(functions: &[(&str, u32)]) -> FunctionIds {
        functions.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()
    }

    #[test]
    fn each_function_has_its_id() {
        let functions = ids(&[("really_probe", 101_234), ("bpf_lsm_kernfs_init_security", 7), ("beside_it", 8)]);
        let read_back = kernel::btf::Btf::from_reader(&*image(&functions).unwrap(), "stand-in").unwrap();
        for (name, id) in &functions {
            assert_eq!(read_back.function_id(name), Some(*id), "{name}");
        }
        assert_eq!(read_back.function_id("another"), None);
        assert!(stand_in(&functions).is_ok());
    }

    #[test]
    fn ids_that_no_kernel_has_are_refused() {
        assert!(stand_in(&ids(&[("void", 0)])).is_err());
        assert!(stand_in(&ids(&[("far", u32::MAX)])).is_err());
        assert!(stand_in(&ids(&[])).is_ok());
    }
}

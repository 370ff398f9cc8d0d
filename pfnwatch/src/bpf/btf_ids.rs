//! Passes ids of functions that the agent has already looked up to aya, which attaches programs by type information.
//!
//! aya takes the id of a function from types that it has parsed itself: all of vmlinux's, which takes a second pass
//! over 5 MB and a search over every function for each program. Instead it gets synthetic types, with the wanted
//! functions at their ids and fillers below.

use crate::kernel::libnvdimm::FunctionIds;
use std::collections::BTreeMap;

use anyhow::ensure;
use aya::Btf;
use aya_obj::btf::{BtfType, Func, FuncLinkage};

/// No kernel has an id above this: vmlinux has 130,000 types.
const MAX_TYPE_ID: u32 = 1 << 22;

/// Types that have these functions at these ids, and nothing else.
pub(super) fn synthetic_btf(functions: &FunctionIds) -> anyhow::Result<Btf> {
    let by_id: BTreeMap<u32, &str> = functions.iter().map(|(name, id)| (*id, name.as_str())).collect();
    let mut types = Btf::new();
    // That of `void`, which is there already.
    let mut last = 0;
    for (id, name) in by_id {
        ensure!(id > last && id <= MAX_TYPE_ID, "the id {id} of the kernel's function {name} is out of range");
        for _ in last + 1..id {
            types.add_type(BtfType::Unknown);
        }
        let name = types.add_string(name);
        last = types.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Static)));
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;

    fn ids(functions: &[(&str, u32)]) -> FunctionIds {
        functions.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()
    }

    #[test]
    fn each_function_has_its_id() {
        let functions = ids(&[("really_probe", 101_234), ("bpf_lsm_kernfs_init_security", 7), ("beside_it", 8)]);
        let types = synthetic_btf(&functions).unwrap();
        for (name, id) in &functions {
            assert_eq!(types.id_by_type_name_kind(name, BtfKind::Func).unwrap(), *id, "{name}");
        }
        assert!(types.id_by_type_name_kind("another", BtfKind::Func).is_err());
    }

    #[test]
    fn ids_that_no_kernel_has_are_refused() {
        assert!(synthetic_btf(&ids(&[("void", 0)])).is_err());
        assert!(synthetic_btf(&ids(&[("far", u32::MAX)])).is_err());
        assert!(synthetic_btf(&ids(&[])).is_ok());
    }
}

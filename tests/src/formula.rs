//! The kernel's formula, written independently for tests: `nd_pfn_init` in drivers/nvdimm/pfn_devs.c of Linux 6.1.

use crate::MIB;

const PAGE: u64 = 4096;
/// What comes before the memmap: the namespace's first 8 KiB hold the info block.
const HEAD: u64 = 8192;

/// What map=dev reserves for a namespace on x86 with `struct_page` bytes for each page; all in bytes.
pub fn reservation(start: u64, size: u64, align: u64, struct_page: u64) -> u64 {
    let memmap = (size - HEAD) / PAGE * struct_page;
    (start + HEAD + memmap).next_multiple_of(align.max(2 * MIB)) - start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_kernels_were_seen_to_do() {
        let of = |size, struct_page| reservation(4096 * MIB, size, 2 * MIB, struct_page);
        assert_eq!((of(4096 * MIB, 64), of(4096 * MIB, 128)), (69_206_016, 136_314_880));
        assert_eq!((of(1024 * MIB, 64), of(1024 * MIB, 128)), (18_874_368, 35_651_584));
        assert_eq!((of(64 * MIB, 64), of(64 * MIB, 128)), (2_097_152, 4_194_304));
        assert_eq!(reservation(4096 * MIB, 16384 * MIB, 1024 * MIB, 128), 1024 * MIB);
    }
}

//! Machine code in the place of `nvdimm_setup_pfn`.

use pfnwatch::code::max_struct_page::{Architecture, Code, decode};

/// Any code ends in a constant with the places that show it, or in an error that says why not.
pub fn check(bytes: &[u8]) {
    const ADDRESS: u64 = 0xffff_ffff_c000_0000;
    match decode(Code { bytes, address: ADDRESS }, Architecture::X86_64) {
        Ok(decoded) => {
            let end = ADDRESS + bytes.len() as u64;
            assert!((ADDRESS..end).contains(&decoded.from_store.address), "{decoded:?}");
            assert!(decoded.max_struct_page().is_ok(), "{decoded:?}");
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

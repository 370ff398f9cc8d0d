//! Random machine code as `nvdimm_setup_pfn`.

use pfnwatch::code::max_struct_page::{Architecture, Code, decode};

/// Any code yields a constant with the places that show it, or an error with the reason.
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

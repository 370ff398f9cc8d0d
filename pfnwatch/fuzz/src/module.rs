//! Module files, plain or packed.

use pfnwatch::image::module_file;

/// A file is a libnvdimm, with evidence if its code shows the constant, or an error with the reason.
pub fn check(bytes: &[u8]) {
    match module_file::read(bytes) {
        Ok(module) => assert_eq!(module.evidence("libnvdimm.ko").is_some(), module.code.is_ok()),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

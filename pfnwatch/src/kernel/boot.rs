//! Which boot this is, and with which libnvdimm.

use std::fs;

use super::max_struct_page::host::loaded_build_id;
use crate::paths::Paths;

/// A number that the kernel makes up at each boot; none where procfs does not tell.
#[must_use]
pub fn id(paths: &Paths) -> Option<String> {
    let id = fs::read_to_string(paths.procfs.join("sys/kernel/random/boot_id")).ok()?;
    Some(id.trim().to_owned())
}

/// The build-id of the loaded libnvdimm, in hex; none where it is not loaded, is built in, or has none.
#[must_use]
pub fn libnvdimm_build_id(paths: &Paths) -> Option<String> {
    loaded_build_id(&paths.sysfs)
}

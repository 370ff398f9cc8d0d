//! Which boot this is, how long ago it was, and with which libnvdimm.

use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use object::Endianness;
use object::elf::{FileHeader64, NT_GNU_BUILD_ID};
use object::read::elf::NoteIterator;

use crate::os::paths::Paths;

/// A number that the kernel generates at each boot; `None` if procfs does not have it.
#[must_use]
pub fn id(paths: &Paths) -> Option<String> {
    let id = fs::read_to_string(paths.procfs.join("sys/kernel/random/boot_id")).ok()?;
    Some(id.trim().to_owned())
}

/// The build-id of the loaded libnvdimm, in hex; `None` if it is not loaded, is built in, or has none.
#[must_use]
pub fn libnvdimm_build_id(paths: &Paths) -> Option<String> {
    loaded_build_id(&paths.sysfs)
}

/// The build-id of the loaded libnvdimm, in hex; `None` if it is not loaded, is built in, or has none.
pub fn loaded_build_id(sysfs: &Path) -> Option<String> {
    let notes = fs::read(sysfs.join("module/libnvdimm/notes/.note.gnu.build-id")).ok()?;
    let mut notes = NoteIterator::<FileHeader64<Endianness>>::new(Endianness::default(), 4, &notes).ok()?;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"GNU" && note.n_type(Endianness::default()) == NT_GNU_BUILD_ID {
            return Some(HEXLOWER.encode(note.desc()));
        }
    }
    None
}

/// The `srcversion` of the loaded libnvdimm, a hash of its sources; `None` if it is not loaded, or built without one.
#[must_use]
pub fn loaded_srcversion(sysfs: &Path) -> Option<String> {
    let text = fs::read_to_string(sysfs.join("module/libnvdimm/srcversion")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

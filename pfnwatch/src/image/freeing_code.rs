//! The functions that free a memmap, out of an unpacked image.

use object::{File, Object as _, ObjectSection as _};
use thiserror::Error;

use super::kallsyms::{self, KallsymsError};
use crate::code::memmap_free::{self, KernelFunction, MemmapFreeError, MemmapReturn};

/// `remove_pagetable` has some 2,700 bytes.
pub(super) const MAX_CODE_BYTES: u64 = 64 << 10;

#[derive(Debug, Error)]
pub enum ImageCodeError {
    #[error(transparent)]
    Kallsyms(#[from] KallsymsError),
    #[error("machine code of {0:?} is not supported: only x86_64 is decoded")]
    NotSupported(object::Architecture),
    #[error(transparent)]
    Decode(#[from] MemmapFreeError),
}

/// Whether the kernel in an unpacked vmlinux returns a 2 MiB piece of memmap.
///
/// # Errors
/// [`ImageCodeError`]: the functions are not found, or their code does not show it.
pub(super) fn memmap_return(vmlinux: &[u8]) -> Result<MemmapReturn, ImageCodeError> {
    let file = File::parse(vmlinux).map_err(KallsymsError::from)?;
    if file.architecture() != object::Architecture::X86_64 {
        return Err(ImageCodeError::NotSupported(file.architecture()));
    }
    let functions = kallsyms::symbols(&file, memmap_free::is_wanted)?.into_iter().map(|symbol| {
        let size = symbol.size.min(MAX_CODE_BYTES);
        let bytes = file.sections().find_map(|section| section.data_range(symbol.address, size).ok().flatten());
        KernelFunction { name: symbol.name, address: symbol.address, bytes: bytes.unwrap_or_default().to_vec() }
    });
    Ok(memmap_free::memmap_return(&functions.collect::<Vec<_>>())?)
}

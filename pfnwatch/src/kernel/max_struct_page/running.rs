//! `nvdimm_setup_pfn` as it runs: its address out of kallsyms, its bytes out of /proc/kcore. Needs root.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use object::{
    Endianness,
    elf::{FileHeader64, PT_LOAD},
    read::elf::{FileHeader as _, ProgramHeader as _},
};
use thiserror::Error;

use super::{Architecture, Code, DecodeError, Decoded, FUNCTIONS, decode};

/// More than this is not read of one function: `nvdimm_setup_pfn` has some 900 bytes.
const MOST_CODE: u64 = 16 << 10;
/// /proc/kcore's headers lie at its start; there is one program header for each range of memory.
const KCORE_HEADERS: u64 = 1 << 20;

/// What pfnwatch runs on.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Architecture = Architecture::X86_64;
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURE: Architecture = Architecture::Other(object::Architecture::Unknown);

/// Why the running code does not say.
#[derive(Debug, Error)]
pub enum RunningError {
    /// A pseudo file cannot be read.
    #[error("cannot read {path}: {source}; this takes root (CAP_SYS_RAWIO) and a kernel that is not locked down")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No function of that name.
    #[error("the kernel has no nvdimm_setup_pfn: libnvdimm is not loaded")]
    NotLoaded,
    /// Symbols are listed, with addresses of zero.
    #[error("the kernel hides its addresses (kptr_restrict, or not root)")]
    Hidden,
    /// kcore is not what it should be.
    #[error("/proc/kcore is no core file that can be read: {0}")]
    Kcore(#[from] object::Error),
    /// The function lies in no range of kcore.
    #[error("/proc/kcore does not hold the kernel's text at {0:#x}")]
    NotMapped(u64),
    /// The code says nothing.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Decodes the functions of the running kernel; returns the one that shows the constant.
///
/// # Errors
/// [`RunningError`]: typed, so that a report can say why and what to do.
pub fn decode_running(procfs: &Path) -> Result<(String, Decoded), RunningError> {
    let kallsyms = read_to_string(&procfs.join("kallsyms"))?;
    let mut result = Err(RunningError::NotLoaded);
    for name in FUNCTIONS {
        let Some((address, size)) = span(&kallsyms, name) else { continue };
        if address == 0 {
            return Err(RunningError::Hidden);
        }
        let bytes = read_kcore(&procfs.join("kcore"), address, size)?;
        match decode(Code { bytes: &bytes, address }, ARCHITECTURE) {
            Ok(decoded) => return Ok((name.to_owned(), decoded)),
            Err(error) if matches!(result, Err(RunningError::NotLoaded)) => result = Err(error.into()),
            Err(_) => {}
        }
    }
    result
}

/// Is `page_struct_override` set? None where the kernel has no such parameter, or libnvdimm is not loaded.
///
/// # Errors
/// [`RunningError::Read`] where the parameter is there and cannot be read.
pub fn page_struct_override(sysfs: &Path) -> Result<Option<bool>, RunningError> {
    let path = sysfs.join("module/libnvdimm/parameters/page_struct_override");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim() == "Y" || text.trim() == "1")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RunningError::Read { path, source }),
    }
}

/// Address of a function in kallsyms' text, and the bytes up to the next symbol.
fn span(kallsyms: &str, name: &str) -> Option<(u64, u64)> {
    let symbols = || {
        kallsyms.lines().filter_map(|line| {
            // address, type, name, and for modules the module in brackets.
            let mut words = line.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((address, words.nth(1)?))
        })
    };
    let (address, _) = symbols().find(|&(_, found)| found == name)?;
    let next = symbols().map(|(other, _)| other).filter(|&other| other > address).min();
    let size = next.map_or(MOST_CODE, |next| next - address);
    Some((address, size.min(MOST_CODE)))
}

/// `size` bytes of kernel memory at `address`.
fn read_kcore(path: &Path, address: u64, size: u64) -> Result<Vec<u8>, RunningError> {
    let failed = |source| RunningError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut headers = Vec::new();
    (&file).take(KCORE_HEADERS).read_to_end(&mut headers).map_err(failed)?;
    let offset = kcore_offset(&headers, address)?.ok_or(RunningError::NotMapped(address))?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_exact_at(&mut bytes, offset).map_err(failed)?;
    Ok(bytes)
}

/// Where in the core file the memory at `address` lies.
fn kcore_offset(headers: &[u8], address: u64) -> Result<Option<u64>, object::Error> {
    let header = FileHeader64::<Endianness>::parse(headers)?;
    let endian = header.endian()?;
    let ranges = header.program_headers(endian, headers)?;
    let held = |range: &&object::elf::ProgramHeader64<Endianness>| {
        let start = range.p_vaddr(endian);
        range.p_type(endian) == PT_LOAD && address >= start && address - start < range.p_memsz(endian)
    };
    let offset = |range: &object::elf::ProgramHeader64<Endianness>| {
        range.p_offset(endian).checked_add(address - range.p_vaddr(endian))
    };
    Ok(ranges.iter().find(held).and_then(offset))
}

fn read_to_string(path: &Path) -> Result<String, RunningError> {
    fs::read_to_string(path).map_err(|source| RunningError::Read { path: path.to_owned(), source })
}

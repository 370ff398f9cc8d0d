//! BTF on its way to the library: a copy in memory that nobody can change, made without holding it twice.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write as _},
    path::Path,
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

use super::{BtfError, sections};

/// `MFD_NOEXEC_SEAL` of include/uapi/linux/memfd.h (6.3).
const MFD_NOEXEC_SEAL: u32 = 0x0008;

/// What is read and written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Copies `from` into a memory file, cut to what [`sections::check`] asks for and sealed: the library maps it, and a
/// file that shrinks under a map kills the process.
pub(super) fn copy(from: impl Read, file: &str) -> Result<File, BtfError> {
    let read_error = |source| BtfError::Read { file: file.to_owned(), source };
    let copy = memory_file().and_then(|into| fill(into, from)).map_err(read_error)?;
    let end = sections::check(&mut BufReader::with_capacity(BUFFER_BYTES, &copy), file, false)?;
    seal(&copy, end).map_err(read_error)?;
    Ok(copy)
}

/// The bytes of a file, unless there are more than any BTF has.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, BtfError> {
    let mut bytes = Vec::new();
    open(path)?
        .read_to_end(&mut bytes)
        .map_err(|source| BtfError::Read { file: path.display().to_string(), source })?;
    Ok(bytes)
}

/// Opens a file to read one byte more than BTF may have, so that a larger one is noticed and not read whole.
pub(super) fn open(path: &Path) -> Result<impl Read, BtfError> {
    let file = File::open(path).map_err(|source| BtfError::Read { file: path.display().to_string(), source })?;
    Ok(file.take(sections::MAX_BYTES + 1))
}

fn memory_file() -> io::Result<File> {
    // vm.memfd_noexec may demand the seal against execution; kernels before 6.3 do not know it.
    let sealable = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let never_executable = MFdFlags::from_bits_retain(MFD_NOEXEC_SEAL);
    let name = c"pfnwatch-btf";
    let file = memfd_create(name, sealable | never_executable).or_else(|_| memfd_create(name, sealable))?;
    Ok(File::from(file))
}

/// Plain reads and writes: what `io::copy` uses between files is not reliable for sysfs on older kernels. sysfs gives a
/// page at a time, so that several make one write.
fn fill(mut into: File, mut from: impl Read) -> io::Result<File> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        buffer.clear();
        if from.by_ref().take(BUFFER_BYTES as u64).read_to_end(&mut buffer)? == 0 {
            return Ok(into);
        }
        into.write_all(&buffer)?;
    }
}

fn seal(file: &File, end: u64) -> io::Result<()> {
    file.set_len(end)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

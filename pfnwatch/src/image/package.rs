//! Files out of kernel packages: .deb and .rpm, as streams. Nothing is written to disk, and nothing is executed.

mod dependencies;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use object::read::ReadCache;
use object::read::archive::ArchiveFile;
use thiserror::Error;

use super::unpack::unpacked;

/// A package unpacked: kernels with all their modules have some 500 MiB, with debug symbols some GiB.
const MAX_UNPACKED_BYTES: u64 = 16 << 30;
const MAX_FILE_BYTES: u64 = 512 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageEntry {
    /// Its path in the package, without a leading `./` or `/`.
    pub path: String,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageKind {
    /// Debian's: an ar archive with a tar archive inside.
    Deb,
    /// A header with a compressed cpio archive behind it.
    Rpm,
}

#[derive(Debug, Error)]
pub enum PackageError {
    /// The archive around, or in it, is damaged or cut short.
    #[error("damaged or cut short: {0}")]
    Damaged(#[from] io::Error),
    #[error("damaged or cut short: {0}")]
    Archive(#[from] object::Error),
    #[error("no data.tar in it: not a Debian package, or cut short")]
    NoData,
}

impl PackageKind {
    /// The kind of package that a file is, by its first bytes.
    #[must_use]
    pub fn of(magic: &[u8]) -> Option<Self> {
        match magic {
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Some(Self::Deb),
            [0xed, 0xab, 0xee, 0xdb, ..] => Some(Self::Rpm),
            _ => None,
        }
    }
}

/// Passes each file of a package whose path is `wanted` to `each`, one at a time.
///
/// # Errors
/// [`PackageError`]: not readable, damaged or cut short; or the error of `each`.
pub fn files(
    path: &Path,
    kind: PackageKind,
    wanted: impl Fn(&str) -> bool,
    each: impl FnMut(PackageEntry) -> io::Result<()>,
) -> Result<(), PackageError> {
    let file = File::open(path)?;
    match kind {
        PackageKind::Deb => from_tar(deb_member(file, b"data.tar")?, wanted, each),
        PackageKind::Rpm => from_cpio(rpm_payload(file)?, wanted, each),
    }
}

/// A member of a .deb by the beginning of its name, still packed.
fn deb_member(mut file: File, prefix: &[u8]) -> Result<impl Read, PackageError> {
    let (offset, size) = {
        let cache = ReadCache::new(&file);
        let archive = ArchiveFile::parse(&cache)?;
        let mut data = None;
        for member in archive.members() {
            let member = member?;
            if member.name().starts_with(prefix) {
                data = Some(member.file_range());
                break;
            }
        }
        data.ok_or(PackageError::NoData)?
    };
    file.seek(SeekFrom::Start(offset))?;
    Ok(BufReader::new(file).take(size))
}

/// The kernel packages that a package depends on, by its own list: one that has no files of its own names those that do.
///
/// # Errors
/// [`PackageError`]: not readable, damaged or cut short.
pub fn kernel_dependencies(path: &Path, kind: PackageKind) -> Result<Vec<String>, PackageError> {
    let file = File::open(path)?;
    let mut names = match kind {
        PackageKind::Deb => {
            let mut control = Vec::new();
            from_tar(
                deb_member(file, b"control.tar")?,
                |path| path == "control",
                |entry| {
                    control = entry.bytes;
                    Ok(())
                },
            )?;
            dependencies::of_control(&String::from_utf8_lossy(&control))
        }
        PackageKind::Rpm => {
            let mut file = BufReader::new(file);
            skip_to_rpm_header(&mut file)?;
            dependencies::of_rpm_header(&mut file)?
        }
    };
    names.retain(|name| name.starts_with("linux-") || name.starts_with("kernel"));
    Ok(names)
}

fn from_tar(
    packed: impl Read,
    wanted: impl Fn(&str) -> bool,
    mut each: impl FnMut(PackageEntry) -> io::Result<()>,
) -> Result<(), PackageError> {
    let mut archive = tar::Archive::new(unpacked(packed, MAX_UNPACKED_BYTES)?);
    for file in archive.entries()? {
        let file = file?;
        let path = plain(&file.path()?.to_string_lossy());
        if file.header().entry_type().is_file() && wanted(&path) {
            each(PackageEntry { path, bytes: content(file)? })?;
        }
    }
    Ok(())
}

/// The payload behind an .rpm's lead and its two headers, still packed.
fn rpm_payload(file: File) -> Result<impl Read, PackageError> {
    let mut file = BufReader::new(file);
    skip_to_rpm_header(&mut file)?;
    skip_rpm_header(&mut file)?;
    Ok(file)
}

/// Skips an .rpm's lead and its signatures.
fn skip_to_rpm_header(file: &mut impl Read) -> io::Result<()> {
    const LEAD: u64 = 96;
    skip(file, LEAD)?;
    let signature = skip_rpm_header(file)?;
    // The first header, the signatures, is padded to eight bytes; the second is not.
    skip(file, signature.next_multiple_of(8) - signature)
}

/// Skips one header of an .rpm. Returns its length in bytes.
fn skip_rpm_header(file: &mut impl Read) -> io::Result<u64> {
    let (entries, store) = rpm_header_sizes(file)?;
    skip(file, entries * 16 + store)?;
    Ok(16 + entries * 16 + store)
}

/// The beginning of an .rpm's header: its magic, the number of index entries of 16 bytes, and the size of the store behind them.
fn rpm_header_sizes(file: &mut impl Read) -> io::Result<(u64, u64)> {
    let mut intro = [0; 16];
    file.read_exact(&mut intro)?;
    let [0x8e, 0xad, 0xe8, 1, _, _, _, _, e0, e1, e2, e3, s0, s1, s2, s3] = intro else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an .rpm header does not begin with its magic number"));
    };
    Ok((u32::from_be_bytes([e0, e1, e2, e3]).into(), u32::from_be_bytes([s0, s1, s2, s3]).into()))
}

fn from_cpio(
    packed: impl Read,
    wanted: impl Fn(&str) -> bool,
    mut each: impl FnMut(PackageEntry) -> io::Result<()>,
) -> Result<(), PackageError> {
    let mut archive = unpacked(packed, MAX_UNPACKED_BYTES)?;
    loop {
        let mut file = cpio::NewcReader::new(archive)?;
        if file.entry().is_trailer() {
            return Ok(());
        }
        let path = plain(file.entry().name());
        if file.entry().file_size() > 0 && wanted(&path) {
            each(PackageEntry { path, bytes: content(&mut file)? })?;
        }
        archive = file.finish()?;
    }
}

fn content(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    let left = io::copy(&mut file.take(1), &mut io::sink())?;
    if left == 0 { Ok(bytes) } else { Err(io::Error::new(io::ErrorKind::FileTooLarge, "a kernel file of that size")) }
}

fn skip(file: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut file.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A path of an archive, without its leading `./` or `/`.
fn plain(path: &str) -> String {
    path.trim_start_matches("./").trim_start_matches('/').to_owned()
}

//! A kernel image: its release, its types (BTF), and what it does with a memmap, out of a bzImage, an uncompressed vmlinux, or an image
//! for arm64.

use std::io;

use object::{Architecture, File, Object as _, ObjectSection as _};
use thiserror::Error;

use super::arm64_image;
use super::freeing_code::{self, ImageCodeError};
use super::unpack::unpack;
use crate::code::memmap_free::MemmapReturn;

/// A kernel unpacked; Debian's have some 60 MiB, debug kernels with their symbols more.
const MAX_UNPACKED_BYTES: u64 = 1 << 30;
/// The x86 boot protocol's fields (Documentation/arch/x86/boot.rst), by offset in the file.
const SETUP_SECTORS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const KERNEL_VERSION: usize = 0x20e;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// `payload_offset` came with protocol 2.08 (Linux 2.6.26).
const FIRST_WITH_PAYLOAD: u16 = 0x0208;

#[derive(Debug)]
pub struct VmlinuxImage {
    /// The kernel release, as `uname -r` prints it, if the image names it.
    pub release: Option<String>,
    pub architecture: Architecture,
    pub btf: Result<Vec<u8>, VmlinuxError>,
    pub memmap_return: Result<MemmapReturn, ImageCodeError>,
}

#[derive(Debug, Error)]
pub enum VmlinuxError {
    #[error("not a kernel image: neither a bzImage of x86, an image for arm64 nor a vmlinux")]
    NotAnImage,
    #[error("the image is cut short: its header promises {promised} bytes, {found} are here")]
    CutShort { promised: u64, found: u64 },
    #[error("the compressed kernel inside cannot be unpacked: {0}")]
    Unpack(#[from] io::Error),
    #[error("the kernel inside is not a complete ELF file: {0}")]
    Elf(#[from] object::Error),
    /// The kernel was built without CONFIG_DEBUG_INFO_BTF.
    #[error("the kernel has no .BTF section: it was built without CONFIG_DEBUG_INFO_BTF")]
    NoBtf,
}

/// Reads a bzImage, an image for arm64 or a vmlinux.
///
/// # Errors
/// [`VmlinuxError`]: the file is neither, or is damaged. Types and code that are missing are errors of their own.
pub fn parse(bytes: &[u8]) -> Result<VmlinuxImage, VmlinuxError> {
    if bytes.starts_with(b"\x7fELF") {
        // Without the kernel's types nothing shows that it is a kernel.
        return Ok(of_vmlinux(None, Ok(btf(bytes)?), bytes));
    }
    if arm64_image::is_image(bytes) {
        return Ok(of_arm64(bytes));
    }
    if arm64_image::is_zboot(bytes) {
        let found = bytes.len() as u64;
        let payload =
            arm64_image::zboot_payload(bytes).map_err(|promised| VmlinuxError::CutShort { promised, found })?;
        let image = unpack(payload, MAX_UNPACKED_BYTES)?;
        return if arm64_image::is_image(&image) { Ok(of_arm64(&image)) } else { Err(VmlinuxError::NotAnImage) };
    }
    let payload = payload(bytes)?;
    let vmlinux = unpack(payload, MAX_UNPACKED_BYTES)?;
    Ok(of_vmlinux(release(bytes), btf(&vmlinux), &vmlinux))
}

fn of_vmlinux(release: Option<String>, btf: Result<Vec<u8>, VmlinuxError>, vmlinux: &[u8]) -> VmlinuxImage {
    // A bzImage has been unpacked by now, or could not be.
    let architecture = File::parse(vmlinux).map_or(Architecture::X86_64, |file| file.architecture());
    VmlinuxImage { release, architecture, btf, memmap_return: freeing_code::memmap_return(vmlinux) }
}

fn of_arm64(image: &[u8]) -> VmlinuxImage {
    VmlinuxImage {
        release: arm64_image::release(image),
        architecture: Architecture::Aarch64,
        btf: arm64_image::btf(image).map(<[u8]>::to_vec).ok_or(VmlinuxError::NoBtf),
        memmap_return: Err(ImageCodeError::NotSupported(Architecture::Aarch64)),
    }
}

/// The kernel release in the header of a bzImage, which needs no unpacking.
#[must_use]
pub fn release(bytes: &[u8]) -> Option<String> {
    is_bzimage(bytes).then_some(())?;
    // The field counts from the boot sector's end.
    let at = usize::from(u16::from_le_bytes(field(bytes, KERNEL_VERSION)?)).checked_add(0x200)?;
    let text = bytes.get(at..)?.split(|&byte| byte == 0 || byte == b' ').next()?;
    std::str::from_utf8(text).ok().filter(|text| !text.is_empty() && text.len() < 256).map(str::to_owned)
}

/// Whether the file looks like an image: a bzImage, one for arm64, or an ELF file with the kernel's types.
#[must_use]
pub fn is_image(bytes: &[u8]) -> bool {
    let is_for_arm64 = arm64_image::is_image(bytes) || arm64_image::is_zboot(bytes);
    is_bzimage(bytes) || is_for_arm64 || File::parse(bytes).is_ok_and(|file| file.section_by_name(".BTF").is_some())
}

fn payload(bytes: &[u8]) -> Result<&[u8], VmlinuxError> {
    if !is_bzimage(bytes) {
        return Err(VmlinuxError::NotAnImage);
    }
    let header = || {
        let protocol = u16::from_le_bytes(field(bytes, PROTOCOL)?);
        let [sectors] = field(bytes, SETUP_SECTORS)?;
        let offset = u32::from_le_bytes(field(bytes, PAYLOAD_OFFSET)?);
        let length = u32::from_le_bytes(field(bytes, PAYLOAD_LENGTH)?);
        (protocol >= FIRST_WITH_PAYLOAD).then_some((u64::from(sectors), u64::from(offset), u64::from(length)))
    };
    let (sectors, offset, length) = header().ok_or(VmlinuxError::NotAnImage)?;
    // A count of 0 means 4, for boot loaders of old.
    let setup = (if sectors == 0 { 4 } else { sectors } + 1) * 512;
    let (start, end) = (setup + offset, setup + offset + length);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let cut_short = VmlinuxError::CutShort { promised: end, found: bytes.len() as u64 };
    range.and_then(|(start, end)| bytes.get(start..end)).map(without_length).ok_or(cut_short)
}

/// For all formats but gzip, whose trailer has it, the kernel's build appends the unpacked length in four bytes
/// (`size_append`, scripts/Makefile.lib): it is no part of the stream, and lz4 would take it for a block.
fn without_length(payload: &[u8]) -> &[u8] {
    let is_gzip = payload.starts_with(&[0x1f, 0x8b]);
    payload.split_last_chunk::<4>().filter(|_| !is_gzip).map_or(payload, |(stream, _)| stream)
}

fn is_bzimage(bytes: &[u8]) -> bool {
    field(bytes, HEADER_MAGIC) == Some(*b"HdrS")
}

fn btf(vmlinux: &[u8]) -> Result<Vec<u8>, VmlinuxError> {
    let file = File::parse(vmlinux)?;
    let section = file.section_by_name(".BTF").ok_or(VmlinuxError::NoBtf)?;
    Ok(section.data()?.to_vec())
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn vmlinux(btf: &[u8]) -> Vec<u8> {
        use object::write::{Object, StandardSegment};
        let (format, architecture) = (object::BinaryFormat::Elf, Architecture::X86_64);
        let mut file = Object::new(format, architecture, object::Endianness::Little);
        let segment = file.segment_name(StandardSegment::Debug).to_vec();
        let section = file.add_section(segment, b".BTF".to_vec(), object::SectionKind::Debug);
        file.append_section_data(section, btf, 4);
        file.write().unwrap()
    }

    pub(crate) fn bzimage(release: &str, btf: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vmlinux(btf)).unwrap();
        let payload = encoder.finish().unwrap();
        let mut image = vec![0; 1024];
        image[SETUP_SECTORS] = 1;
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        image[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x020f_u16.to_le_bytes());
        image[KERNEL_VERSION..KERNEL_VERSION + 2].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend(payload);
        image
    }

    #[test]
    fn release_and_types_come_out_of_a_bzimage() {
        let found = parse(&bzimage("6.1.0-50-amd64 (a builder) #1 SMP", b"types")).unwrap();
        assert_eq!((found.release.as_deref(), found.btf.unwrap()), (Some("6.1.0-50-amd64"), b"types".to_vec()));
        assert!(matches!(found.memmap_return, Err(ImageCodeError::Kallsyms(_))), "{:?}", found.memmap_return);
        let found = parse(&vmlinux(b"types")).unwrap();
        assert_eq!((found.release, found.btf.unwrap()), (None, b"types".to_vec()));
    }

    #[test]
    fn images_for_arm64_are_read_plain_and_packed() {
        use crate::image::arm64_image::tests::{image, types, zboot};
        let types = types(64, 30);
        let plain = image(&[b"Linux version 7.3.4-arm64 (a builder)\0".as_slice(), &types].concat());
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&plain).unwrap();
        let packed = zboot(&packed.finish().unwrap());
        for bytes in [&plain, &packed] {
            assert!(is_image(bytes));
            let found = parse(bytes).unwrap();
            assert_eq!((found.release.as_deref(), found.btf.unwrap()), (Some("7.3.4-arm64"), types.clone()));
            let unknown = ImageCodeError::NotSupported(Architecture::Aarch64).to_string();
            assert_eq!(found.memmap_return.unwrap_err().to_string(), unknown);
        }
        assert!(matches!(parse(&packed[..0x60]), Err(VmlinuxError::CutShort { .. })));
        assert!(matches!(parse(&zboot(b"no image")), Err(VmlinuxError::NotAnImage)));
        assert!(matches!(parse(&image(b"")).unwrap().btf, Err(VmlinuxError::NoBtf)));
    }

    #[test]
    fn the_appended_length_is_no_part_of_the_stream() {
        assert_eq!(without_length(&[0x02, 0x21, 0x4c, 0x18, 9, 1, 2, 3, 4]), [0x02, 0x21, 0x4c, 0x18, 9]);
        assert_eq!(without_length(&[0x1f, 0x8b, 1, 2, 3, 4]), [0x1f, 0x8b, 1, 2, 3, 4]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let image = bzimage("6.1.0", b"types");
        assert!(matches!(parse(b"no image"), Err(VmlinuxError::NotAnImage)));
        // Found by fuzzing: the header of an ELF file alone is no image.
        let header = b"\x7fELF\0\0\xaa\x80\0w=";
        assert!(parse(header).is_err() && !is_image(header));
        assert!(matches!(parse(&image[..1040]), Err(VmlinuxError::CutShort { .. })));
        let mut damaged = image.clone();
        damaged[1040] ^= 0xff; // behind gzip's header
        let damaged = parse(&damaged).and_then(|image| image.btf);
        assert!(matches!(damaged, Err(VmlinuxError::Unpack(_) | VmlinuxError::Elf(_))));
        let mut old = image;
        old[PROTOCOL] = 7;
        assert!(matches!(parse(&old), Err(VmlinuxError::NotAnImage)));
    }

    proptest! {
        #[test]
        fn mutated_images_never_panic(at: proptest::sample::Index, byte: u8, keep: proptest::sample::Index) {
            let mut image = bzimage("6.1.0", b"types");
            let (at, keep) = (at.index(image.len()), keep.index(image.len()) + 1);
            image[at] = byte;
            let _ = parse(&image);
            let _ = parse(&image[..keep]);
        }
    }
}

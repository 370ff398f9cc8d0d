//! The image of an arm64 kernel (Documentation/arch/arm64/booting.rst), plain or inside of an EFI program that unpacks it
//! (drivers/firmware/efi/libstub/zboot-header.S). It is no ELF file: what is in it is found by its contents.

use std::ops::Range;

/// "ARM\x64", in an image.
const IMAGE_MAGIC: Range<usize> = 0x38..0x3c;
/// "zimg", in an EFI program.
const ZBOOT_MAGIC: Range<usize> = 4..8;
/// Offset and length of the packed image, 32 bits each.
const ZBOOT_PAYLOAD: Range<usize> = 8..16;
const BANNER: &[u8] = b"Linux version ";
/// A longer release is none.
const MAX_RELEASE: usize = 64;
/// Magic, version, flags and length of BTF's header (Documentation/bpf/btf.rst), in little endian.
const BTF_HEADER: [u8; 8] = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0];

pub(super) fn is_image(bytes: &[u8]) -> bool {
    bytes.get(IMAGE_MAGIC) == Some(b"ARM\x64")
}

pub(super) fn is_zboot(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MZ") && bytes.get(ZBOOT_MAGIC) == Some(b"zimg")
}

/// Where an EFI program has the packed image; an error is the end that its header promises, in bytes.
pub(super) fn zboot_payload(bytes: &[u8]) -> Result<&[u8], u64> {
    let [offset, length] =
        bytes.get(ZBOOT_PAYLOAD).and_then(|field| field.as_chunks().0.try_into().ok()).ok_or(16_u64)?;
    let (offset, length) = (u64::from(u32::from_le_bytes(offset)), u64::from(u32::from_le_bytes(length)));
    let range = usize::try_from(offset).ok().zip(usize::try_from(offset + length).ok());
    range.and_then(|(start, end)| bytes.get(start..end)).ok_or(offset + length)
}

/// The kernel release, as the kernel itself prints it when it boots.
pub(super) fn release(image: &[u8]) -> Option<String> {
    places(image, BANNER).find_map(|at| {
        let text = image.get(at + BANNER.len()..)?;
        let end = text.iter().take(MAX_RELEASE).position(|byte| *byte == b' ')?;
        let release = std::str::from_utf8(text.get(..end)?).ok()?;
        // Another string that begins so is the banner's own format.
        text.first()?.is_ascii_digit().then(|| release.to_owned())
    })
}

/// The kernel's types: the largest of those that an image has, whatever modules are built in.
pub(super) fn btf(image: &[u8]) -> Option<&[u8]> {
    places(image, &BTF_HEADER).filter_map(|at| btf_at(image.get(at..)?)).max_by_key(|btf| btf.len())
}

/// Types begin behind the header, and are followed by the strings, of which the first is empty and the last has an end.
fn btf_at(bytes: &[u8]) -> Option<&[u8]> {
    let [types_at, types, strings_at, strings] = bytes
        .get(BTF_HEADER.len()..24)?
        .as_chunks()
        .0
        .try_into()
        .ok()
        .map(|words: [[u8; 4]; 4]| words.map(u32::from_le_bytes))?;
    if types_at != 0 || types == 0 || strings_at != types || strings == 0 {
        return None;
    }
    let end = usize::try_from(u64::from(strings_at) + u64::from(strings)).ok()?.checked_add(24)?;
    let btf = bytes.get(..end)?;
    let first_string = btf.get(24 + usize::try_from(strings_at).ok()?)?;
    (*first_string == 0 && btf.last() == Some(&0)).then_some(btf)
}

fn places<'a>(bytes: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let (first, _) = wanted.split_first()?;
        loop {
            let at = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
            from = at + 1;
            if bytes.get(at..)?.starts_with(wanted) {
                return Some(at);
            }
        }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header with types and strings of so many bytes.
    pub(in crate::image) fn types(types: u32, strings: u32) -> Vec<u8> {
        let words = [0, types, types, strings].map(u32::to_le_bytes).concat();
        [&BTF_HEADER[..], &words, &vec![1; types as usize], &vec![0; strings as usize]].concat()
    }

    pub(in crate::image) fn image(contents: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x100];
        image[..2].copy_from_slice(b"MZ");
        image[IMAGE_MAGIC].copy_from_slice(b"ARM\x64");
        image.extend(contents);
        image
    }

    pub(in crate::image) fn zboot(packed: &[u8]) -> Vec<u8> {
        let mut program = vec![0; 0x40];
        program[..2].copy_from_slice(b"MZ");
        program[ZBOOT_MAGIC].copy_from_slice(b"zimg");
        program[8..12].copy_from_slice(&0x40_u32.to_le_bytes());
        program[12..16].copy_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        program.extend(packed);
        program
    }

    #[test]
    fn release_and_types_are_found_by_their_contents() {
        let banner = b"Linux version %s (%s)\n\0Linux version 6.12.117+deb13-arm64-16k (a builder) #1\n\0";
        let small = types(8, 3);
        let found = image(&[&banner[..], &small, &types(64, 30), &BTF_HEADER, b"end"].concat());
        assert_eq!(release(&found).as_deref(), Some("6.12.117+deb13-arm64-16k"));
        assert_eq!(btf(&found), Some(types(64, 30).as_slice()));
        assert_eq!((release(&image(b"Linux version of")), btf(&image(&small[..small.len() - 1]))), (None, None));
    }

    #[test]
    fn a_payload_ends_within_the_program() {
        let program = zboot(b"packed");
        assert!(is_zboot(&program) && !is_image(&program));
        assert_eq!(zboot_payload(&program), Ok(&b"packed"[..]));
        assert_eq!(zboot_payload(&program[..program.len() - 1]), Err(0x46));
        assert_eq!(zboot_payload(&program[..12]), Err(16));
    }
}

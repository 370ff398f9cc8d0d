//! Decompression of what kernels and packages are packed with, as streams, told by their first bytes, and bounded:
//! a file that would unpack to more than its limit ends in an error, not in the host's memory.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

/// What a decompressor's dictionary may take: the kernel's build uses up to 128 MiB for its image.
const MAX_DICTIONARY_BYTES: u64 = 128 << 20;
const MAGIC: u64 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    Gzip,
    Lz4,
    Xz,
    Zstd,
    Other(&'static str),
}

impl Format {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // The legacy frame, which kernels are packed in, and today's.
            [0x02, 0x21, 0x4c, 0x18, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Other("bzip2"),
            [0x5d, 0, 0, ..] => Self::Other("lzma"),
            [0x89, b'L', b'Z', b'O', ..] => Self::Other("lzo"),
            _ => Self::Plain,
        }
    }
}

/// Unpacks `packed`, which is in gzip, lz4, xz, zstd or plain format, up to `limit` bytes.
///
/// # Errors
/// Of reading, or [`io::ErrorKind::Unsupported`] for another format. The reader itself fails with
/// [`io::ErrorKind::InvalidData`] on damage, and with [`io::ErrorKind::FileTooLarge`] beyond the limit.
pub(super) fn unpacked<'a>(packed: impl Read + 'a, limit: u64) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::new();
    let mut packed = BufReader::new(packed);
    packed.by_ref().take(MAGIC).read_to_end(&mut magic)?;
    let format = Format::of(&magic);
    let packed = Cursor::new(magic).chain(packed);
    let reader: Box<dyn Read + 'a> = match format {
        Format::Plain => Box::new(packed),
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Format::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
        Format::Xz => Box::new(XzReader::new_mem_limit(packed, true, kib(MAX_DICTIONARY_BYTES * 2))),
        Format::Zstd => Box::new(zstd(packed)?),
        Format::Other(name) => {
            let message = format!("packed with {name}, which pfnwatch does not unpack: unpack it first");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    };
    Ok(Box::new(Bounded { reader, left: limit, limit }))
}

/// All of `packed`, unpacked, if that is at most `limit` bytes.
pub(super) fn unpack(packed: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    unpacked(packed, limit)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn zstd(packed: impl BufRead) -> io::Result<impl Read> {
    StreamingDecoder::new_with_max_window_size(packed, MAX_DICTIONARY_BYTES)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("damaged zstd data: {error}")))
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX)
}

/// A reader that fails beyond `limit` bytes; [`Read::take`] would report the end of the file.
struct Bounded<R> {
    reader: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let message =
                format!("unpacks to more than the {} that are allowed", crate::model::units::Bytes(self.limit));
            io::Error::new(io::ErrorKind::FileTooLarge, message)
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzip_come_out_whole() {
        for bytes in [b"".as_slice(), b"abc", b"0123456789"] {
            assert_eq!(unpack(bytes, 100).unwrap(), bytes);
            assert_eq!(unpack(gzip(bytes).as_slice(), 100).unwrap(), bytes);
        }
    }

    #[test]
    fn a_bomb_ends_in_an_error() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert_eq!(unpack(bomb.as_slice(), (1 << 20) - 1).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(unpack(bomb.as_slice(), 1 << 20).unwrap().len(), 1 << 20);
    }

    #[test]
    fn other_formats_are_named() {
        let error = unpack(b"BZh91AY".as_slice(), 100).unwrap_err();
        assert!(error.to_string().contains("bzip2"), "{error}");
    }

    proptest! {
        #[test]
        fn damage_never_panics(magic in 0..5_usize, mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let magic: &[u8] = [b"\x1f\x8b\x08".as_slice(), b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b""][magic];
            bytes.splice(0..0, magic.iter().copied());
            let _ = unpack(bytes.as_slice(), 1 << 16);
        }

        #[test]
        fn mutated_gzip_never_panics(at: proptest::sample::Index, flip in 1..=u8::MAX) {
            let mut packed = gzip(b"some text that is packed, some text that is packed");
            let at = at.index(packed.len());
            packed[at] ^= flip;
            let _ = unpack(packed.as_slice(), 1 << 16);
        }
    }
}

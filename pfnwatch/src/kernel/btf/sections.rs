//! Checks a BTF file's header, the bounds of its sections and of each type before anybody parses it.
//!
//! The BTF library takes a header's word for where a section ends, and slices there. What passes here can be sliced.
//! The format is the kernel's Documentation/bpf/btf.rst; the checks follow `btf_parse_hdr()` (kernel/bpf/btf.c, 6.12).

use std::io::{self, BufRead, Seek, SeekFrom};

use super::BtfError;

/// More than any kernel's BTF takes: vmlinux has about 5 MB, with everything built in about 30 MB.
pub(super) const MAX_BYTES: u64 = 64 << 20;

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: u64 = 24;

/// Where the part of a file ends that a parser needs: header, types and strings, all within bounds.
///
/// # Errors
/// Not BTF at all, another byte order, or a section or type that reaches beyond its end.
pub(super) fn check(file: &mut (impl BufRead + Seek), name: &str, split: bool) -> Result<u64, BtfError> {
    check_file(file, split).map_err(|problem| match problem {
        Problem::Read(source) => BtfError::Read { file: name.to_owned(), source },
        Problem::NotBtf(reason) => BtfError::NotBtf { file: name.to_owned(), reason },
        Problem::Damaged(reason) => BtfError::Damaged { file: name.to_owned(), reason },
    })
}

enum Problem {
    Read(io::Error),
    NotBtf(String),
    Damaged(String),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn damaged<T>(reason: &str) -> Result<T, Problem> {
    Err(Problem::Damaged(reason.to_owned()))
}

fn check_file(file: &mut (impl BufRead + Seek), split: bool) -> Result<u64, Problem> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    check_magic(file.fill_buf()?).map_err(Problem::NotBtf)?;
    if length > MAX_BYTES {
        return Err(Problem::NotBtf(format!("more than {MAX_BYTES} bytes are no kernel's BTF")));
    }
    if length < HEADER_BYTES {
        return damaged("its header is cut short");
    }
    let [_, header_bytes, type_offset, type_bytes, string_offset, string_bytes] = words::<6>(file)?.map(u64::from);
    // All of these are 32 bits wide, so that their sums fit.
    let types = header_bytes + type_offset..header_bytes + type_offset + type_bytes;
    let strings = header_bytes + string_offset..header_bytes + string_offset + string_bytes;
    if header_bytes < HEADER_BYTES {
        return damaged("its header says that it is shorter than a header");
    }
    if types.end > length || strings.end > length {
        return damaged("a section reaches beyond the file's end");
    }
    // Kernel and pahole write the strings last. The library reads a name that begins just behind a base's strings as
    // the base's, although it is the first of the split BTF: with nothing behind them it finds none, and looks there.
    if strings.start < types.end {
        return damaged("its strings do not follow its types");
    }
    let ends_well = strings.is_empty() || byte_at(file, strings.end - 1)? == 0;
    let begins_well = split || (!strings.is_empty() && byte_at(file, strings.start)? == 0);
    if !begins_well || !ends_well {
        return damaged("its string section does not begin and end with a zero byte");
    }
    file.seek(SeekFrom::Start(types.start))?;
    check_types(file, type_bytes)?;
    Ok(strings.end)
}

fn check_magic(start: &[u8]) -> Result<(), String> {
    match start {
        [] => Err("it is empty".to_owned()),
        [0x7f, b'E', b'L', b'F', ..] => {
            Err("it is an ELF file: take its .BTF section out with `objcopy --dump-section .BTF=OUT FILE`".to_owned())
        }
        [0xfd, b'7', b'z', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x1f, 0x8b, ..] => {
            Err("it is compressed: unpack it first".to_owned())
        }
        [0xeb, 0x9f, ..] => Err("it is of a machine with the other byte order".to_owned()),
        [low, high, rest @ ..] if u16::from_le_bytes([*low, *high]) == MAGIC => match rest {
            [1, 0, ..] => Ok(()),
            [version, flags, ..] => Err(format!("its version {version} with flags {flags:#x} is not known here")),
            _ => Err("it ends within its header".to_owned()),
        },
        _ => Err("it does not begin with BTF's magic number".to_owned()),
    }
}

/// Walks the types by their sizes: each has to be of a known kind and to end within the section.
fn check_types(file: &mut (impl BufRead + Seek), bytes: u64) -> Result<(), Problem> {
    let mut left = bytes;
    while left > 0 {
        let beyond = || Problem::Damaged(format!("the type {left} bytes before its types' end reaches beyond it"));
        let after_head = left.checked_sub(12).ok_or_else(beyond)?;
        let [_, info, _] = words::<3>(file)?;
        let members = u64::from(info & 0xffff);
        let extra = match (info >> 24) & 0x1f {
            // pointer, forward, typedef, volatile, const, restrict, function, float, type tag
            2 | 7..=12 | 16 | 18 => 0,
            // integer, variable, declaration tag
            1 | 14 | 17 => 4,
            // array
            3 => 12,
            // struct, union, data section, 64-bit enum
            4 | 5 | 15 | 19 => 12 * members,
            // enum, function prototype
            6 | 13 => 8 * members,
            kind => return Err(Problem::Damaged(format!("it has a type of kind {kind}, which is not known here"))),
        };
        left = after_head.checked_sub(extra).ok_or_else(beyond)?;
        // At most 12 * 65,535, and within the file.
        file.seek_relative(i64::try_from(extra).unwrap_or(0))?;
    }
    Ok(())
}

fn words<const N: usize>(file: &mut impl BufRead) -> io::Result<[u32; N]> {
    let mut words = [0; N];
    for word in &mut words {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes)?;
        *word = u32::from_le_bytes(bytes);
    }
    Ok(words)
}

fn byte_at(file: &mut (impl BufRead + Seek), at: u64) -> io::Result<u8> {
    file.seek(SeekFrom::Start(at))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

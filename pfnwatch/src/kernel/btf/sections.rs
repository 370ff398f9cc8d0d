//! Checks a BTF file's header, the bounds of its sections and of each type before anybody parses it.
//!
//! The BTF library takes a header's word for where a section ends, and slices there. What passes here can be sliced.
//! The format is the kernel's Documentation/bpf/btf.rst; the checks follow `btf_parse_hdr()` (kernel/bpf/btf.c, 6.12).

use super::BtfError;

/// More than any kernel's BTF takes: vmlinux has about 5 MB, an all-modules build about 30 MB.
pub(super) const MAX_BYTES: usize = 64 << 20;

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;

/// The part of `bytes` that a parser needs: header, types and strings, all within bounds.
///
/// # Errors
/// Not BTF at all, another byte order, or a section or type that reaches beyond its end.
pub(super) fn check<'a>(bytes: &'a [u8], file: &str, split: bool) -> Result<&'a [u8], BtfError> {
    let not_btf = |reason: String| BtfError::NotBtf { file: file.to_owned(), reason };
    let damaged = |reason: &str| BtfError::Damaged { file: file.to_owned(), reason: reason.to_owned() };

    check_magic(bytes).map_err(not_btf)?;
    if bytes.len() > MAX_BYTES {
        return Err(not_btf(format!("{} bytes are more than any kernel's BTF takes", bytes.len())));
    }
    let header = |at: usize| read_u32(bytes, at).ok_or_else(|| damaged("its header is cut short"));
    let header_bytes = header(4)?;
    if header_bytes < HEADER_BYTES {
        return Err(damaged("its header says that it is shorter than a header"));
    }
    let section = |offset: usize, length: usize| {
        let start = header_bytes.checked_add(offset)?;
        let end = start.checked_add(length)?;
        bytes.get(start..end).map(|section| (section, start, end))
    };
    let (types, types_start, types_end) =
        section(header(8)?, header(12)?).ok_or_else(|| damaged("its type section reaches beyond the file's end"))?;
    let (strings, strings_start, end) =
        section(header(16)?, header(20)?).ok_or_else(|| damaged("its string section reaches beyond the file's end"))?;

    // Kernel and pahole write the strings last. The library reads a name that begins just behind a base's strings as
    // the base's, although it is the first of the split BTF: with nothing behind them it finds none, and looks there.
    if types_start > types_end || strings_start < types_end {
        return Err(damaged("its strings do not follow its types"));
    }
    if strings.last().is_some_and(|&last| last != 0) || (!split && strings.first() != Some(&0)) {
        return Err(damaged("its string section does not begin and end with a zero byte"));
    }
    check_types(types).map_err(|reason| damaged(&reason))?;
    bytes.get(..end).ok_or_else(|| damaged("its string section reaches beyond the file's end"))
}

fn check_magic(bytes: &[u8]) -> Result<(), String> {
    match bytes {
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
fn check_types(types: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while at < types.len() {
        let info = read_u32(types, at + 4).ok_or_else(|| format!("the type at byte {at} is cut short"))?;
        let kind = (info >> 24) & 0x1f;
        let members = info & 0xffff;
        let extra = match kind {
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
            _ => return Err(format!("the type at byte {at} is of kind {kind}, which is not known here")),
        };
        at += TYPE_BYTES + extra;
    }
    if at == types.len() { Ok(()) } else { Err("its last type reaches beyond its section's end".to_owned()) }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(field.try_into().ok()?)).ok()
}

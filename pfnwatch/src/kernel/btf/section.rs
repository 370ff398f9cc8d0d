//! The types of one file, as they lie in memory: by id, and their names by offset.
//!
//! Everything is checked once, before anybody asks: the header, the bounds of the sections and of each type. The format is
//! the kernel's Documentation/bpf/btf.rst; the checks follow `btf_parse_hdr()` (kernel/bpf/btf.c, 6.12).

use std::ops::Range;

use super::BtfError;
use super::record::{BtfKind, Record, word};

/// More than any kernel's BTF takes: vmlinux has about 5 MB, with everything built in about 30 MB.
pub(super) const MAX_BYTES: u64 = 64 << 20;

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;

pub(super) struct Section {
    bytes: Vec<u8>,
    strings: Range<usize>,
    /// Where each type begins in `bytes`; the first has the id `first_id`.
    starts: Vec<u32>,
    first_id: u32,
    /// The offset of its first string in names: those of a module continue after the kernel's.
    first_string: u32,
    /// Structures and functions, which are looked up by name.
    structures: Vec<Named>,
    functions: Vec<Named>,
}

struct Named {
    id: u32,
    name: u32,
}

impl Section {
    /// Checks `bytes` and finds the types in them: a kernel's, or where there is a `base`, a module's over those.
    pub(super) fn new(bytes: Vec<u8>, file: &str, base: Option<&Self>) -> Result<Self, BtfError> {
        let (types, strings) = sections(&bytes, base.is_some()).map_err(|problem| problem.of(file))?;
        let mut section = Self {
            bytes,
            strings,
            starts: Vec::with_capacity(types.len() / 24),
            first_id: base.map_or(1, Self::next_id),
            first_string: base.map_or(0, |base| number(base.strings.len())),
            structures: Vec::new(),
            functions: Vec::new(),
        };
        section.walk(types).map_err(|problem| problem.of(file))?;
        Ok(section)
    }

    fn next_id(&self) -> u32 {
        self.first_id.saturating_add(number(self.starts.len()))
    }

    /// Walks the types by their sizes: each must be of a known kind and end within the section.
    fn walk(&mut self, types: Range<usize>) -> Result<(), Problem> {
        let mut at = types.start;
        while at < types.end {
            let beyond = || {
                Problem::Damaged(format!("the type {} bytes before its types' end reaches beyond it", types.end - at))
            };
            let record = self.bytes.get(at..types.end).and_then(Record::at).ok_or_else(beyond)?;
            let Some(kind) = record.kind().filter(|kind| *kind != BtfKind::Void) else {
                let kind = record.kind_number();
                return Err(Problem::Damaged(format!("it has a type of kind {kind}, which is not known here")));
            };
            let end = at + record.bytes(kind);
            if end > types.end {
                return Err(beyond());
            }
            let named = Named { id: self.next_id(), name: record.name };
            match kind {
                BtfKind::Struct => self.structures.push(named),
                BtfKind::Func => self.functions.push(named),
                _ => {}
            }
            self.starts.push(number(at));
            at = end;
        }
        Ok(())
    }

    /// `None` if it is not one of its own.
    pub(super) fn record(&self, id: u32) -> Option<Record<'_>> {
        let index = usize::try_from(id.checked_sub(self.first_id)?).ok()?;
        let start = usize::try_from(*self.starts.get(index)?).ok()?;
        Record::at(self.bytes.get(start..)?)
    }

    /// `None` if it is not one of its own strings.
    pub(super) fn string(&self, offset: u32) -> Option<&[u8]> {
        let offset = usize::try_from(offset.checked_sub(self.first_string)?).ok()?;
        self.bytes.get(self.strings.clone())?.get(offset..).filter(|string| !string.is_empty())
    }

    /// The ids of its complete structures with this name. A module may use a name of the kernel's.
    pub(super) fn structures(&self, name: &str, base: Option<&Self>) -> Vec<u32> {
        self.named(&self.structures, name, base)
    }

    pub(super) fn functions(&self, name: &str) -> Vec<u32> {
        self.named(&self.functions, name, None)
    }

    fn named(&self, all: &[Named], name: &str, base: Option<&Self>) -> Vec<u32> {
        let is_named = |it: &&Named| {
            let string = self.string(it.name).or_else(|| base?.string(it.name));
            string.is_some_and(|string| is(string, name))
        };
        all.iter().filter(is_named).map(|it| it.id).collect()
    }
}

/// Whether the string that begins there is this name.
pub(super) fn is(string: &[u8], name: &str) -> bool {
    string.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
}

/// Lengths within [`MAX_BYTES`].
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

enum Problem {
    NotBtf(String),
    Damaged(String),
}

impl Problem {
    fn of(self, file: &str) -> BtfError {
        let file = file.to_owned();
        match self {
            Self::NotBtf(reason) => BtfError::NotBtf { file, reason },
            Self::Damaged(reason) => BtfError::Damaged { file, reason },
        }
    }
}

fn damaged<T>(reason: &str) -> Result<T, Problem> {
    Err(Problem::Damaged(reason.to_owned()))
}

fn sections(bytes: &[u8], split: bool) -> Result<(Range<usize>, Range<usize>), Problem> {
    check_magic(bytes).map_err(Problem::NotBtf)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(Problem::NotBtf(format!("more than {MAX_BYTES} bytes: this is not a kernel's BTF")));
    }
    let header: Option<[u32; 5]> = bytes.get(4..HEADER_BYTES).map(|header| std::array::from_fn(|at| word(header, at)));
    let Some(header) = header else { return damaged("its header is cut short") };
    // All of these are 32 bits wide, so that their sums fit.
    let [header_bytes, type_offset, type_bytes, string_offset, string_bytes] =
        header.map(|word| usize::try_from(word).unwrap_or(usize::MAX >> 2));
    let types = header_bytes + type_offset..header_bytes + type_offset + type_bytes;
    let strings = header_bytes + string_offset..header_bytes + string_offset + string_bytes;
    if header_bytes < HEADER_BYTES {
        return damaged("its header has a length below that of a header");
    }
    if types.end > bytes.len() || strings.end > bytes.len() {
        return damaged("a section reaches beyond the file's end");
    }
    // Kernel and pahole write the strings last.
    if strings.start < types.end {
        return damaged("its strings do not follow its types");
    }
    let own = bytes.get(strings.clone()).unwrap_or_default();
    let ends_well = own.last().is_none_or(|last| *last == 0);
    let begins_well = split || own.first() == Some(&0);
    if !begins_well || !ends_well {
        return damaged("its string section does not begin and end with a zero byte");
    }
    Ok((types, strings))
}

fn check_magic(start: &[u8]) -> Result<(), String> {
    match start {
        [] => Err("it is empty".to_owned()),
        [0x7f, b'E', b'L', b'F', ..] => {
            Err("it is an ELF file: extract its .BTF section with `objcopy --dump-section .BTF=OUT FILE`".to_owned())
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

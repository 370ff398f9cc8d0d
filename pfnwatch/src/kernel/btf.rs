//! The kernel's description of its types (BTF), as far as pfnwatch needs it: sizes, and offsets of members.
//!
//! vmlinux's BTF is 5 MB. It is read once and parsed in place; its memory is freed when the last [`Btf`] is dropped.

mod error;
mod functions;
mod record;
mod section;

#[cfg(test)]
pub(crate) mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use self::record::{BtfKind, RawMember, Record};
use self::section::{MAX_BYTES, Section, is};

pub use self::error::BtfError;
use crate::kernel::member_lookup::{LookupError, Member, MemberLookup};

/// The limit of nested typedefs, qualifiers and unnamed structures; kernels have fewer than ten.
const MAX_DEPTH: u32 = 32;
/// The limit of members that are visited for one step of a path, unnamed structures included; `task_struct` has fewer
/// than a thousand.
const MAX_MEMBERS: u32 = 1 << 16;

/// The types of vmlinux, or of a module over those of vmlinux.
pub struct Btf {
    /// Of a module: its own.
    own: Arc<Section>,
    /// Of a module: the kernel's.
    base: Option<Arc<Section>>,
    file: String,
    /// A name is found by a scan over all structures, whose result is cached.
    known: RefCell<HashMap<String, Definitions>>,
}

/// The complete definitions of one name in one section; empty if there is none.
type Definitions = Arc<[u32]>;

impl Btf {
    /// Reads a kernel's BTF (`/sys/kernel/btf/vmlinux`).
    ///
    /// # Errors
    /// [`BtfError`]: not readable, not BTF, or damaged.
    pub fn open(path: &Path) -> Result<Self, BtfError> {
        let file = path.display().to_string();
        Self::over(read_file(path, &file)?, file, None)
    }

    /// Reads a module's BTF (`/sys/kernel/btf/libnvdimm`), which refers to types of `base`.
    ///
    /// # Errors
    /// [`BtfError`]: not readable, not BTF, damaged, or not over this base.
    pub fn open_split(path: &Path, base: &Self) -> Result<Self, BtfError> {
        let file = path.display().to_string();
        Self::over(read_file(path, &file)?, file, Some(base))
    }

    /// Takes a kernel's BTF; `file` is its name in messages.
    ///
    /// # Errors
    /// [`BtfError`]: not readable, not BTF, or damaged.
    pub fn from_reader(from: impl Read, file: &str) -> Result<Self, BtfError> {
        Self::over(read(from, Vec::new(), file)?, file.to_owned(), None)
    }

    /// Takes a module's BTF over the kernel's; `file` is its name in messages.
    ///
    /// # Errors
    /// [`BtfError`]: not BTF, damaged, or not over this base.
    pub fn split_from_bytes(bytes: &[u8], file: &str, base: &Self) -> Result<Self, BtfError> {
        Self::over(bytes.to_vec(), file.to_owned(), Some(base))
    }

    fn over(bytes: Vec<u8>, file: String, base: Option<&Self>) -> Result<Self, BtfError> {
        let own = Arc::new(Section::new(bytes, &file, base.map(|base| &*base.own))?);
        let file = base.map_or_else(|| file.clone(), |base| format!("{file} (over {})", base.file));
        Ok(Self { own, base: base.map(|base| base.own.clone()), file, known: RefCell::default() })
    }

    fn sections(&self) -> impl Iterator<Item = &Section> {
        [Some(&self.own), self.base.as_ref()].into_iter().flatten().map(|section| &**section)
    }

    fn record(&self, id: u32) -> Option<Record<'_>> {
        if id == 0 { Some(Record::VOID) } else { self.sections().find_map(|section| section.record(id)) }
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        self.sections().find_map(|section| section.string(offset))
    }

    /// All complete definitions of a structure in the first section that has one: the module's, then the kernel's.
    fn definitions(&self, structure: &str) -> Definitions {
        if let Some(known) = self.known.borrow().get(structure) {
            return known.clone();
        }
        let base = self.base.as_deref();
        let found = self.sections().map(|section| section.structures(structure, base)).find(|found| !found.is_empty());
        let found = Definitions::from(found.unwrap_or_default());
        self.known.borrow_mut().insert(structure.to_owned(), found.clone());
        found
    }

    /// Asks each definition of a structure; they must agree.
    fn agreed<T: PartialEq>(
        &self,
        structure: &str,
        what: &str,
        ask: impl Fn(Record<'_>) -> Result<T, LookupError>,
    ) -> Result<T, LookupError> {
        let missing = || LookupError::NoStructure { structure: structure.to_owned(), file: self.file.clone() };
        let definitions = self.definitions(structure);
        let mut answers = definitions.iter().filter_map(|id| self.record(*id)).map(ask);
        let first = answers.next().ok_or_else(missing)??;
        for answer in answers {
            if answer? != first {
                return Err(LookupError::Ambiguous {
                    structure: structure.to_owned(),
                    what: what.to_owned(),
                    file: self.file.clone(),
                });
            }
        }
        Ok(first)
    }

    fn damaged(&self, structure: &str, what: &str, reason: &str) -> LookupError {
        LookupError::Damaged {
            structure: structure.to_owned(),
            what: what.to_owned(),
            reason: reason.to_owned(),
            file: self.file.clone(),
        }
    }
}

impl MemberLookup for Btf {
    fn size_of(&self, structure: &str) -> Result<u32, LookupError> {
        self.agreed(structure, "its size", |definition| Ok(definition.size_or_type))
    }

    fn member(&self, structure: &str, path: &str) -> Result<Member, LookupError> {
        self.agreed(structure, path, |definition| Walk { btf: self, structure, path }.follow(definition))
    }
}

struct Walk<'a> {
    btf: &'a Btf,
    structure: &'a str,
    path: &'a str,
}

struct Found {
    offset_bits: u32,
    is_bitfield: bool,
    type_id: u32,
}

impl Walk<'_> {
    fn follow(&self, definition: Record<'_>) -> Result<Member, LookupError> {
        let mut within = definition;
        let mut offset_bits = 0_u32;
        let mut steps = self.path.split('.').peekable();
        let mut taken = 0;
        while let Some(step) = steps.next() {
            taken += step.len() + 1;
            let so_far = self.path.get(..taken - 1).unwrap_or(self.path);
            let mut left = MAX_MEMBERS;
            let found = self.find(within, step, MAX_DEPTH, &mut left)?.ok_or_else(|| self.no_member(so_far))?;
            offset_bits = self.add(offset_bits, found.offset_bits)?;
            let (found_type, repeated) = self.plain_type(found.type_id)?;
            if steps.peek().is_some() {
                match found_type.kind() {
                    Some(BtfKind::Struct | BtfKind::Union) if repeated.is_none() => within = found_type,
                    _ => return Err(self.not_a_structure(so_far)),
                }
                continue;
            }
            if found.is_bitfield || !offset_bits.is_multiple_of(8) {
                return Err(self.bitfield());
            }
            let width = self.width(found_type)?.checked_mul(repeated.unwrap_or(1));
            let width_bytes = width.ok_or_else(|| self.damaged("it is larger than 4 GiB"))?;
            return Ok(Member { offset_bytes: offset_bits / 8, width_bytes });
        }
        Err(self.no_member(self.path))
    }

    /// The member `step` of `within`; unnamed structures and unions are entered, as C does.
    fn find(&self, within: Record<'_>, step: &str, depth: u32, left: &mut u32) -> Result<Option<Found>, LookupError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.damaged("its unnamed structures turn in a circle"))?;
        for member in within.members() {
            *left = left.checked_sub(1).ok_or_else(|| self.damaged("it has too many members"))?;
            let name = self.btf.string(member.name).ok_or_else(|| self.damaged("a member's name is not there"))?;
            let is_named = name.first() != Some(&0);
            if is_named && is(name, step) {
                let RawMember { offset_bits, is_bitfield, type_id, .. } = member;
                return Ok(Some(Found { offset_bits, is_bitfield, type_id }));
            }
            if is_named {
                continue;
            }
            let (inner, repeated) = self.plain_type(member.type_id)?;
            if let (Some(BtfKind::Struct | BtfKind::Union), None) = (inner.kind(), repeated)
                && let Some(found) = self.find(inner, step, depth, left)?
            {
                let offset_bits = self.add(found.offset_bits, member.offset_bits)?;
                return Ok(Some(Found { offset_bits, ..found }));
            }
        }
        Ok(None)
    }

    /// The type behind typedefs, qualifiers and arrays; with the number of elements where there is an array.
    fn plain_type(&self, id: u32) -> Result<(Record<'_>, Option<u32>), LookupError> {
        let mut id = id;
        let mut elements = None;
        for _ in 0..MAX_DEPTH {
            let found = self.btf.record(id).ok_or_else(|| self.damaged(&format!("it has no type {id}")))?;
            id = match found.kind() {
                Some(BtfKind::Typedef | BtfKind::Const | BtfKind::Volatile | BtfKind::Restrict | BtfKind::TypeTag) => {
                    found.size_or_type
                }
                Some(BtfKind::Array) => {
                    let (of, rows) = found.array();
                    let product = elements.unwrap_or(1_u32).checked_mul(rows);
                    elements = Some(product.ok_or_else(|| self.damaged("an array is larger than 4 GiB"))?);
                    of
                }
                _ => return Ok((found, elements)),
            };
        }
        Err(self.damaged("its types turn in a circle"))
    }

    fn width(&self, plain: Record<'_>) -> Result<u32, LookupError> {
        match plain.kind() {
            // eBPF programs run on 64-bit kernels only.
            Some(BtfKind::Ptr) => Ok(8),
            Some(
                BtfKind::Int | BtfKind::Float | BtfKind::Enum | BtfKind::Enum64 | BtfKind::Struct | BtfKind::Union,
            ) => Ok(plain.size_or_type),
            other => Err(self.damaged(&format!("a {} has no size", other.unwrap_or(BtfKind::Void).name()))),
        }
    }

    fn add(&self, left: u32, right: u32) -> Result<u32, LookupError> {
        left.checked_add(right).ok_or_else(|| self.damaged("it lies more than 512 MiB into the structure"))
    }

    fn no_member(&self, so_far: &str) -> LookupError {
        let (structure, member, file) = (self.structure.to_owned(), so_far.to_owned(), self.btf.file.clone());
        LookupError::NoMember { structure, member, file }
    }

    fn not_a_structure(&self, so_far: &str) -> LookupError {
        let (structure, member, file) = (self.structure.to_owned(), so_far.to_owned(), self.btf.file.clone());
        LookupError::NotAStructure { structure, member, file }
    }

    fn bitfield(&self) -> LookupError {
        let (structure, member, file) = (self.structure.to_owned(), self.path.to_owned(), self.btf.file.clone());
        LookupError::Bitfield { structure, member, file }
    }

    fn damaged(&self, reason: &str) -> LookupError {
        self.btf.damaged(self.structure, self.path, reason)
    }
}

/// The bytes of a file, in a buffer without spare capacity.
fn read_file(path: &Path, name: &str) -> Result<Vec<u8>, BtfError> {
    let read_error = |source| BtfError::Read { file: name.to_owned(), source };
    let file = File::open(path).map_err(read_error)?;
    // Room for a byte more: the end is then found without asking for more memory.
    let length = file.metadata().map_err(read_error)?.len().min(MAX_BYTES) + 1;
    read(file, Vec::with_capacity(usize::try_from(length).unwrap_or(0)), name)
}

/// All bytes, up to one more than any BTF has, so that a larger file is detected without being read whole.
fn read(from: impl Read, mut into: Vec<u8>, name: &str) -> Result<Vec<u8>, BtfError> {
    let read = from.take(MAX_BYTES + 1).read_to_end(&mut into);
    read.map_err(|source| BtfError::Read { file: name.to_owned(), source })?;
    Ok(into)
}

//! The kernel's own description of its types (BTF), as far as pfnwatch asks: sizes, and where members lie.
//!
//! The only file that knows the BTF library. vmlinux's BTF is 5 MB; parsed into maps it would take ten times as much,
//! so it is copied into a sealed memory file which the library maps and reads on demand. All of it goes back to the
//! kernel when the last [`Btf`] is dropped.

mod error;
mod functions;
mod sealed;
mod sections;

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) mod writer;

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::File,
    io::{Cursor, Read},
    os::fd::AsRawFd as _,
    path::Path,
    sync::Arc,
};

use btf_rs::{Backend, BtfSection, BtfType, Type};

pub use self::error::BtfError;
use super::member::{LookupError, Member, MemberLookup};

/// Typedefs, qualifiers and unnamed structures that may stand inside each other; kernels have fewer than ten.
const MAX_DEPTH: u32 = 32;
/// Members looked at for one step of a path, unnamed structures included; `task_struct` has fewer than a thousand.
const MAX_MEMBERS: u32 = 1 << 16;

/// The types of vmlinux, or of a module over those of vmlinux.
pub struct Btf {
    parsed: btf_rs::Btf,
    file: String,
    /// A name is found by looking at every type, a millisecond for vmlinux: each is looked for once.
    known: RefCell<HashMap<String, Definitions>>,
}

/// The complete definitions of one name in the section that counts; none where there is none.
type Definitions = Arc<[btf_rs::Struct]>;

impl Btf {
    /// Reads a kernel's BTF (`/sys/kernel/btf/vmlinux`).
    ///
    /// # Errors
    /// [`BtfError`]: not readable, not BTF, or damaged.
    pub fn open(path: &Path) -> Result<Self, BtfError> {
        Self::from_reader(sealed::open(path)?, &path.display().to_string())
    }

    /// Reads a module's BTF (`/sys/kernel/btf/libnvdimm`), which refers to types of `base`.
    ///
    /// # Errors
    /// [`BtfError`]: not readable, not BTF, damaged, or not over this base.
    pub fn open_split(path: &Path, base: &Self) -> Result<Self, BtfError> {
        Self::split_from_bytes(&sealed::read(path)?, &path.display().to_string(), base)
    }

    /// Parses a kernel's BTF; `file` is its name in messages.
    ///
    /// # Errors
    /// [`BtfError`]: not readable, not BTF, damaged, or no memory file could be made for it.
    pub fn from_reader(from: impl Read, file: &str) -> Result<Self, BtfError> {
        let copy: File = sealed::copy(from, file)?;
        // The library takes a path only; it maps what is behind it and needs the descriptor no longer.
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let parsed = btf_rs::Btf::from_file_with_backend(path, Backend::Mmap).map_err(|error| damaged(file, &error))?;
        Ok(Self { parsed, file: file.to_owned(), known: RefCell::default() })
    }

    /// Parses a module's BTF over the kernel's; `file` is its name in messages.
    ///
    /// # Errors
    /// [`BtfError`]: not BTF, damaged, or not over this base.
    pub fn split_from_bytes(bytes: &[u8], file: &str, base: &Self) -> Result<Self, BtfError> {
        sections::check(&mut Cursor::new(bytes), file, true)?;
        let parsed = btf_rs::Btf::from_split_bytes(bytes, &base.parsed).map_err(|error| damaged(file, &error))?;
        Ok(Self { parsed, file: format!("{file} (over {})", base.file), known: RefCell::default() })
    }

    /// All complete definitions of a structure in the first section that has one: the module's, then the kernel's.
    fn definitions(&self, structure: &str) -> Result<Definitions, LookupError> {
        if let Some(known) = self.known.borrow().get(structure) {
            return Ok(known.clone());
        }
        let mut definitions = Definitions::default();
        for section in self.parsed.split().into_iter().chain([self.parsed.base()]) {
            definitions = complete(section, structure).map_err(|error| self.damaged(structure, "its name", &error))?;
            if !definitions.is_empty() {
                break;
            }
        }
        self.known.borrow_mut().insert(structure.to_owned(), definitions.clone());
        Ok(definitions)
    }

    /// Asks each definition of a structure, which have to agree.
    fn agreed<T: PartialEq>(
        &self,
        structure: &str,
        what: &str,
        ask: impl Fn(&btf_rs::Struct) -> Result<T, LookupError>,
    ) -> Result<T, LookupError> {
        let missing = || LookupError::NoStructure { structure: structure.to_owned(), file: self.file.clone() };
        let definitions = self.definitions(structure)?;
        let mut answers = definitions.iter().map(ask);
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

    fn damaged(&self, structure: &str, what: &str, reason: &(impl ToString + ?Sized)) -> LookupError {
        LookupError::Damaged {
            structure: structure.to_owned(),
            what: what.to_owned(),
            reason: reason.to_string(),
            file: self.file.clone(),
        }
    }
}

impl MemberLookup for Btf {
    fn size_of(&self, structure: &str) -> Result<u32, LookupError> {
        const WHAT: &str = "its size";
        self.agreed(structure, WHAT, |definition| {
            u32::try_from(definition.size()).map_err(|error| self.damaged(structure, WHAT, &error))
        })
    }

    fn member(&self, structure: &str, path: &str) -> Result<Member, LookupError> {
        self.agreed(structure, path, |definition| Walk { btf: self, structure, path }.follow(definition))
    }
}

/// The way along one path, from one definition of a structure.
struct Walk<'a> {
    btf: &'a Btf,
    structure: &'a str,
    path: &'a str,
}

/// A member that was found in a structure, or in an unnamed one within.
struct Found {
    offset_bits: u32,
    is_bitfield: bool,
    type_id: u32,
}

impl Walk<'_> {
    fn follow(&self, definition: &btf_rs::Struct) -> Result<Member, LookupError> {
        let mut within = definition.clone();
        let mut offset_bits = 0_u32;
        let mut steps = self.path.split('.').peekable();
        let mut taken = 0;
        while let Some(step) = steps.next() {
            taken += step.len() + 1;
            let so_far = self.path.get(..taken - 1).unwrap_or(self.path);
            let mut left = MAX_MEMBERS;
            let found = self.find(&within, step, MAX_DEPTH, &mut left)?.ok_or_else(|| self.no_member(so_far))?;
            offset_bits = self.add(offset_bits, found.offset_bits)?;
            let (found_type, repeated) = self.plain_type(found.type_id)?;
            if steps.peek().is_some() {
                within = match found_type {
                    Type::Struct(inner) | Type::Union(inner) if repeated.is_none() => inner,
                    _ => return Err(self.not_a_structure(so_far)),
                };
                continue;
            }
            if found.is_bitfield || !offset_bits.is_multiple_of(8) {
                return Err(self.bitfield());
            }
            let width = self.width(&found_type)?.checked_mul(repeated.unwrap_or(1));
            let width_bytes = width.ok_or_else(|| self.damaged("it is larger than 4 GiB"))?;
            return Ok(Member { offset_bytes: offset_bits / 8, width_bytes });
        }
        Err(self.no_member(self.path))
    }

    /// The member `step` of `within`; unnamed structures and unions are entered, as C does.
    fn find(
        &self,
        within: &btf_rs::Struct,
        step: &str,
        depth: u32,
        left: &mut u32,
    ) -> Result<Option<Found>, LookupError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.damaged("its unnamed structures turn in a circle"))?;
        for member in &within.members {
            *left = left.checked_sub(1).ok_or_else(|| self.damaged("it has too many members"))?;
            let name = self.btf.parsed.resolve_name(member).map_err(|error| self.damaged(&error))?;
            let type_id = member.get_type_id().ok_or_else(|| self.damaged("a member has no type"))?;
            if name == step && !name.is_empty() {
                let is_bitfield = member.bitfield_size().is_some_and(|bits| bits != 0);
                return Ok(Some(Found { offset_bits: member.bit_offset(), is_bitfield, type_id }));
            }
            if !name.is_empty() {
                continue;
            }
            if let (Type::Struct(inner) | Type::Union(inner), None) = self.plain_type(type_id)?
                && let Some(found) = self.find(&inner, step, depth, left)?
            {
                let offset_bits = self.add(found.offset_bits, member.bit_offset())?;
                return Ok(Some(Found { offset_bits, ..found }));
            }
        }
        Ok(None)
    }

    /// The type behind typedefs, qualifiers and arrays; with the number of elements where there is an array.
    fn plain_type(&self, id: u32) -> Result<(Type, Option<u32>), LookupError> {
        let mut id = id;
        let mut elements = None;
        for _ in 0..MAX_DEPTH {
            let found = self.btf.parsed.resolve_type_by_id(id).map_err(|error| self.damaged(&error))?;
            let next = match &found {
                Type::Typedef(inner) => inner.get_type_id(),
                Type::Const(inner) | Type::Volatile(inner) | Type::Restrict(inner) => inner.get_type_id(),
                Type::TypeTag(inner) => inner.get_type_id(),
                Type::Array(inner) => {
                    let rows = u32::try_from(inner.len()).map_err(|error| self.damaged(&error))?;
                    let product = elements.unwrap_or(1_u32).checked_mul(rows);
                    elements = Some(product.ok_or_else(|| self.damaged("an array is larger than 4 GiB"))?);
                    inner.get_type_id()
                }
                _ => return Ok((found, elements)),
            };
            id = next.ok_or_else(|| self.damaged("a type refers to none"))?;
        }
        Err(self.damaged("its types turn in a circle"))
    }

    fn width(&self, plain: &Type) -> Result<u32, LookupError> {
        let bytes = match plain {
            // eBPF programs run on 64-bit kernels only.
            Type::Ptr(_) => 8,
            Type::Int(found) => found.size(),
            Type::Float(found) => found.size(),
            Type::Enum(found) => found.size(),
            Type::Enum64(found) => found.size(),
            Type::Struct(found) | Type::Union(found) => found.size(),
            other => return Err(self.damaged(&format!("a {} has no size", other.name()))),
        };
        u32::try_from(bytes).map_err(|error| self.damaged(&error))
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

    fn damaged(&self, reason: &(impl ToString + ?Sized)) -> LookupError {
        self.btf.damaged(self.structure, self.path, reason)
    }
}

fn complete(section: &BtfSection, name: &str) -> Result<Definitions, btf_rs::Error> {
    let types = section.resolve_types_by_name(name)?;
    Ok(types.into_iter().filter_map(|found| if let Type::Struct(found) = found { Some(found) } else { None }).collect())
}

fn damaged(file: &str, error: &btf_rs::Error) -> BtfError {
    BtfError::Damaged { file: file.to_owned(), reason: error.to_string() }
}

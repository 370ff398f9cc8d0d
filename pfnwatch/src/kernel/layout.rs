//! Offsets of the members that the eBPF programs read: one table, resolved once for the running kernel.
//!
//! There are no default offsets. A member that the kernel's types lack, or that has an unexpected width, stays unknown,
//! and [`Resolution::missing`] has the reason.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;

use pfnwatch_common::layout::{FieldOffset, Layout};

use self::table::TABLE;
use crate::kernel::member_lookup::{LookupError, Member, MemberLookup};

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Structure {
    Device,
    Kobject,
    DeviceType,
    DeviceDriver,
    NdPfn,
    NdBtt,
    NdNamespaceCommon,
    NdNamespaceIo,
    NdNamespacePmem,
    NdRegion,
    #[strum(serialize = "task_struct")]
    Task,
    KernfsNode,
    Module,
    DevPagemap,
}

impl Structure {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The width that a member must have for the programs to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// One of these, in bytes.
    Bytes(&'static [u32]),
    /// The structure itself, not a pointer to it.
    Whole(Structure),
}

struct Row {
    structure: Structure,
    /// The field's name in [`pfnwatch_common::layout`], for messages and lookups.
    field: &'static str,
    /// Paths of the member, that of newer kernels first.
    members: &'static [&'static str],
    width: Width,
    /// Nothing can be observed without it; an optional one disables a part.
    required: bool,
    set: fn(&mut Layout, FieldOffset),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub structure: Structure,
    pub field: &'static str,
    pub tried: &'static [&'static str],
    /// Whether nothing can be observed without it.
    pub required: bool,
    /// The reason for the last one that was tried.
    pub why: MissingReason,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tried {
            [_] => write!(f, "{}", self.why),
            tried => write!(f, "{} (tried: {})", self.why, tried.join(", ")),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingReason {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The member exists, and has a width that the programs do not read.
    #[error("struct {structure}: {member} is {found_bytes} bytes wide, expected {expected}", structure = .structure.name())]
    Width {
        structure: Structure,
        member: &'static str,
        /// Its width in bytes.
        found_bytes: u32,
        /// The widths that the programs can read, in words.
        expected: String,
    },
    /// The member's offset does not fit [`FieldOffset`].
    #[error("struct {structure}: {member} lies out of reach", structure = .structure.name())]
    OutOfReach { structure: Structure, member: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    pub layout: Layout,
    /// Fields that stayed [`FieldOffset::MISSING`], in the table's order.
    pub missing: Vec<Missing>,
}

impl Resolution {
    /// The missing fields of these structures.
    pub fn missing_of(&self, structures: &[Structure]) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(move |missing| structures.contains(&missing.structure))
    }

    /// Missing fields without a substitute: with any of these, nothing can be observed.
    pub fn missing_required(&self) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(|missing| missing.required)
    }
}

pub const FIELDS: usize = TABLE.len();

pub fn resolve(kernel: &dyn MemberLookup) -> Resolution {
    let mut layout = Layout::UNRESOLVED;
    let mut missing = Vec::new();
    for row in TABLE {
        match resolve_row(kernel, row) {
            Ok(offset) => (row.set)(&mut layout, offset),
            Err(why) => {
                let (structure, field, required) = (row.structure, row.field, row.required);
                missing.push(Missing { structure, field, tried: row.members, required, why });
            }
        }
    }
    Resolution { layout, missing }
}

fn resolve_row(kernel: &dyn MemberLookup, row: &Row) -> Result<FieldOffset, MissingReason> {
    let Row { structure, members, .. } = *row;
    // A row without members would be a mistake in the table, which its test finds.
    let mut why = MissingReason::OutOfReach { structure, member: row.field };
    for member in members {
        match kernel.member(structure.name(), member) {
            Ok(found) => {
                check_width(kernel, row, member, found)?;
                return FieldOffset::new(found.offset_bytes).ok_or(MissingReason::OutOfReach { structure, member });
            }
            Err(error) => why = MissingReason::Lookup(error),
        }
    }
    Err(why)
}

fn check_width(kernel: &dyn MemberLookup, row: &Row, member: &'static str, found: Member) -> Result<(), MissingReason> {
    let wrong = |expected| {
        Err(MissingReason::Width { structure: row.structure, member, found_bytes: found.width_bytes, expected })
    };
    match row.width {
        Width::Bytes(widths) if widths.contains(&found.width_bytes) => Ok(()),
        Width::Bytes(widths) => wrong(widths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")),
        Width::Whole(inner) => match kernel.size_of(inner.name())? {
            size if size == found.width_bytes => Ok(()),
            size => wrong(format!("{size}, a whole struct {}", inner.name())),
        },
    }
}

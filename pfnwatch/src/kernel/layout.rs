//! Where the members lie that the eBPF programs read: one table, resolved once for the kernel that runs.
//!
//! There are no default offsets. What the kernel's types do not tell, or tell with a width that the programs do not
//! expect, stays unknown, and [`Resolution::missing`] says why.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;

use pfnwatch_common::layout::{FieldOffset, Layout};

use self::table::TABLE;
use super::member::{LookupError, Member, MemberLookup};

/// The kernel's structures that the table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Structure {
    /// `struct device`
    Device,
    /// `struct kobject`
    Kobject,
    /// `struct device_type`
    DeviceType,
    /// `struct device_driver`
    DeviceDriver,
    /// `struct nd_pfn`
    NdPfn,
    /// `struct nd_btt`
    NdBtt,
    /// `struct nd_namespace_common`
    NdNamespaceCommon,
    /// `struct nd_namespace_io`
    NdNamespaceIo,
    /// `struct nd_namespace_pmem`
    NdNamespacePmem,
    /// `struct nd_region`
    NdRegion,
    /// `struct task_struct`
    #[strum(serialize = "task_struct")]
    Task,
    /// `struct kernfs_node`
    KernfsNode,
    /// `struct module`
    Module,
}

impl Structure {
    /// Its name in C, without `struct`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How wide a member has to be, so that the programs read what they think they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// One of these, in bytes.
    Bytes(&'static [u32]),
    /// The whole of this structure lies there, not a pointer to it.
    Whole(Structure),
}

/// One row of the table.
struct Row {
    structure: Structure,
    /// The field's name in [`pfnwatch_common::layout`], for messages and questions.
    field: &'static str,
    /// Paths of the member, the one of newer kernels first.
    members: &'static [&'static str],
    width: Width,
    /// Without it there is nothing to observe; an optional one switches off a part.
    required: bool,
    set: fn(&mut Layout, FieldOffset),
}

/// A field of the layout that this kernel does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The structure.
    pub structure: Structure,
    /// The field's name in [`pfnwatch_common::layout`].
    pub field: &'static str,
    /// The members that were tried.
    pub tried: &'static [&'static str],
    /// Whether nothing can be observed without it.
    pub required: bool,
    /// Why the last of those tried did not do.
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

/// Why a member did not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingReason {
    /// The kernel's types have no answer.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The member is there, and of another kind than the programs read.
    #[error("struct {structure}: {member} is {found_bytes} bytes wide, expected {expected}", structure = .structure.name())]
    Width {
        /// The structure.
        structure: Structure,
        /// The member's path.
        member: &'static str,
        /// Its width in bytes.
        found_bytes: u32,
        /// The widths that the programs can read, in words.
        expected: String,
    },
    /// The member's offset is the one number that stands for "not known".
    #[error("struct {structure}: {member} lies out of reach", structure = .structure.name())]
    OutOfReach {
        /// The structure.
        structure: Structure,
        /// The member's path.
        member: &'static str,
    },
}

/// The layout of one kernel, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// For the eBPF programs.
    pub layout: Layout,
    /// What stayed [`FieldOffset::MISSING`] in it, in the table's order.
    pub missing: Vec<Missing>,
}

impl Resolution {
    /// What is missing of these structures: nothing, where each of their fields is known.
    pub fn missing_of(&self, structures: &[Structure]) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(move |missing| structures.contains(&missing.structure))
    }

    /// What is missing and has no substitute: with any of these, nothing can be observed.
    pub fn missing_required(&self) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(|missing| missing.required)
    }
}

/// Number of fields in the table.
pub const FIELDS: usize = TABLE.len();

/// Looks each field of the table up.
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

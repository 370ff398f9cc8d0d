use std::collections::HashMap;

use pfnwatch_common::layout::Layout;

use super::*;

/// A kernel whose members a test defines.
#[derive(Default)]
struct ByHand {
    sizes: HashMap<String, u32>,
    members: HashMap<(String, String), Member>,
}

impl ByHand {
    fn complete() -> Self {
        let mut kernel = Self::default();
        for (structure, size) in
            [("kobject", 64), ("device", 744), ("nd_namespace_common", 776), ("nd_namespace_io", 928)]
        {
            kernel.sizes.insert(structure.to_owned(), size);
        }
        for (row, offset) in TABLE.iter().zip((0..).step_by(8)) {
            let width = match row.width {
                Width::Bytes(widths) => widths[0],
                Width::Whole(inner) => kernel.sizes[inner.name()],
            };
            kernel.put(row.structure, row.members[0], offset, width);
        }
        kernel
    }

    fn put(&mut self, structure: Structure, member: &str, offset_bytes: u32, width_bytes: u32) {
        let key = (structure.name().to_owned(), member.to_owned());
        self.members.insert(key, Member { offset_bytes, width_bytes });
    }

    fn forget(&mut self, structure: Structure, member: &str) {
        self.members.remove(&(structure.name().to_owned(), member.to_owned())).expect("it was there");
    }
}

impl MemberLookup for ByHand {
    fn size_of(&self, structure: &str) -> Result<u32, LookupError> {
        let missing = LookupError::NoStructure { structure: structure.to_owned(), file: "by hand".to_owned() };
        self.sizes.get(structure).copied().ok_or(missing)
    }

    fn member(&self, structure: &str, path: &str) -> Result<Member, LookupError> {
        self.members.get(&(structure.to_owned(), path.to_owned())).copied().ok_or(LookupError::NoMember {
            structure: structure.to_owned(),
            member: path.to_owned(),
            file: "by hand".to_owned(),
        })
    }
}

#[test]
fn the_table_fills_every_field_of_the_layout_with_its_own_member() {
    let Resolution { layout, missing } = resolve(&ByHand::complete());
    assert_eq!(missing, []);
    assert_eq!(FIELDS, size_of::<Layout>() / size_of::<FieldOffset>(), "a row for each field");
    // In the table's order the offsets are 0, 8, 16 …, and the layout's fields have the same order.
    let text = format!("{layout:?}");
    let offsets: Vec<usize> =
        text.split("FieldOffset(").skip(1).map(|rest| rest.split(')').next().unwrap().parse().unwrap()).collect();
    assert_eq!(offsets, (0..FIELDS).map(|row| row * 8).collect::<Vec<_>>());
}

#[test]
fn a_missing_member_leaves_its_field_unknown_and_says_why() {
    let mut kernel = ByHand::complete();
    kernel.forget(Structure::NdPfn, "pfn_sb");
    kernel.forget(Structure::KernfsNode, "priv");
    let resolution = resolve(&kernel);
    assert_eq!(resolution.layout.nd_pfn.pfn_sb, FieldOffset::MISSING);
    assert_eq!(resolution.layout.kernfs_node.private, FieldOffset::MISSING);
    assert!(resolution.layout.nd_pfn.uuid.get().is_some());

    let required: Vec<_> = resolution.missing_required().map(ToString::to_string).collect();
    assert_eq!(required, ["struct nd_pfn has no member pfn_sb in by hand"], "the guard's fields are optional");
    assert_eq!(resolution.missing_of(&[Structure::KernfsNode, Structure::NdRegion]).count(), 1);
    assert_eq!(resolution.missing_of(&[Structure::Device, Structure::NdRegion]).count(), 0);
}

#[test]
fn a_member_of_another_width_is_not_taken() {
    let mut kernel = ByHand::complete();
    kernel.put(Structure::NdPfn, "mode", 800, 8);
    kernel.put(Structure::NdPfn, "dev", 8, 8);
    let resolution = resolve(&kernel);
    assert_eq!(resolution.layout.nd_pfn.mode, FieldOffset::MISSING);
    assert_eq!(resolution.layout.nd_pfn.dev, FieldOffset::MISSING);
    let texts: Vec<String> = resolution.missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "struct nd_pfn: dev is 8 bytes wide, expected 744, a whole struct device",
            "struct nd_pfn: mode is 8 bytes wide, expected 4",
        ]
    );
}

#[test]
fn a_member_may_have_several_widths() {
    for (width, known) in [(1, false), (2, true), (4, true), (8, false)] {
        let mut kernel = ByHand::complete();
        kernel.put(Structure::KernfsNode, "flags", 60, width);
        assert_eq!(resolve(&kernel).layout.kernfs_node.flags.get(), known.then_some(60), "{width} bytes");
    }
}

#[test]
fn the_first_member_of_a_row_that_is_there_counts() {
    let row = Row {
        structure: Structure::KernfsNode,
        field: "parent",
        members: &["__parent", "parent"],
        width: Width::Bytes(&[8]),
        required: false,
        set: |_, _| {},
    };
    let mut kernel = ByHand::default();
    let missing = Missing {
        structure: row.structure,
        field: row.field,
        tried: row.members,
        required: row.required,
        why: resolve_row(&kernel, &row).unwrap_err(),
    };
    assert_eq!(missing.to_string(), "struct kernfs_node has no member parent in by hand (tried: __parent, parent)");
    kernel.put(Structure::KernfsNode, "parent", 8, 8);
    assert_eq!(resolve_row(&kernel, &row).unwrap().get(), Some(8));
    kernel.put(Structure::KernfsNode, "__parent", 16, 8);
    assert_eq!(resolve_row(&kernel, &row).unwrap().get(), Some(16));
}

#[test]
fn an_offset_that_stands_for_missing_is_refused() {
    let mut kernel = ByHand::complete();
    kernel.put(Structure::Task, "flags", u32::MAX, 4);
    let resolution = resolve(&kernel);
    assert_eq!(resolution.missing.len(), 1);
    assert_eq!(resolution.missing[0].why, MissingReason::OutOfReach { structure: Structure::Task, member: "flags" });
}

#[test]
fn a_kernel_that_tells_nothing_leaves_everything_missing() {
    let resolution = resolve(&ByHand::default());
    assert_eq!(resolution.layout, Layout::UNRESOLVED);
    assert_eq!(resolution.missing.len(), FIELDS);
}

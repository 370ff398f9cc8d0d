//! Invariant 6: an offset comes from BTF or not at all.

use super::code::code;
use super::{Rule, Tree, Violation, belongs};

static NO_DEFAULTS: Rule = Rule {
    requirement: "invariant 6: there are no default offsets; a missing one switches a probe off with a reason that the user sees",
    remedy: "leave the offset unknown and say why it is",
};

const LAYOUTS: [&str; 2] = ["pfnwatch-common/src/layout", "pfnwatch/src/kernel/layout"];
/// Defaults by name.
const DEFAULTS: [&str; 3] = ["unwrap_or_default(", "Default", "default("];
/// What an offset is made with, or put in the place of a missing one with; a digit or an offset behind it is one that
/// somebody wrote down.
const MAKERS: [&str; 10] = [
    "FieldOffset::new(",
    "FieldOffset(",
    "Self::new(",
    "Self(",
    "offset: ",
    "offset = ",
    "unwrap_or(",
    "unwrap_or_else(|| ",
    "map_or(",
    ".or(",
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let layouts = tree.rust().filter(|file| !file.is_test());
    let layouts = layouts.filter(|file| LAYOUTS.iter().any(|module| belongs(&file.path, module)));
    layouts
        .flat_map(|file| {
            let code = code(&file.text);
            let lines = code.lines().enumerate().filter(|(_, line)| has_default(line) || written_down(line));
            lines.map(|(index, line)| NO_DEFAULTS.broken(&file.path, index + 1, line.trim())).collect::<Vec<_>>()
        })
        .collect()
}

fn has_default(line: &str) -> bool {
    DEFAULTS.iter().any(|default| line.contains(default))
}

fn written_down(line: &str) -> bool {
    let offset = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) || rest.starts_with("FieldOffset::new(");
    let after = |maker: &str| line.match_indices(maker).filter_map(|(at, _)| line.get(at + maker.len()..)).any(offset);
    MAKERS.iter().any(|maker| after(maker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn offsets_that_somebody_wrote_down() {
        for text in [
            "let uuid = member(\"uuid\").unwrap_or(8);",
            "let uuid = member(\"uuid\").unwrap_or_else(|| 8);",
            "let uuid = known.or(FieldOffset::new(8));",
            "let layout = Layout { mode: FieldOffset::new(776)? };",
            "const DEV: FieldOffset = FieldOffset(8);",
            "impl Default for Layout {",
            "let row = Row { offset: 16 };",
        ] {
            assert_eq!(broken("pfnwatch/src/kernel/layout.rs", text), 1, "{text}");
            assert_eq!(broken("pfnwatch/src/kernel/layout/table.rs", text), 1, "{text}");
            assert_eq!(broken("pfnwatch/src/kernel/layout/tests.rs", text), 0, "{text}");
            assert_eq!(broken("pfnwatch/src/inventory.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn widths_and_the_missing_offset_are_none() {
        let text = "pub const MISSING: Self = Self(u32::MAX);\nconst LONG: Width = Bytes(&[8]);\nSome(Self(bytes)) // or(8)\nwhy.unwrap_or(Why::NoMember)\n";
        assert_eq!(broken("pfnwatch-common/src/layout.rs", text), 0);
    }
}

//! From what a user calls a region to what identifies it.

use anyhow::{Context as _, bail};

use crate::model::exit::ExitContext;
use crate::model::inventory::{Inventory, Region};
use crate::model::policy::ExemptionSubject;
use crate::model::units::parse_number;
use crate::os::paths::Paths;
use crate::sysfs::inventory::SysfsRoots;

/// Finds a region: `region0`, or its set_cookie or start address as `0x…`.
///
/// # Errors
/// There is none (exit code 2), or its start is unknown.
pub(super) fn find(text: &str, paths: &Paths) -> anyhow::Result<ExemptionSubject> {
    find_in(text, &Inventory::read(&SysfsRoots::from(paths))?.regions)
}

fn find_in(text: &str, regions: &[Region]) -> anyhow::Result<ExemptionSubject> {
    if let Some(region) = regions.iter().find(|region| region.name == text) {
        let start = region.resource.clone().map_err(|why| anyhow::anyhow!("{text}/resource: {why}"));
        return start.map(ExemptionSubject::RegionStart).with_context(|| format!("where {text} starts is not known"));
    }
    let number = Some(text).filter(|text| text.starts_with("0x")).and_then(parse_number);
    let Some(number) = number else {
        bail!(ExitContext::usage(format!("`{text}` is not a region of this host{}", known(regions))));
    };
    // A cookie of 0 is that of a region without labels: it identifies none.
    if regions.iter().any(|region| number != 0 && region.set_cookie == Ok(number)) {
        Ok(ExemptionSubject::RegionCookie(number))
    } else if regions.iter().any(|region| region.resource == Ok(number)) {
        Ok(ExemptionSubject::RegionStart(number))
    } else {
        bail!(ExitContext::usage(format!(
            "no region of this host has set_cookie {text} or starts there{}",
            known(regions)
        )))
    }
}

fn known(regions: &[Region]) -> String {
    let told: Vec<_> = regions.iter().map(describe).collect();
    if told.is_empty() { ": it has none".to_owned() } else { format!("; there is {}", told.join(", ")) }
}

fn describe(region: &Region) -> String {
    let hex = |number: u64| format!("{number:#x}");
    let start = region.resource.clone().map_or_else(|why| format!("start not known: {why}"), hex);
    match region.set_cookie {
        Ok(cookie) if cookie != 0 => format!("{} ({start}, set_cookie {})", region.name, hex(cookie)),
        _ => format!("{} ({start})", region.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::Exit;
    use crate::testing::tree::Tree;

    fn found(text: &str) -> anyhow::Result<ExemptionSubject> {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        tree.region(0, 4 << 30, 64 << 30).unwrap();
        tree.region(1, 1 << 40, 64 << 30).unwrap();
        tree.write("region1", &[("set_cookie", "0x0")]).unwrap();
        tree.region(2, 2 << 40, 64 << 30).unwrap();
        std::fs::remove_file(tree.device("region2").join("resource")).unwrap();
        let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: "/proc".into(), dev: None };
        find_in(text, &Inventory::read(&roots).unwrap().regions)
    }

    #[test]
    fn by_name_cookie_or_address() {
        assert_eq!(found("region0").unwrap(), ExemptionSubject::RegionStart(4 << 30));
        assert_eq!(found("0x100000000").unwrap(), ExemptionSubject::RegionStart(4 << 30));
        assert_eq!(found("0xdeadbeef").unwrap(), ExemptionSubject::RegionCookie(0xdead_beef));
    }

    #[test]
    fn what_is_there_is_said() {
        for text in ["region7", "4294967296", "0x5", "0x0", "0xzz", "", "../region0"] {
            let error = found(text).expect_err(text);
            assert_eq!(Exit::from_error(&error), Exit::Usage, "{text}");
            let said = error.to_string();
            assert!(said.contains("region0 (0x100000000, set_cookie 0xdeadbeef), region1 (0x10000000000), "), "{said}");
        }
        let hidden = found("region2").unwrap_err();
        assert_eq!(format!("{hidden:#}"), "where region2 starts is not known: region2/resource: missing");
    }
}

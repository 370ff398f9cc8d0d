//! What only `plan` asks of a namespace: read when it is needed, so that a scan stays fast.

use std::path::Path;

use super::{SysfsRoots, attribute::Directory};
use crate::model::inventory::{Attribute, Namespace};

#[derive(Clone, Debug)]
pub struct Detail {
    /// The name that its owner gave it, `ndctl create-namespace --name`.
    pub alt_name: Attribute<String>,
    /// `pfn`, `dax` or `btt`.
    pub holder_class: Attribute<String>,
    /// Logical sector size in bytes; the attribute lists several, the one in use in brackets.
    pub sector_size: Attribute<u64>,
    /// 4 for io (no labels: e820, legacy), 5 for pmem.
    pub nstype: Attribute<u64>,
    /// Devices that are stacked on its block device: dm, md.
    pub stacked: Vec<String>,
}

impl Detail {
    pub fn read(roots: &SysfsRoots, namespace: &Namespace) -> Attribute<Self> {
        let directory = Directory::open(&roots.sysfs.join("bus/nd/devices").join(&namespace.name))?;
        let text = |name: &str| directory.read(name, |text| Some(text.to_owned()));
        Ok(Self {
            alt_name: text("alt_name"),
            holder_class: text("holder_class"),
            sector_size: directory.read("sector_size", selected_number),
            nstype: directory.number("nstype"),
            stacked: namespace.disk().map(|disk| stacked_on(&roots.sysfs, &disk)).unwrap_or_default(),
        })
    }
}

/// `512 [4096]` and `[512]`; one number alone is selected.
fn selected_number(text: &str) -> Option<u64> {
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    chosen.unwrap_or(text).parse().ok()
}

fn stacked_on(sysfs: &Path, disk: &str) -> Vec<String> {
    let holders = sysfs.join("block").join(disk).join("holders");
    let mut names = super::list(&holders).unwrap_or_default();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::selected_number;

    #[test]
    fn the_sector_size_in_use() {
        for (text, size) in
            [("512 [4096]", Some(4096)), ("[512] 4096", Some(512)), ("512", Some(512)), ("512 4096", None)]
        {
            assert_eq!(selected_number(text), size);
        }
    }
}

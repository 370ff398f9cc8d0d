//! One region: a range of persistent memory in which namespaces are made.

use super::attribute::{Attribute, Directory};

/// A region as sysfs has it. Not every region is persistent memory of ours to judge: BLK regions have no `align`.
#[derive(Clone, Debug)]
pub struct Region {
    /// `region0`.
    pub name: String,
    /// Bytes.
    pub size: Attribute<u64>,
    /// What sizes of namespaces must be a multiple of, in bytes.
    pub align: Attribute<u64>,
    /// How many DIMMs it is interleaved over; ndctl takes 0 for 1.
    pub mappings: Attribute<u64>,
    /// Physical address of its first byte; root only.
    pub resource: Attribute<u64>,
    /// Free bytes.
    pub available: Attribute<u64>,
    /// The largest free stretch in bytes.
    pub max_available_extent: Attribute<u64>,
    /// 4 for a region without labels, which is one namespace as a whole; 5 for one with labels.
    pub nstype: Attribute<u64>,
    /// Identifies it over boots, which its name does not.
    pub set_cookie: Attribute<u64>,
    /// Nothing can be written to it.
    pub read_only: Attribute<bool>,
    /// The pfn device of the next fsdax namespace.
    pub pfn_seed: Attribute<String>,
    /// The dax device of the next devdax namespace.
    pub dax_seed: Attribute<String>,
    /// The namespace that is made next.
    pub namespace_seed: Attribute<String>,
    /// Its driver is bound: without it its namespaces do not exist.
    pub enabled: bool,
    /// A DIMM of it is locked; looked at only while the region is not enabled.
    pub locked: bool,
}

impl Region {
    /// Reads a region; `None` where it is gone.
    pub(super) fn read(devices: &Directory, name: &str) -> Option<Self> {
        let directory = devices.child(name).ok()?;
        let enabled = directory.link("driver").is_some();
        let mappings = directory.number("mappings");
        let locked = !enabled && has_locked_dimm(devices, &directory, mappings.clone().unwrap_or(0));
        Some(Self {
            name: name.to_owned(),
            size: directory.number("size"),
            align: directory.number("align"),
            mappings,
            resource: directory.number("resource"),
            available: directory.number("available_size"),
            max_available_extent: directory.number("max_available_extent"),
            nstype: directory.number("nstype"),
            set_cookie: directory.number("set_cookie"),
            read_only: directory.read("read_only", |text| match text {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            }),
            pfn_seed: directory.device("pfn_seed"),
            dax_seed: directory.device("dax_seed"),
            namespace_seed: directory.device("namespace_seed"),
            enabled,
            locked,
        })
    }

    /// Over how many DIMMs it is interleaved, at least 1.
    #[must_use]
    pub fn ways(&self) -> u64 {
        self.mappings.clone().unwrap_or(1).max(1)
    }

    /// Whether it has no labels, so that it is one namespace as a whole.
    #[must_use]
    pub fn is_label_less(&self) -> bool {
        self.nstype == Ok(4)
    }
}

/// `mapping0` and so on begin with the DIMM's name: `nmem0,0,17179869184,0`.
fn has_locked_dimm(devices: &Directory, region: &Directory, mappings: u64) -> bool {
    (0..mappings.min(256)).any(|index| {
        let dimm = region.read(&format!("mapping{index}"), |text| text.split(',').next().map(str::to_owned));
        let security = |dimm: String| devices.child(&dimm)?.read("security", |text| Some(text == "locked"));
        dimm.is_ok_and(|dimm| !dimm.contains('/') && security(dimm) == Ok(true))
    })
}

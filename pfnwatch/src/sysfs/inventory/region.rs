//! One region: a range of persistent memory in which namespaces are made.

use super::attribute::Directory;
use crate::model::aligns::Aligns;
use crate::model::inventory::Region;

impl Region {
    /// `None` if it no longer exists.
    pub(super) fn read(devices: &Directory, name: &str) -> Option<Self> {
        let directory = devices.child(name).ok()?;
        let enabled = directory.link("driver").is_some();
        let mappings = directory.number("mappings");
        let locked = !enabled && has_locked_dimm(devices, &directory, mappings.clone().unwrap_or(0));
        let (pfn_seed, dax_seed) = (directory.device("pfn_seed"), directory.device("dax_seed"));
        let seed = pfn_seed.clone().or_else(|_| dax_seed.clone());
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
            pfn_seed,
            dax_seed,
            namespace_seed: directory.device("namespace_seed"),
            aligns: seed.and_then(|seed| devices.child(&seed)?.read("supported_alignments", Aligns::parse)),
            enabled,
            locked,
        })
    }

    /// The number of DIMMs that it is interleaved over, at least 1.
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

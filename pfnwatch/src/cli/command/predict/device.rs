//! What another mode of a device on the dax bus would cost.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Serialize;

use crate::analysis::memmap::device::{as_devdax, as_system_ram, of_device};
use crate::cli::output::table::table;
use crate::model::device::{DeviceKind, DeviceMemory, MemmapPlace};
use crate::model::exit::ExitContext;
use crate::model::facts::KernelParameters;
use crate::model::inventory::Inventory;
use crate::model::units::Bytes;

/// The mode that a device is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WantedMode {
    Devdax,
    SystemRam { memmap_on_memory: bool },
}

/// What a reconfiguration of a device would cost.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct DevicePrediction {
    /// `dax0.0`
    device: String,
    /// What its memory is.
    kind: DeviceKind,
    /// Its size in bytes.
    size_bytes: Option<u64>,
    /// As it is.
    now: DeviceOutcome,
    /// As it would be, with all of its memory blocks online.
    predicted: DeviceOutcome,
}

/// What a mode costs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DeviceOutcome {
    /// As daxctl prints it.
    mode: &'static str,
    /// Where the memmap is.
    memmap_place: Option<MemmapPlace>,
    /// Bytes of the memmap, wherever it is.
    memmap_bytes: Option<u64>,
    /// DRAM that holds the memmap.
    memmap_dram_bytes: Option<u64>,
    /// Whether the kernel keeps equal pages of the memmap once.
    deduplicated: Option<bool>,
    /// Bytes that programs can use.
    usable_bytes: Option<u64>,
    /// Bytes that do not fill a memory block.
    stranded_bytes: Option<u64>,
    /// Notes for people, one sentence each.
    notes: Vec<String>,
}

impl DevicePrediction {
    /// # Errors
    /// There is no such device, or a namespace owns it: exit code 2.
    pub(super) fn of(
        name: &str,
        wanted: WantedMode,
        inventory: &Inventory,
        host: &KernelParameters,
    ) -> anyhow::Result<Self> {
        let device = inventory.devices.iter().find(|device| device.name == name);
        let device = device.context(ExitContext::usage(format!(
            "{name} is not a device without a namespace: `pfnwatch scan --only devices` lists these"
        )))?;
        let hotplug = &inventory.hotplug;
        let now = of_device(device, hotplug, host);
        let (mode, memory) = match wanted {
            WantedMode::Devdax => ("devdax", as_devdax(device, host)),
            WantedMode::SystemRam { memmap_on_memory } => {
                ("system-ram", as_system_ram(device, hotplug, host, memmap_on_memory))
            }
        };
        Ok(Self {
            device: device.name.clone(),
            kind: device.kind,
            size_bytes: device.size.clone().ok(),
            now: DeviceOutcome::new(device.driver.mode(), now),
            predicted: DeviceOutcome::new(mode, memory),
        })
    }

    pub(super) fn table(&self) -> String {
        let mut rows = table(&["", "MODE", "MEMMAP", "IN", "DRAM", "USABLE", "STRANDED"], &[2, 4, 5, 6]);
        rows.add_row(self.now.cells("now"));
        rows.add_row(self.predicted.cells("predicted"));
        let size = self.size_bytes.map_or_else(|| "unknown size".to_owned(), |size| Bytes(size).to_string());
        let mut text = format!("{} ({}) of {size}\n\n{}\n\n", self.device, self.kind.as_str(), rows.trim_fmt());
        for note in &self.predicted.notes {
            // Writing to a string does not fail.
            let _ = writeln!(text, "Note: {note}.");
        }
        text
    }
}

impl DeviceOutcome {
    fn new(mode: &'static str, memory: DeviceMemory) -> Self {
        Self {
            mode,
            memmap_place: memory.place,
            memmap_bytes: memory.memmap,
            memmap_dram_bytes: memory.dram(),
            deduplicated: memory.deduplicated,
            usable_bytes: memory.usable,
            stranded_bytes: memory.stranded,
            notes: memory.notes,
        }
    }

    fn cells(&self, name: &str) -> [String; 7] {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string());
        [
            name.to_owned(),
            self.mode.to_owned(),
            size(self.memmap_bytes),
            self.memmap_place.map_or_else(|| "?".to_owned(), |place| place.to_string()),
            size(self.memmap_dram_bytes),
            size(self.usable_bytes),
            self.stranded_bytes.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::Exit;
    use crate::sysfs::inventory::SysfsRoots;
    use crate::testing::tree::{DaxDevice, Tree};

    const MIB: u64 = 1 << 20;

    fn predicted(name: &str, wanted: WantedMode) -> anyhow::Result<DevicePrediction> {
        let folder = tempfile::tempdir()?;
        let tree = Tree::new(folder.path())?;
        tree.memory_hotplug(128 * MIB, "Y")?;
        let size = 1026 * MIB;
        tree.dax_device(&DaxDevice { driver: Some("device_dax"), size, ..DaxDevice::default() })?;
        let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
        DevicePrediction::of(name, wanted, &Inventory::read(&roots)?, &KernelParameters::SAMPLE)
    }

    #[test]
    fn system_ram_costs_whole_blocks_and_a_memmap_in_dram_or_on_the_device() {
        let json = |on| {
            let wanted = WantedMode::SystemRam { memmap_on_memory: on };
            serde_json::to_value(predicted("dax0.0", wanted).unwrap()).unwrap()
        };
        let (in_dram, on_device) = (json(false), json(true));
        assert_eq!(in_dram["now"]["memmap_dram_bytes"], 4 * MIB + 8192);
        assert_eq!(in_dram["predicted"]["memmap_dram_bytes"], 16 * MIB);
        assert_eq!(
            (&in_dram["predicted"]["usable_bytes"], &in_dram["predicted"]["stranded_bytes"]),
            (&(1024 * MIB).into(), &(2 * MIB).into())
        );
        assert_eq!(
            (&on_device["predicted"]["memmap_dram_bytes"], &on_device["predicted"]["memmap_place"]),
            (&0.into(), &"device".into())
        );
        assert_eq!(on_device["predicted"]["usable_bytes"], 1008 * MIB);
    }

    #[test]
    fn people_see_both_modes_and_a_name_that_is_no_device_is_wrong_usage() {
        let text = predicted("dax0.0", WantedMode::SystemRam { memmap_on_memory: false }).unwrap().table();
        assert!(text.contains("now") && text.contains("devdax") && text.contains("system-ram"), "{text}");
        assert!(text.contains("Note: 2 MiB are stranded: they do not fill a memory block."), "{text}");
        let same = predicted("dax0.0", WantedMode::Devdax).unwrap();
        assert_eq!(same.now.memmap_dram_bytes, same.predicted.memmap_dram_bytes);
        assert_eq!(Exit::from_error(&predicted("dax9.9", WantedMode::Devdax).unwrap_err()), Exit::Usage);
    }
}

//! The namespaces of a host with their verdicts, and the other devices that have a memmap.

use pfnwatch_common::{InfoBlock, Map};

use crate::model::device::{AssessedDevice, DeviceTotals};
use crate::model::facts::{Facts, NamespaceMode};
use crate::model::inventory::{DeviceUser, Namespace};
use crate::model::kernel::{KernelFacts, MemmapCounter};
use crate::model::verdict::{Assessment, NamespaceTotals, Verdict};

#[derive(Clone, Debug)]
pub struct AssessedNamespace {
    pub namespace: Namespace,
    pub facts: Facts,
    pub assessment: Assessment,
    /// Who uses it, those to be ended first in front; `None` if nobody looked.
    pub users: Option<Vec<DeviceUser>>,
}

impl AssessedNamespace {
    /// The mode as ndctl prints it; `unknown` if sysfs does not have it.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        if self.namespace.mode.is_ok() { self.facts.mode.as_str() } else { "unknown" }
    }

    #[must_use]
    pub fn map(&self) -> Option<Map> {
        match self.facts.mode {
            NamespaceMode::Whole => Some(Map::Mem),
            _ => self.facts.map.or_else(|| self.block().and_then(InfoBlock::map)),
        }
    }

    /// The info block that the verdict is about: a saved one only if the kernel refuses it.
    #[must_use]
    pub fn block(&self) -> Option<&InfoBlock> {
        let refused = self.assessment.verdict == Verdict::Refused;
        let saved = self.facts.saved_block.as_ref().filter(|_| refused).map(|(block, _)| block);
        self.facts.block.as_ref().or(saved)
    }
}

#[derive(Debug)]
pub struct ScanResult {
    pub kernel: KernelFacts,
    pub regions: Vec<crate::model::inventory::Region>,
    pub namespaces: Vec<AssessedNamespace>,
    pub totals: NamespaceTotals,
    /// Devices that no namespace owns.
    pub devices: Vec<AssessedDevice>,
    pub device_totals: DeviceTotals,
    pub verdict: Verdict,
    /// The kernel's count of memmaps; `None` if it has none (before 6.11) or nobody looked.
    pub memmap_counter: Option<MemmapCounter>,
    /// Why the info blocks of enabled namespaces were not read, if they were asked for.
    pub blocks_problem: Option<String>,
}

impl ScanResult {
    /// Leaves out the devices that no namespace owns.
    pub fn keep_namespaces(&mut self) {
        self.devices.clear();
        self.device_totals = DeviceTotals::default();
    }

    /// Leaves out the persistent memory, on which the verdict is.
    pub fn keep_devices(&mut self) {
        self.namespaces.clear();
        self.regions.clear();
        self.totals = NamespaceTotals::default();
        self.verdict = Verdict::Ok;
    }
}

//! The namespaces of a host with their verdicts.

use pfnwatch_common::{InfoBlock, Map};

use crate::model::{
    facts::{Facts, NamespaceMode},
    inventory::Namespace,
    kernel::KernelFacts,
    verdict::{Assessment, NamespaceTotals, Verdict},
};

/// One namespace with its verdict.
#[derive(Clone, Debug)]
pub struct AssessedNamespace {
    /// As sysfs has it.
    pub namespace: Namespace,
    /// What was judged.
    pub facts: Facts,
    /// The verdict.
    pub assessment: Assessment,
}

impl AssessedNamespace {
    /// The mode as ndctl prints it; `unknown` where sysfs does not tell.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        if self.namespace.mode.is_ok() { self.facts.mode.as_str() } else { "unknown" }
    }

    /// Where its memmap lives, where it has one.
    #[must_use]
    pub fn map(&self) -> Option<Map> {
        match self.facts.mode {
            NamespaceMode::Whole => Some(Map::Mem),
            _ => self.facts.map.or_else(|| self.facts.block.as_ref().and_then(InfoBlock::map)),
        }
    }
}

/// All namespaces of a host with their verdicts.
#[derive(Debug)]
pub struct ScanResult {
    /// The kernel they were judged against.
    pub kernel: KernelFacts,
    /// The inventory's regions.
    pub regions: Vec<crate::model::inventory::Region>,
    /// In the inventory's order.
    pub namespaces: Vec<AssessedNamespace>,
    /// Their sums.
    pub totals: NamespaceTotals,
    /// The host as a whole.
    pub verdict: Verdict,
    /// Why the info blocks of enabled namespaces were not read, where they were asked for.
    pub blocks_problem: Option<String>,
}

//! The known defects of a kernel, each with its verdict.

use serde::Serialize;

use super::verdict::KernelVerdict;
use crate::code::memmap_free::MemmapReturn;
use crate::kernel::known_defects::{DefectId, EvidenceKind, KNOWN_DEFECTS, KnownDefect, suspects};
use crate::kernel::max_struct_page::{Resolved, Strength};

/// The verdict on a kernel and a known defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DefectVerdict"))]
#[serde(rename_all = "snake_case")]
pub(super) enum DefectVerdict {
    /// Its code, or what it did, shows that it does not have the defect.
    Ok,
    /// Its code, or what it did, shows the defect.
    Regressed,
    /// Only its release is among the affected ones.
    Suspected,
    /// Nothing shows it, and its release is not among the affected ones.
    Unknown,
}

impl DefectVerdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Regressed => "regressed",
            Self::Suspected => "suspected",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Debug)]
pub(super) struct AssessedDefect {
    pub(super) defect: &'static KnownDefect,
    pub(super) verdict: DefectVerdict,
    /// `None` if it is unknown.
    pub(super) evidence: Option<EvidenceKind>,
}

/// What a kernel's code does with a memmap in DRAM, and where the code is from.
pub(super) type MemmapEvidence = (MemmapReturn, EvidenceKind);

/// Each row of the table for a kernel of this release, for x86_64 or for another architecture.
pub(super) fn assess(
    release: &str,
    is_x86_64: bool,
    verdict: KernelVerdict,
    resolved: &Resolved,
    memmap: Option<MemmapEvidence>,
) -> Vec<AssessedDefect> {
    let assess = |defect: &'static KnownDefect| {
        let shown = match defect.id {
            DefectId::MaxStructPage128 => of_max_struct_page(verdict, resolved),
            DefectId::MemmapNotReturned => memmap.map(|(found, kind)| (found == MemmapReturn::NotReturned, kind)),
        };
        let (verdict, evidence) = match shown {
            Some((true, kind)) => (DefectVerdict::Regressed, Some(kind)),
            Some((false, kind)) => (DefectVerdict::Ok, Some(kind)),
            None if suspects(defect.id, release, is_x86_64) => (DefectVerdict::Suspected, Some(EvidenceKind::Release)),
            None => (DefectVerdict::Unknown, None),
        };
        AssessedDefect { defect, verdict, evidence }
    };
    KNOWN_DEFECTS.iter().map(assess).collect()
}

/// Whether more than a release shows it, and what.
fn of_max_struct_page(verdict: KernelVerdict, resolved: &Resolved) -> Option<(bool, EvidenceKind)> {
    resolved.agreed()?;
    let kind = match resolved.best.as_ref()?.source.strength() {
        Strength::Release => return None,
        Strength::ModuleFile => EvidenceKind::FileCode,
        Strength::RunningCode => EvidenceKind::RunningCode,
        Strength::ObservedBlock => EvidenceKind::Observation,
    };
    Some((verdict == KernelVerdict::Regressed, kind))
}

impl AssessedDefect {
    /// A line for people; `None` if the table shows it all.
    pub(super) fn line(&self) -> Option<String> {
        let by = self.evidence.map_or("", EvidenceKind::as_str);
        let (verdict, lost, fix) = (self.verdict.as_str(), self.defect.lost, self.defect.fix);
        match self.verdict {
            DefectVerdict::Regressed | DefectVerdict::Suspected => {
                Some(format!("{}: {verdict} (by {by}); {lost}; fixed in {fix}", self.defect.id.as_str()))
            }
            // The table shows it.
            DefectVerdict::Ok | DefectVerdict::Unknown => None,
        }
    }
}

/// A known defect of kernels, and whether this kernel has it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelDefect"))]
pub(super) struct DefectRow {
    /// `max_struct_page_128` or `memmap_not_returned`.
    id: &'static str,
    /// Whether this kernel has it.
    verdict: DefectVerdict,
    /// The evidence: `release`, `file code`, `running code` or `observation`; null if it is unknown.
    evidence: Option<&'static str>,
    /// What it costs a host.
    lost: &'static str,
    /// The upstream releases that have it.
    affected: &'static str,
    /// The upstream releases that fix it.
    fix: &'static str,
    /// The kinds of evidence by which pfnwatch can find it, the weakest first.
    evidence_kinds: Vec<&'static str>,
}

impl From<&AssessedDefect> for DefectRow {
    fn from(assessed: &AssessedDefect) -> Self {
        let defect = assessed.defect;
        Self {
            id: defect.id.as_str(),
            verdict: assessed.verdict,
            evidence: assessed.evidence.map(EvidenceKind::as_str),
            lost: defect.lost,
            affected: defect.affected,
            fix: defect.fix,
            evidence_kinds: defect.evidence.iter().map(|kind| kind.as_str()).collect(),
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_a_suspicion_and_code_is_an_answer() {
        let verdict = |release, memmap| {
            let assessed = assess(release, true, KernelVerdict::Unknown, &Resolved::default(), memmap);
            let found = |id| assessed.iter().find(|row| row.defect.id == id).map(|row| (row.verdict, row.evidence));
            assert_eq!(assessed.len(), KNOWN_DEFECTS.len());
            found(DefectId::MemmapNotReturned).unwrap()
        };
        let (returned, lost) = (MemmapReturn::Returned, MemmapReturn::NotReturned);
        assert_eq!(verdict("6.18.15", None), (DefectVerdict::Suspected, Some(EvidenceKind::Release)));
        assert_eq!(verdict("6.12.117", None), (DefectVerdict::Unknown, None));
        for kind in [EvidenceKind::FileCode, EvidenceKind::RunningCode] {
            for release in ["6.18.15", "6.12.117"] {
                assert_eq!(verdict(release, Some((returned, kind))), (DefectVerdict::Ok, Some(kind)));
                assert_eq!(verdict(release, Some((lost, kind))), (DefectVerdict::Regressed, Some(kind)));
            }
        }
    }
}

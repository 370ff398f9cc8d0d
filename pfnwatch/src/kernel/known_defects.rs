//! The known defects of kernels that cost capacity. A new one is a row of [`KNOWN_DEFECTS`], an arm of `suspects`, and a detector.

use super::max_struct_page::of_release;
use crate::model::memmap_return::MEMMAP_RETURNED_SINCE;
use pfnwatch_common::reservation::REFERENCE_STRUCT_PAGE;

/// What finds a defect, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceKind {
    /// The release alone: anybody can have fixed it, or taken it over.
    Release,
    /// The code of a package, an image or a module file.
    FileCode,
    RunningCode,
    /// What the kernel did.
    Observation,
}

impl EvidenceKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::FileCode => "file code",
            Self::RunningCode => "running code",
            Self::Observation => "observation",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefectId {
    MaxStructPage128,
    MemmapNotReturned,
}

impl DefectId {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxStructPage128 => "max_struct_page_128",
            Self::MemmapNotReturned => "memmap_not_returned",
        }
    }
}

#[derive(Debug)]
pub struct KnownDefect {
    pub id: DefectId,
    /// What a host loses.
    pub lost: &'static str,
    /// Upstream's releases that have it; by code where a package was read, else by the stable lists.
    pub affected: &'static str,
    pub fix: &'static str,
    /// What pfnwatch finds it by.
    pub evidence: &'static [EvidenceKind],
}

pub const KNOWN_DEFECTS: [KnownDefect; 2] = [
    KnownDefect {
        id: DefectId::MaxStructPage128,
        lost: "persistent memory: 128 bytes are reserved for each page with map=dev instead of 64 (16 GiB for each TiB)",
        affected: "6.1 to 6.1.11, 6.2-rc1 to 6.2-rc7 (6e9f05dc66f9)",
        fix: "6.1.12, 6.2 (c91d71363084)",
        evidence: &[
            EvidenceKind::Release,
            EvidenceKind::FileCode,
            EvidenceKind::RunningCode,
            EvidenceKind::Observation,
        ],
    },
    KnownDefect {
        id: DefectId::MemmapNotReturned,
        lost: "DRAM: a memmap in DRAM is not returned when its device is disabled (up to 16 GiB for each TiB), until the next boot",
        affected: "6.18.7 to 6.18.38, 6.19, 7.0, 7.1 to 7.1.3, on x86_64 (bf9e4e30f353)",
        fix: MEMMAP_RETURNED_SINCE,
        evidence: &[EvidenceKind::Release, EvidenceKind::FileCode, EvidenceKind::RunningCode],
    },
];

/// Whether the release alone makes the defect likely, of a kernel for x86_64 or for another architecture.
#[must_use]
pub fn suspects(id: DefectId, release: &str, is_x86_64: bool) -> bool {
    match id {
        DefectId::MaxStructPage128 => of_release(release).is_some_and(|found| found.max.bytes > REFERENCE_STRUCT_PAGE),
        DefectId::MemmapNotReturned => is_x86_64 && is_release_that_loses_memmap(release),
    }
}

/// Whether this host's kernel is known, or suspected, to lose a memmap in DRAM, by its release.
#[must_use]
pub fn may_lose_memmap(release: &str) -> bool {
    cfg!(target_arch = "x86_64") && is_release_that_loses_memmap(release)
}

/// Whether kernels of this release for x86_64 are known, or suspected, to lose a memmap in DRAM: they free a piece of 2 MiB as if it
/// were one page (bf9e4e30f353, x86_64 only), so that each disable loses it until the next boot.
///
/// Stable 6.18.7 to 6.18.38 and 7.1 to 7.1.3 by the stable lists; 6.19.14 and 7.0.13 by their code. Any distribution can have
/// changed it in either direction: it is a suspicion.
fn is_release_that_loses_memmap(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    let version = [numbers.next().flatten(), numbers.next().flatten(), numbers.next().flatten()];
    match version {
        [Some(6), Some(18), Some(patch)] => (7..=38).contains(&patch),
        [Some(6), Some(19), _] | [Some(7), Some(0), _] => true,
        [Some(7), Some(1), patch] => patch.unwrap_or(0) <= 3,
        _ => false,
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn the_releases_of_the_list() {
        for release in
            ["6.18.7", "6.18.15+deb13-cloud-amd64", "6.18.38", "6.19.0", "6.19-rc3", "7.0.12", "7.1.0", "7.1.3"]
        {
            assert!(may_lose_memmap(release), "{release}");
        }
        for release in ["6.1.176", "6.12.117", "6.17.13", "6.18.6", "6.18.39", "7.1.4", "7.2.12", "7.3.4", "", "next"] {
            assert!(!may_lose_memmap(release), "{release}");
        }
    }

    #[test]
    fn each_row_has_a_release_that_is_suspected_and_one_that_is_not() {
        for (defect, affected, fixed) in
            KNOWN_DEFECTS.iter().zip(["6.1.11", "6.18.38"]).zip(["6.1.12", "6.18.39"]).map(|((a, b), c)| (a, b, c))
        {
            assert!(suspects(defect.id, affected, true) && !suspects(defect.id, fixed, true), "{defect:?}");
            let is_of_every = defect.id == DefectId::MaxStructPage128;
            assert_eq!(suspects(defect.id, affected, false), is_of_every, "{defect:?}");
            assert!(defect.affected.contains(affected) && defect.fix.contains(fixed), "{defect:?}");
            assert!(defect.evidence.is_sorted() && defect.evidence.contains(&EvidenceKind::RunningCode), "{defect:?}");
        }
    }
}

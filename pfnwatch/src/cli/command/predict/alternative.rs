//! What one choice of map costs on one kernel, in persistent memory and in DRAM.

use pfnwatch_common::{Geometry, KernelQuirks, Map, Reservation, reservation};

use crate::analysis::memmap::{MappedNamespace, cost_of_map_mem, dram_bytes, is_deduplicated};
use crate::model::facts::{KernelParameters, NamespaceMode};
use crate::model::thresholds::Thresholds;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PredictedOutcome {
    Reserved(Reservation),
    Refused(String),
    Unknown(String),
}

#[derive(Clone, Debug)]
pub(super) struct Alternative {
    pub(super) name: &'static str,
    pub(super) map: Map,
    /// Bytes reserved for each page, if known; irrelevant with map=mem.
    pub(super) struct_page: Option<u64>,
    pub(super) outcome: PredictedOutcome,
    /// DRAM in bytes that holds the struct pages; with map=dev, of the ends that do not fill a memory section.
    pub(super) dram: Option<u64>,
    /// Whether `dram` is after the deduplication of tail pages.
    pub(super) deduplicated: bool,
}

/// The three rows: this kernel, a good kernel, and the other map.
pub(super) fn all(
    geometry: &Geometry,
    mode: NamespaceMode,
    host: &KernelParameters,
    thresholds: &Thresholds,
) -> [Alternative; 3] {
    let other = if geometry.map == Map::Dev { Map::Mem } else { Map::Dev };
    let other_name = if other == Map::Mem { "with map=mem" } else { "with map=dev" };
    let reference = KernelParameters { max_struct_page: Some(thresholds.reference_struct_page), ..*host };
    // A good kernel is one that is meant for its own struct page: it has nothing to refuse.
    let good = KernelParameters {
        struct_page: host.struct_page.map(|bytes| bytes.min(thresholds.reference_struct_page)),
        ..reference
    };
    [
        alternative("this kernel", geometry, mode, host),
        alternative("a good kernel", geometry, mode, &good),
        alternative(other_name, &Geometry { map: other, ..*geometry }, mode, host),
    ]
}

fn alternative(name: &'static str, geometry: &Geometry, mode: NamespaceMode, host: &KernelParameters) -> Alternative {
    let outcome = outcome(geometry, mode, host);
    let mapped = match &outcome {
        PredictedOutcome::Reserved(reserved) => Some(MappedNamespace::of(mode, geometry, reserved)),
        _ => None,
    };
    let dram = mapped.and_then(|mapped| dram_bytes(&mapped, host));
    let deduplicated =
        dram.is_some() && geometry.map == Map::Mem && is_deduplicated(mode, geometry.align, host) == Some(true);
    Alternative { name, map: geometry.map, struct_page: host.max_struct_page, outcome, dram, deduplicated }
}

/// The namespace as if all of it was mapped: what an offer of map=mem is about.
const fn whole(geometry: &Geometry, mode: NamespaceMode) -> MappedNamespace {
    MappedNamespace {
        mode,
        map: Some(Map::Mem),
        start: Some(geometry.start),
        size: geometry.size,
        align: geometry.align,
    }
}

fn outcome(geometry: &Geometry, mode: NamespaceMode, host: &KernelParameters) -> PredictedOutcome {
    let bytes = match (geometry.map, host.max_struct_page) {
        // With map=mem it takes no part in the formula.
        (Map::Mem, known) => known.unwrap_or(0),
        (Map::Dev, Some(known)) => known,
        (Map::Dev, None) => {
            return PredictedOutcome::Unknown(
                "what this kernel reserves for each page is not known: run as root, or give --max-struct-page"
                    .to_owned(),
            );
        }
    };
    if let Some(own) = host.struct_page.filter(|own| geometry.map == Map::Dev && *own > bytes) {
        return PredictedOutcome::Refused(format!(
            "struct page has {own} bytes here, and map=dev reserves only {bytes}: use map=mem, with {}",
            cost_of_map_mem(&whole(geometry, mode), host)
        ));
    }
    let reserved = |allows_empty| reservation(geometry, bytes, KernelQuirks { allows_empty });
    if host.allows_empty.is_none() && reserved(true) != reserved(false) {
        return PredictedOutcome::Unknown(
            "nothing usable would be left, and whether this kernel then refuses is not known: use a larger namespace or a smaller align"
                .to_owned(),
        );
    }
    match reserved(host.allows_empty == Some(true)) {
        Ok(reserved) => PredictedOutcome::Reserved(reserved),
        Err(rejection) => PredictedOutcome::Refused(rejection.to_string()),
    }
}

impl Alternative {
    /// `None` if the kernel refuses it.
    pub(super) const fn reserved(&self) -> Option<&Reservation> {
        match &self.outcome {
            PredictedOutcome::Reserved(reserved) => Some(reserved),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn host(max_struct_page: Option<u64>) -> KernelParameters {
        KernelParameters { max_struct_page, ..KernelParameters::SAMPLE }
    }

    fn geometry(align: u64, map: Map) -> Geometry {
        Geometry { start: 4 * GIB, size: 1024 * GIB, align, map, page_size: 4096, compat: 2 * MIB }
    }

    fn dataoff(alternative: &Alternative) -> Option<u64> {
        alternative.reserved().map(|reserved| reserved.dataoff / MIB)
    }

    #[test]
    fn a_tebibyte_on_a_regressed_kernel() {
        let rows = all(&geometry(2 * MIB, Map::Dev), NamespaceMode::Fsdax, &host(Some(128)), &Thresholds::default());
        assert_eq!(rows.each_ref().map(dataoff), [Some(32770), Some(16386), Some(2)]);
        assert_eq!(rows.each_ref().map(|row| row.dram), [Some(0), Some(0), Some(16 * GIB)]);
    }

    #[test]
    fn deduplication_for_devdax_alone() {
        for (mode, align, dram, deduplicated) in [
            (NamespaceMode::Devdax, 2 * MIB, 4 * GIB, true),
            (NamespaceMode::Devdax, GIB, 8 * MIB, true),
            (NamespaceMode::Devdax, 4096, 16 * GIB, false),
            (NamespaceMode::Fsdax, 2 * MIB, 16 * GIB, false),
        ] {
            let [.., mem] = all(&geometry(align, Map::Dev), mode, &host(Some(64)), &Thresholds::default());
            assert_eq!((mem.dram, mem.deduplicated), (Some(dram), deduplicated), "{mode:?} {align}");
        }
        let unknown = KernelParameters { deduplicates: None, ..host(Some(64)) };
        let [.., mem] = all(&geometry(2 * MIB, Map::Dev), NamespaceMode::Devdax, &unknown, &Thresholds::default());
        assert_eq!((mem.dram, mem.deduplicated), (None, false));
    }

    #[test]
    fn nothing_is_assumed_of_an_unknown_kernel() {
        let [this, good, mem] =
            all(&geometry(2 * MIB, Map::Dev), NamespaceMode::Fsdax, &host(None), &Thresholds::default());
        assert!(matches!(&this.outcome, PredictedOutcome::Unknown(why) if why.contains("--max-struct-page")));
        assert_eq!((dataoff(&good), dataoff(&mem)), (Some(16386), Some(2)));
        let [this, .., dev] =
            all(&geometry(2 * MIB, Map::Mem), NamespaceMode::Fsdax, &host(None), &Thresholds::default());
        assert_eq!(dataoff(&this), Some(2));
        assert!(matches!(dev.outcome, PredictedOutcome::Unknown(_)));
    }

    #[test]
    fn a_debug_kernel_refuses_map_dev() {
        let debug = KernelParameters { struct_page: Some(80), ..host(Some(64)) };
        let [this, good, mem] = all(&geometry(2 * MIB, Map::Dev), NamespaceMode::Fsdax, &debug, &Thresholds::default());
        assert!(
            matches!(&this.outcome, PredictedOutcome::Refused(why) if why.contains("map=mem, with ") && why.contains(" of DRAM")),
            "{this:?}"
        );
        assert_eq!((dataoff(&good), dataoff(&mem)), (Some(16386), Some(2)));
    }

    #[test]
    fn nothing_usable_is_refused_made_or_unknown_as_the_kernels_code_shows() {
        // 2 MiB of reservation, and an end that is not aligned.
        let empty = Geometry { size: 2 * MIB + 4096, ..geometry(2 * MIB, Map::Dev) };
        let outcome = |allows_empty| {
            let host = KernelParameters { allows_empty, ..host(Some(64)) };
            let [this, ..] = all(&empty, NamespaceMode::Fsdax, &host, &Thresholds::default());
            this.outcome
        };
        assert!(matches!(outcome(Some(true)), PredictedOutcome::Reserved(made) if made.usable == 0));
        assert!(matches!(outcome(Some(false)), PredictedOutcome::Refused(why) if why.contains("nothing usable")));
        assert!(matches!(outcome(None), PredictedOutcome::Unknown(why) if why.contains("nothing usable")));
        let room = KernelParameters { allows_empty: None, ..host(Some(64)) };
        let [this, ..] = all(&geometry(2 * MIB, Map::Dev), NamespaceMode::Fsdax, &room, &Thresholds::default());
        assert_eq!(dataoff(&this), Some(16386), "elsewhere it makes no difference");
    }

    #[test]
    fn what_the_formula_rejects_is_refused_with_its_reason() {
        let odd = Geometry { start: 4 * GIB + 4096, ..geometry(2 * MIB, Map::Dev) };
        let [this, ..] = all(&odd, NamespaceMode::Fsdax, &host(Some(64)), &Thresholds::default());
        assert!(matches!(this.outcome, PredictedOutcome::Refused(_)));
    }
}

//! Under enforce, and with the default policy, a sound kernel's creations are none of the guard's business.

use anyhow::{Context as _, Result};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::guard::Guard;
use guest::policy::{GuardMode, Policy};
use guest::{GIB, MIB, namespace, regions, sysfs};

/// How many times each kind is made: 200 creations in all.
const ROUNDS: u64 = 10;

/// Sizes and aligns of each round, for both modes and both maps: 20 creations.
fn kinds(round: u64) -> Vec<NamespaceSpec> {
    let shapes = [
        (16 * MIB * (1 + round), 2 * MIB),
        (48 * MIB, 4096),
        (160 * MIB + 16 * MIB * round, 2 * MIB),
        (64 * MIB, 4096),
        (32 * MIB, 2 * MIB),
    ];
    let of = |(size_bytes, align_bytes)| {
        [Mode::Fsdax, Mode::Devdax].into_iter().flat_map(move |mode| {
            [Map::Dev, Map::Mem].map(|map| NamespaceSpec {
                map,
                align_bytes,
                ..NamespaceSpec::new("", mode, size_bytes)
            })
        })
    };
    shapes.into_iter().flat_map(of).collect()
}

#[test]
fn two_hundred_creations_of_all_kinds() -> Result<()> {
    let regions = regions::fresh()?;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Enforce))?;
    for round in 0..ROUNDS {
        let region = if round.is_multiple_of(2) { &regions.first } else { &regions.second };
        let mut made = Vec::new();
        for wanted in kinds(round) {
            let wanted = NamespaceSpec { region: region.clone(), ..wanted };
            let prepared = creation::prepare(&wanted)?;
            guard.passes(&prepared).with_context(|| format!("{wanted:?}"))?;
            made.push(prepared.namespace);
        }
        for name in made {
            namespace::destroy(&name)?;
        }
    }
    guard.was_silent()
}

/// The largest namespaces, with the coarsest align, and the region without labels.
#[test]
fn whole_regions_and_the_coarsest_align() -> Result<()> {
    let regions = regions::fresh()?;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Enforce))?;
    for (region, size_bytes, mode, align_bytes) in [
        (&regions.first, sysfs::number(&regions.first, "available_size")?, Mode::Fsdax, 2 * MIB),
        (&regions.second, 5 * GIB, Mode::Devdax, GIB),
        (&regions.legacy, 512 * MIB, Mode::Devdax, 4096),
    ] {
        let wanted = NamespaceSpec { align_bytes, ..NamespaceSpec::new(region, mode, size_bytes) };
        guard.passes(&creation::prepare(&wanted)?).with_context(|| format!("{wanted:?}"))?;
    }
    guard.was_silent()
}

//! Namespaces that are enabled as fast as the kernel does it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::line::SetUp;
use super::watched::Watched;
use crate::bench::agent::Burst;
use crate::bench::footprint::processor_time;
use crate::{namespace, sysfs};

/// 504 for 63 namespaces.
const ROUNDS: usize = 8;
/// After so long all lines have come.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct ReportedEvents(BTreeMap<u64, BTreeSet<u64>>);

impl ReportedEvents {
    /// Whether the other has the same numbers for each namespace that it reported, and one set for each. It may have
    /// lost some.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let same = |(start, said): (&u64, &BTreeSet<u64>)| said.len() == 1 && self.0.get(start) == Some(said);
        !other.0.is_empty() && other.0.iter().all(same)
    }

    pub(super) fn namespaces(&self) -> usize {
        self.0.len()
    }
}

pub(super) fn measure(watched: &Watched, region: &str, namespaces: &[String]) -> Result<(Burst, ReportedEvents)> {
    let (mut burst, mut told) = (Burst::default(), ReportedEvents::default());
    for _ in 0..ROUNDS {
        namespaces.iter().try_for_each(|namespace| namespace::disable(namespace))?;
        watched.lines_until_quiet(QUIET_INTERVAL);
        let before = processor_time(watched.pid)?;
        // Each finds its block, and makes a device that claims it and is probed by a thread of the kernel's.
        for namespace in namespaces {
            ensure!(sysfs::bind(namespace, "nd_pmem").is_err(), "{namespace} has no block");
        }
        sysfs::wait_for_seed(region)?;
        let claimers = namespaces.iter().map(|namespace| namespace::claimer(namespace)).collect::<Result<Vec<_>>>()?;
        let lines = watched.lines_until_quiet(QUIET_INTERVAL);
        burst.processor_time += processor_time(watched.pid)?.saturating_sub(before);
        burst.enabled += u64::try_from(claimers.len())?;
        let set_ups: Vec<SetUp> = lines.iter().filter_map(|line| line.set_up()).collect();
        let ends = claimers.iter().filter(|claimer| lines.iter().any(|line| line.ends(claimer))).count();
        burst.told += u64::try_from(set_ups.len().min(ends))?;
        for SetUp { start, reservation_bytes } in set_ups {
            told.0.entry(start).or_default().insert(reservation_bytes);
        }
    }
    Ok((burst, told))
}

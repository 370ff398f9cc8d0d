//! The guest's side of `cargo xtask bench agent`.

mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::watched::{SetUp, Watched};
use super::{Port, disk};
use crate::agent::PROGRAM;
use crate::bench::footprint::processor_time;
use crate::bench::ground::Ground;
use crate::bench::{Burst, Figures, Side, Started, Work, footprint};
use crate::creation::{self, Mode, NamespaceSpec};
use crate::report::Report;
use crate::{command, modules, namespace, sysfs};

const REGIONS: usize = 1;
const NAMESPACES: u64 = 64;
const NAMESPACE_BYTES: u64 = 32 << 20;
/// Starts besides those that go on to be measured. bpftrace's takes a while, and in a guest that counts instructions
/// all are alike.
const STARTS: [Started; 3] = [Started::Pfnwatch, Started::Pfnwatch, Started::OneProbe];
const EVENTS: usize = 100;
/// Until a started program is idle.
const SETTLE: Duration = Duration::from_secs(20);
/// The interval of the guard's self-test.
const IDLE: Duration = Duration::from_secs(300);

pub(super) fn run(port: &mut Port) -> Result<()> {
    let start = Instant::now();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    port.send(&Report::Ready { release, tests: 1 });
    // Named in the error, where the guest's time is over before it is done.
    let mut stage = |name: &str| port.send(&Report::Started { name: name.to_owned() });
    stage("namespaces");
    let host = Host::prepare()?;
    let mut starts = Vec::new();
    let mut start_of = |what: Started| -> Result<Watched> {
        let (watched, took) = Watched::start(what)?;
        starts.push((what, took));
        Ok(watched)
    };
    for what in STARTS {
        stage(&format!("start of {what:?}"));
        start_of(what)?.end()?;
    }
    stage("an idle agent");
    let mut agent = start_of(Started::Pfnwatch)?;
    sleep(SETTLE);
    let before = footprint::waits(agent.pid)?;
    sleep(IDLE);
    let wake_ups = footprint::waits(agent.pid)?.saturating_sub(before);
    let (ours, we_told) = host.measure(&mut agent, &mut stage)?;
    agent.end()?;
    stage("start of SameFields");
    let mut peer = start_of(Started::SameFields)?;
    sleep(SETTLE);
    let (peers, they_told) = host.measure(&mut peer, &mut stage)?;
    peer.end()?;
    // The figures show losses. The reported events have to be the same.
    ensure!(we_told.namespaces() == host.namespaces.len(), "the agent reported {} namespaces", we_told.namespaces());
    ensure!(we_told.agrees_with(&they_told), "the reports differ:\n{we_told:#x?}\nbpftrace: {they_told:#x?}");
    let figures = Figures { namespaces: NAMESPACES, starts, idle: IDLE, wake_ups, ours, peers };
    port.send(&Report::Agent(Box::new(figures)));
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    port.send(&Report::Passed { name: "bench agent".to_owned(), duration_ms });
    port.send(&Report::Verdict { passed: 1, failed: 0 });
    Ok(())
}

struct Host {
    ground: Ground,
    region: String,
    /// How often libnvdimm is held, by nobody who watches it.
    held: u64,
    namespaces: Vec<String>,
}

impl Host {
    fn prepare() -> Result<Self> {
        modules::load_regions(REGIONS)?;
        for arguments in
            [["disable-region", "all"].as_slice(), &["init-labels", "-f", "all"], &["enable-region", "all"]]
        {
            command::run("/bin/ndctl", arguments)?;
        }
        let region = sysfs::devices("region").into_iter().next().context("no region")?;
        let wanted = NamespaceSpec::new(&region, Mode::Fsdax, NAMESPACE_BYTES);
        let first = creation::create(&wanted)?;
        let others = (1..NAMESPACES).map(|_| Ok(creation::create(&wanted)?.namespace)).collect::<Result<_>>()?;
        // Before the region takes no more writes.
        disk::install(PROGRAM, &sysfs::block_device(&first.holder)?)?;
        Ok(Self {
            ground: Ground::prepare(&region)?,
            held: modules::references("libnvdimm")?,
            region,
            namespaces: others,
        })
    }

    fn measure(&self, watched: &mut Watched, stage: &mut impl FnMut(&str)) -> Result<(Side, ReportedEvents)> {
        let (resident, in_kernel) = (footprint::resident(watched.pid)?, footprint::in_kernel(watched.pid)?);
        let held = modules::references("libnvdimm")?.saturating_sub(self.held);
        stage(&format!("lines of {:?}", watched.what));
        let mut lines = Vec::new();
        for _ in 0..EVENTS {
            self.ground.work(Work::Creation, 1)?;
            lines.push(watched.end_of(self.ground.holder())?);
        }
        stage(&format!("a burst for {:?}", watched.what));
        let (burst, told) = measure(watched, &self.region, &self.namespaces)?;
        Ok((Side { resident, in_kernel, held, lines, burst }, told))
    }
}

/// 504 for 63 namespaces.
const ROUNDS: usize = 8;
/// After so long all lines have come.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct ReportedEvents(BTreeMap<u64, BTreeSet<u64>>);

impl ReportedEvents {
    /// Whether the other has the same numbers for each namespace that it reported, and one set for each. It may have
    /// lost some.
    fn agrees_with(&self, other: &Self) -> bool {
        let same = |(start, said): (&u64, &BTreeSet<u64>)| said.len() == 1 && self.0.get(start) == Some(said);
        !other.0.is_empty() && other.0.iter().all(same)
    }

    fn namespaces(&self) -> usize {
        self.0.len()
    }
}

fn measure(watched: &Watched, region: &str, namespaces: &[String]) -> Result<(Burst, ReportedEvents)> {
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
        let holders = namespaces.iter().map(|namespace| namespace::holder(namespace)).collect::<Result<Vec<_>>>()?;
        let lines = watched.lines_until_quiet(QUIET_INTERVAL);
        burst.processor_time += processor_time(watched.pid)?.saturating_sub(before);
        burst.enabled += u64::try_from(holders.len())?;
        let set_ups: Vec<SetUp> = lines.iter().filter_map(|line| line.set_up()).collect();
        let ends = holders.iter().filter(|holder| lines.iter().any(|line| line.ends(holder))).count();
        burst.told += u64::try_from(set_ups.len().min(ends))?;
        for SetUp { start, reservation_bytes } in set_ups {
            told.0.entry(start).or_default().insert(reservation_bytes);
        }
    }
    Ok((burst, told))
}

//! Hosts, put together from one series of each metric.

use std::collections::{BTreeMap, BTreeSet};

use super::{Client, Sample, api::Key};
use crate::fleet::{Fleet, Host, Problem};

/// How a metric's number becomes part of a host.
type Set = fn(&mut Host, u64);

/// What must be there of every agent: without it a sum would be short.
const SUMS: [(&str, Set); 8] = [
    ("pfnwatch_host_namespaces", |host, value| host.sums.namespaces = value),
    ("pfnwatch_host_size_bytes", |host, value| host.sums.size_bytes = value),
    ("pfnwatch_host_usable_bytes", |host, value| host.sums.usable_bytes = value),
    ("pfnwatch_host_reservation_bytes", |host, value| host.sums.reservation_bytes = value),
    ("pfnwatch_host_ideal_bytes", |host, value| host.sums.ideal_bytes = value),
    ("pfnwatch_host_excess_bytes", |host, value| host.sums.excess_bytes = value),
    ("pfnwatch_host_oversize", |host, value| host.oversize = value > 0),
    ("pfnwatch_ready", |host, value| host.ready = Some(value > 0)),
];

/// What may be missing: a kernel that gives no evidence, a host without namespaces.
const MORE: [(&str, Set); 6] = [
    ("pfnwatch_kernel_max_struct_page_size_bytes", |host, value| host.max_struct_page_size_bytes = Some(value)),
    ("pfnwatch_kernel_page_size_bytes", |host, value| host.page_size_bytes = Some(value)),
    ("pfnwatch_enforcement_effective", |host, value| host.guard_effective = Some(value > 0)),
    ("sum by (cluster, job, instance) (pfnwatch_capacity_regressions)", |host, value| host.regressed = value > 0),
    ("sum by (cluster, job, instance) (pfnwatch_namespace_unknown)", |host, value| {
        host.sums.unknown_namespaces = value
    }),
    (
        "sum by (cluster, job, instance) (pfnwatch_namespace_excess_bytes and pfnwatch_namespace_oversize == 1)",
        |host, value| host.sums.plan_bytes = value,
    ),
];

const AGENTS: &str = "pfnwatch_build_info";
const KERNELS: &str = "pfnwatch_kernel_info";
const MODES: &str = "pfnwatch_guard_mode == 1";
/// Agents that were scraped within the last day, and are not now.
const GONE: &str = "(up == 0) and on (job, instance) max_over_time(pfnwatch_build_info[1d])";

/// Counts every agent that Prometheus knows of. One that is gone, or does not tell all, is named as not counted.
///
/// # Errors
/// Prometheus cannot be asked.
pub fn add(client: &Client, fleet: &mut Fleet) -> anyhow::Result<()> {
    let mut hosts = Hosts::default();
    for sample in hosts.ask(client, fleet, AGENTS)? {
        hosts.found(&sample);
    }
    for (metric, set) in SUMS {
        let mut told = BTreeSet::new();
        for sample in hosts.ask(client, fleet, metric)? {
            if hosts.set(&sample, set) {
                told.insert(sample.key());
            }
        }
        hosts.miss(metric, &told);
    }
    for (metric, set) in MORE {
        for sample in hosts.ask(client, fleet, metric)? {
            hosts.set(&sample, set);
        }
    }
    for sample in hosts.ask(client, fleet, KERNELS)? {
        hosts.with(&sample, |host| host.kernel = Some(sample.label("release").to_owned()));
    }
    for sample in hosts.ask(client, fleet, MODES)? {
        hosts.with(&sample, |host| host.mode = Some(sample.label("mode").to_owned()));
    }
    for sample in hosts.ask(client, fleet, GONE)? {
        fleet.not_counted(Problem::new(sample.label("instance"), "its agent is gone: Prometheus does not reach it"));
    }
    hosts.count(fleet);
    Ok(())
}

#[derive(Default)]
struct Hosts {
    hosts: BTreeMap<Key, Host>,
    /// Agents that are there more than once: several Prometheus servers that scrape the same hosts, as a rule.
    twice: BTreeSet<Key>,
    /// What is missing of an agent.
    incomplete: BTreeMap<Key, String>,
}

impl Hosts {
    fn ask(&self, client: &Client, fleet: &mut Fleet, expression: &str) -> anyhow::Result<Vec<Sample>> {
        let answer = client.query(expression)?;
        answer.warnings.into_iter().for_each(|warning| fleet.warning(warning));
        Ok(answer.samples)
    }

    fn found(&mut self, sample: &Sample) {
        let text = |name| Some(sample.label(name).to_owned()).filter(|text| !text.is_empty());
        let host = Host { host: sample.label("instance").to_owned(), cluster: text("cluster"), ..Host::default() };
        if self.hosts.insert(sample.key(), host).is_some() {
            self.twice.insert(sample.key());
        }
    }

    fn with(&mut self, sample: &Sample, act: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(&sample.key()) {
            act(host);
        }
    }

    /// Whether the sample has a number to take.
    fn set(&mut self, sample: &Sample, set: Set) -> bool {
        let count = sample.count();
        if let Some(count) = count {
            self.with(sample, |host| set(host, count));
        }
        count.is_some()
    }

    fn miss(&mut self, metric: &str, told: &BTreeSet<Key>) {
        for key in self.hosts.keys().filter(|key| !told.contains(*key)) {
            let why = || format!("it tells no {metric}: another version of pfnwatch, or a sample that is no number");
            self.incomplete.entry(key.clone()).or_insert_with(why);
        }
    }

    fn count(self, fleet: &mut Fleet) {
        for key in &self.twice {
            fleet.warning(format!(
                "{} is there more than once, and was counted once: is a replica's label kept?",
                key.2
            ));
        }
        for (key, host) in self.hosts {
            match self.incomplete.get(&key) {
                Some(why) => fleet.not_counted(Problem::new(host.host, why)),
                None => fleet.add(host),
            }
        }
    }
}

//! Hosts, put together from one series of each metric.

use std::collections::{BTreeMap, BTreeSet};

use super::{Client, Key, Sample};
use crate::cli::fleet::{Fleet, Host, HostProblem};
use crate::model::units::Plural;

type Set = fn(&mut Host, u64);

/// Metrics that every agent must have: a sum would be short without them.
const SUMS: [(&str, Set); 10] = [
    ("pfnwatch_host_namespaces", |host, value| host.sums.namespaces = value),
    ("pfnwatch_host_size_bytes", |host, value| host.sums.size_bytes = value),
    ("pfnwatch_host_usable_bytes", |host, value| host.sums.usable_bytes = value),
    ("pfnwatch_host_reservation_bytes", |host, value| host.sums.reservation_bytes = value),
    ("pfnwatch_host_ideal_bytes", |host, value| host.sums.ideal_bytes = value),
    ("pfnwatch_host_excess_bytes", |host, value| host.sums.excess_bytes = value),
    ("pfnwatch_host_memmap_dram_bytes", |host, value| host.sums.memmap_dram_bytes = value),
    ("pfnwatch_host_memmap_dram_unknown", |host, value| host.sums.memmap_dram_unknown = value),
    ("pfnwatch_host_oversize", |host, value| host.oversize = value > 0),
    ("pfnwatch_ready", |host, value| host.ready = Some(value > 0)),
];

/// Metrics that may be missing: a kernel without evidence, a host without namespaces. A namespace counts once, however
/// many replicas of Prometheus have scraped it.
const MORE: [(&str, Set); 15] = [
    ("pfnwatch_kernel_max_struct_page_size_bytes", |host, value| host.max_struct_page_size_bytes = Some(value)),
    ("pfnwatch_kernel_struct_page_size_bytes", |host, value| host.struct_page_size_bytes = Some(value)),
    ("pfnwatch_kernel_memmap_returned", |host, value| host.memmap_returned = Some(value > 0)),
    (
        "sum by (cluster, job, instance) (pfnwatch_memmap_not_returned_bytes_total{evidence!=\"release\"})",
        |host, value| host.sums.memmap_not_returned_bytes = value,
    ),
    ("pfnwatch_host_devices", |host, value| host.sums.devices = value),
    ("pfnwatch_host_device_size_bytes", |host, value| host.sums.device_size_bytes = value),
    ("pfnwatch_host_device_online_bytes", |host, value| host.sums.device_online_bytes = value),
    ("pfnwatch_host_device_stranded_bytes", |host, value| host.sums.device_stranded_bytes = value),
    ("pfnwatch_host_device_memmap_dram_bytes", |host, value| host.sums.device_memmap_dram_bytes = value),
    ("pfnwatch_host_device_memmap_dram_unknown", |host, value| host.sums.device_memmap_dram_unknown = value),
    ("pfnwatch_kernel_page_size_bytes", |host, value| host.page_size_bytes = Some(value)),
    ("pfnwatch_enforcement_effective", |host, value| host.guard_effective = Some(value > 0)),
    ("max by (cluster, job, instance) (pfnwatch_capacity_regressions)", |host, value| host.regressed = value > 0),
    (
        "sum by (cluster, job, instance) (max by (cluster, job, instance, namespace) (pfnwatch_namespace_unknown))",
        |host, value| host.sums.unknown_namespaces = value,
    ),
    (
        "sum by (cluster, job, instance) (max by (cluster, job, instance, namespace) \
         (pfnwatch_namespace_excess_bytes and pfnwatch_namespace_oversize == 1))",
        |host, value| host.sums.plan_bytes = value,
    ),
];

const AGENTS: &str = "pfnwatch_build_info";
const KERNELS: &str = "pfnwatch_kernel_info";
const MODES: &str = "pfnwatch_guard_mode == 1";
/// The number of an agent's namespaces that have more than sums.
const REQUIRED_METRICS: &str =
    "count by (cluster, job, instance) (count by (cluster, job, instance, namespace) (pfnwatch_namespace_oversize))";
/// Agents that were there within the last day, and are not now. A day of samples takes long to read: beyond the last
/// hour, one of each hour suffices.
pub(super) const GONE: &str = "max by (cluster, job, instance) \
     (max_over_time(pfnwatch_build_info[1h]) or max_over_time(pfnwatch_build_info[1d:1h])) \
     unless on (cluster, job, instance) pfnwatch_build_info";
/// Targets that are configured and do not answer.
const DOWN: &str = "up == 0";

/// Counts every agent in Prometheus. One that is gone or incomplete is named as not counted.
pub fn add(client: &Client, fleet: &mut Fleet) -> anyhow::Result<()> {
    let mut hosts = Hosts::default();
    for sample in query(client, fleet, AGENTS)? {
        hosts.found(&sample);
    }
    for (metric, set) in SUMS {
        let told = hosts.set_from_samples(metric, &query(client, fleet, metric)?, set);
        hosts.mark_incomplete(metric, &told);
    }
    for (metric, set) in MORE {
        hosts.set_from_samples(metric, &query(client, fleet, metric)?, set);
    }
    for sample in query(client, fleet, REQUIRED_METRICS)? {
        hosts.has_required_metrics(&sample);
    }
    for sample in query(client, fleet, KERNELS)? {
        hosts.with(&sample, |host| host.kernel = Some(sample.label("release").to_owned()));
    }
    for sample in query(client, fleet, MODES)? {
        hosts.with(&sample, |host| host.mode = Some(sample.label("mode").to_owned()));
    }
    add_gone(client, fleet)?;
    hosts.count(fleet);
    Ok(())
}

fn query(client: &Client, fleet: &mut Fleet, expression: &str) -> anyhow::Result<Vec<Sample>> {
    let answer = client.query(expression)?;
    answer.warnings.into_iter().for_each(|warning| fleet.warning(warning));
    Ok(answer.samples)
}

fn add_gone(client: &Client, fleet: &mut Fleet) -> anyhow::Result<()> {
    let gone = query(client, fleet, GONE)?;
    if gone.is_empty() {
        return Ok(());
    }
    let down: BTreeSet<Key> = query(client, fleet, DOWN)?.iter().map(Sample::key).collect();
    for sample in gone {
        let why = if down.contains(&sample.key()) {
            "its agent is gone: Prometheus does not reach it"
        } else {
            "it was there within the last day, and Prometheus does not scrape it any more"
        };
        fleet.not_counted(HostProblem::new(sample.label("instance"), why));
    }
    Ok(())
}

#[derive(Default)]
struct Hosts {
    hosts: BTreeMap<Key, Host>,
    versions: BTreeMap<Key, String>,
    namespaces: BTreeMap<Key, u64>,
    /// Agents that are there more than once: usually several Prometheus servers that scrape the same hosts.
    twice: BTreeSet<Key>,
    incomplete: BTreeMap<Key, String>,
    /// Hosts with metrics, but without an agent.
    unknown_hosts: BTreeSet<Key>,
}

impl Hosts {
    fn found(&mut self, sample: &Sample) {
        let text = |name| Some(sample.label(name).to_owned()).filter(|text| !text.is_empty());
        let host = Host { host: sample.label("instance").to_owned(), cluster: text("cluster"), ..Host::default() };
        self.versions.insert(sample.key(), sample.label("version").to_owned());
        if self.hosts.insert(sample.key(), host).is_some() {
            self.twice.insert(sample.key());
        }
    }

    fn with(&mut self, sample: &Sample, act: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(&sample.key()) {
            act(host);
        }
    }

    fn has_required_metrics(&mut self, sample: &Sample) {
        self.namespaces.insert(sample.key(), sample.count().unwrap_or(0));
    }

    fn set_from_samples(&mut self, metric: &str, samples: &[Sample], set: Set) -> BTreeSet<Key> {
        let mut told = BTreeSet::new();
        for sample in samples {
            let key = sample.key();
            match (self.hosts.get_mut(&key), sample.count()) {
                (None, _) => drop(self.unknown_hosts.insert(key)),
                (Some(_), None) => drop(self.incomplete.insert(key, format!("its {metric} is not a valid number"))),
                (Some(_), Some(_)) if told.contains(&key) => drop(self.twice.insert(key)),
                (Some(host), Some(count)) => {
                    set(host, count);
                    told.insert(key);
                }
            }
        }
        told
    }

    fn mark_incomplete(&mut self, metric: &str, told: &BTreeSet<Key>) {
        for (key, version) in self.versions.iter().filter(|(key, _)| !told.contains(*key)) {
            let why =
                || format!("it reports no {metric}: its pfnwatch {version} is older or newer than this one, or blind");
            self.incomplete.entry(key.clone()).or_insert_with(why);
        }
    }

    fn count(self, fleet: &mut Fleet) {
        for (_, _, instance) in &self.twice {
            fleet.warning(format!(
                "{instance} is there more than once, and was counted once: is a replica's label kept?"
            ));
        }
        for (_, _, instance) in self.unknown_hosts {
            let why = "it reports namespaces and has no agent: a textfile of `scan --format prom`?";
            fleet.not_counted(HostProblem::new(instance, why));
        }
        let mut silent = Vec::new();
        for (key, host) in self.hosts {
            if host.sums.namespaces > self.namespaces.get(&key).copied().unwrap_or(0) {
                silent.push(host.host.clone());
            }
            match self.incomplete.get(&key) {
                Some(why) => fleet.not_counted(HostProblem::new(host.host, why)),
                None => fleet.add(host),
            }
        }
        if let Some(first) = silent.first() {
            fleet.warning(format!(
                "{}, {first} among them: not all namespaces are reported one by one, so the sum of what `plan` returns is incomplete",
                Plural(silent.len() as u64, "host")
            ));
        }
    }
}

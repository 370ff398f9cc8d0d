//! From audit to enforce: which hosts are ready for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::hosts::GONE;
use super::{Client, Key, QueryResult, Sample};

/// The share of its scrapes that a host must have answered, in percent: an occasional restart or reboot is no gap.
const REACHED: u64 = 95;

/// Why a host is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "NotReadyReason"))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Its agent was there within the last day, and is not now.
    Gone,
    /// Its guard would have denied creations: somebody makes oversize namespaces there, and would be refused.
    WouldDeny {
        /// About how many: Prometheus extrapolates.
        creations: u64,
    },
    /// Its guard did not judge all the time, so that its silence proves little.
    NotJudging,
    /// Its agent does not observe now.
    Blind,
    /// What its kernel reserves for each page is not known: the guard cannot judge.
    KernelUnknown,
    /// It has not been watched for that long.
    NotWatchedLongEnough,
    /// Its agent was away for too much of the time.
    SeldomReached {
        /// Share of the scrapes that it answered, in percent.
        reached_percent: u64,
    },
}

/// The readiness of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Readiness {
    /// The instance.
    pub host: String,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Enforce is its mode already.
    pub enforces: bool,
    /// Nothing known prevents enforce.
    pub ready: bool,
    /// The reasons against it.
    pub reasons: Vec<Reason>,
}

/// Every agent's readiness over the last `days`, by cluster and name; and the warnings in Prometheus' answers.
pub fn readiness(client: &Client, days: u32) -> anyhow::Result<(Vec<Readiness>, BTreeSet<String>)> {
    let mut warnings = BTreeSet::new();
    let asked = ReadinessQueries::of(days, |expression| {
        let QueryResult { samples, warnings: said } = client.query(expression)?;
        warnings.extend(said);
        Ok(samples.into_iter().map(|sample| (sample.key(), sample)).collect())
    })?;
    let there = asked.agents.iter().map(|(key, sample)| asked.judge(sample, asked.reasons(key)));
    let gone = asked.gone.values().map(|sample| asked.judge(sample, vec![Reason::Gone]));
    let mut hosts: Vec<Readiness> = there.chain(gone).collect();
    hosts.sort_by(|one, other| (&one.cluster, &one.host).cmp(&(&other.cluster, &other.host)));
    Ok((hosts, warnings))
}

type Samples = BTreeMap<Key, Sample>;

/// Answers of Prometheus. Of several replicas of one host's series, the worse one counts.
struct ReadinessQueries {
    agents: Samples,
    gone: Samples,
    enforcing: Samples,
    ready: Samples,
    known: Samples,
    judging: Samples,
    watched: Samples,
    reached: Samples,
    would_deny: Samples,
}

impl ReadinessQueries {
    fn of(days: u32, mut ask: impl FnMut(&str) -> anyhow::Result<Samples>) -> anyhow::Result<Self> {
        let least = |expression: &str| format!("min by (cluster, job, instance) ({expression})");
        let most = |expression: &str| format!("max by (cluster, job, instance) ({expression})");
        Ok(Self {
            agents: ask("pfnwatch_build_info")?,
            gone: ask(GONE)?,
            enforcing: ask("pfnwatch_guard_mode{mode=\"enforce\"} == 1")?,
            ready: ask(&(least("pfnwatch_ready") + " == 1"))?,
            known: ask("pfnwatch_kernel_max_struct_page_size_bytes > 0")?,
            judging: ask(&(least(&format!("min_over_time(pfnwatch_guard_judges[{days}d])")) + " == 1"))?,
            watched: ask(&format!("max_over_time(pfnwatch_build_info[1h] offset {days}d)"))?,
            reached: ask(&(least(&format!("100 * avg_over_time(up[{days}d])"))
                + " and on (cluster, job, instance) pfnwatch_build_info"))?,
            would_deny: ask(&(most(&format!(
                "increase(pfnwatch_guard_outcomes_total{{outcome=\"would_deny\"}}[{days}d])"
            )) + " > 0"))?,
        })
    }

    fn reasons(&self, key: &Key) -> Vec<Reason> {
        let creations = self.would_deny.get(key).map(|sample| sample.count().unwrap_or(0).max(1));
        let reached = self.reached.get(key).and_then(Sample::count).filter(|percent| *percent < REACHED);
        let without = |there: &Samples, reason| (!there.contains_key(key)).then_some(reason);
        [
            creations.map(|creations| Reason::WouldDeny { creations }),
            without(&self.ready, Reason::Blind),
            without(&self.judging, Reason::NotJudging),
            without(&self.known, Reason::KernelUnknown),
            without(&self.watched, Reason::NotWatchedLongEnough),
            reached.map(|reached_percent| Reason::SeldomReached { reached_percent }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn judge(&self, sample: &Sample, reasons: Vec<Reason>) -> Readiness {
        Readiness {
            host: sample.label("instance").to_owned(),
            cluster: Some(sample.label("cluster").to_owned()).filter(|text| !text.is_empty()),
            enforces: self.enforcing.contains_key(&sample.key()),
            ready: reasons.is_empty(),
            reasons,
        }
    }
}

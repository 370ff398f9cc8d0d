//! From audit to enforce: which hosts have given no reason to wait.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Client, Sample, api::Key};

/// Why a host is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Its guard would have denied creations: somebody makes wasteful namespaces there, and would be refused.
    WouldDeny {
        /// About how many: Prometheus extrapolates.
        creations: u64,
    },
    /// Its guard was not seen to work all the time, so that its silence says little.
    NotEffective,
    /// Its agent does not observe now.
    Blind,
    /// What its kernel reserves for each page is not known: the guard cannot judge.
    KernelUnknown,
    /// It has not been watched for that long.
    NotWatchedLongEnough,
}

/// How a host stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The instance.
    pub host: String,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Enforce is its mode already.
    pub enforces: bool,
    /// Nothing speaks against enforce.
    pub ready: bool,
    /// What does.
    pub reasons: Vec<Reason>,
}

/// Every agent's readiness by what it did over the last `days`, by cluster and name; and what Prometheus had to say of its
/// answers.
///
/// # Errors
/// Prometheus cannot be asked.
pub fn readiness(client: &Client, days: u32) -> anyhow::Result<(Vec<Readiness>, BTreeSet<String>)> {
    let mut warnings = BTreeSet::new();
    let mut ask = |expression: &str| -> anyhow::Result<BTreeMap<Key, Sample>> {
        let answer = client.query(expression)?;
        warnings.extend(answer.warnings);
        Ok(answer.samples.into_iter().map(|sample| (sample.key(), sample)).collect())
    };
    let agents = ask("pfnwatch_build_info")?;
    let enforcing = ask("pfnwatch_guard_mode{mode=\"enforce\"} == 1")?;
    let ready = ask("pfnwatch_ready == 1")?;
    let known = ask("pfnwatch_kernel_max_struct_page_size_bytes")?;
    let effective = ask(&format!("min_over_time(pfnwatch_enforcement_effective[{days}d]) == 1"))?;
    let watched = ask(&format!("max_over_time(pfnwatch_build_info[1h] offset {days}d)"))?;
    let would_deny = ask(&format!(
        "sum by (cluster, job, instance) (increase(pfnwatch_guard_outcomes_total{{outcome=\"would_deny\"}}[{days}d])) > 0"
    ))?;
    let hosts = agents.iter().map(|(key, sample)| {
        let creations = would_deny.get(key).map(|sample| sample.count().unwrap_or(0).max(1));
        let without = |there: &BTreeMap<Key, Sample>, reason| (!there.contains_key(key)).then_some(reason);
        let reasons: Vec<Reason> = [
            creations.map(|creations| Reason::WouldDeny { creations }),
            without(&ready, Reason::Blind),
            without(&effective, Reason::NotEffective),
            without(&known, Reason::KernelUnknown),
            without(&watched, Reason::NotWatchedLongEnough),
        ]
        .into_iter()
        .flatten()
        .collect();
        Readiness {
            host: sample.label("instance").to_owned(),
            cluster: Some(sample.label("cluster").to_owned()).filter(|text| !text.is_empty()),
            enforces: enforcing.contains_key(key),
            ready: reasons.is_empty(),
            reasons,
        }
    });
    let hosts = hosts.collect();
    Ok((hosts, warnings))
}

//! The answers for a host: what was logged and recorded, joined with the namespaces as they are.

use std::collections::BTreeSet;

use super::event_failure::Enabled;
use super::{size, state};
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use crate::model::verdict::Verdict;
use crate::model::why::{FailureEvidence, Finding};

/// The names of a namespace and of what belongs to it, by one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    which: String,
    names: BTreeSet<String>,
}

impl Subject {
    /// By the name of a namespace, its namespace uuid, its pfn, dax or btt device, its region, or its node in `/dev`.
    #[must_use]
    pub fn of(which: &str, scan: &ScanResult) -> Self {
        let which = which.strip_prefix("/dev/").unwrap_or(which);
        let mut names = BTreeSet::from([which.to_owned()]);
        for judged in &scan.namespaces {
            let namespace = &judged.namespace;
            let holder = namespace.holder.as_ref().ok().map(|holder| holder.name.clone());
            let uuid = namespace.uuid.as_ref().ok().map(ToString::to_string);
            let nodes = [namespace.disk(), namespace.disk().map(|disk| disk + "s")];
            let own = [Some(namespace.name.clone()), holder, uuid].into_iter().chain(nodes).flatten();
            // A device of the dax bus is named after the namespace, not after its dax device.
            let character = namespace.character_device().filter(|_| judged.mode() == "devdax");
            let own: Vec<String> = own.chain(character).collect();
            if own.iter().any(|name| name == which) {
                names.extend(own);
            }
        }
        Self { which: which.to_owned(), names }
    }

    fn has(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.names.contains(name))
    }

    /// Whether this host has it, or a finding is about it.
    #[must_use]
    pub fn is_known(&self, scan: &ScanResult, findings: &[Finding]) -> bool {
        let regions = scan.regions.iter().map(|region| region.name.as_str());
        let seeds = scan.regions.iter().flat_map(|region| [&region.pfn_seed, &region.dax_seed, &region.namespace_seed]);
        let names = scan.namespaces.iter().map(|judged| judged.namespace.name.as_str());
        regions.chain(names).chain(seeds.flat_map(|seed| seed.as_deref())).any(|name| self.has(Some(name)))
            || findings.iter().any(|finding| self.concerns(finding))
    }

    /// A device's name is used again: if the namespace is known, it counts, unless the device itself was asked for.
    fn concerns(&self, finding: &Finding) -> bool {
        let device = finding.device.as_deref();
        match finding.namespace.as_deref() {
            Some(namespace) => self.has(Some(namespace)) || device == Some(&self.which),
            None => self.has(device),
        }
    }
}

/// What was logged and recorded, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    pub failures: Vec<Finding>,
    pub enabled: Vec<Enabled>,
}

/// The findings about a subject, or about the whole host: what failed and was not enabled since, what is disabled, what is
/// oversize. The scan has the saved blocks of disabled namespaces.
#[must_use]
pub fn explain(scan: &ScanResult, history: History, subject: Option<&Subject>) -> Vec<Finding> {
    let History { failures, enabled } = history;
    let mut findings = named(failures, scan);
    findings.retain(|finding| !is_over(finding, scan, &enabled));
    // The whole host has many lines that are no failures.
    findings.retain(|it| subject.map_or(it.answer.cause.is_problem(), |subject| subject.concerns(it)));
    let mut findings = latest(findings, subject.is_some());
    let asked = |name: &str| subject.is_none_or(|subject| subject.has(Some(name)));
    for judged in scan.namespaces.iter().filter(|judged| asked(&judged.namespace.name)) {
        let name = Some(judged.namespace.name.as_str());
        let is_explained = findings.iter().any(|finding| finding.namespace.as_deref() == name);
        if !judged.is_enabled() && !is_explained {
            findings.push(state::of_disabled(judged));
        } else if judged.is_enabled() && (subject.is_some() || judged.assessment.verdict == Verdict::Oversize) {
            findings.push(size::of_enabled(judged));
        }
    }
    findings.extend(scan.regions.iter().filter(|region| asked(&region.name)).filter_map(state::of_region));
    findings
}

/// Adds the namespace to what names only a pfn or dax device: the one that it has now, or had when an agent saw it fail.
fn named(mut failures: Vec<Finding>, scan: &ScanResult) -> Vec<Finding> {
    let recorded: Vec<(Option<String>, Option<String>)> = failures
        .iter()
        .filter(|finding| finding.evidence == FailureEvidence::EventStore)
        .map(|finding| (finding.device.clone(), finding.namespace.clone()))
        .collect();
    for finding in failures.iter_mut().filter(|finding| finding.namespace.is_none()) {
        let holder = scan.namespaces.iter().find(|judged| is_held_by(judged, finding.device.as_deref()));
        let now = holder.map(|judged| judged.namespace.name.clone());
        let then = || recorded.iter().rev().find(|(device, _)| *device == finding.device)?.1.clone();
        finding.namespace = now.or_else(then);
    }
    failures
}

fn is_held_by(judged: &AssessedNamespace, device: Option<&str>) -> bool {
    judged.namespace.holder.as_ref().is_ok_and(|holder| Some(holder.name.as_str()) == device)
}

/// Whether what failed is enabled now, or was since. A name is used again: what is disabled may be another namespace.
fn is_over(finding: &Finding, scan: &ScanResult, enabled: &[Enabled]) -> bool {
    let now = scan.namespaces.iter().filter(|judged| judged.is_enabled());
    let since = enabled.iter().filter(|it| finding.time.as_ref().is_some_and(|failed| *failed < it.time));
    match (&finding.namespace, &finding.device) {
        (Some(name), _) => {
            now.into_iter().any(|judged| judged.namespace.name == *name)
                || since.into_iter().any(|it| it.namespace.as_ref() == Some(name))
        }
        (None, device) => since.into_iter().any(|it| it.device == *device),
    }
}

/// The last failure by each kind of evidence, of each device unless it is `one` that was asked for, in the order in which they
/// came.
fn latest(failures: Vec<Finding>, one: bool) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut key = |finding: &Finding| {
        let subject = finding.subject().filter(|_| !one);
        seen.insert((subject.map(str::to_owned), <&str>::from(finding.evidence)))
    };
    let mut last: Vec<Finding> = failures.into_iter().rev().filter(|finding| key(finding)).collect();
    last.reverse();
    last
}

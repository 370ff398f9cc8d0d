//! What is wrong now: the findings in a [`View`] of the host. Pure.

use std::collections::BTreeSet;

use super::RecentEvents;
use crate::export::alerts::annotations;
use crate::model::alert::{Alert, AlertName};
use crate::model::capacity::RegressionSubject;
use crate::model::scan_result::AssessedNamespace;
use crate::model::verdict::Verdict;
use crate::model::view::View;

/// So many alerts of one name are fired: those of the first namespaces by their addresses.
const MAX_ALERTS_OF_NAME: usize = 256;

#[derive(Debug, Default)]
pub struct Findings {
    pub firing: Vec<Alert>,
    /// Alerts that are left out because there are too many with their name. Those that fire already have not ended.
    pub omitted: usize,
    /// Alerts that cannot be evaluated for any namespace: not seen does not mean ended.
    pub(super) unevaluable: BTreeSet<AlertName>,
    pub(super) indeterminate: BTreeSet<String>,
    /// The alerts of the present namespaces, while others may still appear; `None` once missing ones are gone.
    pub(super) present: Option<BTreeSet<String>>,
}

impl Findings {
    #[must_use]
    pub fn cannot_judge(&self, alert: &Alert) -> bool {
        let of_namespace = NAMESPACE_ALERTS.contains(&alert.name);
        let may_come =
            |fingerprint| of_namespace && self.present.as_ref().is_some_and(|there| !there.contains(fingerprint));
        let fingerprint = &alert.fingerprint();
        self.unevaluable.contains(&alert.name) || self.indeterminate.contains(fingerprint) || may_come(fingerprint)
    }
}

const NAMESPACE_ALERTS: [AlertName; 3] =
    [AlertName::NamespaceOversize, AlertName::NamespaceRegression, AlertName::NamespaceRefused];

/// Evaluates the rules. `instance` is this host's name; `runbook` is the prefix of the pages about alerts.
#[must_use]
pub fn findings(view: &View, recently: &RecentEvents, instance: &str, runbook: &str) -> Findings {
    let mut look = Evaluation { view, instance, runbook, findings: Findings::default() };
    look.agent();
    look.creations_denied_and_records_lost(recently);
    look.kernel();
    look.regressions();
    look.namespaces(recently);
    look.findings
}

struct Evaluation<'a> {
    view: &'a View,
    instance: &'a str,
    runbook: &'a str,
    findings: Findings,
}

impl Evaluation<'_> {
    fn agent(&mut self) {
        let status = &self.view.status;
        let agent = &status.agent;
        if !agent.observing && !agent.ready {
            self.fire(AlertName::Blind, None, annotations::blind(agent));
        }
        if !agent.observing && agent.ready {
            // Without libnvdimm nothing is made that could be refused.
            self.findings.unevaluable.insert(AlertName::EnforceNotEffective);
        } else if status.is_enforce_without_effect() {
            self.fire(AlertName::EnforceNotEffective, None, annotations::not_effective(status));
        }
        if let Some(configured) = status.mode.overridden() {
            self.fire(AlertName::ModeOverridden, None, annotations::mode_overridden(&status.mode, configured));
        }
        if let Some(error) = &status.policy.reload_error {
            self.fire(AlertName::PolicyInvalid, None, annotations::policy_invalid(status, error));
        }
        if let Some(error) = &self.view.store.error {
            self.fire(AlertName::StoreFailing, None, annotations::store_failing(&self.view.store, error));
        }
    }

    /// Events without an end that happened recently.
    fn creations_denied_and_records_lost(&mut self, recently: &RecentEvents) {
        if let Some(count) = recently.count(AlertName::RecordsLost) {
            self.fire(AlertName::RecordsLost, None, annotations::records_lost(&self.view.status, count));
        }
        if let Some(count) = recently.count(AlertName::CreationDenied) {
            self.fire(AlertName::CreationDenied, None, annotations::denied(count));
        }
    }

    fn kernel(&mut self) {
        let status = &self.view.status;
        if !status.agent.observing {
            self.findings.unevaluable.insert(AlertName::EvidenceConflict);
        } else if !status.max_struct_page.conflicting_evidence.is_empty() {
            self.fire(AlertName::EvidenceConflict, None, annotations::conflict(status));
        }
        let memmaps = &status.memmap_return;
        if memmaps.total_lost() > 0 {
            self.fire(
                AlertName::MemmapNotReturned,
                None,
                annotations::memmap_not_returned(memmaps, &status.agent.kernel),
            );
        } else if self.view.store.error.is_some() {
            // What earlier agents have seen since boot is in the store.
            self.findings.unevaluable.insert(AlertName::MemmapNotReturned);
        }
    }

    /// They come from observation, and from earlier boots in the store.
    fn regressions(&mut self) {
        let view = self.view;
        if !view.status.agent.observing || view.store.error.is_some() {
            self.findings.unevaluable.extend([AlertName::CapacityRegression, AlertName::NamespaceRegression]);
        } else if view.max_struct_page_size.is_none() {
            self.findings.unevaluable.insert(AlertName::CapacityRegression);
        }
        if view.store.error.is_some() {
            self.findings.unevaluable.insert(AlertName::DeviceRegression);
        }
        for regression in &view.regressions {
            match &regression.subject {
                RegressionSubject::Host => {
                    self.fire(AlertName::CapacityRegression, None, annotations::host_regression(regression))
                }
                RegressionSubject::MemmapReturn { .. } => {
                    let subject = Some(("subject", "memmap_return".to_owned()));
                    self.fire(AlertName::CapacityRegression, subject, annotations::memmap_regression(regression));
                }
                RegressionSubject::Device(it) => {
                    let subject = identity(None, Some(it.device.start_address));
                    self.fire(AlertName::DeviceRegression, subject, annotations::device_regression(it, regression));
                }
                RegressionSubject::Namespace(namespace) => {
                    let uuid = namespace.namespace_uuid.map(|uuid| uuid.to_string());
                    let said = annotations::namespace_regression(namespace, regression);
                    self.fire(AlertName::NamespaceRegression, identity(uuid, Some(namespace.start_address)), said);
                }
            }
        }
    }

    fn namespaces(&mut self, recently: &RecentEvents) {
        let scan = match &self.view.scan {
            Ok(scan) if self.view.status.agent.observing => scan,
            _ => {
                self.findings.unevaluable.extend(NAMESPACE_ALERTS);
                return;
            }
        };
        for assessed in &scan.namespaces {
            let release = &scan.kernel.release;
            let (name, said) = match assessed.assessment.verdict {
                Verdict::Oversize => (AlertName::NamespaceOversize, annotations::oversize(assessed, release)),
                Verdict::Refused => (AlertName::NamespaceRefused, annotations::refused(assessed, release)),
                Verdict::Ok | Verdict::Unknown => continue,
            };
            self.fire(name, label_of(assessed), said);
        }
        let mut there = BTreeSet::new();
        for assessed in &scan.namespaces {
            let of = |name| Alert::new(name, self.instance, label_of(assessed)).fingerprint();
            there.extend(NAMESPACE_ALERTS.map(of));
            if assessed.assessment.verdict == Verdict::Unknown {
                self.findings.indeterminate.extend(NAMESPACE_ALERTS.map(of));
            }
        }
        self.findings.present = (!recently.is_settled()).then_some(there);
    }

    fn fire(&mut self, name: AlertName, subject: Option<(&str, String)>, (summary, description): (String, String)) {
        let alert = Alert::new(name, self.instance, subject);
        if self.findings.firing.iter().filter(|it| it.name == name).count() >= MAX_ALERTS_OF_NAME {
            self.findings.omitted += 1;
            self.findings.indeterminate.insert(alert.fingerprint());
            return;
        }
        let runbook = annotations::runbook(self.runbook, name);
        self.findings.firing.push(alert.with_annotations(summary, description, runbook));
    }
}

fn label_of(assessed: &AssessedNamespace) -> Option<(&'static str, String)> {
    let namespace = &assessed.namespace;
    let uuid = namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil());
    let start = assessed.facts.start.or_else(|| namespace.resource.as_ref().ok().copied());
    identity(uuid.map(ToString::to_string), start).or_else(|| Some(("namespace", namespace.name.clone())))
}

/// The identity of a namespace as long as it exists: its uuid, or its place.
fn identity(uuid: Option<String>, start: Option<u64>) -> Option<(&'static str, String)> {
    let uuid = uuid.map(|uuid| ("namespace_uuid", uuid));
    uuid.or_else(|| start.map(|start| ("start_address", format!("{start:#x}"))))
}

#[cfg(test)]
mod tests;

//! What is wrong now: the standing conditions of a host, out of its [`View`]. Pure.

use std::collections::BTreeSet;

use super::{Alert, Name, Recently, words};
use crate::{assess::Verdict, baseline::Subject, survey::Judged, view::View};

/// As many namespaces are told of one by one, the first by their addresses; more are said in the log.
const MOST_NAMESPACES: usize = 256;

/// All that can be said now.
#[derive(Debug, Default)]
pub struct Findings {
    /// What stands.
    pub standing: Vec<Alert>,
    /// Of what nothing can be said, whichever namespace it is about: that it is not seen does not mean that it has ended.
    pub(super) blank: BTreeSet<Name>,
    /// The same for single alerts, by their fingerprints.
    pub(super) unknown: BTreeSet<String>,
    /// The alerts of the namespaces that are there, while others may still come up; none once what is not there is gone.
    pub(super) there: Option<BTreeSet<String>>,
}

impl Findings {
    /// Whether it cannot be said now if this alert stands.
    #[must_use]
    pub fn cannot_judge(&self, alert: &Alert) -> bool {
        let of_namespace = OF_NAMESPACES.contains(&alert.name);
        let may_come =
            |fingerprint| of_namespace && self.there.as_ref().is_some_and(|there| !there.contains(fingerprint));
        let fingerprint = &alert.fingerprint();
        self.blank.contains(&alert.name) || self.unknown.contains(fingerprint) || may_come(fingerprint)
    }
}

/// The alerts that are about one namespace.
const OF_NAMESPACES: [Name; 2] = [Name::NamespaceOversize, Name::NamespaceRegression];

/// Looks for what is wrong. `instance` is this host's name; `runbook` is what leads to the pages about alerts.
#[must_use]
pub fn findings(view: &View, recently: &Recently, instance: &str, runbook: &str) -> Findings {
    let mut look = Look { view, instance, runbook, found: Findings::default() };
    look.agent();
    look.happened(recently);
    look.kernel();
    look.regressions();
    look.namespaces(recently);
    look.found
}

/// One look at a view.
struct Look<'a> {
    view: &'a View,
    instance: &'a str,
    runbook: &'a str,
    found: Findings,
}

impl Look<'_> {
    /// The agent itself, its guard, its policy and its journal.
    fn agent(&mut self) {
        let status = &self.view.status;
        let agent = &status.agent;
        if !agent.observing && !agent.ready {
            self.stands(Name::Blind, None, words::blind(agent));
        }
        if !agent.observing && agent.ready {
            // Without libnvdimm nothing is made that could be refused.
            self.found.blank.insert(Name::EnforceNotEffective);
        } else if status.is_enforce_without_effect() {
            self.stands(Name::EnforceNotEffective, None, words::not_effective(status));
        }
        if let Some(error) = &status.policy.reload_error {
            self.stands(Name::PolicyInvalid, None, words::policy_invalid(status, error));
        }
        if let Some(error) = &self.view.journal.error {
            self.stands(Name::JournalFailing, None, words::journal_failing(&self.view.journal, error));
        }
    }

    /// What does not stand, but happened a short time ago.
    fn happened(&mut self, recently: &Recently) {
        if let Some(count) = recently.count(Name::RecordsLost) {
            self.stands(Name::RecordsLost, None, words::records_lost(&self.view.status, count));
        }
        if let Some(count) = recently.count(Name::CreationDenied) {
            self.stands(Name::CreationDenied, None, words::denied(count));
        }
    }

    fn kernel(&mut self) {
        let status = &self.view.status;
        if !status.agent.observing {
            self.found.blank.insert(Name::EvidenceConflict);
        } else if !status.max_struct_page.conflicting_evidence.is_empty() {
            self.stands(Name::EvidenceConflict, None, words::conflict(status));
        }
    }

    /// They are found by what is observed, and by what the journal says of earlier boots.
    fn regressions(&mut self) {
        let view = self.view;
        if !view.status.agent.observing || view.journal.error.is_some() {
            self.found.blank.extend([Name::CapacityRegression, Name::NamespaceRegression]);
        } else if view.max_struct_page_size.is_none() {
            self.found.blank.insert(Name::CapacityRegression);
        }
        for regression in view.regressions.iter().take(MOST_NAMESPACES) {
            match &regression.subject {
                Subject::Host => self.stands(Name::CapacityRegression, None, words::host_regression(regression)),
                Subject::Namespace(namespace) => {
                    let uuid = namespace.namespace_uuid.map(|uuid| uuid.to_string());
                    let said = words::namespace_regression(namespace, regression);
                    self.stands(Name::NamespaceRegression, identity(uuid, Some(namespace.start_address)), said);
                }
            }
        }
    }

    fn namespaces(&mut self, recently: &Recently) {
        let survey = match &self.view.survey {
            Ok(survey) if self.view.status.agent.observing => survey,
            _ => {
                self.found.blank.extend(OF_NAMESPACES);
                return;
            }
        };
        let oversize = |judged: &&Judged| judged.assessment.verdict == Verdict::Oversize;
        let count = survey.namespaces.iter().filter(oversize).count();
        if count > MOST_NAMESPACES {
            tracing::warn!(
                "{count} namespaces are oversize: alerts tell of {MOST_NAMESPACES} of them, `pfnwatch scan` of all"
            );
            self.found.blank.insert(Name::NamespaceOversize);
        }
        for judged in survey.namespaces.iter().filter(oversize).take(MOST_NAMESPACES) {
            let said = words::oversize(judged, &survey.kernel.release);
            self.stands(Name::NamespaceOversize, label_of(judged), said);
        }
        let mut there = BTreeSet::new();
        for judged in &survey.namespaces {
            let of = |name| Alert::new(name, self.instance, label_of(judged)).fingerprint();
            there.extend(OF_NAMESPACES.map(of));
            if judged.assessment.verdict == Verdict::Unknown {
                self.found.unknown.extend(OF_NAMESPACES.map(of));
            }
        }
        self.found.there = (!recently.is_settled()).then_some(there);
    }

    fn stands(&mut self, name: Name, subject: Option<(&str, String)>, (summary, description): (String, String)) {
        let runbook = words::runbook(self.runbook, name);
        self.found.standing.push(Alert::new(name, self.instance, subject).saying(summary, description, runbook));
    }
}

fn label_of(judged: &Judged) -> Option<(&'static str, String)> {
    let namespace = &judged.namespace;
    let uuid = namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil());
    let start = judged.facts.start.or_else(|| namespace.resource.as_ref().ok().copied());
    identity(uuid.map(ToString::to_string), start).or_else(|| Some(("namespace", namespace.name.clone())))
}

/// What a namespace is known by for as long as it is there: its uuid, or where it lies.
fn identity(uuid: Option<String>, start: Option<u64>) -> Option<(&'static str, String)> {
    let uuid = uuid.map(|uuid| ("namespace_uuid", uuid));
    uuid.or_else(|| start.map(|start| ("start_address", format!("{start:#x}"))))
}

#[cfg(test)]
mod tests;

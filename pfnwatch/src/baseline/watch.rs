//! The agent's side: learns from surveys, events and the kernel's facts, and writes down what it has learned.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use pfnwatch_common::Map;

use super::{
    Acceptance, Change, Cost, KernelSeen, Ledger, Namespace, NotAccepted, Record, Regression, Whose, host,
    ledger::change,
};
use crate::{
    event::{Body, Capacity, Event, SetUp, Time},
    journal::{BootRow, Journal},
    survey::{Judged, Survey},
};

/// What is known of costs, now and before.
#[derive(Debug)]
pub struct BaselineWatch {
    release: String,
    page_size: u64,
    boots: Vec<BootRow>,
    ledger: Ledger,
    host: Option<Regression>,
    /// When it was last written down that the running kernel runs; none before it is known.
    noted: Option<SystemTime>,
}

/// How often that is written down while nothing else is learned.
const STILL_EVERY: Duration = Duration::from_secs(60 * 60);

impl BaselineWatch {
    /// Takes up what the journal has; without one it begins anew.
    #[must_use]
    pub fn new(journal: &mut Journal, release: &str, page_size: u64) -> Self {
        Self {
            release: release.to_owned(),
            page_size,
            boots: journal.boots().unwrap_or_default(),
            ledger: Ledger::new(journal.costs().unwrap_or_default()),
            host: None,
            noted: None,
        }
    }

    /// Learns what the running kernel and its libnvdimm reserve for each page.
    pub fn kernel(&mut self, journal: &mut Journal, mut boot: BootRow) -> Option<Body> {
        let known = |boot: &&BootRow| boot.max_struct_page_size.is_some();
        // What the agent before this one has told, or this one under the libnvdimm before.
        let before = self.boots.iter().filter(known).max_by_key(|boot| boot.last_seen).and_then(|boot| self.held(boot));
        let is_it = |it: &BootRow| (&it.boot_id, &it.module_build_id) == (&boot.boot_id, &boot.module_build_id);
        if let Some(place) = self.boots.iter().position(is_it) {
            boot.accepted = self.boots.swap_remove(place).accepted;
        }
        journal.remember_boot(&boot);
        let is_known = boot.max_struct_page_size.is_some();
        // With nothing known the host is no better than it was.
        self.host = if is_known { self.held(&boot) } else { self.host.take().or_else(|| before.clone()) };
        self.noted = Some(boot.last_seen);
        self.boots.push(boot);
        if is_known { told(change(before, self.host.clone())) } else { None }
    }

    /// The kernel that was learned last still runs: that is written down every hour, and where the agent ends.
    pub fn still(&mut self, journal: &mut Journal, now: SystemTime, ends: bool) {
        let (Some(noted), Some(boot)) = (self.noted, self.boots.last_mut()) else { return };
        // A clock that was set back counts as an hour.
        if ends || now.duration_since(noted).map_or(true, |past| past >= STILL_EVERY) {
            boot.last_seen = now;
            self.noted = Some(now);
            journal.remember_boot(boot);
        }
    }

    fn held(&self, boot: &BootRow) -> Option<Regression> {
        let others: Vec<_> = self.boots.iter().map(|boot| kernel_seen(boot, self.page_size)).collect();
        host(&kernel_seen(boot, self.page_size), &others)
    }

    /// Learns from all namespaces at once.
    pub fn survey(&mut self, journal: &mut Journal, survey: &Survey) -> Vec<Body> {
        let mut learned = Vec::new();
        let mut there = BTreeSet::new();
        for judged in &survey.namespaces {
            let Some(namespace) = namespace(judged) else { continue };
            if judged.map() != Some(Map::Dev) && judged.namespace.mode.is_ok() {
                continue;
            }
            there.insert((namespace.start_address, namespace.size_bytes));
            learned.extend(self.cost(judged).map(|cost| self.ledger.learn(namespace, cost)));
        }
        learned.extend(self.ledger.only(&there));
        written(journal, learned)
    }

    /// Learns from an event.
    pub fn event(&mut self, journal: &mut Journal, event: &Event) -> Vec<Body> {
        let learned = match &event.body {
            Body::SetUp(setup) => self.set_up(setup, event.time),
            Body::Destroy(change) => change.namespace_uuid.map(|uuid| self.ledger.destroyed(uuid)).unwrap_or_default(),
            _ => Vec::new(),
        };
        written(journal, learned)
    }

    /// The regressions that stand.
    pub fn standing(&self) -> Vec<Regression> {
        self.host.iter().cloned().chain(self.ledger.standing()).collect()
    }

    /// Takes what is there now for the baseline. Gives the regression that ends with it.
    ///
    /// # Errors
    /// There is none, or it cannot be written down.
    pub fn accept(
        &mut self,
        journal: &mut Journal,
        whose: &Whose,
        acceptance: Acceptance,
    ) -> Result<Regression, NotAccepted> {
        match whose {
            Whose::Host => self.accept_host(journal, acceptance),
            Whose::Namespace(which) => {
                let (record, regression) = self.ledger.to_accept(which, acceptance)?;
                journal.remember_costs(std::slice::from_ref(&record)).ok_or(NotAccepted::NotWritten)?;
                self.ledger.put(record);
                Ok(regression)
            }
        }
    }

    /// The kernel that was learned last is the one that runs: it stays, and all others are set aside.
    fn accept_host(&mut self, journal: &mut Journal, acceptance: Acceptance) -> Result<Regression, NotAccepted> {
        let regression = self.host.clone().ok_or_else(|| NotAccepted::Nothing("the host".to_owned()))?;
        let mut boots = self.boots.clone();
        let (now, others) = boots.split_last_mut().ok_or(NotAccepted::Unknown)?;
        if now.max_struct_page_size.is_none() {
            return Err(NotAccepted::Unknown);
        }
        now.accepted = Some(acceptance);
        others.iter_mut().for_each(|boot| boot.set_aside = true);
        journal.remember_boots(&boots).ok_or(NotAccepted::NotWritten)?;
        (self.boots, self.host) = (boots, None);
        Ok(regression)
    }

    fn set_up(&mut self, setup: &SetUp, time: Time) -> Vec<(Record, Change)> {
        let (Some(it), Some(sizes)) = (&setup.namespace, setup.sizes) else { return Vec::new() };
        let namespace = Namespace {
            namespace: it.namespace.clone(),
            namespace_uuid: it.namespace_uuid,
            start_address: it.start_address,
            size_bytes: it.size_bytes,
        };
        match setup.judgement.as_ref().and_then(|it| it.excess_bytes) {
            _ if setup.map != Some(Map::Dev) => self.ledger.without_memmap(&namespace),
            Some(excess_bytes) => vec![self.ledger.learn(
                namespace,
                Cost {
                    kernel: self.release.clone(),
                    seen: time.to_string(),
                    reservation_bytes: sizes.reservation_bytes,
                    excess_bytes,
                    max_struct_page_size_bytes: Some(sizes.page_struct_size_bytes).filter(|bytes| *bytes != 0),
                },
            )],
            None => Vec::new(),
        }
    }

    fn cost(&self, judged: &Judged) -> Option<Cost> {
        let numbers = &judged.assessment.numbers;
        let made_with = judged.facts.block.as_ref().map(|block| u64::from(block.page_struct_size));
        Some(Cost {
            kernel: self.release.clone(),
            seen: Time(SystemTime::now()).to_string(),
            reservation_bytes: numbers.reservation?,
            excess_bytes: numbers.excess?,
            max_struct_page_size_bytes: made_with.filter(|bytes| *bytes != 0),
        })
    }
}

/// A boot, as far as it is compared.
#[must_use]
pub fn kernel_seen(boot: &BootRow, page_size: u64) -> KernelSeen {
    KernelSeen {
        id: format!("{} {}", boot.boot_id, boot.module_build_id.as_deref().unwrap_or_default()),
        release: boot.release.clone(),
        seen: Time(boot.last_seen).to_string(),
        page_size,
        max_struct_page_size: boot.max_struct_page_size,
        set_aside: boot.set_aside,
    }
}

fn namespace(judged: &Judged) -> Option<Namespace> {
    let it = &judged.namespace;
    Some(Namespace {
        namespace: it.name.clone(),
        namespace_uuid: it.uuid.clone().ok().filter(|uuid| !uuid.is_nil()),
        start_address: judged.facts.start?,
        size_bytes: judged.facts.size?,
    })
}

/// Writes down what is news, and gives what has to be told of it.
fn written(journal: &mut Journal, learned: Vec<(Record, Change)>) -> Vec<Body> {
    let (news, changes): (Vec<_>, Vec<_>) =
        learned.into_iter().filter(|(_, change)| *change != Change::Nothing).unzip();
    if !news.is_empty() {
        journal.remember_costs(&news);
    }
    changes.into_iter().filter_map(told).collect()
}

fn told(change: Change) -> Option<Body> {
    match change {
        Change::Nothing | Change::Noted => None,
        Change::Began(it) => Some(Body::CapacityRegression(Box::new(Capacity::begins(*it)))),
        Change::Ended(it) => Some(Body::CapacityRegressionEnded(Box::new(Capacity::ends(*it)))),
    }
}

#[cfg(test)]
mod tests;

//! The guard in the agent's loop: armed, proved, reloaded; what it says of itself.

use std::io::Write;

use super::{Agent, AgentState, RuntimeInfo};
use crate::{
    bpf::{pins::Pins, takeover::OnExit},
    guard::self_test,
    kernel::{
        features::{FeatureSources, Features},
        prerequisites::{NeededFor, judge, unmet},
    },
    model::exit::ExitContext,
    model::{
        event::{Body, Event, ExemptionChange, GuardTransfer, PolicyLoaded, PolicyRefused, Time},
        inventory::Inventory,
        policy::{Grant, Mode, OnAgentExit},
        redact::redact_quotes,
    },
    os::{clock::since_boot, privileges::with_capabilities},
};
use pfnwatch_common::names;

impl<W: Write> Agent<W> {
    /// Lets the guard judge, now that all is known of this host.
    pub(super) fn arm(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        let armed = self.guard.add_inventory(inventory).and_then(|()| self.guard.arm(self.kernel.max_struct_page()));
        if let Err(error) = armed {
            // It then judges nothing, and says so with each creation.
            tracing::error!("the guard is not armed: {error:#}");
        } else if let Err(error) = Pins::system().remove_other_versions() {
            // It judges beside this one: a creation may be reported twice, and none slips through.
            tracing::error!("a guard of another version stays: {error:#}");
        }
        self.warn_of_skipped_exemptions();
        self.emit_guard_state()
    }

    /// Has the guard judge by what is known by now of what the kernel reserves for each page.
    pub(super) fn update_guard(&mut self) -> anyhow::Result<()> {
        if let Err(error) = self.guard.set_struct_page_size(self.kernel.max_struct_page()) {
            tracing::error!("the guard judges by what was known before: {error:#}");
        }
        self.emit_guard_state()
    }

    /// Makes the guard prove that it fires.
    pub(super) fn self_test(&mut self) -> anyhow::Result<()> {
        let Some(observation) = &self.sensor else { return Ok(()) };
        let proved = with_capabilities(|| {
            self_test::self_test(|| observation.run_count(names::GUARD), &self.options.paths.sysfs)
        });
        self.guard.set_self_test(proved);
        self.emit_guard_state()
    }

    /// What becomes of the programs when the agent goes.
    pub(super) fn on_exit(&self) -> OnExit {
        match self.guard.policy().on_agent_exit {
            OnAgentExit::Release => OnExit::Detach,
            OnAgentExit::Hold => OnExit::Pinned,
        }
    }

    /// Says that the guard of an agent before was taken over, and what of it stays in force.
    pub(super) fn emit_taken_over(&mut self, configured: Mode) -> anyhow::Result<()> {
        let mode = self.guard.policy().mode;
        let granted = match self.guard.grants().len() {
            0 => String::new(),
            count => format!("; {count} exemptions that were granted by hand stay in force"),
        };
        let detail = if mode == configured {
            format!("it guarded on without an agent{granted}")
        } else {
            format!(
                "it guarded on without an agent, and its mode stays in force, not the configuration's ({}): `pfnwatch mode` changes it, or a \
                 reload of the configuration{granted}",
                configured
            )
        };
        let taken_over = GuardTransfer { mode, pins: self.pins(), by: None, detail: Some(detail) };
        self.emit(Event::now(Body::GuardTakenOver(taken_over)))
    }

    /// What is pinned of the guard in force.
    pub(super) fn pins(&self) -> Vec<String> {
        self.sensor.as_ref().map(|observation| Pins::system().links_of(observation.guard_id)).unwrap_or_default()
    }

    /// Enforcing was asked for at the start, and cannot be done: that is no audit.
    pub(super) fn require_effective(&self) -> anyhow::Result<()> {
        match self.guard.ineffective_reason() {
            Some(why) if self.guard.policy().mode == Mode::Enforce => {
                Err(ExitContext::unsupported(cannot_enforce(&why)).into())
            }
            _ => Ok(()),
        }
    }

    /// Why this host cannot enforce. Without libnvdimm there is no guard that could be asked: what it will need is looked at.
    pub(super) fn enforce_obstacle(&self) -> Option<String> {
        if self.state != AgentState::Idle {
            return self.guard.ineffective_reason();
        }
        let features = || Features::gather(&FeatureSources::new(&self.options.paths), self.options.btf_dir.as_deref());
        let rows = judge(&with_capabilities(features));
        let missing: Vec<_> = unmet(&rows, NeededFor::Enforce).map(ToString::to_string).collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }

    /// Takes the configuration anew: all of it, or nothing.
    pub(super) fn reload(&mut self) -> anyhow::Result<()> {
        let (file, stayed) = (self.options.config.path().display().to_string(), self.on_exit());
        let loaded = self.options.config.load().and_then(|loaded| {
            let policy = loaded.config.policy();
            if policy.exemptions.iter().any(|exemption| self.guard.is_unknown_region(exemption.subject)) {
                self.update_regions();
            }
            match self.enforce_obstacle() {
                Some(why) if policy.mode == Mode::Enforce => anyhow::bail!(cannot_enforce(&why)),
                _ => self.guard.replace(policy).map(|()| {
                    self.configure_alerts(loaded.config.alerts());
                    loaded
                }),
            }
        });
        match loaded {
            Ok(loaded) => {
                self.predictions.on_thresholds_changed(since_boot()?);
                self.options.config_hash = loaded.hash;
                self.options.config_files = loaded.files.clone();
                self.web.reload(loaded.config.web());
                if self.on_exit() != stayed {
                    // Pinned or not is settled when the programs are loaded.
                    self.detach()?;
                    self.reconcile()?;
                }
                let RuntimeInfo { started, .. } = self.runtime_info;
                self.runtime_info = RuntimeInfo { started, ..RuntimeInfo::now() };
                self.emit_policy()?;
                self.warn_of_skipped_exemptions();
                self.emit_guard_state()
            }
            Err(error) => {
                // It stands in events, on the web page and in alerts.
                let error = redact_quotes(&format!("{error:#}"));
                self.runtime_info.reload_error = Some(error.clone());
                self.emit(Event::now(Body::PolicyRefused(PolicyRefused { file, error })))
            }
        }
    }

    /// Says what policy is in force.
    pub(super) fn emit_policy(&mut self) -> anyhow::Result<()> {
        let file = self.options.config_files.clone();
        let loaded =
            PolicyLoaded { file, number: self.guard.number(), by: None, explanation: self.guard.policy().describe() };
        self.emit(Event::now(Body::PolicyLoaded(loaded)))
    }

    /// Warns of exemptions that the configuration grants in vain. Said once the regions are known.
    fn warn_of_skipped_exemptions(&self) {
        if !self.guard.is_armed() {
            return;
        }
        for (exemption, why) in self.guard.skipped_in_configuration() {
            tracing::warn!("an exemption of the configuration is not in force ({why}): {exemption}");
        }
    }

    /// Says whether the guard guards, where that is news.
    pub(super) fn emit_guard_state(&mut self) -> anyhow::Result<()> {
        self.predictions.attached(self.guard.is_armed(), since_boot()?);
        let pins = self.pins();
        match self.guard.state_change(pins) {
            Some(state) => self.emit(Event::now(Body::GuardState(state))),
            None => Ok(()),
        }
    }

    /// Takes away the exemptions whose time is over.
    pub(super) fn expire_exemptions(&mut self) -> anyhow::Result<()> {
        for grant in self.guard.expire()? {
            self.emit(Event::now(Body::ExemptionEnded(self.exemption(&grant))))?;
        }
        Ok(())
    }

    /// Adds to an event what the agent knows of the guard's exemptions and policy.
    pub(super) fn annotate(&self, event: &mut Event) {
        let Some(used) = event.guard_decision_mut().and_then(|it| it.exemption.as_mut()) else { return };
        let granted = self.guard.grants().iter().map(|it| (it.id, it.subject, &it.reason));
        let configured = self.guard.in_configuration().map(|(id, it)| (id, it.subject, &it.reason));
        let known = granted.chain(configured).find(|(id, ..)| *id == used.id);
        // One that is withdrawn by now is still known in words.
        used.subject = known
            .map(|(_, subject, _)| subject.to_string())
            .or_else(|| self.guard.description(used.id).map(str::to_owned));
        used.reason = known.map(|(.., reason)| reason.clone());
    }

    /// What follows from an event for the guard.
    pub(super) fn apply_to_guard(&mut self, event: &Event) -> anyhow::Result<()> {
        self.remember_block(event);
        if let Body::Destroy(change) = &event.body {
            self.guard.destroyed(&change.device);
        }
        let Some(used) = event.guard_decision().and_then(|it| it.exemption.as_ref()) else { return Ok(()) };
        match self.guard.on_ticket_used(used.id)? {
            Some(grant) => self.emit(Event::now(Body::ExemptionSpent(self.exemption(&grant)))),
            None => Ok(()),
        }
    }

    /// An exemption as events have it.
    pub(super) fn exemption(&self, grant: &Grant) -> ExemptionChange {
        ExemptionChange {
            id: grant.id,
            subject: grant.subject.to_string(),
            reason: grant.reason.clone(),
            once: grant.once,
            by: None,
            until: grant.until_boot_ns.and_then(|until| self.guard.wall_time(until)).map(Time),
        }
    }
}

/// Why a host cannot enforce, and what to do.
pub(super) fn cannot_enforce(why: &str) -> String {
    format!("this host cannot enforce: {why} (`pfnwatch doctor --enforce` says what is missing)")
}

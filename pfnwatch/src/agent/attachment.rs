//! libnvdimm comes and goes: the programs are attached and detached with it.

use std::{io::Write, time::SystemTime};

use super::{Agent, AgentState};
use crate::{
    analysis::label_tracker::LabelTracker,
    bpf::sensor::AttachedPrograms,
    kernel::{
        btf::Btf,
        features::{ftrace_armed, kprobes_armed},
        prerequisites::disarmed,
        target::Libnvdimm,
    },
    model::exit::ExitContext,
    model::{
        event::{Blind, Body, Event, ObservationState, Ready, Time},
        inventory::Inventory,
    },
    os::{memory_trim, paths::Paths, privileges::with_capabilities},
    sysfs::{inventory::SysfsRoots, module_watch::ModuleChange},
};

impl<W: Write> Agent<W> {
    /// Has the first attachment take these types, so that they are read once.
    #[must_use]
    pub fn with_types(self, types: Option<Btf>) -> Self {
        Self { types, ..self }
    }

    pub(super) fn on_module_event(&mut self, change: ModuleChange) -> anyhow::Result<()> {
        // After a removal the probes are gone with the code they stood on, even if the module is there again by now.
        if matches!(change, ModuleChange::Removed | ModuleChange::Overrun) && self.sensor.is_some() {
            self.detach()?;
            let reason = match change {
                ModuleChange::Overrun => "the kernel's messages about modules came too fast: looking again",
                ModuleChange::Added | ModuleChange::Removed => "libnvdimm was unloaded",
            };
            self.report_blind(reason.to_owned())?;
        }
        self.reconcile()
    }

    /// Attaches when there is something to attach to, and says whether the agent observes.
    pub(super) fn reconcile(&mut self) -> anyhow::Result<()> {
        if Libnvdimm::detect(&self.options.paths) == Libnvdimm::NotLoaded {
            return if self.sensor.is_some() {
                self.on_module_event(ModuleChange::Removed)
            } else {
                self.report_idle()
            };
        }
        let first = self.state == AgentState::Starting;
        match (self.probes_disabled_reason(), &self.sensor) {
            // Nothing refuses a probe that never fires: it would look as if nothing ever happened.
            (Some(why), _) if first => {
                Err(ExitContext::unsupported(format!("this host cannot be observed: {why}")).into())
            }
            (Some(why), _) => {
                self.detach()?;
                self.report_blind(why)
            }
            (None, Some(_)) => Ok(()),
            (None, None) => {
                let attached = with_capabilities(|| self.attach());
                // Types, symbols, the inventory: nothing of it is needed again.
                memory_trim::trim_heap();
                match attached {
                    // An agent that could observe once stays: what failed may mend itself, and silence would be a lie.
                    Err(error) if !first => self.report_blind(format!("{error:#}")),
                    attached => attached,
                }
            }
        }
    }

    /// Why probes would not fire here, and what to do.
    fn probes_disabled_reason(&self) -> Option<String> {
        let Paths { sysfs, procfs } = &self.options.paths;
        let (seen, remedy) = disarmed(kprobes_armed(sysfs), ftrace_armed(procfs))?;
        Some(format!("{seen} (`{remedy}`)"))
    }

    fn attach(&mut self) -> anyhow::Result<()> {
        let first = self.state == AgentState::Starting;
        let configured = self.guard.policy().mode;
        let mut observation = AttachedPrograms::attach(&self.options.sensor(), self.on_exit(), self.types.take())?;
        let programs = observation.programs.clone();
        let (shared, taken_over) = (observation.shared, observation.taken_over);
        if let Some(maps) = observation.guard.take() {
            self.guard.attached(maps, shared, observation.guard_off())?;
        }
        self.sensor = Some(observation);
        // Read after the attachment: what changes from now on is seen by the programs.
        let inventory = Inventory::read(&SysfsRoots::from(&self.options.paths)).unwrap_or_else(|error| {
            tracing::warn!("{error:#}: a destroyed namespace may be reported as a label that is written");
            Inventory::default()
        });
        let there = inventory.namespaces.iter().filter_map(|namespace| namespace.uuid.clone().ok());
        self.label_tracker = LabelTracker::new(there, Time(SystemTime::now()));
        let nothing = inventory.regions.is_empty().then(|| "there is no persistent memory yet".to_owned());
        self.state = AgentState::Observing;
        self.report_ready(ObservationState::Observing, nothing, programs)?;
        // Before what takes longer.
        self.publish()?;
        if taken_over && first {
            self.emit_taken_over(configured)?;
        }
        self.self_test()?;
        if first {
            self.require_effective()?;
        }
        // Only now, since reading the kernel's symbols takes longer than all of the attachment.
        self.kernel.forget();
        self.update_struct_page_size()?;
        self.arm(&inventory)?;
        self.report_existing_namespaces(inventory)
    }

    fn report_idle(&mut self) -> anyhow::Result<()> {
        // It may be long until libnvdimm comes.
        self.types = None;
        if self.state == AgentState::Idle {
            return Ok(());
        }
        self.state = AgentState::Idle;
        self.report_ready(
            ObservationState::Idle,
            Some("libnvdimm is not loaded; waiting for it".to_owned()),
            Vec::new(),
        )
    }

    fn report_blind(&mut self, reason: String) -> anyhow::Result<()> {
        let now = AgentState::Blind(reason.clone());
        if self.state == now {
            return Ok(());
        }
        self.state = now;
        self.emit(Event::now(Body::Blind(Blind { reason })))
    }

    /// Ends the observation, if there is one: detaches first, and then reads what is left.
    pub(super) fn detach(&mut self) -> anyhow::Result<()> {
        let Some(mut observation) = self.sensor.take() else { return Ok(()) };
        self.guard.detached("the programs are detached");
        observation.detach();
        let mut batch = Vec::new();
        while observation.source.drain(&mut batch) {
            self.process_records(&mut batch)?;
        }
        self.sensor = Some(observation);
        self.report_losses()?;
        self.sensor = None;
        Ok(())
    }

    fn report_ready(
        &mut self,
        state: ObservationState,
        reason: Option<String>,
        programs: Vec<crate::model::event::ProgramState>,
    ) -> anyhow::Result<()> {
        let body = Body::Ready(Ready {
            state,
            reason,
            kernel: self.facts.release.clone(),
            struct_page_size_bytes: self.facts.struct_page_size,
            page_size_bytes: self.facts.page_size,
            programs,
        });
        self.emit(Event::now(body))
    }
}

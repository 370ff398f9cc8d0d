//! libnvdimm comes and goes: the programs are attached and detached with it.

use std::{io::Write, time::SystemTime};

use super::{Pipeline, Told};
use crate::{
    event::{Blind, Body, Event, Ready, State, Time},
    exit::Because,
    inventory::{Inventory, Roots},
    kernel::{
        btf::Btf,
        features::{ftrace_armed, kprobes_armed},
        prerequisites::disarmed,
        target::Libnvdimm,
    },
    labels::Labels,
    memory,
    module_watch::Change,
    observation::Observation,
    paths::Paths,
    privileges::raised,
};

impl<W: Write> Pipeline<W> {
    /// Has the first attachment take these types, so that they are read once.
    #[must_use]
    pub fn with_types(self, types: Option<Btf>) -> Self {
        Self { types, ..self }
    }

    pub(super) fn module(&mut self, change: Change) -> anyhow::Result<()> {
        // After a removal the probes are gone with the code they stood on, even if the module is there again by now.
        if matches!(change, Change::Removed | Change::Overrun) && self.observation.is_some() {
            self.detach()?;
            let reason = match change {
                Change::Overrun => "the kernel's messages about modules came too fast: looking again",
                Change::Added | Change::Removed => "libnvdimm was unloaded",
            };
            self.blind(reason.to_owned())?;
        }
        self.look()
    }

    /// Attaches when there is something to attach to, and says whether the agent observes.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        if Libnvdimm::look(&self.options.paths) == Libnvdimm::NotLoaded {
            return if self.observation.is_some() { self.module(Change::Removed) } else { self.idle() };
        }
        let first = self.told == Told::Nothing;
        match (self.disarmed(), &self.observation) {
            // Nothing refuses a probe that never fires: it would look as if nothing ever happened.
            (Some(why), _) if first => Err(Because::unsupported(format!("this host cannot be observed: {why}")).into()),
            (Some(why), _) => {
                self.detach()?;
                self.blind(why)
            }
            (None, Some(_)) => Ok(()),
            (None, None) => {
                let attached = raised(|| self.attach());
                // Types, symbols, the inventory: nothing of it is needed again.
                memory::give_back();
                match attached {
                    // An agent that could observe once stays: what failed may mend itself, and silence would be a lie.
                    Err(error) if !first => self.blind(format!("{error:#}")),
                    attached => attached,
                }
            }
        }
    }

    /// Why probes would not fire here, and what to do.
    fn disarmed(&self) -> Option<String> {
        let Paths { sysfs, procfs } = &self.options.paths;
        let (seen, remedy) = disarmed(kprobes_armed(sysfs), ftrace_armed(procfs))?;
        Some(format!("{seen} (`{remedy}`)"))
    }

    fn attach(&mut self) -> anyhow::Result<()> {
        let first = self.told == Told::Nothing;
        let configured = self.guard.policy().mode;
        let mut observation = Observation::begin(&self.options, self.stay(), self.types.take())?;
        let programs = observation.programs.clone();
        let (shared, taken_over) = (observation.shared, observation.taken_over);
        if let Some(maps) = observation.guard.take() {
            self.guard.attached(maps, shared, observation.guard_off())?;
        }
        self.observation = Some(observation);
        // Read after the attachment: what changes from now on is seen by the programs.
        let inventory = Inventory::read(&Roots::from(&self.options.paths)).unwrap_or_else(|error| {
            tracing::warn!("{error:#}: a destroyed namespace may be reported as a label that is written");
            Inventory::default()
        });
        let there = inventory.namespaces.iter().filter_map(|namespace| namespace.uuid.clone().ok());
        self.labels = Labels::new(there, Time(SystemTime::now()));
        let nothing = inventory.regions.is_empty().then(|| "there is no persistent memory yet".to_owned());
        self.told = Told::Observing;
        self.ready(State::Observing, nothing, programs)?;
        // Before what takes longer.
        self.publish()?;
        if taken_over && first {
            self.say_taken_over(configured)?;
        }
        self.prove()?;
        if first {
            self.refuse_where_ineffective()?;
        }
        // Only now, since reading the kernel's symbols takes longer than all of the attachment.
        self.kernel.forget();
        self.weigh()?;
        self.arm(&inventory)?;
        self.tell_what_is_there(inventory)
    }

    fn idle(&mut self) -> anyhow::Result<()> {
        // It may be long until libnvdimm comes.
        self.types = None;
        if self.told == Told::Idle {
            return Ok(());
        }
        self.told = Told::Idle;
        self.ready(State::Idle, Some("libnvdimm is not loaded; waiting for it".to_owned()), Vec::new())
    }

    fn blind(&mut self, reason: String) -> anyhow::Result<()> {
        let now = Told::Blind(reason.clone());
        if self.told == now {
            return Ok(());
        }
        self.told = now;
        self.emit(Event::now(Body::Blind(Blind { reason })))
    }

    /// Ends the observation, if there is one: detaches first, and then reads what is left.
    pub(super) fn detach(&mut self) -> anyhow::Result<()> {
        let Some(mut observation) = self.observation.take() else { return Ok(()) };
        self.guard.detached("the programs are detached");
        observation.detach();
        let mut batch = Vec::new();
        while observation.source.drain(&mut batch) {
            self.deliver(&mut batch)?;
        }
        self.observation = Some(observation);
        self.account()?;
        self.observation = None;
        Ok(())
    }

    fn ready(
        &mut self,
        state: State,
        reason: Option<String>,
        programs: Vec<crate::event::ProgramState>,
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

//! libnvdimm comes and goes: the programs are attached and detached with it.

use std::io::Write;

use super::{Pipeline, Told};
use crate::{
    event::{Blind, Body, Event, Ready, State},
    inventory::{Inventory, Roots},
    kernel::{btf::Btf, target::Libnvdimm},
    labels::Labels,
    module_watch::Change,
    observation::Observation,
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
        let there = Libnvdimm::look(&self.options.paths);
        let first = self.told == Told::Nothing;
        match (&self.observation, there) {
            (None, Libnvdimm::NotLoaded) => self.idle(),
            (None, Libnvdimm::Loaded | Libnvdimm::BuiltIn) => match raised(|| self.attach()) {
                // An agent that could observe once stays: what failed may mend itself, and silence would be a lie.
                Err(error) if !first => self.blind(format!("{error:#}")),
                attached => attached,
            },
            (Some(_), Libnvdimm::NotLoaded) => self.module(Change::Removed),
            (Some(_), Libnvdimm::Loaded | Libnvdimm::BuiltIn) => Ok(()),
        }
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
        self.labels = Labels::new(inventory.namespaces.iter().filter_map(|namespace| namespace.uuid.clone().ok()));
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

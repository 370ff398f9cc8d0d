//! The kernel as the loop sees it: attached programs and their records, libnvdimm's coming and going, the guard's maps. Tests have
//! another [`Sensor`] instead of [`HostSensor`].

use std::io;
use std::path::PathBuf;
use std::task::{self, Poll};
use std::thread;
use std::time::SystemTime;

use anyhow::Context as _;
use bytes::Bytes;
use pfnwatch_common::names;
use tokio::sync::oneshot;

use super::Options;
use super::enforcement::missing_prerequisites;
use super::memmap_watch::CodeReading;
use crate::bpf::counters::{CounterTotals, Counters};
use crate::bpf::guard::{GuardMaps, GuardTables};
use crate::bpf::pins::Pins;
use crate::bpf::sensor::{AttachedGuard, AttachedPrograms};
use crate::bpf::takeover::OnExit;
use crate::guard::self_test::{self, SelfTest};
use crate::image::max_struct_page::RunningKernel;
use crate::image::memmap_return;
use crate::kernel::btf::Btf;
use crate::kernel::features::{ftrace_armed, kprobes_armed};
use crate::kernel::libnvdimm::Libnvdimm;
use crate::kernel::max_struct_page::Evidence;
use crate::kernel::prerequisites::disarmed;
use crate::model::event::ProgramState;
use crate::model::inventory::{InfoBlocks, Inventory};
use crate::model::view::ProgramRuns;
use crate::scan::{EnabledBlocks, info_blocks};
use crate::sysfs::device_messages::{DeviceMessages, HostDeviceMessages};
use crate::sysfs::module_watch::{ModuleChange, ModuleWatch};

/// Something that happened in the kernel.
pub enum Observed {
    Module(io::Result<ModuleChange>),
    /// Records were moved into the batch; it may be empty.
    Records(io::Result<()>),
}

/// What an attachment has brought.
pub struct Attachment {
    pub guard: Box<dyn GuardTables>,
    /// Why the guard's program is not among those that are attached.
    pub guard_off: Option<String>,
    /// Whether the guard's maps are those of an earlier load.
    pub shared: bool,
    /// Whether it replaces a guard that ran without an agent.
    pub taken_over: bool,
}

/// What the agent needs of the kernel. After [`Self::attach`] has failed nothing is attached.
pub trait Sensor {
    fn is_module_loaded(&self) -> bool;

    /// Why probes would attach and never fire, and what to do.
    fn probes_disabled_reason(&self) -> Option<String>;

    /// What this host lacks for enforcing: that needs another kernel, or another command line.
    fn enforce_obstacle(&self) -> Option<String>;

    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// They cannot be attached: with exit code 4 if that needs another kernel or boot, else a retry may succeed.
    fn attach(&mut self, stay: OnExit) -> anyhow::Result<Attachment>;

    /// Detaches the programs; those that are pinned stay. The records that are left can be read until the next attachment.
    fn detach(&mut self);

    fn is_attached(&self) -> bool;

    /// The maps of a guard that is pinned and that this agent has not attached; `None` if there is none.
    ///
    /// # Errors
    /// There is one, and its maps cannot be opened.
    fn open_pinned_guard(&mut self) -> anyhow::Result<Option<Box<dyn GuardTables>>>;

    /// Waits for what happens next. Cancellation-safe.
    fn poll_next(&mut self, context: &mut task::Context<'_>, batch: &mut Vec<Bytes>) -> Poll<Observed>;

    /// Moves the remaining records into `batch`, without waiting; false once there are none.
    fn drain(&mut self, batch: &mut Vec<Bytes>) -> bool;

    /// Opens again what [`Self::poll_next`] has reported as broken.
    ///
    /// # Errors
    /// It is still broken.
    fn repair(&mut self) -> anyhow::Result<()>;

    /// The counters of the programs, also of a pinned guard; `None` if there are no programs.
    ///
    /// # Errors
    /// The counters cannot be read.
    fn counters(&self) -> anyhow::Result<Option<CounterTotals>>;

    /// Removes what has never ended from the tables of the programs, and counts it.
    ///
    /// # Errors
    /// The count cannot be written.
    fn sweep(&mut self) -> anyhow::Result<()>;

    /// Every program, attached or not; empty while nothing is observed.
    fn programs(&self) -> Vec<ProgramState>;

    /// What the kernel counts of the programs. What they cost only if this host has it count that: the agent does not turn it on.
    fn program_runs(&self) -> Vec<ProgramRuns>;

    /// Tests that the guard's program runs. `at`: the time now.
    ///
    /// # Errors
    /// It did not run, or it could not be tried.
    fn self_test(&self, at: SystemTime) -> anyhow::Result<SelfTest>;

    /// What is pinned of the guard in force, as paths.
    fn pins(&self) -> Vec<String>;

    /// Removes all pins. Returns their paths.
    ///
    /// # Errors
    /// One cannot be removed.
    fn release(&self) -> anyhow::Result<Vec<PathBuf>>;

    /// Removes the guard of another version; call it only once this one judges.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove_other_versions(&self) -> anyhow::Result<()>;

    /// The info blocks of an inventory, and why those of enabled namespaces are missing.
    fn info_blocks(&self, inventory: &Inventory) -> (InfoBlocks, Option<String>);

    /// The evidence for the kernel's MAX_STRUCT_PAGE_SIZE, with what blocks have shown.
    fn running_kernel(&self, release: &str, observed: Vec<Evidence>) -> RunningKernel;

    /// The kernel's messages about devices and memory blocks.
    ///
    /// # Errors
    /// They cannot be listened to.
    fn device_messages(&self) -> anyhow::Result<Box<dyn DeviceMessages>>;

    /// Has the code read that frees memmaps, which takes some 50 ms, in a thread of its own.
    fn read_memmap_code(&self) -> CodeReading;
}

/// This host's kernel.
pub struct HostSensor {
    options: Options,
    /// The kernel's types, if they were read before the first attachment.
    types: Option<Btf>,
    modules: Option<ModuleWatch>,
    programs: Option<AttachedPrograms>,
    /// The counters of a pinned guard that is not ours.
    held: Option<Counters>,
}

impl HostSensor {
    /// `types`: for the first attachment, so that they are read once. Must be called within a tokio runtime, before the modules are
    /// read for the first time.
    ///
    /// # Errors
    /// The kernel's messages about modules cannot be listened to.
    pub fn open(options: &Options, types: Option<Btf>) -> anyhow::Result<Self> {
        let modules = Some(open_module_watch()?);
        Ok(Self { options: options.clone(), types, modules, programs: None, held: None })
    }
}

fn open_module_watch() -> anyhow::Result<ModuleWatch> {
    ModuleWatch::open().context("the kernel's messages about modules cannot be listened to")
}

impl Sensor for HostSensor {
    fn is_module_loaded(&self) -> bool {
        Libnvdimm::detect(&self.options.paths) != Libnvdimm::NotLoaded
    }

    fn probes_disabled_reason(&self) -> Option<String> {
        let paths = &self.options.paths;
        let (cause, remedy) = disarmed(kprobes_armed(&paths.sysfs), ftrace_armed(&paths.procfs))?;
        Some(format!("{cause} (`{remedy}`)"))
    }

    fn enforce_obstacle(&self) -> Option<String> {
        missing_prerequisites(&self.options)
    }

    fn attach(&mut self, stay: OnExit) -> anyhow::Result<Attachment> {
        self.programs = None;
        let (programs, guard) = AttachedPrograms::attach(&self.options.sensor(), stay, self.types.take())?;
        let guard_off = programs.guard_off();
        (self.programs, self.held) = (Some(programs), None);
        let AttachedGuard { maps, taken_over, shared } = guard;
        Ok(Attachment { guard: Box::new(maps), guard_off, shared, taken_over })
    }

    fn detach(&mut self) {
        if let Some(programs) = &mut self.programs {
            programs.detach();
        }
    }

    fn is_attached(&self) -> bool {
        self.programs.as_ref().is_some_and(AttachedPrograms::is_attached)
    }

    fn open_pinned_guard(&mut self) -> anyhow::Result<Option<Box<dyn GuardTables>>> {
        // It may be long until there is an attachment that needs the types.
        self.types = None;
        let pins = Pins::system();
        if pins.pinned().is_none() || pins.links().is_empty() {
            return Ok(None);
        }
        let maps = GuardMaps::open(&pins)?;
        self.held = Some(Counters::open(&pins)?);
        Ok(Some(Box::new(maps)))
    }

    fn poll_next(&mut self, context: &mut task::Context<'_>, batch: &mut Vec<Bytes>) -> Poll<Observed> {
        if let Some(modules) = &mut self.modules
            && let Poll::Ready(change) = modules.poll_next(context)
        {
            if change.is_err() {
                self.modules = None;
            }
            return Poll::Ready(Observed::Module(change));
        }
        match &mut self.programs {
            Some(programs) if programs.is_attached() => programs.poll_wait(context, batch).map(Observed::Records),
            _ => Poll::Pending,
        }
    }

    fn drain(&mut self, batch: &mut Vec<Bytes>) -> bool {
        self.programs.as_mut().is_some_and(|programs| programs.drain(batch))
    }

    fn repair(&mut self) -> anyhow::Result<()> {
        if self.modules.is_none() {
            self.modules = Some(open_module_watch()?);
        }
        Ok(())
    }

    fn counters(&self) -> anyhow::Result<Option<CounterTotals>> {
        let counters = self.programs.as_ref().map(|programs| &programs.counters).or(self.held.as_ref());
        counters.map(Counters::read).transpose()
    }

    fn sweep(&mut self) -> anyhow::Result<()> {
        self.programs.as_mut().map_or(Ok(()), AttachedPrograms::sweep)
    }

    fn programs(&self) -> Vec<ProgramState> {
        self.programs.as_ref().filter(|it| it.is_attached()).map(|it| it.programs.clone()).unwrap_or_default()
    }

    fn program_runs(&self) -> Vec<ProgramRuns> {
        let switch = self.options.paths.procfs.join("sys/kernel/bpf_stats_enabled");
        let is_counted = std::fs::read_to_string(switch).is_ok_and(|text| text.trim() == "1");
        self.programs.as_ref().map(|programs| programs.runs(is_counted)).unwrap_or_default()
    }

    fn self_test(&self, at: SystemTime) -> anyhow::Result<SelfTest> {
        let programs = self.programs.as_ref().context("the programs are detached")?;
        self_test::self_test(at, || programs.run_count(names::GUARD), &self.options.paths.sysfs)
    }

    fn pins(&self) -> Vec<String> {
        Pins::system().links()
    }

    fn release(&self) -> anyhow::Result<Vec<PathBuf>> {
        Pins::system().remove()
    }

    fn remove_other_versions(&self) -> anyhow::Result<()> {
        Pins::system().remove_other_versions()
    }

    fn info_blocks(&self, inventory: &Inventory) -> (InfoBlocks, Option<String>) {
        let layout = self.programs.as_ref().map(|programs| programs.layout);
        let enabled = layout.map_or(EnabledBlocks::Read, EnabledBlocks::ReadBy);
        info_blocks(&self.options.paths, inventory, &enabled)
    }

    fn running_kernel(&self, release: &str, observed: Vec<Evidence>) -> RunningKernel {
        RunningKernel::gather(&self.options.paths, release, observed)
    }

    fn device_messages(&self) -> anyhow::Result<Box<dyn DeviceMessages>> {
        let messages =
            HostDeviceMessages::open().context("the kernel's messages about devices cannot be listened to")?;
        Ok(Box::new(messages))
    }

    fn read_memmap_code(&self) -> CodeReading {
        let (sender, reading) = oneshot::channel();
        let paths = self.options.paths.clone();
        // The thread has this one's capabilities. Without a thread the sender is gone, which is the answer; so it is without a receiver.
        let _ = thread::Builder::new().spawn(move || sender.send(memmap_return::of_running(&paths)));
        reading
    }
}

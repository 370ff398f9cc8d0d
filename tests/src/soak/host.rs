//! Performs each act on the guest, compares its outcome with the model, and records it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::libc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::life::Life;
use super::log;
use super::model::act::{Act, Configured, ExpectedDecision, Grant, Shape, Subject, Target};
use super::model::{Model, Observer};
use crate::bpf::HeldObjects;
use crate::creation::{self, NamespaceSpec, PreparedNamespace};
use crate::guard::{self, Guard};
use crate::infoblock::raw;
use crate::policy::GuardMode;
use crate::{modules, namespace, regions, sysfs, sysfs_load, wait};

const TIMEOUT: Duration = Duration::from_secs(150);
/// 0 disarms all kprobes of the kernel, 1 arms them again.
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";
const CGROUPS: usize = 100;
/// How much of a namespace is overwritten before a new creation.
const BLANKED: usize = 64 << 10;

pub struct Host {
    pub model: Model,
    pub life: Option<Life>,
    /// eBPF objects from before any agent.
    bare: HeldObjects,
}

impl Host {
    /// With regions that are empty, and no agent.
    pub fn fresh() -> Result<Self> {
        regions::fresh()?;
        Ok(Self { model: Model::new(), life: None, bare: HeldObjects::look()? })
    }

    /// Does an act; false where there is no room for it.
    pub fn act(&mut self, act: &Act) -> Result<bool> {
        match act {
            Act::Create(region, shape) => return self.create(*region, *shape),
            Act::Remake(uuid, shape) => self.remake(uuid, *shape)?,
            Act::Disable(uuid) => {
                namespace::disable(&named(uuid)?)?;
                self.model.disabled(uuid);
            }
            Act::Enable(uuid) => self.enable(uuid)?,
            Act::Destroy(uuid) => self.destroy(uuid)?,
            Act::SetMode(to) => self.set_mode(*to)?,
            Act::Allow(subject, once) => self.allow(subject, *once)?,
            Act::Revoke(id) => {
                guard::succeed(&["allow", "--revoke", &id.to_string()])?;
                self.model.revoked(*id);
            }
            Act::Reload(file) => self.reload(*file)?,
            Act::Start(file) => self.start(*file)?,
            Act::Stop => self.stop()?,
            Act::Kill { settled } => self.kill(*settled)?,
            Act::Release => {
                guard::succeed(&["guard", "release"])?;
                self.model.released();
                self.require_no_pins()?;
            }
            Act::BreakGlass(to, made) => self.break_glass(*to, *made)?,
            Act::ReloadLibnvdimm => self.reload_libnvdimm()?,
            Act::Storm => sysfs_load::cgroups(CGROUPS)?,
        }
        Ok(true)
    }

    fn create(&mut self, region: usize, shape: Shape) -> Result<bool> {
        let device = region_device(region)?;
        if sysfs::number(&device, "max_available_extent")? < shape.size_bytes {
            return Ok(false);
        }
        if let Some(seed) = creation::seed_in_use(&device)? {
            log(&format!(
                "{device}'s seed is {seed}, which is in use: nothing can be made there until that is enabled again"
            ));
            return Ok(false);
        }
        let prepared = creation::prepare(&wanted(&device, shape))?;
        self.bind(&prepared, region, shape)?;
        Ok(true)
    }

    fn remake(&mut self, uuid: &str, shape: Shape) -> Result<()> {
        let Some(known) = self.model.namespaces.get(uuid).cloned() else { return Ok(()) };
        let device = named(uuid)?;
        raw(&device, |pmem| {
            pmem.write_all_at(&vec![0; BLANKED], 0).and_then(|()| pmem.sync_all()).context("cannot write")
        })?;
        self.model.disabled(uuid);
        self.model.blanked(uuid);
        let shape = Shape { size_bytes: known.target.shape.size_bytes, ..shape };
        let wanted = wanted(&region_device(known.target.region)?, shape);
        let prepared = creation::claim(&wanted, &device, &creation::new_uuid()?)?;
        self.bind(&prepared, known.target.region, shape)
    }

    /// Binds what was prepared, which is made or denied as the model predicts. A denied one is destroyed.
    fn bind(&mut self, prepared: &PreparedNamespace, region: usize, shape: Shape) -> Result<()> {
        let start = sysfs::number(&prepared.namespace, "resource")?;
        let target = Target { uuid: prepared.namespace_uuid.clone(), region, start, shape };
        let decision = self.model.judge(&target);
        let bound = prepared.bind().map_err(|error| error.raw_os_error());
        match (decision, bound) {
            (ExpectedDecision::Denied, Err(Some(libc::ENOMEM))) => (),
            (ExpectedDecision::Denied, bound) => bail!("{prepared:?} should have been denied: {bound:?}"),
            (_, Ok(())) => (),
            (decision, Err(code)) => bail!("{prepared:?} is {decision:?}, and its bind failed: {code:?}"),
        }
        sysfs::wait_for_seed(&region_device(region)?)?;
        self.model.tried(&target, &prepared.block_uuid, decision);
        if decision == ExpectedDecision::Denied {
            namespace::destroy(&prepared.namespace)?;
            self.model.destroyed(&target.uuid);
        }
        Ok(())
    }

    /// Under any policy, a namespace with a block can be enabled.
    fn enable(&mut self, uuid: &str) -> Result<()> {
        let Some(region) = self.model.namespaces.get(uuid).map(|it| it.target.region) else { return Ok(()) };
        namespace::enable(&named(uuid)?).context("an existing namespace was kept from being enabled")?;
        sysfs::wait_for_seed(&region_device(region)?)?;
        self.model.enabled(uuid);
        Ok(())
    }

    fn destroy(&mut self, uuid: &str) -> Result<()> {
        namespace::destroy(&named(uuid)?)?;
        self.model.destroyed(uuid);
        Ok(())
    }

    fn set_mode(&mut self, to: GuardMode) -> Result<()> {
        let said = guard::pfnwatch(&["mode", to.as_str(), "--reason", "soak"])?;
        // The mode is in force: 4 is the code of an enforce mode without effect.
        let may_be_without_effect = to == GuardMode::Enforce && said.stdout.contains("NOT EFFECTIVE");
        ensure!(said.code == Some(0) || said.code == Some(4) && may_be_without_effect, "{said:?}");
        self.model.mode_set(to);
        Ok(())
    }

    fn allow(&mut self, subject: &Subject, once: bool) -> Result<()> {
        let subject_json = match subject {
            Subject::Region(region) => json!({ "region_start": sysfs::text(&region_device(*region)?, "resource")? }),
            Subject::Namespace(uuid) => json!({ "namespace_uuid": uuid }),
        };
        let time = if once { Value::Null } else { json!(3600) };
        let answer = guard::request(&json!({
            "allow": { "subject": subject_json, "once": once, "for_seconds": time, "reason": "soak" }
        }))?;
        let id = answer.pointer("/answer/allowed/id").and_then(Value::as_u64);
        let id = id.with_context(|| format!("{subject:?} is not exempted: {answer}"))?;
        self.model.granted(Grant { id, subject: subject.clone(), once });
        Ok(())
    }

    fn reload(&mut self, file: Configured) -> Result<()> {
        // Nobody sees events while the programs are reloaded.
        self.wait_for_events()?;
        file.policy().write()?;
        self.life()?.guard.signal(Signal::SIGHUP)?;
        self.model.reloaded(file);
        self.wait_for_events()?;
        self.life()?.guard.armed()
    }

    /// What is set and withdrawn while the agent is blind has to be in force afterwards: the next creations show it. What is made
    /// meanwhile is allowed, and found afterwards.
    fn break_glass(&mut self, to: GuardMode, made: Option<(usize, Shape)>) -> Result<()> {
        self.wait_for_events()?;
        self.switch_kprobes(false)?;
        self.model.blinded();
        let changed = self.change_while_blind(to);
        let created = made.map(|(region, shape)| self.create(region, shape)).transpose();
        self.switch_kprobes(true)?;
        changed?;
        created?;
        self.model.sees_again();
        self.wait_for_events()?;
        self.life()?.guard.armed()
    }

    fn change_while_blind(&mut self, to: GuardMode) -> Result<()> {
        self.set_mode(to)?;
        let grants: Vec<u64> = self.model.grants.iter().map(|grant| grant.id).collect();
        for id in grants {
            guard::succeed(&["allow", "--revoke", &id.to_string()])?;
            self.model.revoked(id);
        }
        let status = guard::status()?;
        let pinned = self.model.configured.hold;
        for (pointer, expected) in
            [("/guard/judges", false), ("/enforcement_effective", false), ("/guard/pinned", pinned)]
        {
            ensure!(status.pointer(pointer) == Some(&expected.into()), "{pointer} is not {expected}: {status:#}");
        }
        Ok(())
    }

    fn switch_kprobes(&mut self, on: bool) -> Result<()> {
        fs::write(KPROBES, if on { "1" } else { "0" }).with_context(|| format!("cannot write {KPROBES}"))?;
        self.life()?.guard.signal(Signal::SIGHUP)?;
        let is_seen = |status: &Value| status.pointer("/agent/observing") == Some(&on.into());
        wait::until("the switched kprobes seen", TIMEOUT, || guard::status().ok().filter(is_seen)).map(drop)
    }

    fn start(&mut self, file: Configured) -> Result<()> {
        let guard = Guard::start(&file.policy())?;
        self.model.started(file);
        self.life = Some(Life::new(guard));
        self.wait_for_events()
    }

    fn stop(&mut self) -> Result<()> {
        self.wait_for_events()?;
        let mut life = self.life.take().context("no agent")?;
        let status = life.guard.stop()?;
        ensure!(status.success(), "the agent ended with {status}{}", life.guard.output());
        self.model.stopped();
        life.read_rest(&mut self.model.streams)?;
        if let Some(complaint) = self.model.streams.complaint() {
            bail!("{complaint}{}", life.guard.output());
        }
        self.require_no_pins()
    }

    fn kill(&mut self, settled: bool) -> Result<()> {
        if settled {
            self.wait_for_events()?;
        }
        let mut life = self.life.take().context("no agent")?;
        life.guard.kill()?;
        life.read_rest(&mut self.model.streams)?;
        self.model.killed();
        self.require_no_pins()
    }

    fn reload_libnvdimm(&mut self) -> Result<()> {
        if self.life.is_some() {
            self.wait_for_events()?;
        }
        modules::unload_stack()?;
        modules::load_stack()?;
        for uuid in self.model.namespaces.keys() {
            wait::until(&format!("{uuid}, which was kept from being enabled"), TIMEOUT, || {
                let holder = namespace::holder(&named(uuid).ok()?).ok()?;
                sysfs::driver(&holder).map(drop)
            })?;
        }
        let regions = regions::find()?;
        for region in [&regions.first, &regions.second] {
            sysfs::wait_for_seed(region)?;
            sysfs::write(region, "align", &(16_u64 << 20).to_string())?;
        }
        self.model.libnvdimm_reloaded();
        if self.life.is_some() {
            self.wait_for_events()?;
            self.life()?.guard.armed()?;
        }
        Ok(())
    }

    /// Waits until all acts are reported as expected.
    pub fn wait_for_events(&mut self) -> Result<()> {
        let Some(life) = &mut self.life else { return Ok(()) };
        life.wait_for_events(&mut self.model.streams)
    }

    /// Without an agent, and without a guard that one has left, nothing of it is in the kernel.
    fn require_no_pins(&self) -> Result<()> {
        if self.model.watch != Observer::Nobody {
            return Ok(());
        }
        HeldObjects::until_nothing_beyond(&self.bare, TIMEOUT)
    }

    pub fn end(&mut self) -> Result<()> {
        if self.life.is_some() {
            self.stop()?;
        }
        if self.model.watch != Observer::Nobody {
            self.act(&Act::Release)?;
        }
        Ok(())
    }

    fn life(&mut self) -> Result<&mut Life> {
        self.life.as_mut().context("no agent")
    }
}

fn wanted(region: &str, shape: Shape) -> NamespaceSpec {
    let Shape { mode, map, size_bytes, align_bytes } = shape;
    NamespaceSpec { region: region.to_owned(), size_bytes, mode, map, align_bytes }
}

fn region_device(region: usize) -> Result<String> {
    let regions = regions::find()?;
    Ok(if region == 0 { regions.first } else { regions.second })
}

/// The device of a namespace, whose name changes with each load.
fn named(uuid: &str) -> Result<String> {
    let devices = sysfs::devices("namespace");
    let found = devices.into_iter().find(|name| sysfs::text(name, "uuid").is_ok_and(|it| it == uuid));
    found.with_context(|| format!("no namespace {uuid}"))
}

//! What a denied creation leaves: a seed that is still set up. Nothing comes of it by itself.

use anyhow::{Context as _, Result, ensure};
use guest::creation::{Map, Mode};
use guest::guard::Guard;
use guest::policy::{GuardMode, Policy};
use guest::{command, modules, regions, sysfs};

use super::fixtures::{again, nothing_is_written, prepare_blank, wanted};

fn region_anew(region: &str) -> Result<()> {
    for act in ["disable-region", "enable-region"] {
        command::run("/bin/ndctl", &[act, region])?;
    }
    Ok(())
}

/// The namespace with this uuid: numbers change with a region.
fn named_now(uuid: &str) -> Result<String> {
    let found =
        sysfs::devices("namespace").into_iter().find(|name| sysfs::text(name, "uuid").is_ok_and(|it| it == uuid));
    found.with_context(|| format!("no namespace has the uuid {uuid}"))
}

/// Its region is disabled and enabled: the seed that was set up is gone, and the namespace is still empty.
#[test]
fn is_gone_with_its_region() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let wanted = wanted(&region, Mode::Fsdax, Map::Dev);
    let prepared = prepare_blank(&wanted)?;
    guard.denies(&prepared)?;
    region_anew(&region)?;
    let namespace = named_now(&prepared.namespace_uuid)?;
    nothing_is_written(&namespace)?;
    // Whoever tries again is denied again.
    guard.denies(&again(&wanted, &namespace)?)?;
    modules::unload_stack()?;
    modules::load_stack()?;
    guard.armed()?;
    nothing_is_written(&named_now(&prepared.namespace_uuid)?)?;
    guard.judged_only(&["denied", "denied"])
}

#[test]
fn makes_nothing_when_the_guard_is_gone() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let wanted = wanted(&region, Mode::Fsdax, Map::Dev);
    let prepared = prepare_blank(&wanted)?;
    guard.denies(&prepared)?;
    guard.kill()?;
    ensure!(sysfs::driver(&prepared.holder).is_none(), "bound by itself");
    region_anew(&region)?;
    let namespace = named_now(&prepared.namespace_uuid)?;
    nothing_is_written(&namespace)?;
    again(&wanted, &namespace)?.bind().context("an explicit act, without a guard")
}

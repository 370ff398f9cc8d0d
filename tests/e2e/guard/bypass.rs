//! Known ways around the guard are reported after the fact.

use anyhow::{Result, ensure};
use guest::creation::{self, Map, Mode, PreparedNamespace, new_uuid};
use guest::guard::Guard;
use guest::pfnwatch::ensure_contains;
use guest::policy::{GuardMode, Policy};
use guest::{MIB, namespace, regions, sysfs};
use nix::libc;
use serde_json::json;

use super::fixtures::{MODES, again, rewrite_block, small, wanted};
use crate::set_up_events::set_up_of_existing;

/// Root writes an oversize block by hand and enables it: for the kernel it always existed.
#[test]
fn hand_written_block_is_reported_oversize() -> Result<()> {
    let region = regions::fresh()?.first;
    let made = creation::create(&wanted(&region, Mode::Fsdax, Map::Mem))?;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Enforce))?;
    rewrite_block(&made.namespace, |block| {
        block.uuid[0] ^= 1;
        block.mode = 2;
        block.dataoff = 18 * MIB;
        block.npfns = (512 - 18) * MIB / 4096;
        block.page_struct_size = 128;
    })?;
    namespace::enable(&made.namespace)?;
    let event = set_up_of_existing(&mut guard, &made.namespace)?;
    ensure_contains(&event, &json!({ "verdict": "oversize", "reservation_bytes": 18 * MIB, "ideal_bytes": 10 * MIB }))?;
    guard.was_silent()
}

/// Disabled when the agent started, so its contents are unknown: a creation on it is allowed, and reported.
#[test]
fn creation_on_a_namespace_that_nobody_has_looked_at_is_told() -> Result<()> {
    let region = regions::fresh()?.first;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    guard.passes(&prepared)?;
    guard.judgement("unjudged", &prepared)?;
    let event = guard.set_up(&prepared.namespace_uuid, "made")?;
    ensure_contains(&event, &json!({ "verdict": "oversize" }))?;
    guard.judged_only(&["unjudged"])
}

/// A bind that makes nothing, since the kernel finds no room at this align, is no creation: the one that follows is.
#[test]
fn creation_after_a_bind_that_made_nothing_is_denied() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let made = creation::create(&wanted(&region, Mode::Fsdax, Map::Mem))?;
    sysfs::unbind(&made.holder)?;
    let other = PreparedNamespace { block_uuid: new_uuid()?, ..made };
    for (attribute, value) in [("uuid", other.block_uuid.as_str()), ("mode", "pmem"), ("align", "1073741824")] {
        sysfs::write(&other.holder, attribute, value)?;
    }
    let code = other.bind().map_err(|error| error.raw_os_error());
    ensure!(code == Err(Some(libc::ENXIO)), "{code:?}, and no refusal of the kernel's own{}", guard.output());
    sysfs::write(&other.holder, "align", "2097152")?;
    guard.denies(&other)?;
    guard.judged_only(&["denied"])
}

/// A bind that fails before the kernel looks for a block makes none: what is on the namespace is as well known as before.
#[test]
fn creation_after_a_bind_that_failed_before_its_set_up_is_denied() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Audit))?;
    for mode in MODES {
        guard.stance(GuardMode::Audit)?;
        let wanted = wanted(&region, mode, Map::Dev);
        let prepared = again(&wanted, &creation::prepare_empty(&wanted)?)?;
        prepared.bind_while_held(0)?;
        guard.judgement("would_deny", &prepared)?;
        guard.stance(GuardMode::Enforce)?;
        guard.denies(&prepared)?;
    }
    guard.judged_only(&["would_deny", "denied"].repeat(MODES.len()))
}

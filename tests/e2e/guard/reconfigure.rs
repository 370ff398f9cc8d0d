//! A namespace that is reconfigured in place: its old block is gone before the guard can refuse. The agent has saved
//! the block, and restoring it restores the namespace.

use std::fs;
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Map, Mode, PreparedNamespace};
use guest::guard::{self, Guard};
use guest::infoblock::{InfoBlock, raw};
use guest::pfnwatch::ensure_contains;
use guest::policy::{GuardMode, Policy};
use guest::{command, namespace, regions, sysfs, wait};
use nix::mount::{MsFlags, mount, umount};
use serde_json::{Value, json};

use super::fixtures::{blank, wanted};

const PLACE: &str = "/tmp/pmem";
const FILE: &str = "/tmp/pmem/kept";
const SAVED_BLOCK: &str = "/tmp/kept.infoblock";
const CONTENTS: &str = "what somebody stored here";
const TIMEOUT: Duration = Duration::from_secs(20);

fn mounted(namespace: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let holder = namespace::holder(namespace)?;
    // A driver is linked before its probe makes the block device.
    let device = wait::until("a block device", TIMEOUT, || sysfs::block_device(&holder).ok())?;
    let device = format!("/dev/{device}");
    fs::create_dir_all(PLACE)?;
    mount(Some(device.as_str()), PLACE, Some("ext4"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {device}"))?;
    let done = act();
    umount(PLACE).context("cannot unmount")?;
    done
}

/// A namespace with a file system and a file on it; its block as it lies on the media.
fn in_use(region: &str) -> Result<(PreparedNamespace, InfoBlock)> {
    let made = creation::create(&wanted(region, Mode::Fsdax, Map::Dev))?;
    let device = format!("/dev/{}", sysfs::block_device(&made.holder)?);
    command::run("/bin/mkfs.ext4", &["-q", "-O", "^has_journal", &device])?;
    mounted(&made.namespace, || fs::write(FILE, CONTENTS).context("cannot write the file"))?;
    let block = InfoBlock::read(&made.namespace)?;
    Ok((made, block))
}

fn saved_block(uuid: &str) -> Result<Vec<u8>> {
    let _ = fs::remove_file(SAVED_BLOCK);
    guard::succeed(&["events", "restore-block", uuid, "-o", SAVED_BLOCK])?;
    fs::read(SAVED_BLOCK).with_context(|| format!("no {SAVED_BLOCK}"))
}

/// Follows the denial's steps to the letter, and finds the file again, and the same block to the byte.
fn restore(event: &Value, made: &PreparedNamespace, before: &InfoBlock) -> Result<()> {
    ensure!(saved_block(&made.namespace_uuid)? == before.bytes(), "the kept block is another than was on the media");
    // The block is handed out into a new file, and never over another.
    let place = format!("/tmp/put-back-{}", process::id());
    fs::create_dir_all(&place)?;
    let steps = event.pointer("/replaced/restore_commands").and_then(Value::as_array).context("no steps")?;
    let steps: Vec<&str> = steps.iter().filter_map(Value::as_str).collect();
    let script = steps.join("\n");
    let said = Command::new("/bin/sh").args(["-c", &script]).current_dir(&place).output().context("no shell")?;
    ensure!(said.status.success(), "{said:?} of {steps:#?}");
    let namespace = event["namespace"].as_str().context("no namespace")?;
    assert_eq!(sysfs::text(namespace, "uuid")?, made.namespace_uuid);
    mounted(namespace, || {
        ensure!(fs::read_to_string(FILE)? == CONTENTS, "the file has changed");
        Ok(())
    })?;
    ensure!(InfoBlock::read(namespace)?.bytes() == before.bytes(), "the block on the media is another");
    Ok(())
}

fn assert_replaced(event: &Value, before: &InfoBlock) -> Result<()> {
    let expected = json!({
        "personality": "fsdax", "map": "dev", "align_bytes": before.align(), "block_uuid": before.uuid(),
        "reservation_bytes": before.start_pad() + before.dataoff(), "dataoff_bytes": before.dataoff(),
        "npfns": before.npfns(), "origin": "read",
    });
    let replaced = event.get("replaced").with_context(|| format!("nothing of the old block: {event:#}"))?;
    ensure_contains(replaced, &expected)?;
    ensure!(replaced.get("still_on_media") == Some(&false.into()), "it is gone: {event:#}");
    Ok(())
}

#[test]
fn by_ndctl() -> Result<()> {
    let region = regions::fresh()?.first;
    let (made, before) = in_use(&region)?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let anew = ["create-namespace", "-f", "-e", &made.namespace, "-m", "devdax", "-M", "dev", "-a", "2M"];
    let said = command::attempt("/bin/ndctl", &anew)?;
    ensure!(said.code.is_some_and(|code| code != 0), "it was not denied: {said:?}");
    let told = guard.judgements_at_least(1)?;
    let [event] = told.as_slice() else { panic!("one denial was expected: {told:#?}{}", guard.output()) };
    assert_eq!(event["event"], "denied");
    assert_replaced(event, &before)?;
    // By now ndctl has given the namespace another uuid, or taken all of it away: the steps know.
    restore(event, &made, &before)?;
    guard.judged_only(&["denied"])
}

/// With the same block uuid, as if the block still existed.
#[test]
fn by_hand_with_the_uuid_that_it_had() -> Result<()> {
    let region = regions::fresh()?.first;
    let (made, before) = in_use(&region)?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    raw(&made.namespace, blank)?;
    let wanted = wanted(&region, Mode::Fsdax, Map::Dev);
    let anew = creation::claim(&wanted, &made.namespace, &made.block_uuid)?;
    let event = guard.denies(&anew)?;
    assert_replaced(&event, &before)?;
    restore(&event, &made, &before)?;
    guard.judged_only(&["denied"])
}

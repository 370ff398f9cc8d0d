//! A namespace that is made anew in its place: its old block is gone before the guard can say anything. The agent has kept
//! it, and with it put back all is as it was.

use std::fs;
use std::os::unix::fs::FileExt;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Map, Mode, Prepared};
use guest::guard::{self, Guard};
use guest::infoblock::{InfoBlock, raw};
use guest::pfnwatch::ensure_says;
use guest::policy::{Policy, Stance};
use guest::{command, namespace, regions, sysfs};
use nix::mount::{MsFlags, mount, umount};
use serde_json::{Value, json};

use super::case::{blank, wanted};

const PLACE: &str = "/tmp/pmem";
const FILE: &str = "/tmp/pmem/kept";
const KEPT: &str = "/tmp/kept.infoblock";
const CONTENTS: &str = "what somebody stored here";
/// The info block's place in its namespace.
const BLOCK_AT: u64 = 4096;

fn mounted(prepared: &Prepared, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let claimer = namespace::claimer(&prepared.namespace)?;
    let device = format!("/dev/{}", sysfs::block_device(&claimer)?);
    fs::create_dir_all(PLACE)?;
    mount(Some(device.as_str()), PLACE, Some("ext4"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {device}"))?;
    let done = act();
    umount(PLACE).context("cannot unmount")?;
    done
}

/// A namespace with a file system and a file on it; its block as it lies on the media.
fn in_use(region: &str) -> Result<(Prepared, InfoBlock)> {
    let made = creation::create(&wanted(region, Mode::Fsdax, Map::Dev))?;
    let device = format!("/dev/{}", sysfs::block_device(&made.claimer)?);
    command::run("/bin/mkfs.ext4", &["-q", "-O", "^has_journal", &device])?;
    mounted(&made, || fs::write(FILE, CONTENTS).context("cannot write the file"))?;
    let block = InfoBlock::read(&made.namespace)?;
    Ok((made, block))
}

/// The block that the agent has kept, as it hands it to people.
fn kept(uuid: &str) -> Result<Vec<u8>> {
    let _ = fs::remove_file(KEPT);
    let said = guard::tell(&["superblock", "--kept", uuid, "--raw", KEPT])?;
    // 3: its reservation exceeds the ideal, as the one that is to be.
    ensure!(matches!(said.code, Some(0 | 3)), "{said:?}");
    ensure!(said.stdout.contains("force_raw"), "no steps that put it back: {said:?}");
    fs::read(KEPT).with_context(|| format!("no {KEPT}: {said:?}"))
}

/// Puts the kept block back, byte for byte, and finds the file again.
fn put_back(guard: &mut Guard, made: &Prepared, namespace: &str, before: &InfoBlock) -> Result<()> {
    let kept = kept(&made.namespace_uuid)?;
    ensure!(kept == before.bytes(), "the kept block differs from the one that was on the media");
    raw(namespace, |pmem| {
        pmem.write_all_at(&kept, BLOCK_AT).and_then(|()| pmem.sync_all()).context("cannot write the block")
    })?;
    namespace::enable(namespace).with_context(|| guard.said())?;
    let now = Prepared { namespace: namespace.to_owned(), ..made.clone() };
    mounted(&now, || {
        ensure!(fs::read_to_string(FILE)? == CONTENTS, "the file has changed");
        Ok(())
    })
}

/// What a denial says of the block that is gone.
fn says_what_was(event: &Value, before: &InfoBlock) -> Result<()> {
    let expected = json!({
        "personality": "fsdax", "map": "dev", "align_bytes": before.align(), "block_uuid": before.uuid(),
        "reservation_bytes": before.start_pad() + before.dataoff(), "dataoff_bytes": before.dataoff(),
        "npfns": before.npfns(), "origin": "read",
    });
    let replaced = event.get("replaced").with_context(|| format!("nothing of the old block: {event:#}"))?;
    ensure_says(replaced, &expected)?;
    let steps = replaced.get("put_back").and_then(Value::as_array);
    ensure!(steps.is_some_and(|steps| !steps.is_empty()), "no steps: {event:#}");
    Ok(())
}

#[test]
fn by_ndctl() -> Result<()> {
    let region = regions::fresh()?.first;
    let (made, before) = in_use(&region)?;
    let mut guard = Guard::start(&Policy::strict(Stance::Enforce))?;
    let anew = ["create-namespace", "-f", "-e", &made.namespace, "-m", "devdax", "-M", "dev", "-a", "2M"];
    let said = command::attempt("/bin/ndctl", &anew)?;
    ensure!(said.code.is_some_and(|code| code != 0), "it was not denied: {said:?}");
    let told = guard.judgements();
    let [event] = told.as_slice() else { panic!("one denial was expected: {told:#?}{}", guard.said()) };
    ensure_says(event, &json!({ "event": "denied", "namespace_uuid": made.namespace_uuid }))?;
    says_what_was(event, &before)?;
    let left = regions::namespaces(&region)?;
    let [namespace] = left.as_slice() else { panic!("ndctl has left {left:?}: {said:?}") };
    assert_eq!(sysfs::text(namespace, "uuid")?, made.namespace_uuid);
    put_back(&mut guard, &made, namespace, &before)?;
    guard.judged_only(&["denied"])
}

/// With the same block uuid, as if the block were still there.
#[test]
fn by_hand_with_the_uuid_that_it_had() -> Result<()> {
    let region = regions::fresh()?.first;
    let (made, before) = in_use(&region)?;
    let mut guard = Guard::start(&Policy::strict(Stance::Enforce))?;
    raw(&made.namespace, blank)?;
    let wanted = wanted(&region, Mode::Fsdax, Map::Dev);
    let anew = creation::claim(&wanted, &made.namespace, &made.block_uuid)?;
    let event = guard.denies(&anew)?;
    says_what_was(&event, &before)?;
    put_back(&mut guard, &made, &made.namespace, &before)?;
    guard.judged_only(&["denied"])
}

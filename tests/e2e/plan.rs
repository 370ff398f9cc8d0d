//! The script of `pfnwatch plan` with the real ndctl: it rebuilds what was planned, once, and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::command::{self, CommandOutput};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::infoblock::{self, InfoBlock};
use guest::pfnwatch::{ensure_contains, report, row, scan};
use guest::stacked::{Array, Linear, Loop, Swap};
use guest::{modules, namespace, regions, sysfs, wait};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

const MIB: u64 = 1 << 20;
const SCRIPT: &str = "/tmp/plan.sh";
const PLACE: &str = "/tmp/private";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A namespace that was shrunk to half of it, so that its reservation is oversize, with `contents` at its start.
fn shrunk(region: &str, mode: Mode, contents: &str) -> Result<String> {
    let wanted =
        NamespaceSpec { region: region.to_owned(), size_bytes: 1024 * MIB, mode, map: Map::Dev, align_bytes: 2 * MIB };
    let made = creation::create(&wanted)?.namespace;
    namespace::disable(&made)?;
    sysfs::write(&made, "size", &(512 * MIB).to_string())?;
    let holder = namespace::enable(&made)?;
    if mode == Mode::Fsdax {
        let disk = wait::until("a disk", TIMEOUT, || sysfs::block_device(&holder).ok())?;
        let disk = File::options().write(true).open(format!("/dev/{disk}"))?;
        disk.write_all_at(contents.as_bytes(), 0).and_then(|()| disk.sync_all()).context("cannot write contents")?;
    }
    Ok(made)
}

/// Writes the script of a plan with these namespaces.
fn plan(namespaces: &[&str]) -> Result<()> {
    for left in [SCRIPT.to_owned(), format!("{SCRIPT}.has-run")] {
        let _ = fs::remove_file(&left).or_else(|_| fs::remove_dir(&left));
    }
    report(3, &[&["plan"], namespaces, &["--script", SCRIPT]].concat()).map(drop)
}

fn run(arguments: &[&str]) -> Result<CommandOutput> {
    command::attempt("/bin/sh", &[&[SCRIPT], arguments].concat())
}

/// The script stops before it does anything, with this reason, whether it is to check or to rebuild.
fn ensure_stops(reason: &str) -> Result<()> {
    for arguments in [&[][..], &["data-is-backed-up"]] {
        let said = run(arguments)?;
        ensure!(said.code == Some(1) && said.stderr.contains("STOP: "), "it went on: {said:?}");
        ensure!(said.stderr.contains(reason), "{reason} is not the reason: {said:?}");
    }
    Ok(())
}

/// The uuid of a namespace, its block, and the first bytes of its contents; the namespace is left disabled.
fn on_media(name: &str) -> Result<(String, Vec<u8>, Vec<u8>)> {
    let uuid = sysfs::text(name, "uuid")?;
    infoblock::raw(name, |pmem| {
        let block = InfoBlock::of(pmem)?;
        let mut contents = vec![0; 64];
        pmem.read_exact_at(&mut contents, block.start_pad() + block.dataoff())?;
        Ok((uuid, block.bytes().to_vec(), contents))
    })
}

/// The only namespace of a region, once it is enabled.
fn only(region: &str) -> Result<String> {
    wait::until(&format!("the namespace of {region}"), TIMEOUT, || {
        let found = regions::namespaces(region).ok()?.into_iter().next()?;
        let holder = sysfs::holder(&found).ok()??;
        sysfs::driver(&holder).map(|_| found)
    })
}

/// Loads the stack so that regions have other numbers: the e820 range's is the first.
fn load_legacy_first() -> Result<()> {
    modules::unload_stack()?;
    modules::load("nd_e820")?;
    modules::load_stack()
}

/// Between plan and script the host is booted again, and its regions have other numbers: here by the order of loading. What was
/// planned on the first NVDIMM has the name of a namespace on the second.
#[test]
fn two_nvdimms_that_were_exchanged_are_left_alone() -> Result<()> {
    let made = regions::fresh()?;
    for (region, contents) in [(&made.first, "what the first has"), (&made.second, "what the second has")] {
        shrunk(region, Mode::Fsdax, contents)?;
    }
    load_legacy_first()?;
    let before = regions::find()?;
    let mut media = Vec::new();
    for region in [&before.first, &before.second] {
        let namespace = only(region)?;
        media.push(on_media(&namespace)?);
        namespace::enable(&namespace)?;
    }
    let planned = only(&before.first)?;
    plan(&[&planned])?;
    modules::unload_stack()?;
    modules::load_stack()?;
    let after = regions::find()?;
    ensure!(before.first == after.second, "the NVDIMMs were not exchanged: {before:?}, {after:?}");
    ensure!(only(&after.second)? == planned, "no other namespace has the planned one's name");
    ensure_stops(&format!("{planned} is not the planned namespace: uuid is {}", media[1].0))?;
    for (region, expected) in [&after.first, &after.second].into_iter().zip(&media) {
        let namespace = only(region)?;
        ensure!(on_media(&namespace)? == *expected, "{namespace} was changed");
        namespace::enable(&namespace)?;
    }
    // With the numbers of the plan, and only once: what it has made is not planned any more.
    load_legacy_first()?;
    ensure!(only(&before.first)? == planned, "the planned namespace has another name");
    let said = run(&["data-is-backed-up"])?;
    ensure!(said.code == Some(0), "{said:?}");
    let lean = json!({ "verdict": "ok", "excess_bytes": 0, "size_bytes": 512 * MIB, "mode": "fsdax", "map": "dev" });
    ensure_contains(row(&scan(3)?, &planned)?, &lean)?;
    ensure!(sysfs::number(&before.first, "align")? == 16 * MIB, "the region's align was left changed");
    let again = run(&["data-is-backed-up"])?;
    ensure!(again.code == Some(1), "it ran twice: {again:?}");
    let other = only(&before.second)?;
    ensure!(on_media(&other)? == media[1], "{other} was changed");
    Ok(())
}

/// Without `--force` ndctl rebuilds nothing that does not begin at a multiple of 16 MiB, as the second NVDIMM: the plan reports it.
#[test]
fn what_ndctl_would_refuse_by_its_start_has_no_commands() -> Result<()> {
    let regions = regions::fresh()?;
    let namespace = shrunk(&regions.second, Mode::Fsdax, "")?;
    let report = report(3, &["plan", &namespace])?;
    let step = report.pointer("/steps/0").context("no step")?;
    let warnings = step.get("warnings").map(ToString::to_string).unwrap_or_default();
    ensure!(warnings.contains("does not begin at a multiple of 16 MiB"), "{step:#}");
    ensure!(step.pointer("/ways/0/commands") == Some(&json!([])), "{step:#}");
    namespace::disable(&namespace)?;
    let reconfigure = ["create-namespace", "-e", &namespace, "-m", "fsdax", "-M", "dev", "-a", "2097152"];
    let refused = command::attempt("/bin/ndctl", &reconfigure)?;
    ensure!(refused.code != Some(0) && refused.stderr.contains("misaligned to 16M"), "{refused:?}");
    Ok(())
}

/// Swap, loop devices, md and the device mapper, with which LVM works, too: no process has the disk open, and no mount shows it.
#[test]
fn what_is_stacked_on_a_disk_stops_it() -> Result<()> {
    let regions = regions::fresh()?;
    let name = shrunk(&regions.first, Mode::Fsdax, "")?;
    let holder = namespace::holder(&name)?;
    let disk = sysfs::block_device(&holder)?;
    let device = format!("/dev/{disk}");
    let identity = || -> Result<_> {
        Ok((sysfs::text(&name, "uuid")?, sysfs::text(&holder, "uuid")?, sysfs::number(&holder, "size")?))
    };
    let before = identity()?;
    plan(&[&name])?;
    let is_refused = |user: &str, reason: &str| -> Result<()> {
        let report = report(3, &["plan", &name])?;
        let users = report.pointer("/steps/0/users").and_then(|users| users.as_array()).context("no users")?;
        ensure!(users.iter().any(|found| found["user"] == user), "{user} is none of the users: {users:#?}");
        ensure_stops(reason)
    };
    let swap = Swap::on(&device)?;
    is_refused(&format!("{device} is swap"), &format!("{device} is swap"))?;
    drop(swap);
    let over = Loop::over(&device)?;
    is_refused(
        &format!("{device} is below the loop device {}", over.name),
        &format!("is below a loop device: /sys/block/{}", over.name),
    )?;
    drop(over);
    let over = Linear::over(&device, "tests")?;
    is_refused(&format!("{device} is claimed by dm-0 (tests)"), &format!("is in use: /sys/block/{disk}/holders/dm-0"))?;
    drop(over);
    let array = Array::over(&disk, "md_tests")?;
    is_refused(&format!("{device} is claimed by md_tests"), &format!("is in use: /sys/block/{disk}/holders/md_tests"))?;
    drop(array);
    ensure!(identity()? == before, "the namespace was changed");
    let said = run(&["data-is-backed-up"])?;
    ensure!(said.code == Some(0), "nothing uses it any more: {said:?}");
    ensure_contains(row(&scan(0)?, &name)?, &json!({ "verdict": "ok", "excess_bytes": 0, "map": "dev" }))
}

/// The block lies on a disk of its own then, and identifies the namespace.
#[test]
fn raw_namespace_in_use_stops_it() -> Result<()> {
    let regions = regions::fresh()?;
    let name = shrunk(&regions.first, Mode::Fsdax, "")?;
    let (_, block, contents) = on_media(&name)?;
    infoblock::raw(&name, |pmem| {
        let disk = sysfs::block_device(&name)?;
        plan(&[&name])?;
        let report = report(3, &["plan", &name])?;
        let users = report.pointer("/steps/0/users/0/user").map(ToString::to_string).unwrap_or_default();
        ensure!(users.contains(&format!("/dev/{disk} is open in process")), "{report:#}");
        ensure_stops("is open: /proc/")?;
        // Another block on the media: it is not what was planned.
        let mut other = InfoBlock::of(pmem)?.bytes().to_vec();
        other.iter_mut().skip(16).take(1).for_each(|byte| *byte ^= 1);
        pmem.write_all_at(&other, infoblock::OFFSET).and_then(|()| pmem.sync_all()).context("cannot write a block")?;
        ensure_stops(&format!("{name} is not the planned namespace: media:{disk} is "))?;
        pmem.write_all_at(&block, infoblock::OFFSET).and_then(|()| pmem.sync_all()).context("cannot write the block")
    })?;
    let (_, block_after, contents_after) = on_media(&name)?;
    ensure!(block_after == block && contents_after == contents, "{name} was changed");
    Ok(())
}

#[test]
fn what_is_in_use_stops_it_until_it_is_free() -> Result<()> {
    let regions = regions::fresh()?;
    let disk = shrunk(&regions.first, Mode::Fsdax, "")?;
    let dax = shrunk(&regions.first, Mode::Devdax, "")?;
    // ndctl refuses a size that is not a multiple of the region's align.
    sysfs::write(&regions.first, "align", &(1024 * MIB).to_string())?;
    let device = format!("/dev/{}", sysfs::block_device(&namespace::holder(&disk)?)?);
    command::run("/bin/mkfs.ext4", &["-q", "-O", "^has_journal", &device])?;
    let character = format!("/dev/dax{}", dax.trim_start_matches("namespace"));

    plan(&[&disk])?;
    let open = File::open(&device).context("cannot open the disk")?;
    ensure_stops("is open: /proc/")?;
    drop(open);
    // A mount that no other process sees.
    fs::create_dir_all(PLACE)?;
    let from = device.clone();
    let mut holder = Command::new("/bin/cat");
    holder.stdin(Stdio::piped()).stdout(Stdio::null());
    // SAFETY: two system calls; paths this short are copied to the stack.
    unsafe {
        holder.pre_exec(move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            Ok(mount(Some(from.as_str()), PLACE, Some("ext4"), MsFlags::empty(), None::<&str>)?)
        });
    }
    let mut holder = holder.spawn().context("cannot mount in another namespace")?;
    ensure_stops("is mounted, or the log of a mount")?;
    let report = report(3, &["plan", &disk])?;
    let user = report.pointer("/steps/0/users/0/user").and_then(|user| user.as_str()).unwrap_or_default();
    ensure!(user.contains(&format!("in the mount namespace of process {}", holder.id())), "{report:#}");
    drop(holder.stdin.take());
    holder.wait().context("cat does not end")?;

    plan(&[&dax])?;
    let open = File::open(&character).with_context(|| format!("cannot open {character}"))?;
    ensure_stops("is open: /proc/")?;
    drop(open);

    plan(&[])?;
    let said = run(&["data-is-backed-up"])?;
    ensure!(said.code == Some(0), "{said:?}");
    for name in [&disk, &dax] {
        ensure_contains(row(&scan(0)?, name)?, &json!({ "verdict": "ok", "excess_bytes": 0, "map": "dev" }))?;
    }
    ensure!(sysfs::number(&regions.first, "align")? == 1024 * MIB, "the region's align is not as it was");
    Ok(())
}

//! Set-ups that go wrong: the kernel's error, its meaning, and what became of the info block.

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::infoblock::{InfoBlock, raw};
use guest::{GIB, MIB, command, dmesg, facts, namespace, pfnwatch, regions, sysfs};
use nix::libc;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

const MODES: [Mode; 2] = [Mode::Fsdax, Mode::Devdax];

fn wanted(region: &str, mode: Mode, map: Map, size_bytes: u64, align_bytes: u64) -> NamespaceSpec {
    NamespaceSpec { region: region.to_owned(), size_bytes, mode, map, align_bytes }
}

/// Compares the codes of an event and its outcome; the meaning must name the error.
fn ends(event: &Value, outcome: &str, setup_code: i32, bind_code: i32, meaning: &str) -> Result<()> {
    let expected = json!({ "outcome": outcome, "setup_code": setup_code, "bind_code": bind_code, "incomplete": false });
    facts::compare(event, expected.as_object().context("an object")?)?;
    ensure!(event["meaning"].as_str().is_some_and(|said| said.contains(meaning)), "no {meaning:?} in {event}");
    facts::compare(event, &[("by".to_owned(), facts::this_thread()?)].into_iter().collect())
}

#[test]
fn too_small_for_its_align() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    for (mode, map) in MODES.into_iter().flat_map(|mode| [(mode, Map::Dev), (mode, Map::Mem)]) {
        let made = creation::prepare(&wanted(&regions.first, mode, map, 16 * MIB, GIB))?;
        let error = made.bind().expect_err("16 MiB cannot hold a reservation of 1 GiB");
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "{error}");
        let event = agent.set_up(&made.namespace_uuid, "none")?;
        ends(
            &event,
            "refused",
            -libc::ENXIO,
            -libc::ENXIO,
            "no info block, and none was made: ENXIO: nothing would be usable",
        )?;
        assert_eq!((&event["size_bytes"], &event["align_bytes"]), (&json!(16 * MIB), &json!(GIB)));
        ensure!(event.get("reservation_bytes").is_none(), "nothing was reserved: {event}");
        namespace::destroy(&made.namespace)?;
    }
    Ok(())
}

/// 1 GiB of reservation in 1 GiB and an end that is cut: 6.1 still writes the block, newer kernels refuse. Not with
/// fsdax: 6.1 panics when such a namespace is disabled (memunmap_pages, seen on 6.1.176).
#[test]
fn nothing_usable_is_told_as_the_kernel_has_it() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let made = creation::prepare(&wanted(&regions.first, Mode::Devdax, Map::Mem, GIB + 16 * MIB, GIB))?;
    let bound = made.bind();
    let block = raw(&made.namespace, InfoBlock::of)?;
    if block.uuid() != made.block_uuid {
        let event = agent.set_up(&made.namespace_uuid, "none")?;
        return ends(&event, "refused", -libc::ENXIO, -libc::ENXIO, "none was made: ENXIO");
    }
    let event = agent.set_up(&made.namespace_uuid, "made")?;
    facts::compare(&event, &facts::of_block(&block)?)?;
    assert_eq!(event["usable_bytes"], json!(0));
    let outcome = if bound.is_ok() { "enabled" } else { "reserved_not_enabled" };
    ensure!(has_text(&event, "outcome", outcome), "bind {bound:?}: {event}");
    Ok(())
}

/// nd_pmem requests the whole range, dax_pmem the reservation, and both only after the block is written.
#[test]
fn driver_that_fails_after_the_block_leaves_it_reserved() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    for (mode, map, held) in [(Mode::Fsdax, Map::Dev, 255 * MIB), (Mode::Devdax, Map::Mem, MIB)] {
        let made = creation::prepare(&wanted(&regions.first, mode, map, 256 * MIB, 2 * MIB))?;
        made.bind_while_held(held)?;
        let event = agent.set_up(&made.namespace_uuid, "made")?;
        ends(&event, "reserved_not_enabled", 0, -libc::EBUSY, "the memmap reserved, but the driver failed: EBUSY")?;
        facts::compare(&event, &facts::of_block(&raw(&made.namespace, InfoBlock::of)?)?)?;
        // The range is free again, and the block is what the kernel meets.
        namespace::enable(&made.namespace)?;
        let met = agent.set_up(&made.namespace_uuid, "existing")?;
        facts::compare(&met, &facts::of_success(false, Value::Null)?)?;
        assert_eq!((&met["dataoff_bytes"], &met["npfns"]), (&event["dataoff_bytes"], &event["npfns"]));
        namespace::destroy(&made.namespace)?;
    }
    Ok(())
}

/// With map=dev the set-up itself requests the reservation (nd_pfn_clear_memmap_errors), before it writes.
#[test]
fn reservation_that_is_in_use_is_refused_before_the_block() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let made = creation::prepare(&wanted(&regions.first, Mode::Fsdax, Map::Dev, 256 * MIB, 2 * MIB))?;
    made.bind_while_held(MIB)?;
    let event = agent.set_up(&made.namespace_uuid, "none")?;
    ends(&event, "refused", -libc::EBUSY, -libc::EBUSY, "none was made: EBUSY: the memory range is in use")?;
    let block = raw(&made.namespace, InfoBlock::of)?;
    ensure!(block.uuid() != made.block_uuid, "there is a block: {}", block.signature());
    Ok(())
}

/// What `scan` and `superblock` report of a namespace that is enabled raw with a block that the kernel does not take: the message
/// that the kernel is to log.
fn scanned_as_refused(namespace: &str, block: &InfoBlock) -> Result<String> {
    let scan: Value = serde_json::from_str(&command::run("/bin/pfnwatch", &["scan", "--format", "json"])?)?;
    let rows = scan.get("namespaces").and_then(Value::as_array).context("no namespaces")?;
    let ours = |row: &&Value| has_text(row, "namespace", namespace);
    let row = rows.iter().find(ours).context("not in the report")?;
    ensure!(has_text(row, "verdict", "refused"), "{row:#}");
    let detail = row.get("detail").and_then(Value::as_str).context("no detail")?;
    fs::write("/tmp/refused", block.bytes())?;
    let superblock = Command::new("/bin/pfnwatch").args(["superblock", "/tmp/refused"]).output()?;
    assert_eq!(superblock.status.code(), Some(3), "{superblock:?}");
    let message = detail.split('"').nth(1).with_context(|| format!("no message in {detail}"))?;
    ensure!(String::from_utf8_lossy(&superblock.stdout).contains(message), "{message:?} is not in {superblock:?}");
    Ok(message.to_owned())
}

type Damage = fn(&mut InfoBlock);

const DAMAGES: [(Mode, Damage); 3] = [
    (Mode::Fsdax, |block| block.set_page_struct_size(32)),
    (Mode::Devdax, |block| block.set_page_struct_size(32)),
    // No kernel on amd64 offers 64 KiB.
    (Mode::Devdax, |block| block.set_align(64 << 10)),
];

#[test]
fn block_that_does_not_fit_this_kernel_is_rejected() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    for (mode, damage) in DAMAGES {
        let wanted = wanted(&regions.first, mode, Map::Dev, 64 * MIB, 2 * MIB);
        let made = creation::create(&wanted)?;
        let said = raw(&made.namespace, |pmem| {
            let mut block = InfoBlock::of(pmem)?;
            damage(&mut block);
            block.write(pmem)?;
            scanned_as_refused(&made.namespace, &block)
        })?;
        let before = dmesg::Mark::now()?;
        // The namespace's own probe looks for a block first, and goes no further.
        let error = sysfs::bind(&made.namespace, "nd_pmem").expect_err("such a block is not accepted");
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
        let logged = before.since()?;
        ensure!(logged.iter().any(|message| message.text.contains(&said)), "{said:?} is not in {logged:?}");
        // Now that it is disabled, the log goes before the block that the agent saved.
        let scan = pfnwatch::scan(0)?;
        let row = pfnwatch::row(&scan, &made.namespace)?;
        let detail = row.get("detail").and_then(Value::as_str).unwrap_or_default();
        let is_of_log = detail.contains(&said) && detail.contains("(kernel log of ");
        ensure!(has_text(row, "verdict", "refused") && is_of_log, "{row:#}");
        let refused = agent.event("the namespace's probe", TIMEOUT, |event| {
            let ours = has_text(event, "namespace_uuid", &made.namespace_uuid) && has_text(event, "event", "probe");
            (ours && has_text(event, "result", "refused")).then(|| event.clone())
        })?;
        assert_eq!((&refused["bind_code"], &refused["found_block"]), (&json!(-libc::EOPNOTSUPP), &json!(true)));
        // A device that claims it and asks for this very block gets as far as the set-up.
        let again = creation::claim(&wanted, &made.namespace, &made.block_uuid)?;
        assert_eq!(again.bind().map_err(|error| error.raw_os_error()), Err(Some(libc::EOPNOTSUPP)));
        let event = agent.set_up(&made.namespace_uuid, "rejected")?;
        let meaning = "the info block on the namespace is not accepted: EOPNOTSUPP";
        ends(&event, "refused", -libc::EOPNOTSUPP, -libc::EOPNOTSUPP, meaning)?;
        ensure!(event.get("reservation_bytes").is_none(), "numbers of a block that is not believed: {event}");
        namespace::destroy(&made.namespace)?;
    }
    Ok(())
}

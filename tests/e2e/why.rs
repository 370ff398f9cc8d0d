//! `pfnwatch why` after real failures, against the kernel's own log.

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::dmesg::Mark;
use guest::guard::Guard;
use guest::infoblock::{InfoBlock, raw};
use guest::pfnwatch::report;
use guest::policy::{GuardMode, Policy};
use guest::{GIB, MIB, command, namespace, regions, sysfs};
use nix::libc;
use serde_json::Value;

fn wanted(region: &str, mode: Mode, size_bytes: u64, align_bytes: u64) -> NamespaceSpec {
    NamespaceSpec { region: region.to_owned(), size_bytes, mode, map: Map::Dev, align_bytes }
}

/// The findings of `why` about `which`, which must end with this exit code.
fn why(code: i32, which: &[&str]) -> Result<Vec<Value>> {
    let report = report(code, &[&["why"], which].concat())?;
    report.get("findings").and_then(Value::as_array).cloned().context("findings")
}

/// The one about this namespace with this cause; the host has older failures. A quote of the kernel's log must be in it since
/// `log`.
fn finding(findings: &[Value], namespace: &str, cause: &str, log: Mark) -> Result<Value> {
    let found = findings.iter().find(|finding| finding["namespace"] == namespace && finding["cause"] == cause);
    let found = found.with_context(|| format!("no {cause} of {namespace}: {findings:#?}"))?;
    if found["evidence"] == "kernel_log" {
        let quote = found["quote"].as_str().context("a quote")?;
        let logged = log.since()?.iter().any(|message| message.text.trim() == quote);
        ensure!(logged, "the kernel did not log {quote:?} in this test");
    }
    ensure!(found["next"].as_str().is_some_and(|next| !next.is_empty()), "{found:#}");
    Ok(found.clone())
}

#[test]
fn creation_that_is_too_small_for_its_align() -> Result<()> {
    let region = regions::fresh()?.first;
    for mode in [Mode::Fsdax, Mode::Devdax] {
        let log = Mark::now()?;
        let made = creation::prepare(&wanted(&region, mode, 16 * MIB, GIB))?;
        assert_eq!(made.bind().map_err(|error| error.raw_os_error()), Err(Some(libc::ENXIO)));
        // By the namespace, by the device that ndctl names, and among all of the host.
        for which in [&[&*made.namespace][..], &[&made.holder], &[]] {
            let found = finding(&why(3, which)?, &made.namespace, "align_too_large", log)?;
            assert_eq!(found["device"], made.holder, "{found:#}");
            assert_eq!(found["evidence"], "kernel_log", "nobody else has seen it: {found:#}");
        }
        namespace::destroy(&made.namespace)?;
    }
    Ok(())
}

type Damage = fn(&mut InfoBlock);

/// Written by hand, as a kernel with other sizes would have.
const DAMAGES: [(Mode, Damage, &str); 3] = [
    (Mode::Fsdax, |block| block.set_page_struct_size(32), "struct_page_size_mismatch"),
    (Mode::Devdax, |block| block.set_page_struct_size(32), "struct_page_size_mismatch"),
    (Mode::Devdax, |block| block.set_align(64 << 10), "align_not_offered"),
];

/// The pfn device that the kernel makes for the look at the block is gone by then, and its message does not name the namespace.
#[test]
fn block_of_another_kernel() -> Result<()> {
    let region = regions::fresh()?.first;
    for (mode, damage, cause) in DAMAGES {
        let made = creation::create(&wanted(&region, mode, 64 * MIB, 2 * MIB))?;
        raw(&made.namespace, |pmem| {
            let mut block = InfoBlock::of(pmem)?;
            damage(&mut block);
            block.write(pmem)
        })?;
        let log = Mark::now()?;
        let error = sysfs::bind(&made.namespace, "nd_pmem").expect_err("such a block is not accepted");
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
        for which in [&[&*made.namespace][..], &[]] {
            finding(&why(3, which)?, &made.namespace, cause, log)?;
        }
        namespace::destroy(&made.namespace)?;
    }
    Ok(())
}

#[test]
fn denial_of_the_guard() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let log = Mark::now()?;
    let made = creation::prepare(&wanted(&region, Mode::Fsdax, 512 * MIB, 2 * MIB))?;
    guard.denies(&made)?;
    for which in [&*made.namespace, &made.holder] {
        let findings = why(3, &[which])?;
        let refused = finding(&findings, &made.namespace, "bind_refused", log)?;
        assert_eq!(refused["evidence"], "kernel_log");
        ensure!(refused["explanation"].as_str().is_some_and(|text| text.contains("mode is enforce")), "{refused:#}");
        let denied = finding(&findings, &made.namespace, "denied_by_guard", log)?;
        let exemption = format!("sudo pfnwatch allow --region {region} --once");
        ensure!(denied["next"].as_str().is_some_and(|next| next.starts_with(&exemption)), "{denied:#}");
    }
    // Allowed, it is enabled: the denial is over, and the size is what there is to explain.
    command::run("/bin/pfnwatch", &["allow", "--region", &region, "--once", "--for", "10m", "--reason", "test"])?;
    guard.passes(&made)?;
    guard.set_up(&made.namespace_uuid, "made")?;
    let findings = why(0, &[&made.namespace])?;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    finding(&findings, &made.namespace, "size_explained", log).map(drop)
}

/// What ndctl knows is the error's number. The message leads to the kernel's.
#[test]
fn message_of_ndctl() -> Result<()> {
    let region = regions::fresh()?.first;
    let log = Mark::now()?;
    let script = format!(
        "ndctl create-namespace -r {region} -m devdax -s 1G -a 1G 2>&1 | pfnwatch why --message - --format json"
    );
    let answered = command::attempt("/bin/sh", &["-c", &script])?;
    ensure!(answered.code == Some(3), "{answered:?}");
    let report: Value = serde_json::from_str(&answered.stdout).with_context(|| format!("{answered:?}"))?;
    let findings = report["findings"].as_array().context("findings")?;
    assert_eq!((&findings[0]["cause"], &findings[0]["evidence"]), (&"no_device_or_address".into(), &"message".into()));
    let namespace = findings.iter().rfind(|found| found["cause"] == "align_too_large").context("no align_too_large")?;
    finding(findings, namespace["namespace"].as_str().context("a namespace")?, "align_too_large", log).map(drop)
}

/// The agent has seen its block: nothing keeps it from being enabled. `why` enables nothing to find out.
#[test]
fn namespace_that_was_disabled_on_purpose() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut agent = Agent::start(&[])?;
    let log = Mark::now()?;
    let made = creation::create(&wanted(&region, Mode::Fsdax, 64 * MIB, 2 * MIB))?;
    agent.set_up(&made.namespace_uuid, "made")?;
    namespace::disable(&made.namespace)?;
    let found = finding(&why(0, &[&made.namespace])?, &made.namespace, "disabled", log)?;
    assert_eq!(found["evidence"], "info_block", "{found:#}");
    assert_eq!(found["next"], format!("ndctl enable-namespace {}", made.namespace));
    ensure!(sysfs::driver(&made.namespace).is_none() && sysfs::holder(&made.namespace)?.is_none(), "it was enabled");
    Ok(())
}

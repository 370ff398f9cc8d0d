//! The second boot of the Debian: the agent is enabled, and enforces from the start.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::agent::has_text;
use guest::debian::{self, UNIT, property};
use guest::{creation, guard, namespace, pfnwatch, sysfs, wait};
use nix::libc;

use crate::debian::oversize;
use crate::debian::waiting::COUNT;

mod lockdown;

const TIMEOUT: Duration = Duration::from_secs(90);

fn region() -> Result<String> {
    wait::until("a region", TIMEOUT, || sysfs::devices("region").into_iter().find(|name| sysfs::driver(name).is_some()))
}

/// The first by its name, so that it runs on the host as booted.
#[test]
fn boot_under_enforcement_enables_every_oversize_namespace() -> Result<()> {
    let region = region()?;
    let enabled = || {
        let namespaces = guest::regions::namespaces(&region).ok()?;
        let holder = |name: &String| sysfs::driver(&sysfs::holder(name).ok()??);
        let count = namespaces.iter().filter_map(holder).count();
        (count == COUNT).then_some(())
    };
    wait::until("all namespaces enabled", TIMEOUT, enabled).with_context(debian::status)?;
    debian::armed()?;
    wait::until("the end of the boot", TIMEOUT, || {
        (property("multi-user.target", "ActiveState").ok()? == "active").then_some(())
    })?;
    ensure!(!property("multi-user.target", "After")?.contains(UNIT), "the boot waits for the agent");
    assert_eq!(property(UNIT, "NRestarts")?, "0", "{}", debian::status());
    let scan = pfnwatch::scan(3)?;
    assert_eq!(scan["totals"]["oversize"], COUNT, "{scan:#}");
    // Each was seen, by the first look or as it was enabled.
    let events = debian::events()?;
    let seen = |event: &&serde_json::Value| {
        has_text(event, "event", "existing_namespace") || has_text(event, "event", "set_up")
    };
    let seen: BTreeSet<_> = events.iter().filter(seen).filter_map(|event| event["namespace_uuid"].as_str()).collect();
    ensure!(seen.len() >= COUNT, "{} of {COUNT} namespaces were seen{}", seen.len(), debian::status());
    ensure!(!events.iter().any(|event| has_text(event, "event", "denied")), "something was denied{}", debian::status());

    // And it is enforced: there is room for one more.
    let prepared = creation::prepare(&oversize(&region))?;
    let code = prepared.bind().map_err(|error| error.raw_os_error());
    ensure!(code == Err(Some(libc::ENOMEM)), "{code:?}, and no denial{}", debian::status());
    debian::event("the denial", |event| has_text(event, "event", "denied"))?;
    ensure!(guard::status()?["guard"]["armed"] == true);
    namespace::destroy(&prepared.namespace)
}

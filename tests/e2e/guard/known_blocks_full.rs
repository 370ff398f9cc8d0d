//! More info blocks than the guard has room for: what it cannot judge is allowed and counted, and nothing else changes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Mode, PreparedNamespace};
use guest::guard::{self, Guard};
use guest::policy::{GuardMode, Policy};
use guest::{namespace, regions, wait};

use super::fixtures::small;

const TIMEOUT: Duration = Duration::from_secs(20);
const KNOWN_BLOCKS: &str = "2";
const COUNT: usize = 5;

/// Each way to enable an existing namespace: by its own device, by the kernel, and by hand with its own uuid.
fn come_back(region: &str, made: &[PreparedNamespace]) -> Result<()> {
    for one in made {
        let holder = namespace::holder(&one.namespace)?;
        guest::sysfs::unbind(&holder)?;
        guest::sysfs::bind(&holder, one.driver).with_context(|| format!("rebind of {one:?}"))?;
        namespace::disable(&one.namespace)?;
        namespace::enable(&one.namespace).with_context(|| format!("enable of {one:?}"))?;
        namespace::disable(&one.namespace)?;
        let by_hand = creation::claim(&small(region, Mode::Fsdax), &one.namespace, &one.block_uuid)?;
        by_hand.bind().with_context(|| format!("by hand: {one:?}"))?;
    }
    Ok(())
}

#[test]
fn for_what_is_made_while_the_guard_looks() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start_with(&Policy::strict(GuardMode::Audit), &["--known-blocks", KNOWN_BLOCKS])?;
    let made = (0..COUNT).map(|_| creation::create(&small(&region, Mode::Fsdax))).collect::<Result<Vec<_>>>()?;
    guard.stance(GuardMode::Enforce)?;
    come_back(&region, &made).with_context(|| guard.output())?;
    let counters = guard::status()?["counters"].clone();
    ensure!(counters["block_missed"].as_u64() >= Some(3), "{counters}");
    ensure!(counters["denied"] == 0 && counters["guard_fault"] == 0, "{counters}");
    // Nothing can be known of a new one either.
    let prepared = creation::prepare(&small(&region, Mode::Devdax))?;
    guard.passes(&prepared)?;
    guard.judgement("unjudged", &prepared)?;
    // Their places are free again: the first is one that the table has.
    for one in made.iter().chain([&prepared]) {
        namespace::destroy(&one.namespace)?;
    }
    guard.denies(&creation::prepare(&small(&region, Mode::Devdax))?).map(drop)
}

/// There are more than the table has room for: the agent reports it, and all of them can be enabled.
#[test]
fn for_what_is_there_already() -> Result<()> {
    let region = regions::fresh()?.first;
    let made = (0..COUNT).map(|_| creation::create(&small(&region, Mode::Fsdax))).collect::<Result<Vec<_>>>()?;
    let mut guard = Guard::spawn(&Policy::strict(GuardMode::Enforce), &["--known-blocks", KNOWN_BLOCKS])?;
    // Armed, or with a reason why not.
    wait::until("an answer", TIMEOUT, || {
        let status = guard::status().ok()?;
        (status["guard"]["armed"] == true || status["guard"]["reason"].is_string()).then_some(())
    })?;
    come_back(&region, &made).with_context(|| guard.output())?;
    let denied = guard.events(|event| event["event"] == "denied");
    ensure!(denied.is_empty(), "{denied:#?}");
    Ok(())
}

//! Bytes as a configuration.

use std::time::{Duration, UNIX_EPOCH};

use pfnwatch::config::Config;
use pfnwatch::model::policy::{Policy, RegionFacts};
use pfnwatch::policy::{Clock, Compiled, MAX_EXEMPTIONS, PolicyKernel, compile};
use pfnwatch_common::policy::NO_EXPIRY;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_800_000_000;

/// Bytes are a policy of which the guard gets what holds, and each exemption that it does not get is named; or an error
/// with its place.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text) {
        Ok(config) => compiles(&config.policy()),
        Err(error) => assert!(error.to_string().contains("at line "), "{error}"),
    }
}

fn compiles(policy: &Policy) {
    assert!(policy.exemptions.len() <= MAX_EXEMPTIONS);
    assert_eq!(policy.describe().len(), 3 + policy.exemptions.len());
    let kernel = PolicyKernel { max_struct_page: Some(128), page_size: 4096, compat: 2 << 20, module_epoch: 1 };
    // One region to each that is exempt by its address, so that all can be resolved.
    let starts = policy.exemptions.iter().filter_map(|exemption| exemption.subject.value().strip_prefix("0x").map(hex));
    let regions: Vec<_> = starts.map(|start| RegionFacts { set_cookie: Some(start), start, size: 1 }).collect();
    let clock = Clock::start(UNIX_EPOCH + Duration::from_secs(NOW), SECOND);
    let Compiled { snapshot, descriptions: words, skipped: left_out, configured } =
        compile(policy, &[], &kernel, &regions, &clock, true);
    assert!(snapshot.aligns <= u64::from(u32::MAX) && snapshot.parts_per_million <= 1_000_000);
    assert!((1..=4096).contains(&snapshot.reference_struct_page));
    assert_eq!(words.len(), policy.exemptions.len(), "each has an id of its own");
    assert_eq!(configured.len(), policy.exemptions.len(), "in the order of the configuration");
    let count = snapshot.exemption_count as usize;
    for entry in snapshot.exemptions.iter().take(count) {
        assert!(words.contains_key(&entry.id));
        assert!(entry.until_ns == NO_EXPIRY || entry.until_ns > SECOND, "what has ended is left out");
        assert!(entry.first <= entry.last);
    }
    let there = |id: &u64| snapshot.exemptions.iter().take(count).any(|entry| entry.id == *id);
    assert!(words.keys().all(|id| there(id) || left_out.iter().any(|left_out| left_out.id == *id)));
}

fn hex(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

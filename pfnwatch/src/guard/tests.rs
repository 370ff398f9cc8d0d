//! The guard without programs in a kernel.

use std::time::UNIX_EPOCH;

use super::*;
use crate::model::kernel::KernelFacts;
use crate::model::policy::{Policy, RegionFacts};

#[test]
fn what_is_exempt_in_vain_is_told_with_its_reason() {
    let exemption = |subject, until| Exemption { subject, until, reason: "why".to_owned() };
    let namespace = ExemptionSubject::Namespace(uuid::Uuid::from_bytes([7; 16]));
    let over = exemption(namespace, Some(UNIX_EPOCH));
    let nowhere = exemption(ExemptionSubject::RegionStart(4 << 30), None);
    let exemptions = vec![over.clone(), exemption(namespace, None), nowhere.clone()];
    let clock = Rc::new(os::clock::SystemClock::new().unwrap());
    let mut guard = Guard::new(Policy { exemptions, ..Policy::default() }, &KernelFacts::sample(), clock);
    guard.arm(Some(64)).unwrap();
    let skipped: Vec<_> = guard.skipped_in_configuration().collect();
    assert_eq!(skipped, [(&over, SkipReason::Expired), (&nowhere, SkipReason::Unresolved)]);

    // It may come yet, and a namespace that is in no region known is a sign of it.
    let region = |start| RegionFacts { set_cookie: None, start, size: 1 << 30 };
    guard.wanted.regions.push(region(8 << 30));
    assert!(guard.has_unresolved_region(None) && guard.has_unresolved_region(Some(4 << 30)));
    assert!(guard.is_unknown_region(nowhere.subject) && !guard.is_unknown_region(namespace));
    assert!(!guard.has_unresolved_region(Some((9 << 30) - 1)));
    guard.wanted.regions.push(region(4 << 30));
    guard.arm(Some(64)).unwrap();
    assert!(!guard.has_unresolved_region(None));
}

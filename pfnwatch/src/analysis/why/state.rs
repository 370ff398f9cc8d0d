//! Why a namespace or a region is disabled if nothing was logged: the kernel refuses some things in silence.

use crate::model::inventory::{AttributeError, Region, SysfsMode};
use crate::model::scan_result::AssessedNamespace;
use crate::model::units::Bytes;
use crate::model::verdict::Verdict;
use crate::model::why::{Answer, FailureCause as Cause, FailureEvidence, Finding};

/// `nd_namespace_store` in drivers/nvdimm/claim.c (4.x to 7.3): no pfn, dax or btt device claims a smaller one.
const MIN_CLAIMED_SIZE: u64 = 16 << 20;

impl AssessedNamespace {
    /// Whether the kernel has it enabled in whatever mode.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.namespace.bound || self.namespace.holder.as_ref().is_ok_and(|holder| holder.size.is_ok())
    }
}

/// A disabled namespace whose saved block, if there is one, is in its facts.
#[must_use]
pub fn of_disabled(judged: &AssessedNamespace) -> Finding {
    let namespace = &judged.namespace;
    let evidence = if judged.facts.block.is_some() { FailureEvidence::InfoBlock } else { FailureEvidence::Sysfs };
    Finding {
        namespace: Some(namespace.name.clone()),
        device: namespace.holder.as_ref().ok().map(|holder| holder.name.clone()),
        evidence,
        time: None,
        quote: None,
        answer: answer(judged),
    }
}

fn answer(judged: &AssessedNamespace) -> Answer {
    let namespace = &judged.namespace;
    let name = &namespace.name;
    if let Ok(size) = namespace.size
        && size < MIN_CLAIMED_SIZE
    {
        let why = format!(
            "it has {}: the kernel accepts no namespace below 16 MiB for fsdax, devdax or sector (ENXIO, not logged)",
            Bytes(size)
        );
        return Answer::new(Cause::NamespaceTooSmall, why, format!("ndctl destroy-namespace -f {name}"));
    }
    if matches!(namespace.uuid, Err(AttributeError::Empty)) {
        let why = "it has no uuid: a creation broke off (ENODEV, not logged)";
        return Answer::new(Cause::NoUuid, why, format!("ndctl destroy-namespace -f {name}"));
    }
    let enable = format!("ndctl enable-namespace {name}");
    match (&judged.facts.block, judged.assessment.verdict) {
        (Some(_), Verdict::Refused) => {
            let why = format!("by its saved info block, {}", judged.assessment.detail);
            Answer::new(Cause::NotSupported, why, format!("sudo pfnwatch events restore-block {name}"))
        }
        (Some(_), Verdict::Ok | Verdict::Oversize) => {
            let why = "its saved info block fits this kernel, and no failure is known: it was disabled on purpose, or by a shutdown of its region";
            Answer::new(Cause::Disabled, why, enable)
        }
        _ => unknown(judged),
    }
}

/// No block is known: what claims it may be.
fn unknown(judged: &AssessedNamespace) -> Answer {
    let namespace = &judged.namespace;
    let name = &namespace.name;
    let class = match (&namespace.label_class, &namespace.holder) {
        (_, Ok(holder)) => format!("{} has it and is not enabled", holder.name),
        (Ok(SysfsMode::Memory), _) => "its label marks it as fsdax".to_owned(),
        (Ok(SysfsMode::Dax), _) => "its label marks it as devdax".to_owned(),
        (Ok(SysfsMode::Safe), _) => "its label marks it as sector".to_owned(),
        _ => "its label does not show its mode".to_owned(),
    };
    let why = format!(
        "it is disabled: {class}; the kernel logged no failure in this boot, and pfnwatch has not seen its info block. The next command shows the block, for which ndctl enables the namespace raw for a moment"
    );
    Answer::new(Cause::Unknown, why, format!("sudo ndctl read-infoblock {name} --json"))
}

/// A region that is disabled, with its namespaces; `None` if it is enabled.
#[must_use]
pub fn of_region(region: &Region) -> Option<Finding> {
    let name = &region.name;
    let answer = match (region.enabled, region.locked) {
        (true, _) => return None,
        (false, true) => {
            Answer::new(Cause::DimmLocked, "a DIMM of it is locked by its security", "sudo ndctl load-keys")
        }
        (false, false) => Answer::new(
            Cause::RegionDisabled,
            "the region is disabled, so that its namespaces do not exist",
            format!("sudo ndctl enable-region {name}"),
        ),
    };
    let device = Some(name.clone());
    Some(Finding { namespace: None, device, evidence: FailureEvidence::Sysfs, time: None, quote: None, answer })
}

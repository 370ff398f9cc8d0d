//! The annotations of alerts: a summary of one line, and a description with the bytes and the remedy.

use crate::model::alert::{Alert, AlertName};
use crate::model::capacity::{Cost, NamespaceKey, RegressedDevice, Regression, describe};
use crate::model::memmap_return::{MEMMAP_RETURNED_SINCE, MemmapReturnStatus};
use crate::model::policy::Mode;
use crate::model::redact::redact_quotes;
use crate::model::scan_result::AssessedNamespace;
use crate::model::status::{AgentStatus, ModeStatus, Status};
use crate::model::store::StoreHealth;
use crate::model::units::Bytes;
use crate::model::verdict::Numbers;

type Annotations = (String, String);

/// The page about an alert: `base` and its name in lower case, as headings are linked.
#[must_use]
pub fn runbook(base: &str, name: AlertName) -> String {
    format!("{base}{}", name.as_str().to_ascii_lowercase())
}

#[must_use]
pub fn test_alert(instance: &str, base: &str) -> Alert {
    let summary = format!("A test of pfnwatch's alerts from {instance}");
    let description = "Nothing is wrong: somebody ran `pfnwatch alerts test`.".to_owned();
    Alert::new(AlertName::Test, instance, None).with_annotations(summary, description, runbook(base, AlertName::Test))
}

/// `16.0 GiB (17179869184 bytes)`: rounded and exact.
fn exact_bytes(bytes: u64) -> String {
    format!("{} ({bytes} bytes)", Bytes(bytes))
}

pub(super) fn host_regression(it: &Regression) -> Annotations {
    let summary = format!(
        "New namespaces cost more under Linux {}: 1 TiB gives {} less than under {}",
        it.after.kernel,
        Bytes(it.lost_bytes()),
        it.before.kernel
    );
    let description = format!(
        "A namespace of 1 TiB with map=dev would lose {} now to {}, and lost {} to {}: {} more. Do not make namespaces with \
         map=dev under this kernel, or boot the earlier one first; what exists keeps what it has.",
        exact_bytes(it.after.reservation_bytes),
        kernel(&it.after),
        exact_bytes(it.before.reservation_bytes),
        kernel(&it.before),
        exact_bytes(it.lost_bytes()),
    );
    (summary, description)
}

pub(super) fn memmap_regression(it: &Regression) -> Annotations {
    let summary = format!("Linux {} does not return memmaps in DRAM, and {} did", it.after.kernel, it.before.kernel);
    let description = format!(
        "{}, until the next boot. Disable no namespaces with map=mem under this kernel, or boot the earlier one first. Fixed in \
         {MEMMAP_RETURNED_SINCE}.",
        describe(it)
    );
    (summary, description)
}

pub(super) fn namespace_regression(it: &NamespaceKey, regression: &Regression) -> Annotations {
    let NamespaceKey { namespace, size_bytes, .. } = it;
    let it = regression;
    let summary = format!("{namespace} reserves {} more than it did", Bytes(it.lost_bytes()));
    let description = format!(
        "{namespace} of {} reserves {} under {}, and reserved {} under {}: {} more. `pfnwatch plan {namespace}` prints how to \
         get them back.",
        exact_bytes(*size_bytes),
        exact_bytes(it.after.reservation_bytes),
        kernel(&it.after),
        exact_bytes(it.before.reservation_bytes),
        kernel(&it.before),
        exact_bytes(it.lost_bytes()),
    );
    (summary, description)
}

pub(super) fn device_regression(it: &RegressedDevice, regression: &Regression) -> Annotations {
    let device = &it.device.device;
    let summary = format!(
        "{device} lost {} under Linux {}, compared with {}",
        Bytes(regression.lost_bytes()),
        regression.after.kernel,
        regression.before.kernel
    );
    let description = format!(
        "{}; {} in all. `pfnwatch scan --only devices` shows it as it is, and `pfnwatch baseline` what it is compared with.",
        describe(regression),
        exact_bytes(regression.lost_bytes()),
    );
    (summary, description)
}

/// `Linux 6.1.0 (MAX_STRUCT_PAGE_SIZE 128, seen 2026-01-02T03:04:05Z)`
fn kernel(cost: &Cost) -> String {
    let max = cost.max_struct_page_size_bytes.map_or_else(|| "not known".to_owned(), |bytes| bytes.to_string());
    format!("Linux {} (MAX_STRUCT_PAGE_SIZE {max}, seen {})", cost.kernel, cost.seen)
}

pub(super) fn oversize(assessed: &AssessedNamespace, release: &str) -> Annotations {
    let name = &assessed.namespace.name;
    let Numbers { size, reservation, ideal, excess, .. } = assessed.assessment.numbers;
    let known = |bytes: Option<u64>| bytes.map_or_else(|| "an unknown number of bytes".to_owned(), exact_bytes);
    let summary = format!("{name} wastes {}", excess.map_or_else(|| "capacity".to_owned(), |it| Bytes(it).to_string()));
    let description = format!(
        "{name} of {} reserves {} and should reserve {}: {} are lost. {}. Judged under Linux {release}. `pfnwatch plan {name}` \
         prints how to get them back.",
        known(size),
        known(reservation),
        known(ideal),
        known(excess),
        assessed.assessment.detail,
    );
    (summary, description)
}

pub(super) fn refused(assessed: &AssessedNamespace, release: &str) -> Annotations {
    let name = &assessed.namespace.name;
    let summary = format!("Linux {release} does not enable {name}");
    let description = format!(
        "{name} of {}: {}. Its data is on the media and cannot be reached. Do not make the namespace again before it is saved; \
         `pfnwatch superblock` shows the block.",
        assessed.assessment.numbers.size.map_or_else(|| "unknown size".to_owned(), exact_bytes),
        assessed.assessment.detail,
    );
    (summary, description)
}

pub(super) fn blind(agent: &AgentStatus) -> Annotations {
    let reason = agent.reason.as_deref().unwrap_or("no reason is known");
    let summary = "pfnwatch is up and sees nothing".to_owned();
    let description = format!(
        "The agent on Linux {} cannot observe: {reason}. Until that is fixed, nothing is reported and nothing is guarded; \
        `pfnwatch doctor` reports what is missing.",
        agent.kernel
    );
    (summary, description)
}

pub(super) fn not_effective(status: &Status) -> Annotations {
    let reason = status.ineffective_reason.as_deref().unwrap_or("no reason is known");
    let summary = "The mode is enforce, and oversize namespaces are not refused".to_owned();
    let description = format!(
        "The mode is enforce since {} (set by {}), and the guard does not guard: {reason}. `pfnwatch doctor --enforce` reports \
        what is missing.",
        status.mode.since, status.mode.by
    );
    (summary, description)
}

pub(super) fn mode_overridden(mode: &ModeStatus, configured: Mode) -> Annotations {
    let summary = format!("The mode is {}, and the configuration has {configured}", mode.mode);
    let reason = mode.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let description = format!(
        "{} is in force since {}, set by {}{reason}. It outlives reloads; `pfnwatch mode configured` returns to the \
         configuration's mode.",
        mode.mode, mode.since, mode.by
    );
    (summary, description)
}

pub(super) fn policy_invalid(status: &Status, error: &str) -> Annotations {
    let summary = "The configuration is wrong, and the one before it stays in force".to_owned();
    let description = format!(
        "{} was not loaded: {}. The configuration read at {} is in force. `pfnwatch policy check` reports what is wrong.",
        status.policy.file.as_deref().unwrap_or("The configuration"),
        redact_quotes(error),
        status.policy.since
    );
    (summary, description)
}

pub(super) fn store_failing(store: &StoreHealth, error: &str) -> Annotations {
    let file = store.file.as_ref().map_or_else(|| "The event store".to_owned(), |file| file.display().to_string());
    let summary = "pfnwatch cannot write its event store".to_owned();
    let description = format!(
        "{file} cannot be written: {error}. {} reported events are not in it. Observing and guarding go on; capacity \
         regressions cannot be assessed, and alerts that are not delivered are lost if the agent ends.",
        store.uncommitted
    );
    (summary, description)
}

pub(super) fn conflict(status: &Status) -> Annotations {
    let known = &status.max_struct_page;
    let summary = "What the kernel reserves for each page is in doubt".to_owned();
    let description = format!(
        "On Linux {}, {} contradicts {} about MAX_STRUCT_PAGE_SIZE. The guard uses the value that the kernel was seen to write, \
        or does not judge.",
        status.agent.kernel,
        list(&known.evidence),
        list(&known.conflicting_evidence),
    );
    (summary, description)
}

pub(super) fn memmap_not_returned(it: &MemmapReturnStatus, release: &str) -> Annotations {
    let verb = if it.is_suspicion() { "is suspected not to have returned" } else { "did not return" };
    let lost = it.total_lost();
    let summary = format!("Linux {release} {verb} {} of DRAM", Bytes(lost));
    let description = format!(
        "Memmaps in DRAM were removed on Linux {release}, which {verb} {} of them since boot. A reboot returns the DRAM; until then \
         disable, destroy and reconfigure as few namespaces as possible. Fixed in {MEMMAP_RETURNED_SINCE}.",
        exact_bytes(lost)
    );
    (summary, description)
}

fn list(evidence: &[String]) -> String {
    if evidence.is_empty() { "nothing".to_owned() } else { format!("\"{}\"", evidence.join("\", \"")) }
}

pub(super) fn records_lost(status: &Status, times: u64) -> Annotations {
    let summary = "pfnwatch did not see all that happened".to_owned();
    let counted = status.counters.iter().filter(|(name, count)| LOSSES.contains(&&***name) && **count > 0);
    let counted: Vec<String> = counted.map(|(name, count)| format!("{name} {count}")).collect();
    let totals = if counted.is_empty() { String::new() } else { format!(" In all so far: {}.", counted.join(", ")) };
    let description = format!(
        "{times} times in the last minutes, records were lost or could not be completed on Linux {}.{totals} `pfnwatch scan` shows the present state correctly. A larger --ring-size helps if records are lost.",
        status.agent.kernel
    );
    (summary, description)
}

const LOSSES: [&str; 6] = ["lost", "read_fault", "table_full", "unpaired", "guard_fault", "block_missed"];

pub(super) fn denied(count: u64) -> Annotations {
    let summary = format!("The guard refused {count} creations");
    let description = format!(
        "{count} creations of oversize namespaces were refused in the last minutes; nothing was written. `pfnwatch events \
         --denied` says which, why, and what to do instead."
    );
    (summary, description)
}

//! The expected keys of an event, from the act and the kernel's formula.

use serde_json::json;

use super::super::expected::Facts;
use super::act::{Configured, ExpectedDecision, Target};
use super::object;
use crate::MIB;
use crate::creation::Mode;
use crate::formula::reservation;
use crate::policy::GuardMode;

/// What every kernel of the soak reserves for a page.
const STRUCT_PAGE: u64 = 64;

/// What is reserved with so many bytes for a page: with map=mem, for none.
fn reserved(target: &Target, struct_page: u64) -> u64 {
    let struct_page = if target.shape.is_map_dev() { struct_page } else { 0 };
    reservation(target.start, target.shape.size_bytes, target.shape.align_bytes, struct_page)
}

const fn reference(configured: Configured) -> u64 {
    if configured.strict { STRUCT_PAGE / 2 } else { STRUCT_PAGE }
}

/// The policy's two thresholds: more than one align, which is 2 MiB at least, and more than a thousandth of the namespace.
pub(super) fn is_oversize(target: &Target, configured: Configured) -> bool {
    let excess = reserved(target, STRUCT_PAGE) - reserved(target, reference(configured));
    excess > target.shape.align_bytes.max(2 * MIB) && excess > target.shape.size_bytes / 1000
}

pub(super) fn judgement(
    target: &Target,
    block_uuid: &str,
    decision: ExpectedDecision,
    by: Configured,
) -> Option<Facts> {
    let kind = match decision {
        ExpectedDecision::Fine => return None,
        ExpectedDecision::WouldDeny => "would_deny",
        ExpectedDecision::Denied => "denied",
        ExpectedDecision::Exempt { .. } => "exempt",
        ExpectedDecision::Unjudged => "unjudged",
    };
    let mut facts = about(kind, target, block_uuid);
    if decision != ExpectedDecision::Unjudged {
        let (reservation, ideal) = (reserved(target, STRUCT_PAGE), reserved(target, reference(by)));
        facts.extend(object(json!({
            "reservation_bytes": reservation, "ideal_bytes": ideal, "excess_bytes": reservation - ideal,
        })));
    }
    Some(facts)
}

pub(super) fn set_up(target: &Target, block_uuid: &str, block: &str) -> Facts {
    let mut facts = about("set_up", target, block_uuid);
    let reservation = reserved(target, STRUCT_PAGE);
    let end = target.start + target.shape.size_bytes;
    let end_trunc = end % target.shape.align_bytes.max(2 * MIB);
    facts.extend(object(json!({
        "block": block, "outcome": "enabled", "reservation_bytes": reservation, "end_trunc_bytes": end_trunc,
        "usable_bytes": target.shape.size_bytes - reservation - end_trunc, "page_struct_size_bytes": STRUCT_PAGE,
    })));
    facts
}

pub(super) fn found(target: &Target, block_uuid: &str) -> Facts {
    let mut facts = about("existing_namespace", target, block_uuid);
    facts.extend(object(json!({ "enabled": true, "reservation_bytes": reserved(target, STRUCT_PAGE) })));
    facts
}

fn about(kind: &str, target: &Target, block_uuid: &str) -> Facts {
    let personality = match target.shape.mode {
        Mode::Fsdax => "fsdax",
        Mode::Devdax => "devdax",
    };
    object(json!({
        "event": kind, "namespace_uuid": target.uuid, "block_uuid": block_uuid, "start_address": target.start,
        "size_bytes": target.shape.size_bytes, "align_bytes": target.shape.align_bytes, "personality": personality,
        "map": if target.shape.is_map_dev() { "dev" } else { "mem" },
    }))
}

pub(super) fn unbind(uuid: &str) -> Facts {
    object(json!({ "event": "unbind", "namespace_uuid": uuid, "incomplete": false }))
}

pub(super) fn destroy(uuid: &str) -> Facts {
    object(json!({ "event": "destroy", "namespace_uuid": uuid, "incomplete": false }))
}

pub(super) fn agent(kind: &str) -> Facts {
    object(json!({ "event": kind }))
}

pub(super) fn ready(state: &str) -> Facts {
    object(json!({ "event": "ready", "state": state }))
}

pub(super) fn taken_over(mode: GuardMode) -> Facts {
    object(json!({ "event": "guard_taken_over", "mode": mode.as_str() }))
}

pub(super) fn mode_changed(from: GuardMode, to: GuardMode) -> Facts {
    object(json!({ "event": "mode_changed", "from": from.as_str(), "to": to.as_str() }))
}

pub(super) fn exemption(kind: &str, id: u64) -> Facts {
    object(json!({ "event": kind, "exemption_id": id }))
}

pub(super) fn stopped() -> Facts {
    object(json!({
        "event": "stopped", "decode_errors": 0, "lost": 0, "read_faults": 0, "table_full": 0, "unpaired": 0,
        "guard_faults": 0, "blocks_missed": 0, "returns_missed": 0, "swept": 0,
    }))
}

//! The guard's events as lines for people.

use std::fmt::Write as _;

use super::line::{by, exactly, on};
use crate::{
    assess::map_name,
    event::{
        Exemption, Found, GuardState, Handover, Judged, ModeChanged, PolicyLoaded, PolicyRefused, mode_name,
        personality_name,
    },
};

/// A creation that was judged: what it was on its line, then the explanation, the remedies and the block that is gone,
/// each on a line of its own.
pub(super) fn judged(kind: &str, it: &Judged) -> String {
    let mut text = format!(
        "{kind:8} {} as {} ({}, map={}, align {})",
        on(it.namespace.as_ref()),
        it.device,
        personality_name(it.personality),
        it.map.map_or("none", map_name),
        crate::units::Bytes(it.align_bytes),
    );
    if let (Some(reserved), Some(ideal), Some(excess)) = (it.reservation_bytes, it.ideal_bytes, it.excess_bytes) {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            ": {} would be reserved, ideal {}, excess {}",
            exactly(reserved),
            exactly(ideal),
            exactly(excess)
        );
    }
    text.push_str(&by(it.by.as_ref()));
    text
}

pub(super) fn found(it: &Found) -> String {
    format!("found    {}: {}", it.namespace, it.judgement.detail)
}

pub(super) fn mode_changed(it: &ModeChanged) -> String {
    let why = it.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("mode     {} in place of {}{why}{}", mode_name(it.to), mode_name(it.from), by(it.by.as_ref()))
}

pub(super) fn policy_loaded(it: &PolicyLoaded) -> String {
    let from = it.file.as_deref().unwrap_or("defaults");
    format!("policy   number {} from {from}{}", it.number, by(it.by.as_ref()))
}

pub(super) fn policy_refused(it: &PolicyRefused) -> String {
    format!("POLICY   {} is refused, the policy before stays in force: {}", it.file, it.error)
}

pub(super) fn exemption(what: &str, it: &Exemption) -> String {
    format!("exempt   exemption {} for {} {what}: {}{}", it.id, it.subject, it.reason, by(it.by.as_ref()))
}

pub(super) fn state(it: &GuardState) -> String {
    format!("guard    {}: attached {}, armed {}", mode_name(it.mode), it.attached, it.armed)
}

pub(super) fn handover(what: &str, it: &Handover) -> String {
    format!("guard    {what} in {}{}", mode_name(it.mode), by(it.by.as_ref()))
}

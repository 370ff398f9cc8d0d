//! The guard's events as lines for people. What does not fit on one is indented below it.

use std::fmt::Write as _;

use super::line::{by_actor, exact_bytes, finding, further_line, namespace};
use crate::model::event::{
    BlockOrigin, ExemptionChange, ExemptionUsed, ExistingNamespace, GuardDecision, GuardState, GuardTransfer,
    GuardVerdict, ModeChanged, PolicyLoaded, PolicyRefused, Prediction, ReplacedBlock, SetUp, personality_name,
};
use crate::model::facts::map_name;
use crate::model::units::Bytes;
use crate::model::verdict::Verdict;

/// What the caller of a denied bind gets instead of the reason (drivers/base/dd.c, `really_probe`; libndctl).
const CALLER_HINT: &str = "the caller got another error: bind answers \"Cannot allocate memory\" (ENOMEM), ndctl prints \"No such \
device or address\", dmesg \"driver_sysfs_add(…) failed\"";

pub(super) fn denied(it: &GuardDecision) -> String {
    let mut text = decision_line("DENIED", it);
    further_line(&mut text, CALLER_HINT);
    text + &further(it)
}

pub(super) fn not_denied(kind: &str, it: &GuardDecision) -> String {
    decision_line(kind, it) + &further(it)
}

fn decision_line(kind: &str, it: &GuardDecision) -> String {
    let mut line = format!("{kind:8} {}", namespace(it.namespace.as_ref(), it.personality, it.map));
    // Writing to a String cannot fail.
    if let (Some(reserved), Some(ideal), Some(excess)) = (it.reservation_bytes, it.ideal_bytes, it.excess_bytes) {
        let sizes = (exact_bytes(reserved), exact_bytes(ideal), exact_bytes(excess));
        let _ = write!(line, ": reservation {}, ideal {}, excess {}", sizes.0, sizes.1, sizes.2);
    }
    line.push_str(&by_actor(it.by.as_ref()));
    further_line(&mut line, &format!("{}, align {}; {}", it.device, Bytes(it.align_bytes), it.detail));
    line
}

fn further(it: &GuardDecision) -> String {
    let mut text = String::new();
    if let Some(exemption) = &it.exemption {
        further_line(&mut text, &exemption_used(exemption));
    }
    for remedy in &it.remedies {
        further_line(&mut text, &format!("instead: {remedy}"));
    }
    if let Some(old) = &it.replaced {
        replaced(&mut text, old);
    }
    text
}

fn exemption_used(it: &ExemptionUsed) -> String {
    let mut text = format!("by exemption {}", it.id);
    if let Some(subject) = &it.subject {
        let _ = write!(text, " for {subject}");
    }
    if let Some(reason) = &it.reason {
        let _ = write!(text, ": {reason}");
    }
    text
}

fn replaced(text: &mut String, old: &ReplacedBlock) {
    let became = match (old.still_on_media, old.restore_commands.is_empty()) {
        (true, _) => "should still be there: enable it again with",
        (false, false) => "is gone, the data behind it is unchanged: restore it with",
        (false, true) => "is replaced",
    };
    let how = match old.origin {
        BlockOrigin::Read => "read",
        BlockOrigin::Made => "seen being made",
        BlockOrigin::Accepted => "seen in use",
    };
    let map = old.map.map_or("none", map_name);
    let reserved = old.reservation_bytes.map_or_else(|| "an unknown size".to_owned(), exact_bytes);
    let uuid = old.block_uuid.map_or_else(String::new, |uuid| format!(", block uuid {uuid}"));
    let seen = old.last_seen.seconds();
    let what = format!(
        "its info block ({}, map={map}, align {}, {reserved} reserved{uuid}, {how}, last at {seen}) {became}",
        personality_name(old.personality),
        Bytes(old.align_bytes),
    );
    further_line(text, &what);
    for step in &old.restore_commands {
        further_line(text, &format!("    {step}"));
    }
}

/// The guard's prediction for a creation that it allowed: `None` if neither guard nor verdict finds fault with it.
pub(super) fn prediction(it: &SetUp) -> Option<String> {
    let Prediction { decision, predicted_bytes, mismatch } = it.guard?;
    let oversize = it.judgement.as_ref().is_some_and(|found| found.verdict == Verdict::Oversize);
    let decided = match decision {
        GuardVerdict::Passed if oversize => "the guard found it not oversize",
        GuardVerdict::NotSeen if oversize => "no guard was judging",
        GuardVerdict::Passed | GuardVerdict::NotSeen => return None,
        GuardVerdict::WouldDeny => "enforce would have refused it",
        GuardVerdict::Exempt => "allowed by an exemption",
        GuardVerdict::Unjudged => "the guard could not judge it",
    };
    Some(match (mismatch, predicted_bytes) {
        (false, _) => decided.to_owned(),
        (true, None) => format!("MISMATCH: {decided}"),
        (true, Some(bytes)) => format!("MISMATCH: {decided}, and predicted a reservation of {}", exact_bytes(bytes)),
    })
}

/// A namespace that existed when observation began.
pub(super) fn existing_namespace(it: &ExistingNamespace) -> String {
    let size = it.size_bytes.map_or_else(String::new, |bytes| format!("{}, ", Bytes(bytes)));
    let map = it.map.map_or("none", map_name);
    let mut line = format!("existing {} ({size}{}, map={map})", it.namespace, it.personality);
    if let Some(reserved) = it.reservation_bytes {
        let _ = write!(line, ": reservation {}", exact_bytes(reserved));
    }
    let _ = write!(line, "; {}", finding(it.judgement.verdict).unwrap_or("ok"));
    let align = it.align_bytes.map_or_else(String::new, |bytes| format!("align {}; ", Bytes(bytes)));
    further_line(&mut line, &format!("{align}{}", it.judgement.detail));
    line
}

pub(super) fn mode_changed(it: &ModeChanged) -> String {
    let why = it.reason.as_ref().map_or_else(String::new, |reason| format!(" (reason: {reason})"));
    format!("mode     {} -> {}{why}{}", it.from, it.to, by_actor(it.by.as_ref()))
}

pub(super) fn policy_loaded(it: &PolicyLoaded) -> String {
    let from = it.file.as_ref().map_or_else(|| "the defaults".to_owned(), Clone::clone);
    let mut text = format!("policy   number {} is in force, from {from}", it.number);
    for sentence in &it.explanation {
        further_line(&mut text, sentence);
    }
    text
}

/// A policy that was rejected. The lines of the file in a TOML error follow on lines of their own.
pub(super) fn policy_refused(it: &PolicyRefused) -> String {
    let mut text = format!("POLICY   {} is rejected, the earlier policy stays in force", it.file);
    for line in it.error.lines().filter(|line| !line.trim().is_empty()) {
        further_line(&mut text, line);
    }
    text
}

pub(super) fn exemption(what: &str, it: &ExemptionChange) -> String {
    let once = if it.once { ", for one creation" } else { "" };
    let until = it.until.map_or_else(String::new, |until| format!(", until {}", until.seconds()));
    format!(
        "exempt   exemption {} for {} {what}{once}{until}: {}{}",
        it.id,
        it.subject,
        it.reason,
        by_actor(it.by.as_ref())
    )
}

pub(super) fn state(it: &GuardState) -> String {
    let does = match (it.attached, it.armed, it.judges) {
        (false, ..) => "is NOT attached: every creation is allowed",
        (true, false, _) => "judges nothing now: every creation is allowed",
        (true, true, false) => "is attached, but was NOT seen to run: nothing shows that a creation would be refused",
        (true, true, true) => "judges creations",
    };
    let mut line = format!("guard    {does} ({})", it.mode);
    if it.mode != it.configured_mode {
        let _ = write!(line, "; set by a person, the configuration has {}", it.configured_mode);
    }
    if let Some(reason) = &it.reason {
        let _ = write!(line, ": {reason}");
    }
    if !it.pins.is_empty() {
        let _ = write!(line, "; pinned, so that it stays without the agent: {}", it.pins.join(", "));
    }
    line
}

pub(super) fn handover(what: &str, it: &GuardTransfer) -> String {
    let mut line = format!("guard    {what} ({})", it.mode);
    if !it.pins.is_empty() {
        let _ = write!(line, ": {}", it.pins.join(", "));
    }
    let _ = write!(line, "; {}", it.detail);
    line + &by_actor(it.by.as_ref())
}

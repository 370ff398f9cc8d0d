//! The policy applied to recorded events: the lines of `pfnwatch run --format json`. Pure, except for the reading.

use std::io::BufRead;
use std::time::SystemTime;

use anyhow::bail;
use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation};
use serde::Deserialize;
use uuid::Uuid;

use super::creation::{Creation, Evaluation, PolicyOutcome, describe_excess, outcome};
use crate::model::event::{SCHEMA, Time};
use crate::model::kernel::COMPAT_ALIGN;
use crate::model::policy::{Policy, RegionFacts};
use crate::policy::judge::MatchContext;

/// The kinds of events that are evaluated.
pub(super) const KINDS: [&str; 6] = ["ready", "set_up", "denied", "would_deny", "exempt", "unjudged"];

/// The keys of a line that are evaluated; others are ignored.
#[derive(Debug, Deserialize)]
struct RecordedEvent {
    schema: u32,
    event: String,
    time: String,
    /// `made` if a set-up wrote a block.
    block: Option<String>,
    map: Option<String>,
    namespace: Option<String>,
    namespace_uuid: Option<Uuid>,
    block_uuid: Option<Uuid>,
    start_address: Option<u64>,
    size_bytes: Option<u64>,
    align_bytes: Option<u64>,
    reservation_bytes: Option<u64>,
    ideal_bytes: Option<u64>,
    block_page_size_bytes: Option<u64>,
    page_size_bytes: Option<u64>,
}

struct FoundCreation {
    same: Option<(u64, Uuid)>,
    creation: Creation,
}

/// Reads all lines and judges each creation by the policy as of its time.
pub(super) fn evaluate(lines: impl BufRead, policy: &Policy, regions: &[RegionFacts]) -> anyhow::Result<Evaluation> {
    let mut reader = EventReader { policy, regions, page_size: None, found: Vec::new(), unjudged: 0 };
    let (mut events, mut unreadable, mut first_unreadable) = (0_u64, 0_u64, None);
    for (number, line) in (1_u64..).zip(lines.split(b'\n')) {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match reader.take(&line) {
            Ok(()) => events += 1,
            Err(error) => {
                unreadable += 1;
                first_unreadable.get_or_insert_with(|| format!("line {number}: {error}"));
            }
        }
    }
    match first_unreadable {
        Some(why) if events == 0 => bail!("no event in them, as `pfnwatch run --format json` writes them: {why}"),
        first_unreadable => {
            let creations = reader.found.into_iter().map(|found| found.creation).collect();
            let against = Evaluation::new("events", creations, reader.unjudged);
            Ok(Evaluation { unreadable_lines: unreadable, first_unreadable, ..against })
        }
    }
}

struct EventReader<'a> {
    policy: &'a Policy,
    regions: &'a [RegionFacts],
    page_size: Option<u64>,
    found: Vec<FoundCreation>,
    unjudged: u64,
}

impl EventReader<'_> {
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let line: RecordedEvent = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if line.schema != SCHEMA {
            return Err(format!("an event of schema {}, and this pfnwatch knows schema {SCHEMA}", line.schema));
        }
        let at = humantime::parse_rfc3339(&line.time).map_err(|error| format!("time \"{}\": {error}", line.time))?;
        let on_the_memory = line.map.as_deref() == Some("dev");
        match line.event.as_str() {
            "ready" => self.page_size = line.page_size_bytes.or(self.page_size),
            "set_up" if line.block.as_deref() == Some("made") && on_the_memory => self.creation(line, at),
            "set_up" => self.unjudged += 1,
            // The guard sends them for map=dev alone.
            "denied" | "would_deny" | "exempt" | "unjudged" if on_the_memory || line.map.is_none() => {
                self.creation(line, at);
            }
            _ => {}
        }
        Ok(())
    }

    fn creation(&mut self, line: RecordedEvent, at: SystemTime) {
        let same = line.start_address.zip(line.block_uuid);
        // The creation that the guard allowed follows as a set-up: it is the same creation, and the block decides.
        if line.event == "set_up" && same.is_some() {
            let stands_alone = |event: Option<&str>| matches!(event, Some("denied" | "set_up"));
            self.found.retain(|found| found.same != same || stands_alone(found.creation.event.as_deref()));
        }
        let creation = self.judge(line, at);
        self.found.push(FoundCreation { same, creation });
    }

    fn judge(&self, line: RecordedEvent, at: SystemTime) -> Creation {
        // A guard that did not reach the formula reports 0.
        let reservation = line.reservation_bytes.filter(|bytes| *bytes > 0);
        let ideal = self.ideal(&line).or_else(|| line.ideal_bytes.filter(|bytes| *bytes > 0));
        let excess = reservation.zip(ideal).map(|(reservation, ideal)| reservation.saturating_sub(ideal));
        let (decision, detail) = match (excess, line.align_bytes, line.size_bytes) {
            (Some(excess), Some(align), Some(size)) => {
                let oversize = self.policy.thresholds.passed_by(excess, align.max(COMPAT_ALIGN), size);
                let decision = self.policy.decide(oversize, &self.place(&line), at);
                outcome(decision, self.policy.mode, describe_excess(excess, oversize))
            }
            _ => (PolicyOutcome::Unknown, "the event does not contain the reservation, or the namespace".to_owned()),
        };
        Creation {
            time: Some(Time(at).seconds().to_string()),
            event: Some(line.event),
            namespace: line.namespace,
            namespace_uuid: line.namespace_uuid,
            start_address: line.start_address,
            size_bytes: line.size_bytes,
            align_bytes: line.align_bytes,
            reservation_bytes: reservation,
            ideal_bytes: ideal,
            excess_bytes: excess,
            decision,
            detail,
        }
    }

    /// By this policy's reference, which may differ from that of the agent that wrote the event.
    fn ideal(&self, line: &RecordedEvent) -> Option<u64> {
        let geometry = Geometry {
            start: line.start_address?,
            size: line.size_bytes?,
            align: line.align_bytes?,
            map: Map::Dev,
            page_size: line.block_page_size_bytes.or(line.page_size_bytes).or(self.page_size)?,
            compat: COMPAT_ALIGN,
        };
        // Whether an empty block is written changes no number of one that is not.
        let rule = KernelQuirks { allows_empty: true };
        reservation(&geometry, self.policy.thresholds.reference_struct_page, rule).ok().map(|ideal| ideal.dataoff)
    }

    fn place(&self, line: &RecordedEvent) -> MatchContext {
        // A namespace that the event describes, with no uuid: it has none.
        let uuid = line.namespace_uuid.or(line.start_address.map(|_| Uuid::nil()));
        MatchContext::at(line.start_address, uuid, self.regions)
    }
}

#[cfg(test)]
mod tests;

//! What a policy means, as data: the table and the JSON are made of it. Pure.

use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use comfy_table::{CellAlignment, Table, presets};
use pfnwatch_common::reservation::REGRESSED_STRUCT_PAGE;
use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::creation::{Creation, Evaluation, PolicyOutcome};
use crate::model::event::{SCHEMA, Time};
use crate::model::inventory::{Attribute, AttributeError, Inventory};
use crate::model::kernel::COMPAT_ALIGN;
use crate::model::policy::{Exemption, ExemptionSubject, Mode, OnAgentExit, Policy};
use crate::model::thresholds::Thresholds;
use crate::model::units::Bytes;
use crate::policy::judge::identifying_cookie;
use crate::policy::{SkipReason, describe_limits, describe_mode, describe_on_agent_exit};

const GIB: u64 = 1 << 30;

/// Example sizes for the limits: at an align of 2 MiB, with pages of 4 KiB.
const EXAMPLES: [u64; 2] = [16 * GIB, 1024 * GIB];
const EXAMPLE_ALIGN: u64 = 2 << 20;

/// A valid configuration, explained.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct Explanation {
    schema: u32,
    /// The configuration's file.
    pub(super) file: String,
    /// True.
    valid: bool,
    /// What the guard does about an oversize creation.
    pub(super) mode: Mode,
    /// What happens to the guard when the agent ends.
    pub(super) on_agent_exit: OnAgentExit,
    /// The oversize namespaces.
    #[serde(serialize_with = "limits")]
    #[cfg_attr(test, schemars(with = "LimitsSchema"))]
    pub(super) thresholds: Thresholds,
    /// What that means for two sizes.
    pub(super) examples: Vec<Example>,
    /// What is allowed although it is oversize.
    pub(super) exemptions: Vec<ExplainedExemption>,
    /// Settings that are valid but probably not intended, in words.
    pub(super) warnings: Vec<String>,
    /// Null unless it was asked for.
    pub(super) against: Option<Evaluation>,
}

/// What the limits mean for one size.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Example {
    /// A namespace of this size, with pages of 4 KiB.
    pub(super) size_bytes: u64,
    /// The alignment of its usable part, in bytes.
    pub(super) align_bytes: u64,
    /// Its reservation at the reference struct page size.
    pub(super) ideal_bytes: u64,
    /// The largest excess that passes.
    pub(super) limit_bytes: u64,
    /// What a kernel with the regression reserves.
    pub(super) regressed_reservation_bytes: u64,
    /// By how much that exceeds the ideal.
    pub(super) regressed_excess_bytes: u64,
    /// Whether that is more than the limits.
    pub(super) regressed_is_oversize: bool,
}

/// An exemption, and whether it is in force now.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ExplainedExemption {
    #[serde(flatten)]
    pub(super) subject: ExemptionSubject,
    #[serde(skip)]
    pub(super) words: String,
    /// Why.
    pub(super) reason: String,
    /// Null if it never expires.
    pub(super) until: Option<String>,
    /// Whether its end has passed.
    pub(super) has_ended: bool,
    /// Whether this host has its subject; null if that cannot be read.
    pub(super) on_this_host: Option<bool>,
}

impl Explanation {
    pub(super) fn new(
        file: &Path,
        policy: &Policy,
        inventory: &Inventory,
        now: SystemTime,
        against: Option<Evaluation>,
    ) -> Self {
        let examples: Vec<_> = EXAMPLES.iter().filter_map(|size| example(*size, &policy.thresholds)).collect();
        let exemptions: Vec<_> =
            policy.exemptions.iter().map(|exemption| exempted(exemption, inventory, now)).collect();
        Self {
            schema: SCHEMA,
            file: file.display().to_string(),
            valid: true,
            mode: policy.mode,
            on_agent_exit: policy.on_agent_exit,
            thresholds: policy.thresholds,
            warnings: warnings(&examples, &exemptions, inventory),
            examples,
            exemptions,
            against,
        }
    }
}

fn limits<S: Serializer>(thresholds: &Thresholds, serializer: S) -> Result<S::Ok, S::Error> {
    let Thresholds { reference_struct_page, aligns, parts_per_million } = *thresholds;
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("aligns", &aligns)?;
    map.serialize_entry("parts_per_million", &parts_per_million)?;
    map.serialize_entry("reference_struct_page_bytes", &reference_struct_page)?;
    map.end()
}

fn example(size: u64, thresholds: &Thresholds) -> Option<Example> {
    let (align, start) = (EXAMPLE_ALIGN, 4 * GIB);
    let geometry = Geometry { start, size, align, map: Map::Dev, page_size: 4096, compat: COMPAT_ALIGN };
    let reserved = |bytes| reservation(&geometry, bytes, KernelQuirks::default()).ok().map(|reserved| reserved.dataoff);
    let (ideal, regressed) = (reserved(thresholds.reference_struct_page)?, reserved(REGRESSED_STRUCT_PAGE)?);
    let share = u128::from(size) * u128::from(thresholds.parts_per_million) / 1_000_000;
    let excess = regressed.saturating_sub(ideal);
    Some(Example {
        size_bytes: size,
        align_bytes: align,
        ideal_bytes: ideal,
        limit_bytes: u64::try_from(share).unwrap_or(u64::MAX).max(align.saturating_mul(thresholds.aligns)),
        regressed_reservation_bytes: regressed,
        regressed_excess_bytes: excess,
        regressed_is_oversize: thresholds.passed_by(excess, align, size),
    })
}

fn exempted(exemption: &Exemption, inventory: &Inventory, now: SystemTime) -> ExplainedExemption {
    ExplainedExemption {
        subject: exemption.subject,
        words: exemption.to_string(),
        reason: exemption.reason.clone(),
        until: exemption.until.map(|at| Time(at).seconds().to_string()),
        has_ended: exemption.has_expired(now),
        on_this_host: is_here(exemption.subject, inventory),
    }
}

/// Whether the host has it; `None` if an attribute is not readable, or if a disabled region may contain it.
fn is_here(subject: ExemptionSubject, inventory: &Inventory) -> Option<bool> {
    fn any<T: PartialEq>(mut attributes: impl Iterator<Item = Attribute<T>>, wanted: &T) -> Option<bool> {
        let mut hidden = false;
        let found = attributes.any(|attribute| {
            hidden |= attribute == Err(AttributeError::Denied);
            attribute.as_ref() == Ok(wanted)
        });
        if found || !hidden { Some(found) } else { None }
    }
    let regions = inventory.regions.iter();
    match subject {
        ExemptionSubject::RegionCookie(cookie) => any(regions.map(|region| region.set_cookie.clone()), &cookie),
        ExemptionSubject::RegionStart(start) => any(regions.map(|region| region.resource.clone()), &start),
        ExemptionSubject::Namespace(uuid) => {
            let found = any(inventory.namespaces.iter().map(|namespace| namespace.uuid.clone()), &uuid);
            let closed = inventory.regions.iter().any(|region| !region.enabled);
            found.filter(|found| *found || !closed)
        }
    }
}

/// Whether it is a `set_cookie` that several regions have.
fn is_shared(subject: ExemptionSubject, inventory: &Inventory) -> bool {
    let all = inventory.regions.iter().filter_map(|region| region.set_cookie.clone().ok());
    matches!(subject, ExemptionSubject::RegionCookie(cookie) if identifying_cookie(cookie, all) != cookie)
}

/// Valid settings that are probably a mistake or outdated.
fn warnings(examples: &[Example], exemptions: &[ExplainedExemption], inventory: &Inventory) -> Vec<String> {
    let mut warnings = Vec::new();
    if examples.iter().all(|example| !example.regressed_is_oversize) {
        warnings.push("with these limits nothing that a kernel with the regression makes is oversize".to_owned());
    }
    let bare = inventory.regions.is_empty();
    if bare && !exemptions.is_empty() {
        warnings
            .push("this host has no persistent memory: whether it has the exempt regions was not checked".to_owned());
    }
    for (number, exemption) in (1..).zip(exemptions) {
        let mut warn = |what: String| warnings.push(format!("exemption {number}, {}: {what}", exemption.subject));
        match &exemption.until {
            Some(until) if exemption.has_ended => warn(format!("it expired at {until} and has no effect: remove it")),
            None => warn("it never expires: give it an `until`, so that somebody reviews it".to_owned()),
            Some(_) => {}
        }
        match exemption.on_this_host {
            _ if bare => {}
            Some(true) if is_shared(exemption.subject, inventory) => {
                warn(format!("not applied: {}", SkipReason::Ambiguous))
            }
            Some(true) => {}
            Some(false) => warn("there is none on this host now".to_owned()),
            None => warn("whether this host has it is unknown: check as root, with its regions enabled".to_owned()),
        }
        let before = (1..number).zip(exemptions).find(|(_, other)| other.subject == exemption.subject);
        if let Some((other, _)) = before {
            warn(format!("exemption {other} is for the same"));
        }
    }
    warnings
}

/// The thresholds of oversize: the excess must be above both.
#[cfg(test)]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Limits")]
#[expect(dead_code, reason = "the schema of a type that is serialised entry by entry")]
struct LimitsSchema {
    /// A multiple of the align.
    aligns: u64,
    /// Millionths of the namespace's size.
    parts_per_million: u64,
    /// The struct page size of the ideal, in bytes.
    reference_struct_page_bytes: u64,
}

pub(super) fn explanation_text(explanation: &Explanation) -> String {
    let mut text = format!("{} is valid.\n", explanation.file);
    // Writing to a string does not fail.
    let (mode, exit) = (explanation.mode, explanation.on_agent_exit);
    let _ = writeln!(text, "\nMode {}: {}.", mode, describe_mode(mode));
    let _ = writeln!(text, "When the agent ends, {}: {}.", exit.as_str(), describe_on_agent_exit(exit));
    limits_text(&mut text, explanation);
    exemptions(&mut text, explanation);
    if !explanation.warnings.is_empty() {
        text.push_str("\nWarnings:\n");
        for warning in &explanation.warnings {
            let _ = writeln!(text, "  - {warning}.");
        }
    }
    if let Some(against) = &explanation.against {
        render_evaluation(&mut text, against, mode);
    }
    text
}

fn limits_text(text: &mut String, explanation: &Explanation) {
    let _ = write!(
        text,
        "\nJudged is what is about to be made with map=dev, in fsdax or devdax mode. Namespaces that are there\n\
         already are always enabled; map=mem, sector and raw are never judged. One is oversize when it would\nreserve {}.\n\
         At an align of 2 MiB, with pages of 4 KiB:\n\n",
        describe_limits(&explanation.thresholds).replace(", by more", ",\nby more"),
    );
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAMESPACE", "IDEAL", "EXCESS THAT PASSES", "WITH THE REGRESSION"]);
    right(&mut table, 0..3);
    for example in &explanation.examples {
        let Example { size_bytes, ideal_bytes, limit_bytes, regressed_reservation_bytes, .. } = *example;
        let verdict = if example.regressed_is_oversize { "OVERSIZE" } else { "passes" };
        let regressed = format!("{}: {verdict}", Bytes(regressed_reservation_bytes));
        let [size, ideal, limit] = [size_bytes, ideal_bytes, limit_bytes].map(|bytes| Bytes(bytes).to_string());
        table.add_row([size, ideal, limit, regressed]);
    }
    let _ = writeln!(text, "{}", table.trim_fmt());
}

fn exemptions(text: &mut String, explanation: &Explanation) {
    if explanation.exemptions.is_empty() {
        text.push_str("\nNo exemptions.\n");
        return;
    }
    text.push_str("\nExemptions, which pass all the same:\n");
    for (number, exemption) in (1..).zip(&explanation.exemptions) {
        let ended = if exemption.has_ended { " (ended)" } else { "" };
        let _ = writeln!(text, "  {number}. {}{ended}", exemption.words);
    }
}

fn render_evaluation(text: &mut String, against: &Evaluation, mode: Mode) {
    let from_events = against.what == "events";
    let _ = writeln!(
        text,
        "\n{}",
        if from_events {
            "Had this policy been in force when these were seen:"
        } else {
            "Were the namespaces of this host made again just as they are:"
        }
    );
    if against.creations.is_empty() {
        text.push_str("  nothing with map=dev to judge.\n");
    } else {
        let _ = writeln!(text, "\n{}\n", creations(&against.creations, from_events).trim_fmt());
        for creation in against.creations.iter().filter(|creation| creation.decision != PolicyOutcome::Passes) {
            let name = creation.namespace.as_deref().unwrap_or("a namespace");
            let _ = writeln!(text, "{name}: {}", creation.detail);
        }
    }
    totals(text, against, mode);
    if let Some(first) = &against.first_unreadable {
        let _ = writeln!(text, "{} lines are no events and were left out; {first}", against.unreadable_lines);
    }
}

fn creations(creations: &[Creation], from_events: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec!["NAMESPACE", "SIZE", "RESERVED", "IDEAL", "EXCESS", "THIS POLICY"];
    if from_events {
        header.splice(0..0, ["TIME", "SEEN"]);
    }
    let sizes = header.len() - 5..header.len() - 1;
    table.set_header(header);
    right(&mut table, sizes);
    for creation in creations {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string());
        let told = [&creation.time, &creation.event].into_iter().flatten().map(|text| text.replace('_', " "));
        let numbers = [creation.size_bytes, creation.reservation_bytes, creation.ideal_bytes, creation.excess_bytes];
        let mut cells: Vec<_> = told.collect();
        cells.push(creation.namespace.clone().unwrap_or_else(|| "?".to_owned()));
        cells.extend(numbers.map(size));
        cells.push(creation.decision.as_str().to_owned());
        table.add_row(cells);
    }
    table
}

fn totals(text: &mut String, against: &Evaluation, mode: Mode) {
    let counts = &against.counts;
    let denied = counts.denied.saturating_add(counts.would_deny);
    let word = if mode == Mode::Enforce { "denied" } else { "would be denied under enforce" };
    let _ = write!(text, "{denied} {word}");
    if denied > 0 {
        let _ = write!(text, " ({} too much)", Bytes(counts.denied_excess_bytes));
    }
    let _ = writeln!(
        text,
        ", {} exempt, {} allowed, {} unknown; {} not judged",
        counts.exempt, counts.passes, counts.unknown, against.unjudged
    );
}

fn right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

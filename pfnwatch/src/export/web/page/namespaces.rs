//! The namespaces: what is usable, what is not, and what to do about it.

use maud::{Markup, html};

use crate::model::facts::map_name;
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use crate::model::units::{Bytes, Plural};
use crate::model::verdict::{NamespaceTotals, Numbers, Verdict};
use crate::model::view::View;

const WIDTH: u64 = 10_000;

/// Each part that is not zero is at least this wide.
const MIN_PART_WIDTH: u64 = 60;

pub(super) fn render(view: &View) -> Markup {
    let Ok(scan) = &view.scan else { return html! {} };
    html! {
        section aria-labelledby="host" {
            h2 id="host" { "This host" }
            @if scan.namespaces.is_empty() {
                p { "No namespaces." }
            } @else {
                (host(scan))
            }
        }
        @if !scan.namespaces.is_empty() {
            section aria-labelledby="namespaces" {
                h2 id="namespaces" { "Namespaces" }
                @for assessed in &scan.namespaces {
                    (card(assessed))
                }
            }
        }
    }
}

fn host(scan: &ScanResult) -> Markup {
    let totals = &scan.totals;
    let NamespaceTotals {
        size_bytes,
        usable_bytes,
        ideal_bytes,
        reservation_bytes,
        excess_bytes,
        memmap_dram_bytes,
        ..
    } = *totals;
    let memmap = reservation_bytes.saturating_sub(excess_bytes);
    // Cut off for alignment, or of namespaces of which no more than the size is known.
    let other = size_bytes.saturating_sub(reservation_bytes).saturating_sub(usable_bytes);
    html! {
        p.lead {
            (badge(scan.verdict)) " "
            @match excess_bytes {
                0 => "Nothing is reserved too much.",
                bytes => { strong { (Bytes(bytes)) } " of " (Bytes(size_bytes)) " are reserved too much." }
            }
        }
        (bar(&[("memmap", memmap), ("excess", excess_bytes), ("usable", usable_bytes), ("other", other)], size_bytes))
        (numbers(&[
            ("Namespaces", totals.namespaces.to_string()),
            ("Size", Bytes(size_bytes).to_string()),
            ("Usable", Bytes(usable_bytes).to_string()),
            ("Memmap", Bytes(ideal_bytes).to_string()),
            ("Excess", Bytes(excess_bytes).to_string()),
            ("Memmap in DRAM", Bytes(memmap_dram_bytes).to_string()),
        ]))
        @if totals.memmap_dram_unknown > 0 {
            p { "The memmap in DRAM is unknown for " (Plural(totals.memmap_dram_unknown, "namespace")) "." }
        }
        @if totals.unknown + totals.refused > 0 {
            p { (totals.unknown) " without a verdict and " (totals.refused) " refused: what is not known of them is not in these sums." }
        }
    }
}

fn card(assessed: &AssessedNamespace) -> Markup {
    let assessment = &assessed.assessment;
    let Numbers { size, usable, reservation, end_trunc, ideal, excess, dram, .. } = assessment.numbers;
    let shown = |bytes: Option<u64>| bytes.map_or_else(|| "not known".to_owned(), |bytes| Bytes(bytes).to_string());
    let memmap = reservation.map(|bytes| bytes.saturating_sub(excess.unwrap_or(0)));
    html! {
        article {
            h3 { (assessed.namespace.name) " " (badge(assessment.verdict)) }
            p.kind {
                (assessed.mode())
                @if let Some(map) = assessed.map() { ", map=" (map_name(map)) }
                ", in " (assessed.namespace.region)
            }
            @if let (Some(size), Some(usable), Some(memmap), Some(excess)) = (size, usable, memmap, excess) {
                (bar(&[("memmap", memmap), ("excess", excess), ("usable", usable), ("cut", end_trunc.unwrap_or(0))], size))
            }
            (numbers(&[
                ("Size", shown(size)),
                ("Usable", shown(usable)),
                ("Memmap", shown(ideal)),
                ("Excess", shown(excess)),
                ("Memmap in DRAM", shown(dram)),
            ]))
            p { (assessment.detail) }
            // The first may be the detail itself.
            @for hint in assessment.hints.iter().filter(|hint| hint.detail != assessment.detail) {
                p.hint { (hint.detail) }
            }
            (what_to_do(assessed))
        }
    }
}

fn what_to_do(assessed: &AssessedNamespace) -> Markup {
    let name = &assessed.namespace.name;
    html! {
        @match assessed.assessment.verdict {
            Verdict::Oversize => p.todo {
                "What to do: " code { "sudo pfnwatch plan " (name) } " prints the commands that return it. They destroy what is "
                "stored there: it has to be saved first."
            },
            Verdict::Refused => p.todo {
                "What to do: boot the kernel that it was made under and save its contents, then " code { "sudo pfnwatch plan " (name) } "."
            },
            Verdict::Unknown => p.todo { "What to do: " code { "sudo pfnwatch scan" } " reports what is missing for a verdict." },
            Verdict::Ok => {},
        }
    }
}

fn badge(verdict: Verdict) -> Markup {
    html! { span class={ "badge " (verdict.as_str()) } { (verdict.as_str()) } }
}

pub(super) fn numbers(all: &[(&str, String)]) -> Markup {
    html! { dl { @for (name, value) in all { div { dt { (name) } dd { (value) } } } } }
}

/// A bar of parts; each that is not zero is visible. The numbers beside it are the same.
pub(super) fn bar(parts: &[(&str, u64)], whole: u64) -> Markup {
    let mut at = 0;
    let rects = parts.iter().filter(|(_, bytes)| *bytes > 0).map(|(name, bytes)| {
        let width = share(*bytes, whole).max(MIN_PART_WIDTH);
        let start = at;
        at += width;
        (*name, start, width)
    });
    let rects: Vec<_> = rects.collect();
    let words: Vec<_> =
        parts.iter().filter(|(_, bytes)| *bytes > 0).map(|(name, bytes)| format!("{name} {}", Bytes(*bytes))).collect();
    html! {
        svg.bar role="img" aria-label=(words.join(", ")) viewBox=(format!("0 0 {} 300", at.max(WIDTH))) preserveAspectRatio="none" {
            @for (name, start, width) in rects {
                rect class=(name) x=(start) y="0" width=(width) height="300" {}
            }
        }
        p.legend aria-hidden="true" {
            @for (name, bytes) in parts.iter().filter(|(_, bytes)| *bytes > 0) {
                span { i class=(name) {} " " (name) " " (Bytes(*bytes)) }
            }
        }
    }
}

fn share(bytes: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(WIDTH) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(WIDTH).min(WIDTH)
}

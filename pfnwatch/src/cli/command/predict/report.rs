//! The answer, for people and for programs.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use pfnwatch_common::{Geometry, Map};
use serde::Serialize;

use super::PageCost;
use super::alternative::{Alternative, PredictedOutcome};
use super::inverse::pieces;
use crate::analysis::memmap::{is_deduplicated, struct_pages};
use crate::cli::output::bar::{self, BarPart};
use crate::cli::output::terminal::Terminal;
use crate::model::facts::{KernelParameters, NOTHING_USABLE, NamespaceMode, map_name};
use crate::model::kernel::KernelFacts;
use crate::model::thresholds::Thresholds;
use crate::model::units::Bytes;

const BAR_WIDTH: usize = 32;

pub(super) struct Prediction {
    pub(super) geometry: Geometry,
    pub(super) mode: NamespaceMode,
    pub(super) start_known: bool,
    pub(super) kernel: KernelFacts,
    pub(super) page_cost: PageCost,
    /// This kernel, a good kernel, the other map.
    pub(super) rows: [Alternative; 3],
    pub(super) notes: Vec<String>,
    pub(super) thresholds: Thresholds,
    pub(super) pieces: Option<Pieces>,
}

/// How many pieces of a size can be used.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictPieces"))]
pub(in crate::cli::command) struct Pieces {
    /// Size of each in bytes; each lies at a multiple of it.
    piece_bytes: u64,
    /// How many there are.
    pieces: u64,
}

impl Pieces {
    /// `None` if the namespace is not made.
    pub(super) fn of(piece_bytes: u64, prediction: &Prediction) -> Option<Self> {
        let [this, ..] = &prediction.rows;
        let reserved = this.reserved()?;
        let first = prediction.geometry.start.checked_add(reserved.dataoff)?;
        Some(Self { piece_bytes, pieces: pieces(first, first.checked_add(reserved.usable)?, piece_bytes) })
    }
}

impl Prediction {
    pub(super) fn excess(&self) -> Option<u64> {
        let [this, good, _] = &self.rows;
        Some(this.reserved()?.dataoff.saturating_sub(good.reserved()?.dataoff))
    }

    pub(super) fn is_oversize(&self) -> bool {
        let align = self.geometry.align.max(self.geometry.compat);
        self.excess().is_some_and(|excess| self.thresholds.passed_by(excess, align, self.geometry.size))
    }

    /// Whether this kernel makes it with nothing usable.
    pub(super) fn is_empty(&self) -> bool {
        let [this, ..] = &self.rows;
        this.reserved().is_some_and(|reserved| reserved.usable == 0)
    }

    /// Notes on uncertain inputs of the numbers.
    pub(super) fn add_notes(&mut self, host: &KernelParameters) {
        if self.is_empty() {
            self.notes.push(NOTHING_USABLE.to_owned());
        }
        if self.pieces.is_some() && !self.start_known {
            self.notes
                .push("the start address is not known: pieces are those of an aligned start (--start)".to_owned());
        }
        if !self.start_known && self.geometry.align > self.geometry.compat {
            let note = "the start address is not known: a namespace that does not begin at a multiple of the align \
                        costs more or less, by up to one align (--start)";
            self.notes.push(note.to_owned());
        }
        if !self.start_known && self.rows.iter().any(|row| row.map == Map::Dev && row.dram.is_some()) {
            let note = "DRAM with map=dev is that of an aligned start: memory sections that a namespace fills in part take \
                        DRAM, at most 4 MiB (--start)";
            self.notes.push(note.to_owned());
        }
        let unknown = |row: &&Alternative| row.map == Map::Mem && row.reserved().is_some() && row.dram.is_none();
        if host.struct_page.is_some() && self.rows.iter().any(|row| unknown(&row)) {
            let most = struct_pages(self.geometry.size, host).map_or("unknown".to_owned(), |it| Bytes(it).to_string());
            let why = match is_deduplicated(self.mode, self.geometry.align, host) {
                None => "whether this kernel deduplicates the memmap of map=mem is unknown",
                Some(_) => "this kernel's share of DRAM cannot be computed to the byte",
            };
            self.notes.push(format!("DRAM: {why}; at most about {most}"));
        }
        if host.struct_page.is_none() {
            self.notes.push("sizeof(struct page) is not known (no BTF): no DRAM is given".to_owned());
        }
        let in_dram = |row: &&Alternative| row.map == Map::Mem && row.reserved().is_some();
        if let Some(row) = self.rows.iter().find(in_dram).filter(|row| !host.memmap_loss(row.deduplicated).is_empty()) {
            let loss = host.memmap_loss(row.deduplicated);
            self.notes.push(format!("map=mem takes DRAM for the memmap{loss}"));
        }
        if self.rows.iter().any(|row| row.deduplicated) {
            self.notes.push("DRAM: struct pages after tail-page deduplication; page tables are not counted".to_owned());
        }
    }

    pub(super) fn table(&self, terminal: Terminal) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "MAP", "RESERVED", "USABLE", "CUT OFF", "DRAM", "FIRST TO LAST BYTE"]);
        for column in 2..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for row in &self.rows {
            table.add_row(self.cells(row, terminal));
        }
        let mut text = self.heading();
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{}\n\n{}", table.trim_fmt(), bar::legend(terminal));
        for row in &self.rows {
            if let PredictedOutcome::Refused(why) | PredictedOutcome::Unknown(why) = &row.outcome {
                let _ = writeln!(text, "{}: {why}", row.name);
            }
        }
        match self.excess() {
            Some(0) => text.push_str("This kernel reserves what a good kernel would.\n"),
            Some(excess) => {
                let verdict = if self.is_oversize() { "OVERSIZE: this" } else { "This" };
                let _ = writeln!(text, "{verdict} kernel reserves {} more than a good kernel would.", Bytes(excess));
            }
            None => {}
        }
        if let Some(Pieces { piece_bytes, pieces }) = self.pieces {
            let _ = writeln!(text, "{pieces} aligned pieces of {} can be used.", Bytes(piece_bytes));
        }
        for note in &self.notes {
            let _ = writeln!(text, "Note: {note}.");
        }
        text
    }

    fn heading(&self) -> String {
        let Geometry { size, align, start, .. } = self.geometry;
        let start = if self.start_known { format!(" at {start:#x}") } else { String::new() };
        let bytes = self.page_cost.bytes.map_or("unknown".to_owned(), |bytes| format!("{bytes} bytes"));
        format!(
            "{} of {}, align {}{start}\nThis kernel ({}) reserves for each page: {bytes} ({})\n",
            self.mode.as_str(),
            Bytes(size),
            Bytes(align),
            self.kernel.release,
            self.page_cost.evidence
        )
    }

    fn cells(&self, row: &Alternative, terminal: Terminal) -> [String; 7] {
        let known = |bytes: Option<u64>, other: &str| bytes.map_or(other.to_owned(), |bytes| Bytes(bytes).to_string());
        let reserved = row.reserved();
        let nothing = if matches!(row.outcome, PredictedOutcome::Refused(_)) { "refused" } else { "?" };
        [
            row.name.to_owned(),
            map_name(row.map).to_owned(),
            known(reserved.map(|reserved| reserved.dataoff), nothing),
            known(reserved.map(|reserved| reserved.usable), nothing),
            known(reserved.map(|reserved| reserved.end_trunc), nothing),
            known(row.dram, if reserved.is_some() { "?" } else { "-" }),
            self.bar(row, terminal),
        ]
    }

    fn bar(&self, row: &Alternative, terminal: Terminal) -> String {
        let Some(reserved) = row.reserved() else { return String::new() };
        let ideal = self.ideal(row.map).unwrap_or(reserved.dataoff).min(reserved.dataoff);
        let parts = [
            (BarPart::Memmap, ideal),
            (BarPart::Excess, reserved.dataoff - ideal),
            (BarPart::Usable, reserved.usable),
            (BarPart::Cut, reserved.end_trunc),
        ];
        bar::draw(&parts, self.geometry.size, BAR_WIDTH, terminal)
    }

    fn ideal(&self, map: Map) -> Option<u64> {
        let [_, good, _] = &self.rows;
        good.reserved().filter(|_| good.map == map).map(|reserved| reserved.dataoff)
    }
}

/// What a namespace would cost.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictDocument"))]
pub(in crate::cli::command) struct PredictionDocument<'a> {
    /// The request.
    request: Request,
    /// The kernel that it is predicted for.
    kernel: PredictionKernel<'a>,
    /// The result on this kernel.
    this_kernel: AlternativeRow<'a>,
    /// The result on a kernel without the regression.
    good_kernel: AlternativeRow<'a>,
    /// The result on this kernel with the other map.
    other_map: AlternativeRow<'a>,
    /// By how much this kernel reserves more than a good one, in bytes; null if one of the two is unknown.
    excess_bytes: Option<u64>,
    /// Whether that is more than the limits.
    oversize: bool,
    /// The usable pieces of `--pieces-of`; null without it.
    pieces: Option<Pieces>,
    /// The source of the numbers, if it is not certain.
    notes: &'a [String],
}

/// The namespace that was asked about.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictRequest"))]
struct Request {
    /// Its size in bytes.
    size_bytes: u64,
    /// The alignment of its usable part, in bytes.
    align_bytes: u64,
    /// Physical address of its first byte; null if unknown.
    start_address: Option<u64>,
    /// `fsdax` or `devdax`.
    mode: &'static str,
    /// Where the memmap would be: `dev` or `mem`.
    map: &'static str,
}

/// The kernel that it is predicted for.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictKernel"))]
struct PredictionKernel<'a> {
    /// Its release.
    release: &'a str,
    /// Its page size in bytes.
    page_size_bytes: u64,
    /// Its `sizeof(struct page)` in bytes.
    struct_page_size_bytes: Option<u64>,
    /// What it reserves for each page with map=dev, in bytes.
    max_struct_page_size_bytes: Option<u64>,
    /// The evidence for it, in words.
    evidence: &'a str,
}

/// The result of one choice.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictOutcome"))]
struct AlternativeRow<'a> {
    /// Where the memmap is: `dev` or `mem`.
    map: &'static str,
    /// Bytes reserved for each page; not used with map=mem.
    max_struct_page_size_bytes: Option<u64>,
    /// `reserved`, `refused` or `unknown`.
    outcome: &'static str,
    /// Why it is refused, or not known.
    reason: Option<&'a str>,
    /// From the start of the namespace to its first usable byte, in bytes.
    reservation_bytes: Option<u64>,
    /// Usable bytes.
    usable_bytes: Option<u64>,
    /// Bytes cut off at the end.
    end_trunc_bytes: Option<u64>,
    /// DRAM that holds the struct pages, in bytes; null if it is refused or unknown. With map=dev: for memory
    /// sections that the namespace fills in part.
    dram_bytes: Option<u64>,
    /// Whether that is what remains after tail pages were deduplicated.
    dram_deduplicated: bool,
}

impl<'a> From<&'a Prediction> for PredictionDocument<'a> {
    fn from(prediction: &'a Prediction) -> Self {
        let Geometry { size, align, start, map, page_size, .. } = prediction.geometry;
        let [this, good, other] = &prediction.rows;
        Self {
            request: Request {
                size_bytes: size,
                align_bytes: align,
                start_address: prediction.start_known.then_some(start),
                mode: prediction.mode.as_str(),
                map: map_name(map),
            },
            kernel: PredictionKernel {
                release: &prediction.kernel.release,
                page_size_bytes: page_size,
                struct_page_size_bytes: prediction.kernel.struct_page_size,
                max_struct_page_size_bytes: prediction.page_cost.bytes,
                evidence: &prediction.page_cost.evidence,
            },
            this_kernel: this.into(),
            good_kernel: good.into(),
            other_map: other.into(),
            excess_bytes: prediction.excess(),
            oversize: prediction.is_oversize(),
            pieces: prediction.pieces,
            notes: &prediction.notes,
        }
    }
}

impl<'a> From<&'a Alternative> for AlternativeRow<'a> {
    fn from(row: &'a Alternative) -> Self {
        let (outcome, reason) = match &row.outcome {
            PredictedOutcome::Reserved(_) => ("reserved", None),
            PredictedOutcome::Refused(why) => ("refused", Some(&**why)),
            PredictedOutcome::Unknown(why) => ("unknown", Some(&**why)),
        };
        let reserved = row.reserved();
        Self {
            map: map_name(row.map),
            max_struct_page_size_bytes: row.struct_page,
            outcome,
            reason,
            reservation_bytes: reserved.map(|reserved| reserved.dataoff),
            usable_bytes: reserved.map(|reserved| reserved.usable),
            end_trunc_bytes: reserved.map(|reserved| reserved.end_trunc),
            dram_bytes: row.dram,
            dram_deduplicated: row.deduplicated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::predict::alternative;
    use crate::cli::output::screens;

    /// 1 TiB under a kernel with the regression, at an address that is not known.
    fn prediction() -> Prediction {
        let kernel = KernelFacts { release: "6.1.9".into(), ..KernelFacts::sample() };
        let page_cost = PageCost { bytes: Some(128), evidence: "running code".to_owned(), allows_empty: None };
        let host = KernelParameters { max_struct_page: Some(128), ..KernelParameters::from(&kernel) };
        let geometry = Geometry {
            start: 0,
            size: 1 << 40,
            align: 2 << 20,
            map: Map::Dev,
            page_size: host.page_size,
            compat: host.compat,
        };
        let (mode, thresholds) = (NamespaceMode::Fsdax, Thresholds::default());
        let rows = alternative::all(&geometry, mode, &host, &thresholds);
        let (notes, pieces) = (Vec::new(), None);
        let mut prediction =
            Prediction { geometry, mode, start_known: false, kernel, page_cost, rows, notes, thresholds, pieces };
        prediction.add_notes(&host);
        prediction
    }

    #[test]
    fn the_screen() {
        for (name, terminal) in screens::TERMINALS {
            screens::compare(&format!("predict_{name}"), &prediction().table(terminal));
        }
    }
}

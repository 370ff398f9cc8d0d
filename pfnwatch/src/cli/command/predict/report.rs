//! The answer, for people and for programs.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use pfnwatch_common::{Geometry, Map};

use super::{
    PageCost,
    alternative::{Alternative, PredictedOutcome},
};
use crate::{
    cli::output::{
        bar::{self, BarPart},
        terminal::Terminal,
    },
    model::{
        facts::{KernelParameters, NamespaceMode, map_name},
        kernel::KernelFacts,
        thresholds::Thresholds,
        units::Bytes,
    },
};

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

    /// Notes on uncertain inputs of the numbers.
    pub(super) fn add_notes(&mut self, host: &KernelParameters) {
        if !self.start_known && self.geometry.align > self.geometry.compat {
            let note = "the start address is not known: a namespace that does not begin at a multiple of the align \
                        costs more or less, by up to one align (--start)";
            self.notes.push(note.to_owned());
        }
        if self.mode == NamespaceMode::Devdax && host.deduplicates.is_none() {
            self.notes.push(
                "whether this kernel deduplicates the memmap of map=mem is not known (no BTF, or a version before it came): DRAM without".to_owned(),
            );
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
            known(row.dram, if reserved.is_some() && row.map == Map::Mem { "?" } else { "-" }),
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

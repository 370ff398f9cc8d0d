//! Rows, sums and remarks of devices.

use std::fmt::Write as _;

use super::{BAR_WIDTH, size};
use crate::cli::output::bar::{self, BarPart};
use crate::cli::output::terminal::Terminal;
use crate::model::device::{AssessedDevice, MemmapPlace};
use crate::model::scan_result::ScanResult;
use crate::model::units::{Bytes, Plural};

pub(super) fn row(AssessedDevice { device, memory }: &AssessedDevice, terminal: Terminal) -> [String; 12] {
    let none = || "-".to_owned();
    let map = match memory.place {
        Some(MemmapPlace::Dram) => "mem",
        Some(MemmapPlace::Device) => "dev",
        Some(MemmapPlace::None) => "-",
        None => "?",
    };
    [
        device.name.clone(),
        device.kind.as_str().to_owned(),
        device.driver.mode().to_owned(),
        map.to_owned(),
        size(device.size.clone().ok()),
        size(memory.usable),
        size(memory.on_device()),
        none(),
        none(),
        size(memory.dram()),
        none(),
        bar(device.size.clone().ok(), memory.usable, memory.on_device(), terminal),
    ]
}

/// From what the memmap takes to what is of no use.
fn bar(whole: Option<u64>, usable: Option<u64>, memmap: Option<u64>, terminal: Terminal) -> String {
    let (Some(whole), Some(usable), Some(memmap)) = (whole, usable, memmap) else { return String::new() };
    let rest = whole.saturating_sub(usable).saturating_sub(memmap);
    let parts = [(BarPart::Memmap, memmap), (BarPart::Usable, usable), (BarPart::Cut, rest)];
    bar::draw(&parts, whole, BAR_WIDTH, terminal)
}

/// Apart from the sums of the namespaces: this memory is not persistent.
pub(super) fn totals(text: &mut String, scan: &ScanResult) {
    let totals = &scan.device_totals;
    if totals.devices == 0 {
        return;
    }
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{}, {}: {} usable",
        Plural(totals.devices, "device"),
        Bytes(totals.size_bytes),
        Bytes(totals.usable_bytes)
    );
    for (bytes, what) in [
        (totals.memmap_device_bytes, "for memmaps"),
        (totals.offline_bytes, "offline"),
        (totals.stranded_bytes, "stranded"),
    ] {
        if bytes > 0 {
            let _ = write!(text, ", {} {what}", Bytes(bytes));
        }
    }
    text.push('\n');
}

pub(super) fn remarks(text: &mut String, scan: &ScanResult) {
    let mut lead = "\n";
    for AssessedDevice { device, memory } in &scan.devices {
        for note in &memory.notes {
            let _ = writeln!(text, "{}{}: {note}", std::mem::take(&mut lead), device.name);
        }
    }
}

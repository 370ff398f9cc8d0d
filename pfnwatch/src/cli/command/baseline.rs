//! `pfnwatch baseline`: regressions, and what they are compared with.

mod accept;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use serde::Serialize;

use crate::analysis::baseline::{host_regression, memmap_regression, reference_cost};
use crate::cli::output::json::Format;
use crate::cli::output::table::table;
use crate::cli::output::terminal;
use crate::cli::store_args::StoreArgs;
use crate::config::ConfigArgs;
use crate::kernel::boot;
use crate::model::capacity::{
    Acceptance, Cost, CostRecord, DeviceKey, DeviceRecord, DeviceState, NamespaceKey, RegressionSubject,
    observed_kernel, subject_text,
};
use crate::model::device::MemmapPlace;
use crate::model::event::{CapacityRegression, Time};
use crate::model::exit::Exit;
use crate::model::store::BootRow;
use crate::model::units::Bytes;
use crate::os::paths::Paths;
use crate::os::sysconf::page_size;
use crate::store::Reader;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch baseline                 what memmaps cost under this kernel and under earlier ones
  sudo pfnwatch baseline --format json | jq '.regressions[].detail'
  sudo pfnwatch baseline accept --host --reason 'all kernels that we have cost as much'

The report reads the agent's event store: it knows a kernel if an agent has run under it. The baseline of a namespace is its \
lowest cost under any known kernel. If no earlier kernel is known, the report states that nothing can be compared. \
`baseline accept` makes the present cost the new baseline.

Exit codes: 0 nothing costs more than its baseline; 1 error; 2 wrong usage; 3 something does.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do; the report without it
    #[command(subcommand)]
    command: Option<Command>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the event store is
    #[command(flatten)]
    store: StoreArgs,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Accept the present cost as the baseline: its alert is resolved
    Accept(accept::Args),
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    if let Some(Command::Accept(args)) = &args.command {
        return accept::run(args);
    }
    let reader = Reader::open(&args.store.file(&args.config)?)?;
    let (boots, costs, devices) = (reader.boots()?, reader.costs()?, reader.devices()?);
    let report = BaselineReport::of(boots, costs, devices, &boot::id(paths).unwrap_or_default(), page_size()?);
    terminal::print(&args.format.render(&report, || render(&report))?)?;
    Ok(if report.regressions.is_empty() { Exit::Success } else { Exit::Findings })
}

/// The whole document.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BaselineReport {
    /// The kernels under which an agent has run, the oldest first.
    kernels: Vec<BaselineKernel>,
    /// The namespaces with a memmap on the media, those that are gone among them.
    namespaces: Vec<NamespaceCost>,
    /// The devices of the dax bus that no namespace owns, those that are gone among them.
    devices: Vec<DeviceBaseline>,
    /// What costs more than it did.
    regressions: Vec<CapacityRegression>,
}

/// A kernel_row with its libnvdimm.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "BaselineKernel"))]
struct BaselineKernel {
    /// Its release.
    kernel: String,
    /// The build-id of its libnvdimm, in hex; null if it is built in, or none was seen.
    libnvdimm_build_id: Option<String>,
    /// Its `sizeof(struct page)` in bytes.
    struct_page_size_bytes: Option<u64>,
    /// What it reserves for each page with map=dev, in bytes.
    max_struct_page_size_bytes: Option<u64>,
    /// What a namespace of 1 TiB with map=dev costs under it, in bytes.
    reservation_of_1_tib_bytes: Option<u64>,
    /// Whether it returns a memmap in DRAM when its device is disabled; null if unknown.
    memmap_returned: Option<bool>,
    /// The evidence for it, in words.
    evidence: Vec<String>,
    /// When an agent ran under it first, in RFC 3339.
    first_seen: String,
    /// When an agent ran under it last, in RFC 3339.
    last_seen: String,
    /// Whether it is the running kernel, or the last one that ran if none of them does.
    current: bool,
    /// Whether nothing is compared with it any more: a later cost was accepted.
    superseded: bool,
    /// Who accepted its cost, if somebody did.
    accepted: Option<Acceptance>,
}

/// A namespace.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "BaselineNamespace"))]
struct NamespaceCost {
    #[serde(flatten)]
    namespace: NamespaceKey,
    /// What it costs; null once it, or its memmap, is removed.
    now: Option<Cost>,
    /// The baseline: the lowest cost that was seen for it or for an earlier namespace at its address, or the accepted
    /// cost.
    baseline: Cost,
    /// By how much it grew, in bytes, if that is a regression.
    lost_bytes: Option<u64>,
    /// Who has accepted the baseline, if anybody has.
    accepted: Option<Acceptance>,
}

/// A device.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "BaselineDevice"))]
struct DeviceBaseline {
    #[serde(flatten)]
    device: DeviceKey,
    /// What it serves; null once it is gone.
    now: Option<DeviceState>,
    /// What it is compared with: what it served under the last kernel without a regression, or what was accepted.
    baseline: DeviceState,
    /// What it lost, in bytes, where that is a regression.
    lost_bytes: Option<u64>,
    /// Who has accepted the baseline, if anybody has.
    accepted: Option<Acceptance>,
}

impl BaselineReport {
    /// Compares all boots and costs; `boot_id` is the current boot.
    #[must_use]
    pub fn of(
        boots: Vec<BootRow>,
        costs: Vec<CostRecord>,
        devices: Vec<DeviceRecord>,
        boot_id: &str,
        page_size: u64,
    ) -> Self {
        let current = current(&boots, boot_id).cloned();
        let seen: Vec<_> = boots.iter().map(|boot| observed_kernel(boot, page_size)).collect();
        let of_host = current.as_ref().and_then(|boot| host_regression(&observed_kernel(boot, page_size), &seen));
        let of_memmaps = current.as_ref().and_then(|boot| memmap_regression(&observed_kernel(boot, page_size), &seen));
        let of_namespaces = costs.iter().filter_map(CostRecord::regression);
        let of_devices = devices.iter().filter_map(DeviceRecord::regression);
        let of_host = of_host.into_iter().chain(of_memmaps);
        let regressions = of_host.chain(of_namespaces).chain(of_devices).map(CapacityRegression::begins).collect();
        let kernels = boots.into_iter().map(|boot| kernel_row(&boot, current.as_ref(), page_size)).collect();
        Self {
            kernels,
            namespaces: costs.into_iter().map(namespace_row).collect(),
            devices: devices.into_iter().map(device_row).collect(),
            regressions,
        }
    }
}

/// Of several libnvdimms in one boot the last.
fn current<'a>(boots: &'a [BootRow], boot_id: &str) -> Option<&'a BootRow> {
    let last = |these: &mut dyn Iterator<Item = &'a BootRow>| these.max_by_key(|boot| boot.last_seen);
    last(&mut boots.iter().filter(|boot| boot.boot_id == boot_id)).or_else(|| last(&mut boots.iter()))
}

fn kernel_row(boot: &BootRow, current: Option<&BootRow>, page_size: u64) -> BaselineKernel {
    BaselineKernel {
        kernel: boot.release.clone(),
        libnvdimm_build_id: boot.module_build_id.clone(),
        struct_page_size_bytes: boot.struct_page_size,
        max_struct_page_size_bytes: boot.max_struct_page_size,
        reservation_of_1_tib_bytes: reference_cost(&observed_kernel(boot, page_size))
            .map(|cost| cost.reservation_bytes),
        memmap_returned: boot.memmap_returned,
        evidence: boot.evidence.clone(),
        first_seen: Time(boot.first_seen).to_string(),
        last_seen: Time(boot.last_seen).to_string(),
        current: current == Some(boot),
        superseded: boot.superseded,
        accepted: boot.accepted.clone(),
    }
}

fn namespace_row(record: CostRecord) -> NamespaceCost {
    let lost_bytes = record.regression().map(|regression| regression.lost_bytes());
    NamespaceCost {
        namespace: record.namespace,
        now: record.last,
        baseline: record.baseline,
        lost_bytes,
        accepted: record.accepted,
    }
}

fn device_row(record: DeviceRecord) -> DeviceBaseline {
    let lost_bytes = record.regression().map(|regression| regression.lost_bytes());
    DeviceBaseline {
        device: record.device,
        now: record.last,
        baseline: record.baseline,
        lost_bytes,
        accepted: record.accepted,
    }
}

const KERNELS: [&str; 6] = ["", "KERNEL", "STRUCT PAGE", "FOR EACH PAGE", "1 TIB COSTS", "LAST SEEN"];
const NAMESPACES: [&str; 6] = ["NAMESPACE", "SIZE", "COSTS", "AT LEAST", "UNDER", "LOST"];
const DEVICES: [&str; 6] = ["DEVICE", "SIZE", "SERVES", "SERVED", "UNDER", "LOST"];

fn render(report: &BaselineReport) -> String {
    if report.kernels.is_empty() && report.devices.is_empty() {
        return "No agent has recorded yet what a kernel reserves here: nothing can be compared.\n\
                `pfnwatch run` records it in its event store.\n"
            .to_owned();
    }
    let mut kernels = table(&KERNELS, &[2, 3, 4]);
    kernels.add_rows(report.kernels.iter().map(kernel_cells));
    let mut text = format!("{}\n", kernels.trim_fmt());
    if !report.namespaces.is_empty() {
        let mut namespaces = table(&NAMESPACES, &[1, 2, 3, 5]);
        namespaces.add_rows(report.namespaces.iter().map(namespace_cells));
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{}", namespaces.trim_fmt());
    }
    if !report.devices.is_empty() {
        let mut devices = table(&DEVICES, &[1, 5]);
        devices.add_rows(report.devices.iter().map(device_cells));
        let _ = writeln!(text, "\n{}", devices.trim_fmt());
    }
    text.push('\n');
    for regression in &report.regressions {
        let _ = writeln!(text, "REGRESSED {}", regression.detail);
    }
    for accepted in accepted(report) {
        let _ = writeln!(text, "accepted  {accepted}");
    }
    if report.regressions.is_empty() {
        text.push_str("Nothing costs more than it did.\n");
    }
    text
}

/// The baselines that somebody accepted.
fn accepted(report: &BaselineReport) -> impl Iterator<Item = String> {
    let said = |what: String, bytes, it: &Acceptance| {
        format!("{what} may cost {}: {}; by {} on {}", Bytes(bytes), it.reason, it.by, it.time)
    };
    let standing = report.kernels.iter().filter(|kernel| !kernel.superseded);
    let kernels = standing.filter_map(move |it| {
        Some(said(subject_text(&RegressionSubject::Host), it.reservation_of_1_tib_bytes?, it.accepted.as_ref()?))
    });
    let namespace = |row: &NamespaceCost| subject_text(&RegressionSubject::Namespace(row.namespace.clone()));
    let rows = report.namespaces.iter();
    let namespaces =
        rows.filter_map(move |it| Some(said(namespace(it), it.baseline.reservation_bytes, it.accepted.as_ref()?)));
    let devices = report.devices.iter().filter_map(|row| {
        let Acceptance { by, reason, time } = row.accepted.as_ref()?;
        Some(format!("{} may serve {}: {reason}; by {by} on {time}", row.device.device, served(&row.baseline)))
    });
    kernels.chain(namespaces).chain(devices)
}

fn kernel_cells(kernel: &BaselineKernel) -> [String; 6] {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{bytes} B"));
    [
        if kernel.current { "*" } else { "" }.to_owned(),
        kernel.kernel.clone(),
        bytes(kernel.struct_page_size_bytes),
        bytes(kernel.max_struct_page_size_bytes),
        kernel.reservation_of_1_tib_bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string()),
        kernel.last_seen.clone(),
    ]
}

fn namespace_cells(row: &NamespaceCost) -> [String; 6] {
    let reserved = |cost: &Cost| Bytes(cost.reservation_bytes).to_string();
    [
        row.namespace.namespace.clone(),
        Bytes(row.namespace.size_bytes).to_string(),
        row.now.as_ref().map_or_else(|| "gone".to_owned(), reserved),
        reserved(&row.baseline),
        row.baseline.kernel.clone(),
        row.lost_bytes.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string()),
    ]
}

fn device_cells(row: &DeviceBaseline) -> [String; 6] {
    [
        row.device.device.clone(),
        Bytes(row.device.size_bytes).to_string(),
        row.now.as_ref().map_or_else(|| "gone".to_owned(), served),
        served(&row.baseline),
        row.baseline.kernel.clone(),
        row.lost_bytes.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string()),
    ]
}

/// `system-ram, 1 GiB online, memmap in DRAM`
fn served(state: &DeviceState) -> String {
    let online = match state.online_bytes {
        0 => String::new(),
        bytes => format!(", {} online", Bytes(bytes)),
    };
    let memmap = match state.memmap_place {
        Some(MemmapPlace::Dram) => ", memmap in DRAM",
        Some(MemmapPlace::Device) => ", memmap on the device",
        Some(MemmapPlace::None) | None => "",
    };
    format!("{}{online}{memmap}", state.mode)
}

//! A folder of reports that `scan --format json` has written, one file for each host. One is read at a time.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Seek as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{CapacityTotals, Fleet, Host, HostProblem};
use crate::model::device::DeviceTotals;
use crate::model::event::SCHEMA;

/// The largest report that is read, in bytes: one of 10,000 namespaces has 10 MB.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Buffer for a file, in bytes.
const BUFFER: usize = 32 << 10;

#[derive(Deserialize)]
struct ScanReport {
    host: Option<String>,
    kernel: ReportKernel,
    verdict: String,
    totals: ReportTotals,
    /// Reports of earlier builds have none.
    #[serde(default)]
    device_totals: DeviceTotals,
    namespaces: NamespaceSums,
}

#[derive(Deserialize)]
struct ReportKernel {
    release: String,
    page_size_bytes: u64,
    struct_page_size_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct ReportTotals {
    namespaces: u64,
    unknown: u64,
    size_bytes: u64,
    usable_bytes: u64,
    reservation_bytes: u64,
    ideal_bytes: u64,
    excess_bytes: u64,
    /// Reports of earlier builds have neither.
    memmap_dram_bytes: Option<u64>,
    memmap_dram_unknown: Option<u64>,
}

#[derive(Deserialize)]
struct ReportNamespace {
    excess_bytes: Option<u64>,
    verdict: String,
    cause: String,
}

#[derive(Default)]
struct NamespaceSums {
    count: u64,
    plan_bytes: u64,
    regressed: bool,
}

impl NamespaceSums {
    fn add(&mut self, namespace: &ReportNamespace) {
        self.count += 1;
        if namespace.verdict == "oversize" {
            self.plan_bytes = self.plan_bytes.saturating_add(namespace.excess_bytes.unwrap_or(0));
            self.regressed |= namespace.cause == "regressed_kernel";
        }
    }
}

impl<'de> Deserialize<'de> for NamespaceSums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = NamespaceSums;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of namespaces")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<NamespaceSums, A::Error> {
                let mut sum = NamespaceSums::default();
                while let Some(namespace) = list.next_element()? {
                    sum.add(&namespace);
                }
                Ok(sum)
            }
        }
        deserializer.deserialize_seq(Sum)
    }
}

/// Counts the reports of a folder's files. Any other file is named as not counted.
pub fn add(folder: &Path, fleet: &mut Fleet) -> anyhow::Result<()> {
    let shown = || format!("{} cannot be read as a folder", folder.display());
    let mut seen: BTreeSet<Box<str>> = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(shown)? {
        let path = entry.with_context(shown)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match read(&path) {
            Ok(host) if seen.insert(host.host.as_str().into()) => fleet.add(host),
            Ok(host) => fleet
                .not_counted(HostProblem::new(name, format!("another file reports the host {} already", host.host))),
            Err(error) => fleet.not_counted(HostProblem::new(name, format!("{error:#}"))),
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Host> {
    let file = open(path)?;
    let found = parse(|| {
        let mut file = &file;
        file.rewind()?;
        Ok(BufReader::with_capacity(BUFFER, file.take(MAX_FILE_BYTES)))
    })?;
    let (told, listed) = (found.totals.namespaces, found.namespaces.count);
    anyhow::ensure!(told == listed, "its totals are of {told} namespaces, and it lists {listed}");
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let host = found.host.clone().filter(|name| !name.is_empty()).unwrap_or_else(stem);
    Ok(Host { host, ..found.into_host() })
}

/// Checks the type before it opens the file: opening a pipe would wait for a writer.
fn open(path: &Path) -> anyhow::Result<File> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("it is a link to nothing"),
        _ => error.into(),
    })?;
    anyhow::ensure!(!metadata.is_dir(), "it is a folder: --from reads one folder, without subfolders");
    anyhow::ensure!(metadata.is_file(), "it is no file");
    anyhow::ensure!(metadata.len() > 0, "it is empty");
    anyhow::ensure!(
        metadata.len() <= MAX_FILE_BYTES,
        "it is larger than {} MiB, as no report is",
        MAX_FILE_BYTES >> 20
    );
    File::open(path).context("it cannot be read")
}

/// Reads it twice, and keeps no text. The schema is checked first: a report of another one may lack any key.
fn parse<R: Read>(mut text: impl FnMut() -> io::Result<R>) -> anyhow::Result<ScanReport> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
        kernel: Option<IgnoredAny>,
        namespaces: Option<IgnoredAny>,
    }
    let foreign = "it is not a complete report of `pfnwatch scan --format json`";
    let Versioned { schema, kernel, namespaces } = serde_json::from_reader(text()?).context(foreign)?;
    anyhow::ensure!(kernel.is_some() && namespaces.is_some(), "{foreign}");
    match schema.cmp(&SCHEMA) {
        Ordering::Equal => serde_json::from_reader(text()?).context(foreign),
        Ordering::Less => {
            bail!("its schema is {schema}, and this pfnwatch reads {SCHEMA}: scan that host with a newer pfnwatch")
        }
        Ordering::Greater => {
            bail!("its schema is {schema}, and this pfnwatch reads {SCHEMA}: a newer pfnwatch is needed here")
        }
    }
}

impl ScanReport {
    fn into_host(self) -> Host {
        let Self { kernel, totals, device_totals, namespaces, verdict, host: _ } = self;
        Host {
            kernel: Some(kernel.release),
            page_size_bytes: Some(kernel.page_size_bytes),
            struct_page_size_bytes: kernel.struct_page_size_bytes,
            sums: CapacityTotals {
                namespaces: totals.namespaces,
                unknown_namespaces: totals.unknown,
                size_bytes: totals.size_bytes,
                usable_bytes: totals.usable_bytes,
                reservation_bytes: totals.reservation_bytes,
                ideal_bytes: totals.ideal_bytes,
                excess_bytes: totals.excess_bytes,
                plan_bytes: namespaces.plan_bytes,
                memmap_dram_bytes: totals.memmap_dram_bytes.unwrap_or(0),
                memmap_dram_unknown: totals.memmap_dram_unknown.unwrap_or(totals.namespaces),
                memmap_not_returned_bytes: 0,
                devices: device_totals.devices,
                device_size_bytes: device_totals.size_bytes,
                device_online_bytes: device_totals.online_bytes,
                device_stranded_bytes: device_totals.stranded_bytes,
                device_memmap_dram_bytes: device_totals.memmap_dram_bytes,
                device_memmap_dram_unknown: device_totals.memmap_dram_unknown,
            },
            oversize: verdict == "oversize",
            regressed: namespaces.regressed,
            ..Host::default()
        }
    }
}

#[cfg(test)]
mod tests;

//! A folder of reports that `scan --format json` has written, one file for each host. One is read at a time.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use anyhow::Context as _;
use serde::Deserialize;

use super::{Fleet, Host, Problem, Sums};
use crate::event::SCHEMA;

/// The largest report that is read, in bytes: one of 10,000 namespaces has 10 MB.
const LARGEST: u64 = 256 << 20;

#[derive(Deserialize)]
struct Report {
    host: Option<String>,
    kernel: Kernel,
    verdict: String,
    totals: Totals,
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize)]
struct Kernel {
    release: String,
    page_size_bytes: u64,
}

#[derive(Deserialize)]
struct Totals {
    namespaces: u64,
    unknown: u64,
    size_bytes: u64,
    usable_bytes: u64,
    reservation_bytes: u64,
    ideal_bytes: u64,
    excess_bytes: u64,
}

#[derive(Deserialize)]
struct Namespace {
    excess_bytes: Option<u64>,
    verdict: String,
    cause: String,
}

/// Counts what is in a folder's files. Whatever is no report of a host is named as not counted.
///
/// # Errors
/// The folder cannot be read.
pub fn add(folder: &Path, fleet: &mut Fleet) -> anyhow::Result<()> {
    let shown = || format!("{} cannot be read as a folder", folder.display());
    // A host's name is its hash here, so that ten thousand of them take no room.
    let mut seen = HashSet::new();
    for entry in fs::read_dir(folder).with_context(shown)? {
        let path = entry.with_context(shown)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match read(&path) {
            Ok(host) if seen.insert(hash(&host.host)) => fleet.add(host),
            Ok(host) => {
                fleet.not_counted(Problem::new(name, format!("another file reports the host {} already", host.host)))
            }
            Err(error) => fleet.not_counted(Problem::new(name, format!("{error:#}"))),
        }
    }
    Ok(())
}

fn hash(name: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn read(path: &Path) -> anyhow::Result<Host> {
    anyhow::ensure!(path.is_file(), "it is no file");
    let mut text = String::new();
    let read = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    anyhow::ensure!(u64::try_from(read)? <= LARGEST, "it is larger than {} MiB", LARGEST >> 20);
    let report = parse(&text)?;
    let host = report.host.clone().filter(|name| !name.is_empty());
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Host { host: host.unwrap_or_else(stem), ..report.into_host() })
}

/// The schema is looked at first: a report of another one may lack anything else.
fn parse(text: &str) -> anyhow::Result<Report> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let foreign = "it is no report that `pfnwatch scan --format json` has written";
    let Versioned { schema } = serde_json::from_str(text).context(foreign)?;
    anyhow::ensure!(schema == SCHEMA, "its schema is {schema}, and this pfnwatch reads schema {SCHEMA}");
    serde_json::from_str(text).context(foreign)
}

impl Report {
    fn into_host(self) -> Host {
        let Self { kernel, totals, namespaces, verdict, host: _ } = self;
        let oversize = || namespaces.iter().filter(|it| it.verdict == "oversize");
        Host {
            kernel: Some(kernel.release),
            page_size_bytes: Some(kernel.page_size_bytes),
            sums: Sums {
                namespaces: totals.namespaces,
                unknown_namespaces: totals.unknown,
                size_bytes: totals.size_bytes,
                usable_bytes: totals.usable_bytes,
                reservation_bytes: totals.reservation_bytes,
                ideal_bytes: totals.ideal_bytes,
                excess_bytes: totals.excess_bytes,
                plan_bytes: oversize().filter_map(|it| it.excess_bytes).fold(0, u64::saturating_add),
            },
            oversize: verdict == "oversize",
            regressed: oversize().any(|it| it.cause == "regressed_kernel"),
            ..Host::default()
        }
    }
}

#[cfg(test)]
mod tests;

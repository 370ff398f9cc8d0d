//! `pfnwatch kernel` over every kernel package that the tests have fetched: time and memory for each, and that it has an answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use guest::bench::cost::Cost;
use serde_json::Value;

use super::{Findings, Row, mib, ms};
use crate::{paths, setup, vm};

const RUNS: usize = 3;

pub(super) fn measure() -> Result<Findings> {
    setup::for_vm()?;
    vm::fetch_kernels()?;
    let mut rows = Vec::new();
    for (release, files) in kernels()? {
        rows.extend(read(&release, &files)?);
    }
    ensure!(!rows.is_empty(), "no kernel package is in {}", paths::cache().display());
    Ok(Findings::new("pfnwatch kernel", "", rows))
}

/// The cached packages by the kernel's release: from 6.19 on a kernel is in two.
fn kernels() -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let folder = paths::cache().join("deb");
    let entries = fs::read_dir(&folder)?;
    let mut kernels = BTreeMap::<_, Vec<_>>::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(release) = release(&name) {
            kernels.entry(release.to_owned()).or_default().push(path);
        }
    }
    Ok(kernels)
}

/// `linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb` is of 6.1.0-50-cloud-amd64.
fn release(file: &str) -> Option<&str> {
    let kinds = ["linux-image-", "linux-binary-", "linux-modules-"];
    let rest = kinds.iter().find_map(|kind| file.strip_prefix(kind))?;
    rest.split_once('_').map(|(release, _)| release)
}

fn read(release: &str, files: &[PathBuf]) -> Result<Vec<Row>> {
    let command = || {
        let mut command = Command::new(paths::agent());
        command.args(["kernel", "--format", "json"]).args(files);
        command
    };
    let output = command().output().context("pfnwatch cannot be started")?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{release}: no report"))?;
    let answer = report.pointer("/kernels/0/max_struct_page_bytes");
    let answer = answer.with_context(|| format!("{release}: a report without an answer: {report:#}"))?;
    // 3 is a kernel with the regression, which is an answer too.
    let cost = Cost::median_of(RUNS, || Cost::of(command().stdout(Stdio::null()).stderr(Stdio::null()), &[0, 3, 4]))?;
    let bytes = files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    Ok(vec![
        Row::new(format!("{release}, MAX_STRUCT_PAGE_SIZE {answer}"), "ms", ms(cost.took)),
        Row::new("  memory", "MiB", mib(cost.peak_bytes)),
        Row::new("  package", "MiB", mib(bytes)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_a_package() {
        assert_eq!(release("linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb"), Some("6.1.0-50-cloud-amd64"));
        let split = ["linux-binary-7.3.4+deb13-cloud-amd64_7.deb", "linux-modules-7.3.4+deb13-cloud-amd64_7.deb"];
        assert_eq!(split.map(release), [Some("7.3.4+deb13-cloud-amd64"); 2]);
        assert_eq!(release("linux-headers-6.1.0-50-common_6.1.176-1_all.deb"), None);
    }
}

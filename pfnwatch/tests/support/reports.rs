//! Many hosts' reports of `pfnwatch scan --format json`, out of one real one.
#![allow(dead_code, unreachable_pub, reason = "included by several programs, each of which uses a part of it")]

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tree::Tree;

const RELEASES: [&str; 4] = ["6.0.12", "6.1.38", "6.12.5", "6.18.2"];

pub fn template(pfnwatch: &Path, namespaces: u32) -> io::Result<Value> {
    let folder = tempfile::tempdir()?;
    Tree::new(folder.path())?.crowd(namespaces)?;
    let scan = ["scan", "--without-ebpf", "--format", "json"];
    let output = Command::new(pfnwatch).arg("--path.sysfs").arg(folder.path()).args(scan).output()?;
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

pub fn folder() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

pub fn of(template: &Value, number: usize) -> Value {
    let mut report = template.clone();
    let Some(fields) = report.as_object_mut() else { return report };
    fields.insert("host".to_owned(), json!(format!("host{number}")));
    let release = RELEASES.get(number % RELEASES.len());
    if let (Some(kernel), Some(release)) = (fields.get_mut("kernel").and_then(Value::as_object_mut), release) {
        kernel.insert("release".to_owned(), json!(release));
    }
    report
}

pub fn fill(folder: &Path, template: &Value, hosts: usize) -> io::Result<()> {
    (0..hosts).try_for_each(|number| {
        fs::write(folder.join(format!("host{number}.json")), format!("{:#}\n", of(template, number)))
    })
}

//! pfnwatch's reports, by their JSON.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{agent, command};

/// Runs `pfnwatch COMMAND… --format json`, which must end with this exit code.
pub fn report(code: i32, arguments: &[&str]) -> Result<Value> {
    let said = command::attempt(agent::PROGRAM, &[arguments, &["--format", "json"]].concat())?;
    ensure!(said.code == Some(code), "pfnwatch {arguments:?} did not end with {code}: {said:?}");
    serde_json::from_str(&said.stdout).with_context(|| format!("pfnwatch {arguments:?}: {said:?}"))
}

/// `pfnwatch scan`, which ends with exit code 3 if something is oversize.
pub fn scan(code: i32) -> Result<Value> {
    report(code, &["scan"])
}

pub fn row<'a>(scan: &'a Value, namespace: &str) -> Result<&'a Value> {
    let rows = scan.get("namespaces").and_then(Value::as_array).context("a scan without namespaces")?;
    let mut rows = rows.iter().filter(|row| row.get("namespace").is_some_and(|name| name == namespace));
    rows.next().with_context(|| format!("the scan has no {namespace}: {scan:#}"))
}

/// The report of `pfnwatch kernel --running`.
pub fn running_kernel(code: i32) -> Result<Value> {
    let report = report(code, &["kernel", "--running"])?;
    report.pointer("/kernels/0").cloned().with_context(|| format!("no kernel: {report:#}"))
}

/// The error names the first of these keys whose value is another.
pub fn ensure_contains(json: &Value, expected: &Value) -> Result<()> {
    let expected = expected.as_object().context("expected: an object")?;
    for (key, value) in expected {
        ensure!(json.get(key) == Some(value), "{key} is not {value}: {json:#}");
    }
    Ok(())
}

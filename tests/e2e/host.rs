//! What the agent says of a host, and how it ends: exit codes and remedies.

use anyhow::{Context, Result, ensure};
use guest::agent::PROGRAM;
use guest::command::{attempt, attempt_as_nobody};
use guest::modules;
use serde_json::Value;

fn doctor() -> Result<(Option<i32>, Value)> {
    let said = attempt(PROGRAM, &["doctor", "--format", "json"])?;
    let report = serde_json::from_str(&said.stdout).with_context(|| format!("no JSON: {said:?}"))?;
    Ok((said.code, report))
}

fn row<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    let rows = report.get("prerequisites").and_then(Value::as_array).context("no prerequisites")?;
    rows.iter().find(|row| row["name"] == name).with_context(|| format!("no row {name}: {report}"))
}

#[test]
fn doctor_finds_all_that_observing_needs() -> Result<()> {
    modules::load_stack()?;
    let (code, report) = doctor()?;
    assert_eq!((code, &report["schema"], &report["observe"]), (Some(0), &1.into(), &"yes".into()), "{report}");
    assert_eq!(
        (&report["kernel"]["struct_page_size_bytes"], &report["kernel"]["page_size_bytes"]),
        (&64.into(), &4096.into())
    );
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    assert_eq!(report["kernel"]["release"], release.trim());
    let table = attempt(PROGRAM, &["doctor"])?;
    assert_eq!(table.code, Some(0));
    ensure!(table.stdout.contains("This host can be observed."), "{}", table.stdout);
    Ok(())
}

#[test]
fn doctor_names_what_5_10_lacks() -> Result<()> {
    modules::load_stack()?;
    let (code, report) = doctor()?;
    assert_eq!((code, &report["schema"], &report["observe"]), (Some(4), &1.into(), &"no".into()), "{report}");
    let types = row(&report, "libnvdimm's types (BTF)")?;
    assert_eq!(types["answer"], "no");
    let (seen, remedy) = (types["seen"].to_string(), types["remedy"].to_string());
    ensure!(seen.contains("CONFIG_DEBUG_INFO_BTF_MODULES") && seen.contains("5.11"), "why: {seen}");
    ensure!(remedy.contains("--btf-dir"), "what to do: {remedy}");
    Ok(())
}

#[test]
fn run_ends_with_4_on_5_10() -> Result<()> {
    modules::load_stack()?;
    let said = attempt(PROGRAM, &["run"])?;
    assert_eq!(said.code, Some(4), "{said:?}");
    for word in ["cannot be observed", "libnvdimm", "CONFIG_DEBUG_INFO_BTF_MODULES", "doctor"] {
        ensure!(said.stderr.contains(word), "no {word}: {said:?}");
    }
    ensure!(!said.stderr.contains("panicked"), "{said:?}");
    Ok(())
}

#[test]
fn without_privileges_run_and_doctor_end_with_4_and_the_remedy() -> Result<()> {
    modules::load_stack()?;
    for loaded in [true, false] {
        if !loaded {
            modules::unload_stack()?;
        }
        for arguments in [["run"], ["doctor"]] {
            let said = attempt_as_nobody(PROGRAM, &arguments)?;
            assert_eq!(said.code, Some(4), "libnvdimm loaded {loaded}: {said:?}");
            let text = format!("{}{}", said.stdout, said.stderr);
            ensure!(text.contains("root"), "the remedy is missing where libnvdimm is loaded ({loaded}): {said:?}");
            ensure!(!text.contains("panicked"), "{said:?}");
        }
    }
    modules::load_stack().map(drop)
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() -> Result<()> {
    let cases: [(&[&str], &str); 6] = [
        (&["run", "--no-such-option"], "--no-such-option"),
        (&["run", "--ring-size", "5000"], "power of two"),
        (&["run", "--ring-size", "1KiB"], "4KiB to 16MiB"),
        (&["run", "--ring-size", "lots"], "lots"),
        (&["run", "--format", "xml"], "xml"),
        (&["watch"], "watch"),
    ];
    for (arguments, word) in cases {
        let said = attempt(PROGRAM, arguments)?;
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        ensure!(said.stderr.contains(word), "no {word:?}: {said:?}");
    }
    Ok(())
}

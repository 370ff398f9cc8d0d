//! `pfnwatch predict --ndctl-size`: what ndctl takes, refuses, and then really gives.

use anyhow::{Context, Result, ensure};
use guest::{MIB, command, ndctl, regions};
use serde_json::Value;

fn predict(region: &str, size: &str) -> Result<Value> {
    let arguments =
        ["predict", "--ndctl-size", "--size", size, "--align", "2M", "--region", region, "--format", "json"];
    serde_json::from_str(&command::run("/bin/pfnwatch", &arguments)?).context("no JSON")
}

fn create(region: &str, size: &str) -> Result<Value> {
    ndctl::create(region, &["-m", "fsdax", "-M", "dev", "-a", "2M", "-s", size])
}

#[test]
fn ndctl_takes_and_refuses_as_predicted() -> Result<()> {
    let region = regions::fresh()?.first;
    // The region's align is 16 MiB.
    for (asked, taken) in [(1024 * MIB, true), (1008 * MIB, true), (1001 * MIB, false), (8 * MIB, false)] {
        let prediction = predict(&region, &asked.to_string())?;
        let size = prediction["request"]["size_bytes"].as_u64().context("no size")?;
        ensure!((size == asked) == taken, "{asked}: {prediction}");
        if !taken {
            ensure!(create(&region, &asked.to_string()).is_err(), "ndctl took {asked}");
        }
        let made = create(&region, &size.to_string()).with_context(|| format!("predicted: {prediction}"))?;
        let usable = prediction["this_kernel"]["usable_bytes"].as_u64();
        ensure!(usable == Some(ndctl::number(&made, "size")?), "{made}\nis not as predicted: {prediction}");
        ndctl::destroy(ndctl::text(&made, "dev")?)?;
    }
    Ok(())
}

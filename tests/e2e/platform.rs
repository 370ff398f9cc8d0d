//! What every guest must offer before anything else is worth testing.

use std::fs;

use anyhow::{Result, ensure};

#[test]
fn lsm_list_holds_bpf() -> Result<()> {
    let list = fs::read_to_string("/sys/kernel/security/lsm")?;
    ensure!(list.trim().split(',').any(|name| name == "bpf"), "active LSMs: {list}");
    Ok(())
}

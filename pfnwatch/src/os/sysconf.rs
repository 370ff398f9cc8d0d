//! Constants of the running system.

use anyhow::Context as _;

/// Bytes in a page of the running kernel.
pub fn page_size() -> anyhow::Result<u64> {
    let bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.context("page size")?;
    Ok(u64::try_from(bytes)?)
}

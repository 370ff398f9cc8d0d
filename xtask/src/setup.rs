//! Set-up: installs what is missing, reports what it does, and costs next to nothing if everything is there.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::architecture::Architecture;
use crate::debian;
use crate::process::both;

mod host;
mod musl;
mod rust_src;
mod tool;

pub(crate) use host::{ARM64_FIRMWARE, ensure as host_programs, path as host_path, qemu_version};
pub(crate) use musl::{ensure as for_release, for_target};
pub(crate) use rust_src::{RustSource, ensure as rust_source};
pub(crate) use tool::{BPF_LINKER, CARGO_DEB, cargo_deny};

/// What the eBPF build needs: bpf-linker, and the sources of Rust's core library.
pub(crate) fn for_build() -> Result<()> {
    both(|| BPF_LINKER.ensure(), rust_src::ensure).map(drop)
}

/// What the unit tests need: the same, and what checks shell scripts.
pub(crate) fn for_unit_tests() -> Result<()> {
    for_build()?;
    host::ensure(&["shellcheck"])
}

/// What guests need: QEMU, ndctl and some tools of the host.
pub(crate) fn for_guests() -> Result<()> {
    host::ensure(&host::FOR_GUESTS.split(' ').chain([debian::KEYRING]).collect::<Vec<_>>())?;
    host::ensure_qemu(Architecture::X86_64)
}

/// What guests for arm64 need besides: their emulator and its firmware, and what builds their programs.
pub(crate) fn for_arm64_guests() -> Result<()> {
    host::ensure_qemu(Architecture::Arm64)?;
    host::ensure(&[ARM64_FIRMWARE])?;
    for_release(Architecture::Arm64)
}

/// What the VM tests need: both, and what the agent's release needs. bpf-linker keeps the processors busy, the rest waits for the network.
pub(crate) fn for_vm() -> Result<()> {
    both(for_build, || for_guests().and_then(|()| for_release(Architecture::HOST))).map(drop)
}

pub(crate) fn for_test() -> Result<()> {
    for_vm()?;
    for_unit_tests()?;
    for_dist()?;
    cargo_deny().map(drop)
}

/// What the Debian package needs besides what the build needs: cargo-deb and the tools that it calls.
pub(crate) fn for_dist() -> Result<()> {
    host::ensure(&["dpkg-deb", "xz"])?;
    CARGO_DEB.ensure()
}

/// The program rpm, installed if it is missing.
pub(crate) fn rpm() -> Result<PathBuf> {
    host::ensure(&["rpmbuild"])?;
    host::path("rpm").context("Debian's package rpm has no program rpm")
}

/// What all artefacts need: the same, and rpmbuild.
pub(crate) fn for_all_dist() -> Result<()> {
    for_dist()?;
    host::ensure(&["rpmbuild"])
}

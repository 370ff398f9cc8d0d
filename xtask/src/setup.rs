//! Set-up: installs what is missing, says what it does, and costs next to nothing where all is there.

use std::thread;

use anyhow::{Result, anyhow};

mod cargo_deny;
mod host;
mod qemu;
mod rust_src;
mod tool;

pub(crate) use cargo_deny::ensure as cargo_deny;
pub(crate) use host::has as host_has;
pub(crate) use rust_src::{RustSource, ensure as rust_source};
pub(crate) use tool::{BPF_LINKER, CARGO_DEB};

/// What the eBPF build needs: bpf-linker, and the sources of Rust's core library.
pub(crate) fn for_build() -> Result<()> {
    both(|| BPF_LINKER.ensure(), || rust_src::ensure().map(drop))
}

/// What the fuzz targets need: the same, and a compiler for libFuzzer.
pub(crate) fn for_fuzz() -> Result<()> {
    for_build()?;
    host::ensure_program("c++")
}

/// What the benchmark of scans needs besides: what counts system calls.
pub(crate) fn for_bench_scan() -> Result<()> {
    host::ensure_package("strace", "strace")
}

/// What the tests of the web page need: a browser.
pub(crate) fn for_web() -> Result<()> {
    host::ensure_package("chromium", "chromium")
}

/// What the VM tests need besides: QEMU, ndctl and some tools of the host.
pub(crate) fn for_vm() -> Result<()> {
    for_vm_and(|| Ok(()))
}

/// What `cargo xtask test` needs: all of that, what makes the package, and what looks at the dependencies.
pub(crate) fn for_test() -> Result<()> {
    for_vm_and(|| for_dist().and_then(|()| cargo_deny().map(drop)))
}

fn for_vm_and(more: impl FnOnce() -> Result<()>) -> Result<()> {
    let others = || {
        host::ensure()?;
        qemu::ensure()?;
        rust_src::ensure()?;
        more()
    };
    // bpf-linker keeps the processors busy for minutes, the rest waits for the network.
    both(|| BPF_LINKER.ensure(), others)
}

/// What the Debian package needs besides what the build needs: cargo-deb, and the tools that it leaves the work to.
pub(crate) fn for_dist() -> Result<()> {
    host::ensure_program("dpkg-deb")?;
    host::ensure_program("xz")?;
    CARGO_DEB.ensure()
}

/// Runs two parts side by side and reports what went wrong in either.
pub(crate) fn both(one: impl FnOnce() -> Result<()> + Send, other: impl FnOnce() -> Result<()>) -> Result<()> {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        match (one.join().unwrap_or_else(|_| Err(anyhow!("a part of it panicked"))), other) {
            (Err(first), Err(second)) => Err(anyhow!("{first:#}\nerror: {second:#}")),
            (first, second) => first.and(second),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_both_parts_are_told() {
        let error = both(|| Err(anyhow!("one")), || Err(anyhow!("two"))).unwrap_err().to_string();
        assert!(error.contains("one") && error.contains("two"), "{error}");
        assert!(both(|| Err(anyhow!("one")), || Ok(())).is_err() && both(|| Ok(()), || Err(anyhow!("two"))).is_err());
        assert!(both(|| Ok(()), || Ok(())).is_ok());
    }
}

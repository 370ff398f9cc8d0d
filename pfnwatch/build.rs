//! Takes the eBPF object that `cargo xtask build` made, so that it lies inside the agent.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    // OUT_DIR is TARGET/PROFILE/build/PACKAGE-HASH/out: the object lies in TARGET/bpf, wherever TARGET is.
    let object = Path::new(&out)
        .ancestors()
        .map(|directory| directory.join("bpf/pfnwatch-ebpf"))
        .find(|object| object.is_file())
        .ok_or("the eBPF object is not built: run `cargo xtask build`, which makes target/bpf/pfnwatch-ebpf first")?;
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rerun-if-changed=build.rs");
    fs::copy(&object, Path::new(&out).join("pfnwatch-ebpf"))?;
    Ok(())
}

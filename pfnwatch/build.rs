//! Takes what lies inside the agent: the eBPF object that `cargo xtask build` made, and the schemas.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;

const SCHEMAS: &str = "dist/schema.json";

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
    compress(Path::new(SCHEMAS), &Path::new(&out).join("schema.json.zlib"))
}

/// Compressed, the schemas take a tenth of the size, and few ask for them.
fn compress(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", from.display());
    let mut compressed = ZlibEncoder::new(File::create(to)?, Compression::best());
    compressed.write_all(&fs::read(from)?)?;
    compressed.finish()?;
    Ok(())
}

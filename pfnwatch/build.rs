//! Takes what lies inside the agent: the eBPF object that `cargo xtask build` made, the schemas, and the list of dependencies.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;

const SCHEMAS: &str = "dist/schema.json";
/// Names the file with the list of dependencies, which `cargo xtask build --release` writes.
const DEPENDENCIES: &str = "PFNWATCH_DEPENDENCIES";

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    let architecture = env::var("CARGO_CFG_TARGET_ARCH")?;
    // OUT_DIR is TARGET/PROFILE/build/PACKAGE-HASH/out, or below TARGET/TRIPLE: the object lies in TARGET/bpf, wherever TARGET is.
    let object = Path::new(&out)
        .ancestors()
        .map(|directory| directory.join("bpf").join(&architecture).join("pfnwatch-ebpf"))
        .find(|object| object.is_file())
        .ok_or_else(|| {
            format!(
                "the eBPF object is not built: run `cargo xtask build`, which makes target/bpf/{architecture}/pfnwatch-ebpf first"
            )
        })?;
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rerun-if-changed=build.rs");
    fs::copy(&object, Path::new(&out).join("pfnwatch-ebpf"))?;
    println!("cargo::rerun-if-env-changed={DEPENDENCIES}");
    let dependencies = Path::new(&out).join("dependencies.zlib");
    match env::var_os(DEPENDENCIES) {
        Some(list) => compress(Path::new(&list), &dependencies)?,
        None => fs::write(dependencies, "")?,
    }
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

//! The seeds, and each input that once crashed, pass without libFuzzer too.

use std::path::Path;

use super::*;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 12] = [
    ("btf", btf::check),
    ("code", code::check),
    ("config", config::check),
    ("control", control::check),
    ("fleet", fleet::check),
    ("image", image::check),
    ("info_block", info_block::check),
    ("inventory", inventory::check),
    ("module", module::check),
    ("package", package::check),
    ("policy", policy::check),
    ("record", record::check),
];

#[test]
fn every_seed_passes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (target, check) in TARGETS {
        let files: Vec<_> = fs::read_dir(seeds.join(target)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{target} has no seed");
        for file in files {
            try_file(&file, check).unwrap();
        }
    }
}

//! Writes the seeds of the fuzz targets with the encoders of the unit tests: `cargo test -p pfnwatch --lib seeds -- --ignored`
//! after a change of a format. What lies in `fuzz/seeds` is ours, byte by byte, but for the info blocks `linux-*`: kernels wrote those in the
//! guests of the end-to-end tests. No kernel's package is in it.

use crate::testing::events as samples;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pfnwatch_common::InfoBlock;
use pfnwatch_common::record::{MemmapRemoval, Notice, NoticeKind};
use zerocopy::IntoBytes as _;

use crate::image::module_file::tests::libnvdimm;
use crate::image::package::tests::{deb, rpm};
use crate::image::vmlinux::tests::bzimage;
use crate::kernel::btf;
use crate::kernel::max_struct_page::tests::as_gcc_does;
use crate::testing::btf_writer::Writer;
use crate::testing::tree::{Pmem, Tree};

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

/// Packed by one of the programs that kernels are packed with; what goes in is ours.
fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Shorter than a pipe holds, so that nobody waits for the other.
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Blocks that real kernels wrote fit the namespaces that they were made in, and come back to the byte.
#[test]
fn blocks_of_real_kernels_are_read_and_written_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/info_block");
    let mut sizes = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if !entry.file_name().to_string_lossy().starts_with("linux-") {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        let (place, bytes) = bytes.split_at(16);
        let [start, size] = [0, 8].map(|at| u64::from_le_bytes(place[at..at + 8].try_into().unwrap()));
        let block = InfoBlock::from_block(bytes).unwrap();
        assert_eq!(block.sanity(start, size), Ok(()), "{entry:?}");
        assert_eq!(block.encode()[..], *bytes, "{entry:?}");
        sizes.push(block.page_struct_size);
    }
    assert!(sizes.len() >= 9 && sizes.contains(&64) && sizes.contains(&128), "{sizes:?}");
}

#[test]
#[ignore = "writes into the source tree"]
fn records_and_blocks() {
    let attempt = samples::creation();
    write("record", "creation", attempt.as_bytes());
    for (name, what) in [("claim", NoticeKind::Claim), ("label", NoticeKind::Label)] {
        write("record", name, Notice { what: what as u32, ..Notice::EMPTY }.as_bytes());
    }
    write("record", "denial", samples::denial().as_bytes());
    let removal = MemmapRemoval { start: 4 << 30, end: (5 << 30) - 1, vmemmap_shift: 9, ..MemmapRemoval::EMPTY };
    write("record", "removal", removal.as_bytes());
    let block = samples::block();
    let place = [(4_u64 << 30).to_le_bytes(), (1_u64 << 30).to_le_bytes()].concat();
    for version_minor in [0, 1, 2, 4] {
        let block = InfoBlock { version_minor, ..block };
        write("info_block", &format!("version-1.{version_minor}"), &[&place[..], &block.encode()].concat());
    }
}

#[test]
#[ignore = "writes into the source tree"]
fn kernels() {
    let mut types = Writer::new();
    let long = types.int("long unsigned int", 8);
    types.structure("page", 64, &[("flags", long, 0)]);
    let image = bzimage("6.1.0-50-amd64 (a builder) #1 SMP", &types.bytes());
    write("image", "bzimage", &image);
    for (name, constant, shift) in [("lean", 64, 6), ("regressed", 128, 7)] {
        write("code", name, &as_gcc_does(constant, shift));
        write("module", name, &libnvdimm(constant, shift));
    }
    let module = libnvdimm(128, 7);
    for program in ["gzip", "lz4", "xz", "zstd"] {
        write("module", program, &packed(program, &module));
    }
    let files: [(&str, &[u8]); 2] =
        [("boot/vmlinuz-6.1.0", &image), ("lib/modules/6.1.0/kernel/drivers/nvdimm/libnvdimm.ko", &module)];
    write("package", "deb", &deb(&files));
    write("package", "rpm", &rpm(&files));
    let (kernel, over) = (btf::tests::sample(), Writer::over(&btf::tests::sample()));
    let length = u16::try_from(kernel.bytes().len()).unwrap().to_le_bytes();
    write("btf", "kernel", &[&length[..], &kernel.bytes()].concat());
    let mut module = over;
    module.structure("nd_pfn", 808, &[("mode", 1, 0), ("align", 2, 768)]);
    write("btf", "module", &[&length[..], &kernel.bytes(), &module.bytes()].concat());
}

#[test]
#[ignore = "writes into the source tree"]
fn hosts() {
    for (name, pmem) in [
        ("lean", Pmem::default()),
        ("regressed", Pmem { struct_page: 128, ..Pmem::default() }),
        ("ram", Pmem { dax: true, map: "ram", ..Pmem::default() }),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        tree.region(0, pmem.start, 1 << 36).unwrap();
        tree.namespace(&pmem).unwrap();
        if pmem.dax {
            tree.dax_driver(&pmem, "kmem").unwrap();
        }
        tree.unclaimed("namespace0.7", "raw", 1 << 30).unwrap();
        write("inventory", name, as_text(&folder.path().join("bus")).as_bytes());
    }
}

#[test]
#[ignore = "writes into the source tree"]
fn configurations() {
    let example = include_str!("../dist/pfnwatch.toml");
    write("policy", "example", example.as_bytes());
    let shown: Vec<_> = example.lines().filter_map(|line| line.strip_prefix("#| ")).collect();
    let limits = "aligns = 4294967295\npercent = 100\nreference_struct_page_bytes = 4096\n";
    let guard = "[guard]\nmode = \"enforce\"\non_agent_exit = \"hold\"\n";
    let all = format!("{guard}\n[thresholds]\n{limits}\n{}\n", shown.join("\n"));
    write("policy", "exemptions", all.as_bytes());
    write("policy", "crowded", "[[exemptions]]\nregion_start = \"1\"\nreason = \"r\"\n".repeat(65).as_bytes());
    write("policy", "wrong", b"[guard]\nmode = \"on\"\n");
}

fn as_text(bus: &Path) -> String {
    let mut text = String::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(bus.join(&folder)).unwrap().map(|entry| entry.unwrap()).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (kind, path) = (entry.file_type().unwrap(), folder.join(entry.file_name()));
            let shown = path.display().to_string();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                text += &format!("{shown}->{}\n", target.file_name().unwrap().display());
            } else {
                text += &format!("{shown}={}\n", fs::read_to_string(entry.path()).unwrap().trim_end());
            }
        }
    }
    text
}

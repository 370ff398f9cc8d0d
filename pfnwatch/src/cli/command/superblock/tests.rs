//! Reports of blocks: those of kernels, and those of real cases.

use std::io::Write as _;

use super::*;
use crate::image::KernelImage;
use serde_json::json;

/// What a kernel with `n` writes into a namespace of 1 GiB with align 2 MiB.
fn block(dataoff: u64, n: u16) -> InfoBlock {
    InfoBlock { kind: SuperblockKind::Dax, parent_uuid: [0; 16], ..InfoBlock::sample(dataoff, n) }
}

fn found(bytes: &[u8], offset: Option<u64>) -> anyhow::Result<FoundBlock> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read(file.path(), offset)
}

fn exit_of(bytes: &[u8]) -> Exit {
    let found = found(bytes, None).unwrap();
    exit(&found, &SuperblockReport::of(&found))
}

#[test]
fn a_block_is_found_alone_and_in_a_namespace() {
    let block = block(18_874_368, 64);
    let alone = found(&block.encode(), None).unwrap();
    assert_eq!((alone.offset, alone.block, alone.namespace_bytes), (0, block, None));
    let mut namespace = vec![0; 1 << 14];
    namespace[4096..8192].copy_from_slice(&block.encode());
    let inside = found(&namespace, None).unwrap();
    assert_eq!((inside.offset, inside.block, inside.namespace_bytes), (4096, block, None), "only its beginning");
    assert_eq!(found(&namespace, Some(4096)).unwrap().block, block);
    assert!(found(&namespace, Some(8192)).is_err());
}

#[test]
fn what_is_no_block_is_said_so() {
    for bytes in [b"".as_slice(), b"NVDIMM_PFN_INFO\0", &[0; 9000], &block(18_874_368, 64).encode()[..4095]] {
        let error = found(bytes, None).err().unwrap().to_string();
        assert!(error.starts_with("no info block"), "{error}");
    }
}

#[test]
fn the_exit_code_tells() {
    assert_eq!(exit_of(&block(18_874_368, 64).encode()), Exit::Success);
    assert_eq!(exit_of(&block(35_651_584, 128).encode()), Exit::Findings);
    let mut damaged = block(18_874_368, 64).encode();
    damaged[100] = 1;
    assert_eq!(exit_of(&damaged), Exit::Error);
}

fn checked(block: InfoBlock) -> FoundBlock {
    let checksum = Checksum::of(&block.encode()).unwrap();
    FoundBlock { offset: 4096, block, checksum, namespace_bytes: Some(1 << 30) }
}

#[test]
fn ideal_and_excess_are_exact() {
    let found = checked(block(35_651_584, 128));
    let json = serde_json::to_value(SuperblockDocument::from(&SuperblockReport::of(&found))).unwrap();
    assert_eq!((&json["ideal_bytes"], &json["excess_bytes"]), (&json!(18_874_368), &json!(16_777_216)));
    assert_eq!((&json["follows_formula"], &json["geometry_mismatch"]), (&json!(true), &json!(null)));
    assert!(SuperblockReport::of(&found).text().contains("excess            16777216 (16 MiB)"));
}

#[test]
fn another_layout_is_told() {
    let found = checked(block(35_651_584, 64));
    assert!(SuperblockReport::of(&found).text().contains("not what a current kernel writes"));
}

#[test]
fn contradictions_do_not_end_in_numbers() {
    let found = checked(InfoBlock { npfns: u64::MAX, mode: 7, ..block(35_651_584, 64) });
    let report = SuperblockReport::of(&found);
    assert_eq!(report.excess_bytes(), None);
    assert!(report.text().contains("7, which no kernel knows"));
}

/// The report of a file that has the block 4 KiB into it and `size` bytes; it is sparse.
fn image(block: &InfoBlock, size: u64) -> FoundBlock {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().write_all(&[vec![0; 4096], block.encode().to_vec()].concat()).unwrap();
    file.as_file().set_len(size).unwrap();
    read(file.path(), None).unwrap()
}

fn json(found: &FoundBlock) -> serde_json::Value {
    serde_json::to_value(SuperblockDocument::from(&SuperblockReport::of(found))).unwrap()
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

#[test]
fn what_ndctl_read_infoblock_writes_is_not_the_whole_namespace() {
    let found = image(&block(18_874_368, 64), 8192);
    assert_eq!((found.offset, found.namespace_bytes), (4096, None));
    let report = json(&found);
    assert_eq!((&report["geometry_mismatch"], &report["notes"]), (&json!(null), &json!([])));
    assert_eq!(image(&block(18_874_368, 64), 1 << 30).namespace_bytes, Some(1 << 30), "a whole image");
    assert_eq!(image(&block(18_874_368, 64), 1 << 25).namespace_bytes, None, "its beginning");
}

/// Kata containers and PMEM-CSI write such blocks into images.
#[test]
fn an_image_whose_tool_sets_no_npfns_is_in_order() {
    let written = InfoBlock {
        version_major: 0,
        version_minor: 2,
        mode: 1,
        npfns: 0,
        kind: SuperblockKind::Pfn,
        page_size: None,
        ..block(2 * MIB, 64)
    };
    for size in [128 * MIB, 8 * KIB] {
        let report = json(&image(&written, size));
        assert_eq!((&report["mode"], &report["map"]), (&json!("fsdax"), &json!("mem")));
        assert_eq!((&report["reservation_bytes"], &report["excess_bytes"]), (&json!(2 * MIB), &json!(0)));
        assert_eq!(report["notes"], json!(["written by a tool: npfns not set"]));
        assert_eq!(report["geometry_mismatch"], json!(null));
    }
}

/// `ndctl write-infoblock -a 4K -O 8K` on 1 GiB + 8 KiB.
#[test]
fn a_start_pad_by_hand_is_named() {
    let padded = InfoBlock {
        dataoff: 18_866_176,
        start_pad: 2_088_960,
        end_trunc: 16 << 10,
        align: 4096,
        npfns: ((1 << 30) + 8 * KIB - 18_866_176 - 2_088_960 - 16 * KIB) / 4096,
        ..block(0, 64)
    };
    let report = json(&image(&padded, (1 << 30) + 8 * KIB));
    assert_eq!(report["notes"], json!(["made by hand with a start_pad of 1.9 MiB"]));
}

/// Its kernel may have had pages of 64 KiB: the block does not record that.
#[test]
fn a_block_below_version_1_4_has_several_readings() {
    let older = InfoBlock {
        version_minor: 3,
        dataoff: 32 * MIB,
        npfns: 3_923_968,
        align: 16 * MIB,
        page_size: None,
        ..InfoBlock::sample(0, 64)
    };
    let found = image(&older, 8 * KIB);
    let report = json(&found);
    assert_eq!((&report["ideal_bytes"], &report["excess_bytes"]), (&json!(null), &json!(null)));
    let notes = report["notes"].to_string();
    for part in ["not known which: with pages of 4 KiB", "with pages of 64 KiB", "excess 0 (0 B)", "excess 16777216"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert_eq!(exit(&found, &SuperblockReport::of(&found)), Exit::Success);
}

#[test]
fn a_block_of_power_is_not_accused() {
    let hash = InfoBlock { dataoff: 16 * MIB, npfns: 16_128, align: 64 * KIB, page_size: Some(65536), ..block(0, 64) };
    let found = image(&hash, 8 * KIB);
    let report = json(&found);
    assert_eq!(report["excess_bytes"], json!(null), "0 with the hash MMU, 14 MiB without");
    assert!(report["notes"].to_string().contains("(POWER, hash MMU): ideal 16777216 (16 MiB), excess 0"), "{report}");
    assert_eq!(exit(&found, &SuperblockReport::of(&found)), Exit::Success);
}

/// A kernel of x86_64 as its files show it.
fn kernel(release: &str, struct_page_bytes: Option<u64>) -> Taker {
    let image = KernelImage { struct_page_bytes, ..KernelImage::default() };
    Taker::of_image(release.to_owned(), &image).unwrap()
}

#[test]
fn a_kernel_is_asked_whether_it_takes_the_block() {
    let sound = block(18_874_368, 64);
    for (taken, kernel, block, reason) in [
        (true, kernel("6.12.94-amd64", Some(64)), sound, ""),
        (false, kernel("6.12.94-amd64", Some(80)), sound, "struct page size mismatch"),
        (true, kernel("6.12.94-amd64", None), InfoBlock { page_struct_size: 32, ..sound }, ""),
        (false, kernel("6.12.94-rt-amd64", Some(64)), sound, "this kernel offers 4 KiB: "),
        (false, kernel("6.12.94-amd64", Some(64)), InfoBlock { align: 16 * MIB, ..sound }, "alignment mismatch"),
        (false, kernel("6.6.0", Some(64)), InfoBlock { end_trunc: 1006 << 20, npfns: 0, ..sound }, "small namespace"),
        (true, kernel("6.1.0-50", Some(64)), InfoBlock { end_trunc: 1006 << 20, npfns: 0, ..sound }, ""),
    ] {
        let found = image(&block, 1 << 30);
        let report = SuperblockReport::of(&found).asked(&kernel);
        let json = serde_json::to_value(SuperblockDocument::from(&report)).unwrap();
        assert_eq!(json["kernel"]["takes"], taken, "{json:#}");
        assert!(json["kernel"]["refusals"].to_string().contains(reason), "{json:#}");
        assert_eq!(exit(&found, &report) == Exit::Findings, !taken, "{json:#}");
        let unsure = !json["kernel"]["unknown"].as_array().unwrap().is_empty();
        assert!(!taken || unsure, "a start is never known: {json:#}");
    }
}

#[test]
fn a_block_that_stands_for_none_reserves_nothing() {
    let block = InfoBlock { npfns: 0, mode: 1, align: 1 << 30, ..block(0, 64) };
    let mut bytes = block.encode();
    // The kernel gives it no checksum.
    bytes[4088..].fill(0);
    let found = found(&bytes, None).unwrap();
    let report = SuperblockReport::of(&found);
    let json = serde_json::to_value(SuperblockDocument::from(&report)).unwrap();
    for key in ["reservation_bytes", "ideal_bytes", "excess_bytes"] {
        assert_eq!(json[key], json!(0), "{key}");
    }
    assert_eq!((&json["follows_formula"], &json["geometry_mismatch"]), (&json!(null), &json!(null)));
    assert_eq!(exit(&found, &report), Exit::Success);
    assert!(report.text().contains("replaces a missing block"), "{}", report.text());
}

proptest::proptest! {
    /// A right checksum proves nothing of the fields.
    #[test]
    fn absurd_fields_end_in_a_report(
        numbers in proptest::collection::vec(proptest::prelude::any::<u64>(), 2),
        words in proptest::collection::vec(proptest::prelude::any::<u32>(), 5),
        version_minor in 0..6_u16, small: bool, kind: bool,
    ) {
        let shrunk = |number: u64| if small { number % (1 << 32) } else { number };
        let block = InfoBlock {
            kind: if kind { SuperblockKind::Dax } else { SuperblockKind::Pfn },
            version_minor,
            dataoff: shrunk(numbers[0]),
            npfns: shrunk(numbers[1]),
            mode: words[0] % 4,
            start_pad: words[1],
            end_trunc: words[2],
            align: words[3].into(),
            page_size: Some(words[4]),
            ..InfoBlock::sample(0, 64)
        };
        let checksum = Checksum::of(&block.encode()).unwrap();
        for namespace_bytes in [None, Some(1 << 30), Some(8192), Some(u64::MAX)] {
            let found = FoundBlock { offset: 4096, block, checksum, namespace_bytes };
            let report = SuperblockReport::of(&found).asked(&kernel("6.12.94-amd64", Some(64)));
            proptest::prop_assert!(report.text().contains("6.12.94-amd64"));
            proptest::prop_assert!(serde_json::to_value(SuperblockDocument::from(&report)).is_ok());
        }
    }
}

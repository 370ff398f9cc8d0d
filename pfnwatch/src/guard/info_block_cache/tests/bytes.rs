//! What is kept of a block is the block, byte for byte.

use std::fs;
use std::path::Path;

use pfnwatch_common::{Geometry, KernelQuirks, reservation};
use proptest::prelude::*;

use super::*;

/// What `nd_pfn_init()` sets, in its order, into zeroed memory (drivers/nvdimm/pfn_devs.c, 6.12): written out here by
/// itself, field by field, so that it is independent of the encoder that it is compared with.
fn as_the_kernel_writes_it(geometry: &Geometry, n: u16, kind: SuperblockKind) -> [u8; superblock::SIZE] {
    let made = reservation(geometry, n.into(), KernelQuirks::default()).expect("it fits");
    let mut sb = [0; superblock::SIZE];
    let mut put = |at: usize, bytes: &[u8]| sb[at..at + bytes.len()].copy_from_slice(bytes);
    put(72, &(geometry.map as u32).to_le_bytes());
    put(56, &made.dataoff.to_le_bytes());
    put(64, &made.npfns.to_le_bytes());
    put(0, if kind == SuperblockKind::Dax { b"NVDIMM_DAX_INFO\0" } else { b"NVDIMM_PFN_INFO\0" });
    put(16, &[7; 16]);
    put(32, &[9; 16]);
    put(52, &1_u16.to_le_bytes());
    put(54, &4_u16.to_le_bytes());
    put(80, &u32::try_from(made.end_trunc).expect("below an align").to_le_bytes());
    put(84, &u32::try_from(geometry.align).expect("32 bits").to_le_bytes());
    put(92, &n.to_le_bytes());
    put(88, &u32::try_from(geometry.page_size).expect("32 bits").to_le_bytes());
    // nd_sb_checksum(): Fletcher-64 over the block with its checksum zero.
    let (mut low, mut high) = (0_u32, 0_u32);
    for word in sb.chunks_exact(4) {
        low = low.wrapping_add(u32::from_le_bytes(word.try_into().expect("four")));
        high = high.wrapping_add(low);
    }
    sb[4088..].copy_from_slice(&(u64::from(high) << 32 | u64::from(low)).to_le_bytes());
    sb
}

proptest! {
    /// From the 96 bytes that an event brings to the 4 KiB on the media.
    #[test]
    fn a_block_seen_being_made_is_rebuilt_byte_for_byte(
        mib in 16..1_u64 << 21,
        n in prop_oneof![Just(64_u16), Just(80), Just(128)],
        align in prop_oneof![Just(4096_u64), Just(2 << 20), Just(16 << 20)],
        map in prop_oneof![Just(Map::Dev), Just(Map::Mem)],
        dax: bool,
    ) {
        let geometry =
            Geometry { start: START, size: mib << 20, align, map, page_size: 4096, compat: 2 << 20 };
        prop_assume!(reservation(&geometry, n.into(), KernelQuirks::default()).is_ok());
        let kind = if dax { SuperblockKind::Dax } else { SuperblockKind::Pfn };
        let on_media = as_the_kernel_writes_it(&geometry, n, kind);
        let mut record = creation();
        let head = record.block.len();
        record.block.copy_from_slice(&on_media[..head]);
        record.personality = if dax { Personality::Dax } else { Personality::Pfn } as u32;
        let mut kept = InfoBlockCache::default();
        follow(&mut kept, &record);
        let found = kept.find("namespace0.0").expect("kept");
        prop_assert_eq!(found.origin, BlockOrigin::Made);
        prop_assert!(*found.bytes() == on_media);
    }
}

/// The blocks in the tree, of every version.
#[test]
fn blocks_of_all_versions_come_back_byte_for_byte() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/info_block");
    let files: Vec<_> = fs::read_dir(seeds).expect("seeds").map(|file| file.expect("a file").path()).collect();
    assert_eq!(files.len(), 13);
    for file in files {
        let bytes = fs::read(&file).expect("readable");
        let on_media: [u8; superblock::SIZE] = bytes[16..].try_into().expect("a block");
        // Start and size precede the block, and identify its namespace.
        let [start_address, size_bytes] =
            [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a number")));
        let namespace_uuid = Some(Uuid::from_bytes(on_media[32..48].try_into().expect("a uuid")));
        let namespace = NamespaceId { start_address, size_bytes, namespace_uuid, ..namespace() };
        let mut kept = InfoBlockCache::default();
        assert!(kept.read(&namespace, &on_media, at(1)), "{}", file.display());
        assert!(*kept.find("namespace0.0").expect("kept").bytes() == on_media, "{}", file.display());
    }
}

/// What `nd_pfn_validate()` fills in for a block of before 1.4 is not on the media.
#[test]
fn a_block_of_an_older_version_that_is_met_is_rebuilt_as_it_lies_there() {
    let on_media = InfoBlock { version_minor: 2, page_size: None, page_struct_size: 0, ..block() }.encode();
    let mut record = Attempt { setup_validate: 0, ..creation() };
    let head = record.block.len();
    record.block.copy_from_slice(&on_media[..head]);
    record.block[88..92].copy_from_slice(&4096_u32.to_le_bytes());
    record.block[92..94].copy_from_slice(&64_u16.to_le_bytes());
    let mut kept = InfoBlockCache::default();
    follow(&mut kept, &record);
    let found = kept.find("namespace0.0").expect("kept");
    assert_eq!(found.origin, BlockOrigin::Accepted);
    assert!(*found.bytes() == on_media);
}

#[test]
fn a_block_with_something_behind_its_fields_is_kept_whole() {
    let mut bytes = block().encode();
    bytes[1000] = 1;
    bytes[4088..].fill(0);
    let sum = superblock::fletcher64(&bytes);
    bytes[4088..].copy_from_slice(&sum.to_le_bytes());
    let mut kept = InfoBlockCache::default();
    assert!(kept.read(&namespace(), &bytes, at(1)));
    // It is met again: the head alone must not take its place.
    follow(&mut kept, &Attempt { setup_validate: 0, ..creation() });
    let found = kept.find("namespace0.0").expect("kept");
    assert!(*found.bytes() == bytes);
    assert_eq!((found.origin, found.last_seen > at(1)), (BlockOrigin::Read, true));
}

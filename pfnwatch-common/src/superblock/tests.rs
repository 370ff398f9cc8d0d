use proptest::prelude::*;

use super::*;
use crate::reservation::{KernelQuirks, reservation};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a kernel with MAX_STRUCT_PAGE_SIZE `n` writes into a namespace of `size` bytes at 4 GiB.
fn made(size: u64, n: u16) -> InfoBlock {
    let geometry = Geometry { start: 4 * GIB, size, align: 2 * MIB, map: Map::Dev, page_size: 4096, compat: 2 * MIB };
    let got = reservation(&geometry, n.into(), KernelQuirks::default()).unwrap();
    InfoBlock {
        npfns: got.npfns,
        end_trunc: u32::try_from(got.end_trunc).unwrap(),
        ..InfoBlock::sample(got.dataoff, n)
    }
}

#[test]
fn fields_lie_where_the_kernel_has_them() {
    let bytes = made(GIB, 128).encode();
    assert_eq!(&bytes[..16], b"NVDIMM_PFN_INFO\0");
    assert_eq!(bytes[52..56], [1, 0, 4, 0]);
    assert_eq!(bytes[56..64], 35_651_584_u64.to_le_bytes());
    assert_eq!(bytes[72], 2);
    assert_eq!(bytes[88..94], [0, 16, 0, 0, 128, 0]);
}

#[test]
fn fletcher64_of_known_words() {
    // low: 1, 3, 3 …; high: 1, 4, 7 …: 1 + 3 * 1023.
    let mut block = [0; SIZE];
    block[0] = 1;
    block[4] = 2;
    assert_eq!(fletcher64(&block), (3070 << 32) | 3);
    block[CHECKSUM_AT] = 0xff;
    assert_eq!(fletcher64(&block), (3070 << 32) | 3, "its own field counts as zero");
}

#[test]
fn older_versions_mean_what_the_kernel_takes_them_for() {
    let padded = InfoBlock { start_pad: 4096, end_trunc: 8192, ..made(GIB, 128) };
    let parsed = |version_minor| {
        let mut bytes = padded.encode();
        bytes[54] = version_minor;
        InfoBlock::from_head(&bytes).unwrap()
    };
    assert_eq!((parsed(0).start_pad, parsed(0).end_trunc), (0, 0));
    assert_eq!((parsed(1).start_pad, parsed(1).end_trunc), (4096, 8192));
    // dataoff is 34 MiB: the largest power of two in it is 32 MiB.
    assert_eq!([0, 1, 2].map(|minor| parsed(minor).align), [32 * MIB, 32 * MIB, 2 * MIB]);
    assert_eq!((parsed(3).page_size, parsed(3).page_struct_size), (None, 64));
    assert_eq!((parsed(4).page_size, parsed(4).page_struct_size), (Some(4096), 128));
}

#[test]
fn what_a_kernel_fills_in_is_taken_out_again() {
    let older = InfoBlock { version_minor: 3, page_size: None, page_struct_size: 0, ..made(GIB, 64) };
    let media = older.encode();
    let mut held = media;
    put(&mut held, 88, &4096_u32.to_le_bytes());
    put(&mut held, 92, &64_u16.to_le_bytes());
    assert!(InfoBlock::from_block(&held).is_err(), "the checksum is the media's");
    assert_eq!(from_kernel_memory(&held), Some(media));
    assert_eq!(from_kernel_memory(&made(GIB, 128).encode()), Some(made(GIB, 128).encode()));
    held[60] ^= 1;
    assert_eq!(from_kernel_memory(&held), None, "damaged");
    let mut wrong = made(GIB, 64).encode();
    wrong[92] = 80;
    assert_eq!(from_kernel_memory(&wrong), None, "nothing is filled in at minor version 4");
}

#[test]
fn errors_name_what_is_wrong() {
    let bytes = made(GIB, 64).encode();
    assert_eq!(InfoBlock::from_head(&bytes[..95]), Err(ParseError::TooShort { len: 95, needed: 96 }));
    assert!(matches!(InfoBlock::from_block(&bytes[..4095]), Err(ParseError::TooShort { len: 4095, .. })));
    let mut arena = bytes;
    arena[..16].copy_from_slice(b"BTT_ARENA_INFO\0\0");
    assert_eq!(InfoBlock::from_head(&arena), Err(ParseError::Signature));
}

#[test]
fn sanity_against_the_namespace() {
    let block = made(GIB, 64);
    let misfit = |block: InfoBlock, start, size| block.sanity(start, size).unwrap_err();
    assert_eq!(block.sanity(4 * GIB, GIB), Ok(()));
    assert_eq!(misfit(InfoBlock { mode: 3, ..block }, 4 * GIB, GIB), GeometryMismatch::Mode(3));
    assert_eq!(misfit(block, 4 * GIB, MIB), GeometryMismatch::Align { align: 2 * MIB, size: MIB });
    assert_eq!(misfit(block, 4 * GIB, 4 * MIB), GeometryMismatch::Beyond { size: 4 * MIB });
    assert_eq!(
        misfit(block, 4 * GIB + MIB, GIB),
        GeometryMismatch::Misaligned { start: 4 * GIB + MIB, align: 2 * MIB }
    );
    assert_eq!(misfit(InfoBlock { dataoff: 0, ..block }, 4 * GIB, GIB), GeometryMismatch::InHead { dataoff: 0 });
    assert!(matches!(misfit(block, 4 * GIB, 512 * MIB), GeometryMismatch::Npfns { .. }));
}

#[test]
fn what_no_kernel_writes_is_hand_made() {
    let block = made(GIB, 64);
    assert!(block.has_npfns() && !block.is_hand_made());
    let image = InfoBlock { version_major: 0, version_minor: 2, mode: 1, dataoff: 2 * MIB, npfns: 0, ..block };
    assert!(!image.has_npfns() && image.is_hand_made());
    assert_eq!(image.geometry_when_made(4096, 2 * MIB), None, "it does not describe a size");
    let empty = InfoBlock { npfns: 0, end_trunc: 4096, ..block };
    assert!(empty.has_npfns() && !empty.is_hand_made(), "6.1 writes these");
    let padded = InfoBlock { start_pad: 4096, ..block };
    assert!(padded.is_hand_made());
    assert!(!InfoBlock { version_minor: 3, ..padded }.is_hand_made(), "a kernel before 5.3");
}

fn field_or_any<T: Copy + core::fmt::Debug + 'static>(
    usual: T,
    any: impl Strategy<Value = T>,
) -> impl Strategy<Value = T> {
    prop_oneof![Just(usual), any]
}

prop_compose! {
    fn blocks()(
        (kind, uuid, parent_uuid, flags) in (prop_oneof![Just(SuperblockKind::Pfn), Just(SuperblockKind::Dax)], any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u32>()),
        (version_major, version_minor) in (any::<u16>(), 4..=u16::MAX),
        (dataoff, npfns, mode) in (any::<u64>(), any::<u64>(), field_or_any(2, any::<u32>())),
        (start_pad, end_trunc, align) in (field_or_any(0, any::<u32>()), any::<u32>(), 1..=u32::MAX),
        (page_size, page_struct_size) in (field_or_any(4096, any::<u32>()), any::<u16>()),
    ) -> InfoBlock {
        let (align, page_size) = (align.into(), Some(page_size));
        InfoBlock { kind, uuid, parent_uuid, flags, version_major, version_minor, dataoff, npfns, mode, start_pad, end_trunc, align, page_size, page_struct_size }
    }
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_block_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..4200), sign: bool, start: u64, size: u64) {
        if let (true, Some(place)) = (sign, bytes.first_chunk_mut()) {
            *place = *SuperblockKind::Dax.signature();
        }
        let _ = InfoBlock::from_block(&bytes);
        if let Ok(block) = InfoBlock::from_head(&bytes) {
            let _ = block.sanity(start, size);
            let _ = block.geometry_when_made(4096, 2 * MIB);
        }
    }

    #[test]
    fn what_is_written_is_read(block in blocks()) {
        prop_assert_eq!(InfoBlock::from_block(&block.encode()), Ok(block));
    }

    #[test]
    fn one_flipped_bit_is_caught(block in blocks(), bit in 0..SIZE * 8) {
        let mut bytes = block.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(InfoBlock::from_block(&bytes).is_err());
    }

    /// The block alone yields the inputs it was made from: the formula computes the same reservation from them.
    #[test]
    fn the_geometry_is_rebuilt(mib in 16..1_u64 << 21, n in prop_oneof![Just(64), Just(128)]) {
        let block = made(mib * MIB, n);
        let geometry = block.geometry_when_made(4096, 2 * MIB).unwrap();
        prop_assert_eq!(geometry.size, mib * MIB);
        prop_assert_eq!(reservation(&geometry, n.into(), KernelQuirks::default()).unwrap().dataoff, block.dataoff);
        prop_assert!(block.sanity(4 * GIB, geometry.size).is_ok());
    }
}

//! An info block to try things with.

use super::{InfoBlock, SuperblockKind};

impl InfoBlock {
    /// What a kernel writes into an fsdax namespace of 1 GiB with a memmap of its own and an align of 2 MiB, where it reserves
    /// `reservation` bytes and its MAX_STRUCT_PAGE_SIZE is `max_struct_page`.
    #[must_use]
    pub const fn sample(reservation: u64, max_struct_page: u16) -> Self {
        Self {
            kind: SuperblockKind::Pfn,
            uuid: [7; 16],
            parent_uuid: [9; 16],
            flags: 0,
            version_major: 1,
            version_minor: 4,
            dataoff: reservation,
            npfns: (1_u64 << 30).saturating_sub(reservation) / 4096,
            mode: 2,
            start_pad: 0,
            end_trunc: 0,
            align: 2 << 20,
            page_size: Some(4096),
            page_struct_size: max_struct_page,
        }
    }
}

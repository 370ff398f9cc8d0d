//! One type as BTF writes it: three words, and what its kind has behind them (include/uapi/linux/btf.h).

use strum::VariantArray;

/// The discriminants are BTF's numbers; `void` is in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub(super) enum BtfKind {
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    DataSec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl BtfKind {
    pub(super) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

const HEAD_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) name: u32,
    info: u32,
    /// Its size, or the type that it refers to.
    pub(super) size_or_type: u32,
    rest: &'a [u8],
}

pub(super) struct RawMember {
    pub(super) name: u32,
    pub(super) type_id: u32,
    pub(super) offset_bits: u32,
    pub(super) is_bitfield: bool,
}

impl<'a> Record<'a> {
    /// `void`, which has the id 0 and is in no file.
    pub(super) const VOID: Record<'static> = Record { name: 0, info: 0, size_or_type: 0, rest: &[] };

    /// `None` if its head is cut short.
    pub(super) fn at(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        Some(Self { name: word(head, 0), info: word(head, 1), size_or_type: word(head, 2), rest })
    }

    pub(super) fn kind_number(&self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    /// `None` if it is unknown.
    pub(super) fn kind(&self) -> Option<BtfKind> {
        BtfKind::VARIANTS.get(usize::try_from(self.kind_number()).ok()?).copied()
    }

    /// How many bytes it takes, if it is of this kind.
    pub(super) fn bytes(&self, kind: BtfKind) -> usize {
        let entries = usize::from(u16::try_from(self.info & 0xffff).unwrap_or(u16::MAX));
        HEAD_BYTES
            + match kind {
                BtfKind::Int | BtfKind::Var | BtfKind::DeclTag => 4,
                BtfKind::Array => 12,
                BtfKind::Struct | BtfKind::Union => MEMBER_BYTES * entries,
                BtfKind::DataSec | BtfKind::Enum64 => 12 * entries,
                BtfKind::Enum | BtfKind::FuncProto => 8 * entries,
                _ => 0,
            }
    }

    /// The type and the number of an array's elements, if it is one.
    pub(super) fn array(&self) -> (u32, u32) {
        (word(self.rest, 0), word(self.rest, 2))
    }

    /// Empty if it is no structure or union.
    pub(super) fn members(&self) -> impl Iterator<Item = RawMember> + use<'a> {
        let entries = usize::from(u16::try_from(self.info & 0xffff).unwrap_or(u16::MAX));
        // The kind's flag: offsets have the width of a bit-field in their highest byte.
        let with_widths = self.info >> 31 == 1;
        self.rest.chunks_exact(MEMBER_BYTES).take(entries).map(move |member| {
            let offset = word(member, 2);
            RawMember {
                name: word(member, 0),
                type_id: word(member, 1),
                offset_bits: if with_widths { offset & 0x00ff_ffff } else { offset },
                is_bitfield: with_widths && offset >> 24 != 0,
            }
        })
    }
}

/// The word with this number; 0 if there is none.
pub(super) fn word(bytes: &[u8], number: usize) -> u32 {
    let word = bytes.get(number * 4..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

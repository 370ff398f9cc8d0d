//! An info block in JSON: hex, two digits a byte.

use data_encoding::HEXLOWER_PERMISSIVE;
use pfnwatch_common::superblock;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

type BlockBytes = Box<[u8; superblock::SIZE]>;

pub(super) fn serialize<S: Serializer>(block: &BlockBytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&HEXLOWER_PERMISSIVE.encode(block.as_slice()))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlockBytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(D::Error::custom)?;
    let length = bytes.len();
    bytes
        .into_boxed_slice()
        .try_into()
        .map_err(|_| D::Error::custom(format!("an info block has {} bytes, and this has {length}", superblock::SIZE)))
}

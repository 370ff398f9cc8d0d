//! Records of the kernel's side, and what they are decoded to.

pub(crate) use crate::bpf::decode::{
    decode,
    samples::{block, context, creation, denial, name},
};

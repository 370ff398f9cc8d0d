//! Records of the kernel's side, and what they are decoded to.

pub(crate) use crate::bpf::decode::decode;
pub(crate) use crate::bpf::decode::samples::{block, context, creation, denial, name};

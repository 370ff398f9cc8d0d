//! `struct module`.

use super::name::{Name, name};
use super::{Read, member};

#[derive(Clone, Copy)]
pub(crate) struct Module(u64);

impl Module {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    pub(crate) fn is_libnvdimm(self) -> Read<bool> {
        const LIBNVDIMM: Name = name(b"libnvdimm");
        Ok(Name::at(member(self.0, |layout| &layout.module.name)?)?.is(&LIBNVDIMM))
    }
}

//! libnvdimm's structures: `nd_pfn`, the namespaces, `nd_region`.

use pfnwatch_common::guard::NamespacePlace;
use pfnwatch_common::record::{Personality, Text};

use super::{Device, Read, bytes, container, fault, is_known, member, pointer, pointer_at, value, words};
use crate::uuid::Uuid;

/// A pointer to a `struct nd_pfn`; a `struct nd_dax` is one.
#[derive(Clone, Copy)]
pub(crate) struct NdPfn(u64);

impl NdPfn {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    pub(crate) fn of(device: Device) -> Read<Self> {
        Ok(Self(container(device.address(), |layout| &layout.nd_pfn.dev)?))
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn device(self) -> Read<Device> {
        Ok(Device::at(member(self.0, |layout| &layout.nd_pfn.dev)?))
    }

    #[inline(always)]
    pub(crate) fn mode(self) -> Read<u32> {
        value(self.0, |layout| &layout.nd_pfn.mode)
    }

    /// `align`, bytes.
    #[inline(always)]
    pub(crate) fn align(self) -> Read<u64> {
        value(self.0, |layout| &layout.nd_pfn.align)
    }

    #[inline(always)]
    pub(crate) fn npfns(self) -> Read<u64> {
        value(self.0, |layout| &layout.nd_pfn.npfns)
    }

    /// False if there is none.
    #[inline(always)]
    pub(crate) fn uuid(self, into: &mut [u8; 16]) -> Read<bool> {
        uuid(pointer(self.0, |layout| &layout.nd_pfn.uuid)?, into)
    }

    #[inline(always)]
    pub(crate) fn uuid_value(self) -> Read<Option<Uuid>> {
        uuid_value(pointer(self.0, |layout| &layout.nd_pfn.uuid)?)
    }

    #[inline(always)]
    pub(crate) fn namespace(self) -> Read<Option<Namespace>> {
        Ok(pointer(self.0, |layout| &layout.nd_pfn.ndns)?.map(Namespace))
    }

    /// The beginning of the info block in memory. To be believed only while a probe runs that has already validated or
    /// made the block: before that, and after an unbind, `pfn_sb` may point to freed memory.
    #[inline(always)]
    pub(crate) fn block(self, into: &mut [u8]) -> Read<bool> {
        let Some(block) = pointer(self.0, |layout| &layout.nd_pfn.pfn_sb)? else { return Ok(false) };
        bytes(block, into)?;
        Ok(true)
    }
}

#[inline(always)]
pub(crate) fn claimed_by(device: Device, personality: Personality) -> Read<Option<Namespace>> {
    match personality {
        Personality::Pfn | Personality::Dax => NdPfn::of(device)?.namespace(),
        // Where the kernel has no such structure, sector namespaces go unseen, and that is no fault.
        Personality::Btt if is_known(|layout| &layout.nd_btt.dev) && is_known(|layout| &layout.nd_btt.ndns) => {
            let btt = container(device.address(), |layout| &layout.nd_btt.dev)?;
            Ok(pointer(btt, |layout| &layout.nd_btt.ndns)?.map(Namespace))
        }
        _ => Ok(None),
    }
}

/// The name of a `struct nd_namespace_pmem`; stays empty if it has none, or if the kernel's structure is not known.
#[inline(always)]
pub(crate) fn label_name(pmem: u64, into: &mut Text<64>) -> Read<()> {
    if !is_known(|layout| &layout.nd_namespace_pmem.alt_name) {
        return Ok(());
    }
    match pointer(pmem, |layout| &layout.nd_namespace_pmem.alt_name)? {
        Some(name) => super::text(name, into),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Namespace(u64);

impl Namespace {
    #[inline(always)]
    pub(crate) fn of(device: Device) -> Read<Self> {
        Ok(Self(container(device.address(), |layout| &layout.nd_namespace_common.dev)?))
    }

    #[inline(always)]
    pub(crate) fn of_pmem(address: u64) -> Read<Self> {
        let io = member(address, |layout| &layout.nd_namespace_pmem.nsio)?;
        Ok(Self(member(io, |layout| &layout.nd_namespace_io.common)?))
    }

    #[inline(always)]
    pub(crate) fn device(self) -> Read<Device> {
        Ok(Device::at(member(self.0, |layout| &layout.nd_namespace_common.dev)?))
    }

    /// Physical addresses of the first and the last byte.
    #[inline(always)]
    pub(crate) fn range(self) -> Read<(u64, u64)> {
        let io = self.io()?;
        Ok((
            value(io, |layout| &layout.nd_namespace_io.res_start)?,
            value(io, |layout| &layout.nd_namespace_io.res_end)?,
        ))
    }

    #[inline(always)]
    pub(crate) fn place(self) -> Read<NamespacePlace> {
        let start = value(self.io()?, |layout| &layout.nd_namespace_io.res_start)?;
        let region = match self.device()?.parent()? {
            Some(region) => Region::of(region)?.id()?,
            None => return fault(),
        };
        Ok(NamespacePlace { start, region: region.into() })
    }

    /// Nothing is allocated to it: the range is empty, or 0 and 0.
    #[inline(always)]
    pub(crate) fn is_empty(self) -> Read<bool> {
        self.range().map(|(start, end)| end <= start)
    }

    /// The label's uuid; false if there is none.
    #[inline(always)]
    pub(crate) fn uuid(self, personality: Personality, into: &mut [u8; 16]) -> Read<bool> {
        if !matches!(personality, Personality::NamespacePmem) {
            return Ok(false);
        }
        let pmem = container(self.io()?, |layout| &layout.nd_namespace_pmem.nsio)?;
        uuid(pointer(pmem, |layout| &layout.nd_namespace_pmem.uuid)?, into)
    }

    #[inline(always)]
    pub(crate) fn uuid_value(self, personality: Personality) -> Read<Option<Uuid>> {
        if !matches!(personality, Personality::NamespacePmem) {
            return Ok(None);
        }
        let pmem = container(self.io()?, |layout| &layout.nd_namespace_pmem.nsio)?;
        uuid_value(pointer(pmem, |layout| &layout.nd_namespace_pmem.uuid)?)
    }

    #[inline(always)]
    fn io(self) -> Read<u64> {
        container(self.0, |layout| &layout.nd_namespace_io.common)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Region(u64);

impl Region {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    pub(crate) fn of(device: Device) -> Read<Self> {
        Ok(Self(container(device.address(), |layout| &layout.nd_region.dev)?))
    }

    /// Whether the device is the region's unconfigured one: all its attributes then come from user space.
    #[inline(always)]
    pub(crate) fn has_seed(self, device: Device) -> Read<bool> {
        let seed = Some(device.address());
        Ok(pointer(self.0, |layout| &layout.nd_region.pfn_seed)? == seed
            || pointer(self.0, |layout| &layout.nd_region.dax_seed)? == seed)
    }

    #[inline(always)]
    pub(crate) fn id(self) -> Read<u32> {
        value(self.0, |layout| &layout.nd_region.id)
    }

    #[inline(always)]
    pub(crate) fn name(self, into: &mut Text<32>) -> Read<()> {
        Device::at(member(self.0, |layout| &layout.nd_region.dev)?).name(into)
    }
}

#[inline(always)]
pub(crate) fn uuid_behind(address: u64) -> Read<Option<Uuid>> {
    uuid_value(pointer_at(address)?)
}

#[inline(always)]
fn uuid_value(address: Option<u64>) -> Read<Option<Uuid>> {
    let Some(address) = address else { return Ok(None) };
    Ok(Some(Uuid::of_words(words(address)?)))
}

#[inline(always)]
fn uuid(address: Option<u64>, into: &mut [u8; 16]) -> Read<bool> {
    let Some(address) = address else { return Ok(false) };
    bytes(address, into)?;
    Ok(true)
}

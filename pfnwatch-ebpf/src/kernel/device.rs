//! `struct device`.

use pfnwatch_common::record::{Personality, Text};

use super::name::{Name, name};
use super::{Fault, Read, container, is_known, pointer, text};

#[derive(Clone, Copy)]
pub(crate) struct Device(u64);

/// The type names of libnvdimm's devices (drivers/nvdimm/{pfn,dax,btt,namespace}_devs.c).
const TYPES: [(Name, Personality); 5] = [
    (name(b"nd_pfn"), Personality::Pfn),
    (name(b"nd_dax"), Personality::Dax),
    (name(b"nd_btt"), Personality::Btt),
    (name(b"nd_namespace_pmem"), Personality::NamespacePmem),
    (name(b"nd_namespace_io"), Personality::NamespaceIo),
];

/// `nd_region_driver` (drivers/nvdimm/region.c).
const REGION_DRIVER: Name = name(b"nd_region");

impl Device {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    pub(crate) fn of_kobject(address: u64) -> Read<Self> {
        Ok(Self(container(address, |layout| &layout.device.kobj)?))
    }

    #[inline(always)]
    pub(crate) fn has_driver(self) -> Read<bool> {
        Ok(pointer(self.0, |layout| &layout.device.driver)?.is_some())
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn name(self, into: &mut Text<32>) -> Read<()> {
        match pointer(self.0, |layout| &layout.device.name)? {
            Some(name) => text(name, into),
            None => Ok(()),
        }
    }

    #[inline(always)]
    pub(crate) fn parent(self) -> Read<Option<Self>> {
        Ok(pointer(self.0, |layout| &layout.device.parent)?.map(Self))
    }

    #[inline(always)]
    pub(crate) fn driver_name(self, into: &mut Text<32>) -> Read<()> {
        let Some(driver) = pointer(self.0, |layout| &layout.device.driver)? else { return Ok(()) };
        match pointer(driver, |layout| &layout.device_driver.name)? {
            Some(name) => text(name, into),
            None => Ok(()),
        }
    }

    /// Whether the driver that is about to be bound, or is, is that of regions. Where its name is unknown, it is not.
    #[inline(always)]
    pub(crate) fn has_region_driver(self) -> Read<bool> {
        if !is_known(|layout| &layout.device_driver.name) || !is_known(|layout| &layout.nd_region.id) {
            return Ok(false);
        }
        let Some(driver) = pointer(self.0, |layout| &layout.device.driver)? else { return Ok(false) };
        let Some(name) = pointer(driver, |layout| &layout.device_driver.name)? else { return Ok(false) };
        Ok(Name::at(name)?.is(&REGION_DRIVER))
    }

    #[inline(always)]
    pub(crate) fn personality(self) -> Read<Personality> {
        match personality_at(self.0) {
            FAULT => Err(Fault),
            number => Ok(Personality::from_u32((number & 0xf) as u32)),
        }
    }
}

/// No [`Personality`] has this number.
const FAULT: u64 = u64::MAX;

/// The personality's number, or [`FAULT`]. A global function, which the verifier checks once by its types: the code after it
/// is not checked for each name. A global function takes and returns numbers.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn personality_at(device: u64) -> u64 {
    match read_personality(device) {
        Ok(personality) => personality as u64,
        Err(Fault) => FAULT,
    }
}

#[inline(always)]
fn read_personality(device: u64) -> Read<Personality> {
    let Some(device_type) = pointer(device, |layout| &layout.device.device_type)? else {
        return Ok(Personality::Other);
    };
    let Some(name) = pointer(device_type, |layout| &layout.device_type.name)? else {
        return Ok(Personality::Other);
    };
    let found = Name::at(name)?;
    for (name, personality) in TYPES {
        if found.is(&name) {
            return Ok(personality);
        }
    }
    Ok(Personality::Other)
}

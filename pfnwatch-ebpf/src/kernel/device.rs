//! `struct device`.

use core::mem::MaybeUninit;

use pfnwatch_common::record::{Personality, Text};

use super::{Read, container, pointer, text};

/// A pointer to a `struct device`.
#[derive(Clone, Copy)]
pub(crate) struct Device(u64);

/// The first bytes of a device type's name, NUL included, as little-endian words: cheap to compare.
type TypeName = [u64; 3];

/// The type names of libnvdimm's devices (drivers/nvdimm/{pfn,dax,btt,namespace}_devs.c).
const TYPES: [(TypeName, Personality); 5] = [
    (words(b"nd_pfn"), Personality::Pfn),
    (words(b"nd_dax"), Personality::Dax),
    (words(b"nd_btt"), Personality::Btt),
    (words(b"nd_namespace_pmem"), Personality::NamespacePmem),
    (words(b"nd_namespace_io"), Personality::NamespaceIo),
];

impl Device {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    /// The device around its kobject.
    #[inline(always)]
    pub(crate) fn of_kobject(address: u64) -> Read<Self> {
        Ok(Self(container(address, |layout| &layout.device.kobj)?))
    }

    /// Whether a driver is bound, or being tried.
    #[inline(always)]
    pub(crate) fn has_driver(self) -> Read<bool> {
        Ok(pointer(self.0, |layout| &layout.device.driver)?.is_some())
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0
    }

    /// `kobj.name`.
    #[inline(always)]
    pub(crate) fn name(self, into: &mut Text<32>) -> Read<()> {
        match pointer(self.0, |layout| &layout.device.name)? {
            Some(name) => text(name, into),
            None => Ok(()),
        }
    }

    /// `parent`.
    #[inline(always)]
    pub(crate) fn parent(self) -> Read<Option<Self>> {
        Ok(pointer(self.0, |layout| &layout.device.parent)?.map(Self))
    }

    /// The name of the driver that is bound, or that is being tried.
    #[inline(always)]
    pub(crate) fn driver_name(self, into: &mut Text<32>) -> Read<()> {
        let Some(driver) = pointer(self.0, |layout| &layout.device.driver)? else { return Ok(()) };
        match pointer(driver, |layout| &layout.device_driver.name)? {
            Some(name) => text(name, into),
            None => Ok(()),
        }
    }

    /// What kind of libnvdimm device it is, by its type's name.
    #[inline(always)]
    pub(crate) fn personality(self) -> Read<Personality> {
        let Some(device_type) = pointer(self.0, |layout| &layout.device.device_type)? else {
            return Ok(Personality::Other);
        };
        let Some(name) = pointer(device_type, |layout| &layout.device_type.name)? else {
            return Ok(Personality::Other);
        };
        let found = words_at(name)?;
        for (name, personality) in TYPES {
            if found[0] == name[0] && found[1] == name[1] && found[2] == name[2] {
                return Ok(personality);
            }
        }
        Ok(Personality::Other)
    }
}

/// Reads a name as words. They are zeroed one by one, since a call of `memset` would have no function information,
/// without which the kernel refuses a program that has calls.
#[inline(always)]
fn words_at(address: u64) -> Read<TypeName> {
    let mut words = MaybeUninit::<TypeName>::uninit();
    let first = words.as_mut_ptr().cast::<u64>();
    for at in 0..3 {
        // SAFETY: within the three words.
        unsafe { first.add(at).write_volatile(0) };
    }
    // SAFETY: three words are 24 bytes, initialised just now, and a `Text` asks for no alignment.
    text(address, unsafe { &mut *first.cast::<Text<24>>() })?;
    // SAFETY: as above.
    Ok(unsafe { words.assume_init() })
}

const fn words<const N: usize>(name: &[u8; N]) -> TypeName {
    let mut bytes = [0; 24];
    bytes.split_at_mut(N).0.copy_from_slice(name);
    as_words(&bytes)
}

const fn as_words(b: &[u8; 24]) -> TypeName {
    [
        u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        u64::from_le_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
        u64::from_le_bytes([b[16], b[17], b[18], b[19], b[20], b[21], b[22], b[23]]),
    ]
}

//! One namespace, with the pfn, dax or btt device that claims it.

use crate::model::inventory::{Holder, Namespace, SysfsMode};

use super::attribute::Directory;
use super::numbers;
use crate::model::inventory::{Attribute, AttributeError};

impl Namespace {
    /// Reads a namespace; `None` for a seed, which has no size, and for one that is gone.
    pub(super) fn read(devices: &Directory, dax: Option<&Directory>, name: &str) -> Option<Self> {
        let (region, _) = numbers(name.strip_prefix("namespace")?)?;
        let directory = devices.child(name).ok()?;
        let size = directory.number("size");
        if matches!(size, Ok(0) | Err(AttributeError::Vanished)) {
            return None;
        }
        let holder = directory.device("holder").and_then(|holder| Holder::read(devices, holder));
        let bound = holder.is_err() && directory.link("driver").is_some();
        let is_idle = !bound && holder.is_err();
        let mut namespace = Self {
            name: name.to_owned(),
            region: format!("region{region}"),
            mode: directory.read("mode", parse_mode),
            size,
            resource: directory.number("resource"),
            uuid: directory.uuid("uuid"),
            bound,
            holder,
            label_class: if is_idle {
                directory.read("holder_class", parse_class)
            } else {
                Err(AttributeError::Absent)
            },
            system_ram: false,
        };
        namespace.system_ram = namespace.mode == Ok(SysfsMode::Dax) && namespace.is_system_ram(dax);
        Some(namespace)
    }

    /// The dax bus names a device after region and namespace (drivers/dax/pmem.c). Its driver is `kmem`, `dax_kmem` in
    /// some trees, while its memory serves as system RAM.
    fn is_system_ram(&self, dax: Option<&Directory>) -> bool {
        let device = self.character_device().and_then(|name| dax?.child(&name).ok());
        let driver = device.and_then(|device| device.link("driver"));
        driver.is_some_and(|driver| matches!(driver.as_str(), "kmem" | "dax_kmem"))
    }

    fn ids(&self) -> Option<(u32, u32)> {
        let (region, id) = numbers(self.name.strip_prefix("namespace")?)?;
        Some((region, id?))
    }

    /// Its dax device: `dax0.1`.
    #[must_use]
    pub fn character_device(&self) -> Option<String> {
        self.ids().map(|(region, id)| format!("dax{region}.{id}"))
    }

    /// Its block device, without a btt's `s`: `pmem0` for namespace0.0, `pmem0.1` for namespace0.1
    /// (`nvdimm_namespace_disk_name` in drivers/nvdimm/namespace_devs.c).
    #[must_use]
    pub fn disk(&self) -> Option<String> {
        self.ids().map(|(region, id)| if id == 0 { format!("pmem{region}") } else { format!("pmem{region}.{id}") })
    }

    /// Its name, and that of the pfn or dax device under which it is enabled.
    pub(crate) fn enabled_under(&self) -> Option<(&str, &str)> {
        let has_block = matches!(self.mode, Ok(SysfsMode::Memory | SysfsMode::Dax));
        let holder = self.holder.as_ref().ok().filter(|holder| has_block && holder.enabled())?;
        Some((&self.name, &holder.name))
    }

    /// Whether it is enabled raw, so that its first bytes are those of its block device.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.bound && self.mode == Ok(SysfsMode::Raw)
    }
}

impl Holder {
    fn read(devices: &Directory, name: String) -> Attribute<Self> {
        // The namespace names it, so that it was there a moment ago.
        let directory = devices.child(&name).map_err(|_| AttributeError::Vanished)?;
        if !name.starts_with("pfn") && !name.starts_with("dax") {
            let none = || Err(AttributeError::Absent);
            let size = directory.number("size");
            return Ok(Self {
                name,
                map: Ok(None),
                align: none(),
                uuid: directory.uuid("uuid"),
                size,
                resource: none(),
            });
        }
        Ok(Self {
            name,
            map: directory.map("mode"),
            align: directory.number("align"),
            uuid: directory.uuid("uuid"),
            size: directory.number("size"),
            resource: directory.number("resource"),
        })
    }
}

/// `holder_class_show()` in drivers/nvdimm/namespace_devs.c: labels of version 1.2 name it.
fn parse_class(text: &str) -> Option<SysfsMode> {
    match text {
        "pfn" => Some(SysfsMode::Memory),
        "dax" => Some(SysfsMode::Dax),
        "btt" => Some(SysfsMode::Safe),
        _ => None,
    }
}

fn parse_mode(text: &str) -> Option<SysfsMode> {
    match text {
        "memory" => Some(SysfsMode::Memory),
        "dax" => Some(SysfsMode::Dax),
        "safe" => Some(SysfsMode::Safe),
        "raw" => Some(SysfsMode::Raw),
        _ => None,
    }
}

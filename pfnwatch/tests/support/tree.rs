//! A sysfs of made-up regions and namespaces, as the kernel would show it: for tests and for `cargo xtask bench scan`.
//!
//! It uses the standard library alone and computes reservations by itself, so that it is an independent witness.
#![allow(dead_code, unreachable_pub, reason = "included by several programs, each of which uses a part of it")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io};

const MIB: u64 = 1 << 20;

/// A tree below a folder that the caller made and removes.
pub struct Tree {
    root: PathBuf,
}

#[derive(Clone, Copy)]
pub struct Pmem {
    pub region: u32,
    pub id: u32,
    pub dax: bool,
    /// `pmem` (map=dev) or `ram` (map=mem), as sysfs has it.
    pub map: &'static str,
    pub start: u64,
    pub size: u64,
    pub align: u64,
    /// Bytes that the kernel which made it reserved for each page.
    pub struct_page: u64,
}

impl Default for Pmem {
    fn default() -> Self {
        let (start, size) = (4096 * MIB, 16384 * MIB);
        Self { region: 0, id: 0, dax: false, map: "pmem", start, size, align: 2 * MIB, struct_page: 64 }
    }
}

impl Pmem {
    pub fn name(&self) -> String {
        format!("namespace{}.{}", self.region, self.id)
    }

    /// The holder's numbers start at 1: pfnX.0 is the seed.
    pub fn holder(&self) -> String {
        format!("{}{}.{}", if self.dax { "dax" } else { "pfn" }, self.region, self.id + 1)
    }

    /// Bytes before the first usable byte, for pages of 4 KiB.
    pub fn dataoff(&self) -> u64 {
        let align = self.align.max(2 * MIB);
        let memmap = if self.map == "pmem" { (self.size - 8192) / 4096 * self.struct_page } else { 0 };
        (self.start + 8192 + memmap).div_ceil(align) * align - self.start
    }

    pub fn usable(&self) -> u64 {
        let align = self.align.max(2 * MIB);
        let end = (self.start + self.size) / align * align;
        end - self.start - self.dataoff()
    }
}

/// A device of the dax bus that no namespace owns.
#[derive(Clone, Copy)]
pub struct DaxDevice {
    pub name: &'static str,
    /// The folder in `devices` that it is in.
    pub place: &'static str,
    pub driver: Option<&'static str>,
    pub start: u64,
    pub size: u64,
    /// `0` or `1`; `None` before 6.8.
    pub memmap_on_memory: Option<&'static str>,
}

/// The place of a device of a CXL region.
pub const CXL: &str = "platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0";

impl Default for DaxDevice {
    fn default() -> Self {
        let (start, size) = (46848 * MIB, 1024 * MIB);
        Self { name: "dax0.0", place: CXL, driver: None, start, size, memmap_on_memory: Some("1") }
    }
}

impl Tree {
    pub fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("bus/nd/devices"))?;
        fs::create_dir_all(root.join("bus/dax/devices"))?;
        fs::create_dir_all(root.join("bus/nd/drivers"))?;
        Ok(Self { root: root.to_owned() })
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub fn device(&self, name: &str) -> PathBuf {
        self.root.join("bus/nd/devices").join(name)
    }

    pub fn write(&self, device: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        let folder = self.device(device);
        fs::create_dir_all(&folder)?;
        attributes.iter().try_for_each(|(name, value)| fs::write(folder.join(name), format!("{value}\n")))
    }

    fn bind(folder: &Path, driver: &str) -> io::Result<()> {
        symlink(format!("../../../bus/drivers/{driver}"), folder.join("driver"))
    }

    pub fn region(&self, id: u32, start: u64, size: u64) -> io::Result<()> {
        let name = format!("region{id}");
        let (start, size) = (format!("{start:#x}"), size.to_string());
        let seeds = [format!("pfn{id}.0"), format!("dax{id}.0"), format!("namespace{id}.9999")];
        self.write(&name, &[("size", &size), ("resource", &start), ("align", "0x1000000"), ("mappings", "1")])?;
        self.write(&name, &[("available_size", &size), ("max_available_extent", &size), ("nstype", "5")])?;
        self.write(&name, &[("set_cookie", "0xdeadbeef"), ("read_only", "0")])?;
        self.write(&name, &[("pfn_seed", &seeds[0]), ("dax_seed", &seeds[1]), ("namespace_seed", &seeds[2])])?;
        self.write(&seeds[0], &[("mode", "none"), ("align", "2097152"), ("uuid", ""), ("namespace", "")])?;
        self.write(&seeds[2], &[("mode", "raw"), ("size", "0"), ("holder", ""), ("uuid", "")])?;
        Self::bind(&self.device(&name), "nd_region")
    }

    pub fn namespace(&self, pmem: &Pmem) -> io::Result<()> {
        let (name, holder) = (pmem.name(), pmem.holder());
        let uuid = |kind: u32| format!("{kind:08x}-0000-4000-8000-{:06x}{:06x}", pmem.region, pmem.id);
        let (class, mode) = if pmem.dax { ("dax", "dax") } else { ("pfn", "memory") };
        let hex = |bytes: u64| format!("{bytes:#x}");
        self.write(&name, &[("mode", mode), ("size", &pmem.size.to_string()), ("resource", &hex(pmem.start))])?;
        self.write(&name, &[("uuid", &uuid(1)), ("holder", &holder), ("holder_class", class), ("nstype", "5")])?;
        self.write(&name, &[("alt_name", ""), ("sector_size", "[512] 4096")])?;
        let first = hex(pmem.start + pmem.dataoff());
        self.write(&holder, &[("mode", pmem.map), ("align", &pmem.align.to_string()), ("uuid", &uuid(2))])?;
        self.write(&holder, &[("size", &pmem.usable().to_string()), ("resource", &first), ("namespace", &name)])?;
        Self::bind(&self.device(&holder), if pmem.dax { "dax_pmem" } else { "nd_pmem" })
    }

    /// A namespace without an info block of ours, its own driver bound: `raw`, or `memory` on an e820 region.
    pub fn unclaimed(&self, name: &str, mode: &str, size: u64) -> io::Result<()> {
        self.write(name, &[("mode", mode), ("size", &size.to_string()), ("holder", ""), ("resource", "0x100000000")])?;
        Self::bind(&self.device(name), "nd_pmem")
    }

    /// The dax bus device of a devdax namespace with its driver: `device_dax` or `kmem`.
    pub fn dax_driver(&self, pmem: &Pmem, driver: &str) -> io::Result<()> {
        let folder = self.root.join(format!("bus/dax/devices/dax{}.{}", pmem.region, pmem.id));
        fs::create_dir_all(&folder)?;
        Self::bind(&folder, driver)
    }

    pub fn dax_folder(&self, device: &DaxDevice) -> PathBuf {
        self.root.join("devices").join(device.place).join(device.name)
    }

    pub fn dax_device(&self, device: &DaxDevice) -> io::Result<()> {
        let folder = self.dax_folder(device);
        let DaxDevice { name, place, start, size, .. } = device;
        fs::create_dir_all(folder.join("mapping0"))?;
        let write = |name: &str, value: String| fs::write(folder.join(name), value + "\n");
        write("size", size.to_string())?;
        write("align", (2 * MIB).to_string())?;
        write("target_node", "1".to_owned())?;
        write("resource", format!("{start:#x}"))?;
        write("mapping0/start", format!("{start:#x}"))?;
        write("mapping0/end", format!("{:#x}", start + size - 1))?;
        device.memmap_on_memory.map_or(Ok(()), |value| write("memmap_on_memory", value.to_owned()))?;
        device.driver.map_or(Ok(()), |driver| Self::bind(&folder, driver))?;
        symlink(format!("../../../devices/{place}/{name}"), self.root.join("bus/dax/devices").join(name))
    }

    /// How the kernel adds memory: the size of a block, and the parameter `memory_hotplug.memmap_on_memory`.
    pub fn memory_hotplug(&self, block_size: u64, memmap_on_memory: &str) -> io::Result<()> {
        let parameters = self.root.join("module/memory_hotplug/parameters");
        fs::create_dir_all(&parameters)?;
        fs::write(parameters.join("memmap_on_memory"), memmap_on_memory)?;
        fs::create_dir_all(self.root.join("kernel/mm/hugepages/hugepages-2048kB"))?;
        fs::create_dir_all(self.root.join("devices/system/memory"))?;
        fs::write(self.root.join("devices/system/memory/block_size_bytes"), format!("{block_size:x}\n"))
    }

    /// Memory blocks by their numbers.
    pub fn memory_blocks(&self, numbers: impl IntoIterator<Item = u64>, state: &str) -> io::Result<()> {
        numbers.into_iter().try_for_each(|number| {
            let folder = self.root.join(format!("devices/system/memory/memory{number}"));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("state"), state)
        })
    }

    /// A host with `count` namespaces over regions of 64 each, of both modes and maps; every 16th is made by a kernel
    /// with 128 bytes a page.
    pub fn crowd(&self, count: u32) -> io::Result<()> {
        for index in 0..count {
            let (region, id) = (index / 64, index % 64);
            let start = (1 + u64::from(region)) << 42;
            if id == 0 {
                self.region(region, start, 1 << 42)?;
            }
            self.namespace(&Pmem {
                region,
                id,
                dax: index % 4 == 3,
                map: if index % 8 == 7 { "ram" } else { "pmem" },
                start: start + u64::from(id) * (16384 * MIB),
                struct_page: if index % 16 == 0 { 128 } else { 64 },
                ..Pmem::default()
            })?;
        }
        Ok(())
    }
}

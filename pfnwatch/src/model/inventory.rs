//! What sysfs shows of regions and namespaces: each attribute is a value, or the reason why there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr as _;

use nix::errno::Errno;
use pfnwatch_common::{InfoBlock, Map, superblock};
use uuid::Uuid;

use super::aligns::Aligns;
use super::device::{MemoryDevice, MemoryHotplug};
use super::facts::EnableRefusal;
use super::info_block::SavedInfoBlock;
use super::timestamp::Timestamp;
use super::why::Finding;

#[derive(Debug, Default)]
pub struct Inventory {
    pub regions: Vec<Region>,
    /// By region and number; seeds, which have no size, are left out.
    pub namespaces: Vec<Namespace>,
    /// The devices of the dax bus that no namespace owns, by region and number; those without memory are left out.
    pub devices: Vec<MemoryDevice>,
    pub hotplug: MemoryHotplug,
}

impl Inventory {
    /// The aligns that the kernel offers, which are the same for all regions; `None` if no region shows them.
    #[must_use]
    pub fn aligns(&self) -> Option<Aligns> {
        self.regions.iter().find_map(|region| region.aligns.clone().ok())
    }
}

/// The value of an attribute, or why there is none.
pub type Attribute<T> = Result<T, AttributeError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeError {
    Absent,
    /// Only root can read it.
    Denied,
    /// The device is not bound to a driver (-ENXIO), so that the attribute is meaningless.
    Unbound,
    /// The device went away while it was read (-ENODEV).
    Vanished,
    /// The kernel binds the device, or has not finished a bind that the attribute waits for: since when it was noticed.
    Busy(Timestamp),
    Empty,
    /// The text, truncated.
    Malformed(String),
    Failed(i32),
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("missing"),
            Self::Denied => f.write_str("only root can read it"),
            Self::Unbound => f.write_str("no driver is bound"),
            Self::Vanished => f.write_str("the device vanished while it was read"),
            Self::Busy(since) => write!(f, "being bound since {since}"),
            Self::Empty => f.write_str("empty"),
            Self::Malformed(text) => write!(f, "`{text}` is not a value it can have"),
            Self::Failed(errno) => write!(f, "{}", Errno::from_raw(*errno).desc()),
        }
    }
}

impl From<Errno> for AttributeError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => Self::Absent,
            Errno::EACCES | Errno::EPERM => Self::Denied,
            Errno::ENXIO => Self::Unbound,
            Errno::ENODEV => Self::Vanished,
            other => Self::Failed(other as i32),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Namespace {
    /// `namespace0.1`.
    pub name: String,
    /// `region0`.
    pub region: String,
    pub mode: Attribute<SysfsMode>,
    /// Bytes.
    pub size: Attribute<u64>,
    /// Physical address of its first byte; root only.
    pub resource: Attribute<u64>,
    /// The namespace uuid; [`AttributeError::Absent`] on legacy and e820 regions.
    pub uuid: Attribute<Uuid>,
    pub holder: Attribute<Holder>,
    /// What a namespace that nothing claims is by its label; read only while no driver is bound.
    pub label_class: Attribute<SysfsMode>,
    /// Whether its own driver is bound, which a claimed namespace's is not.
    pub bound: bool,
    pub system_ram: bool,
}

impl Namespace {
    /// Whether no driver is bound, neither its own nor its holder's.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        !self.bound && !self.holder.as_ref().is_ok_and(Holder::enabled)
    }

    /// Its physical address, and the uuid of the info block that it is enabled with. Whoever knows a block with both knows this
    /// one: libnvdimm reuses names, and each creation has another uuid.
    #[must_use]
    pub fn block_in_use(&self) -> Option<(u64, Uuid)> {
        let holder = self.holder.as_ref().ok().filter(|holder| holder.enabled())?;
        Some((*self.resource.as_ref().ok()?, *holder.uuid.as_ref().ok()?))
    }
}

impl Holder {
    /// Whether its driver is bound: only then does it have a size.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.size.is_ok()
    }
}

#[derive(Clone, Debug)]
pub struct Holder {
    /// `pfn0.1`, `dax0.1`, `btt0.1`.
    pub name: String,
    pub map: Attribute<Option<Map>>,
    /// Align in bytes.
    pub align: Attribute<u64>,
    pub uuid: Attribute<Uuid>,
    /// Usable bytes; [`AttributeError::Unbound`] while it is not enabled.
    pub size: Attribute<u64>,
    /// Physical address of the first usable byte; root only.
    pub resource: Attribute<u64>,
}

/// The `mode` attribute of a namespace (drivers/nvdimm/namespace_devs.c, `mode_show`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysfsMode {
    /// `memory`: a pfn device claims it, or nothing does and it is mapped whole.
    Memory,
    /// `dax`: a dax device claims it.
    Dax,
    /// `safe`: a btt device claims it.
    Safe,
    /// `raw`: nothing claims it.
    Raw,
}

/// A region as sysfs has it. Not every region is persistent memory: BLK regions have no `align`.
#[derive(Clone, Debug)]
pub struct Region {
    /// `region0`.
    pub name: String,
    /// Bytes.
    pub size: Attribute<u64>,
    /// Sizes of namespaces must be a multiple of it, in bytes.
    pub align: Attribute<u64>,
    /// The number of DIMMs that it is interleaved over; ndctl takes 0 for 1.
    pub mappings: Attribute<u64>,
    /// Physical address of its first byte; root only.
    pub resource: Attribute<u64>,
    /// Free bytes.
    pub available: Attribute<u64>,
    /// The largest free stretch in bytes.
    pub max_available_extent: Attribute<u64>,
    /// 4 for a region without labels, which is one namespace as a whole; 5 for one with labels.
    pub nstype: Attribute<u64>,
    /// Its identity over boots, unlike its name.
    pub set_cookie: Attribute<u64>,
    pub read_only: Attribute<bool>,
    /// The pfn device of the next fsdax namespace.
    pub pfn_seed: Attribute<String>,
    /// The dax device of the next devdax namespace.
    pub dax_seed: Attribute<String>,
    /// The namespace that is made next.
    pub namespace_seed: Attribute<String>,
    /// What its seeds offer.
    pub aligns: Attribute<Aligns>,
    /// Its driver is bound: its namespaces do not exist otherwise.
    pub enabled: bool,
    /// A DIMM of it is locked; read only while the region is not enabled.
    pub locked: bool,
}

/// A user of a namespace's device.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceUser {
    /// Who uses it: `/dev/pmem0 is mounted at /data (xfs)`.
    pub user: String,
    /// The command that ends this use.
    pub command: String,
}

/// An agent sees a block that the kernel refuses within this time after the kernel's message.
const SAME_REFUSAL_SECONDS: u64 = 2;

/// Info blocks, and what the kernel logged of them, by namespace name.
#[derive(Clone, Debug, Default)]
pub struct InfoBlocks {
    /// Raw, from a raw device or from eBPF.
    read: BTreeMap<String, Box<[u8; superblock::SIZE]>>,
    /// Those that were seen earlier.
    saved: BTreeMap<String, (InfoBlock, Timestamp)>,
    /// Why the kernel did not enable the namespace.
    logged: BTreeMap<String, EnableRefusal>,
}

impl From<BTreeMap<String, Box<[u8; superblock::SIZE]>>> for InfoBlocks {
    fn from(read: BTreeMap<String, Box<[u8; superblock::SIZE]>>) -> Self {
        Self { read, ..Self::default() }
    }
}

impl InfoBlocks {
    /// Replaces a block that is already known.
    pub fn insert(&mut self, namespace: &str, block: [u8; superblock::SIZE]) {
        self.read.insert(namespace.to_owned(), Box::new(block));
    }

    /// Adds blocks; those already known stay.
    pub fn extend(&mut self, more: Self) {
        for (namespace, block) in more.read {
            self.read.entry(namespace).or_insert(block);
        }
    }

    /// Adds what was seen earlier of those that are disabled, and should still be on the media: the newest comes first.
    pub fn add_saved<'a>(&mut self, namespaces: &[Namespace], saved: impl IntoIterator<Item = &'a SavedInfoBlock>) {
        let disabled: Vec<_> = namespaces.iter().filter(|namespace| namespace.is_disabled()).collect();
        for block in saved {
            if let Some(namespace) = disabled.iter().find(|namespace| block.is_on(namespace)) {
                let entry = || (*block.block(), block.last_seen.0.into());
                self.saved.entry(namespace.name.clone()).or_insert_with(entry);
            }
        }
    }

    /// Adds what the kernel logged in this boot of those that are disabled, the oldest first. An agent that saw a block later than a
    /// message saw the namespace enabled, or written to.
    pub fn add_logged(&mut self, namespaces: &[Namespace], findings: &[Finding]) {
        for namespace in namespaces.iter().filter(|namespace| namespace.is_disabled()) {
            let holder = namespace.holder.as_ref().ok().map(|holder| holder.name.as_str());
            let names =
                |name: &Option<String>| name.as_deref().is_some_and(|it| it == namespace.name || Some(it) == holder);
            let mut of_namespace = findings.iter().rev().filter(|it| names(&it.namespace) || names(&it.device));
            let Some(last) = of_namespace.next().filter(|it| it.answer.cause.is_lasting_refusal()) else { continue };
            let seen = self.saved.get(&namespace.name).map(|(_, seen)| seen.unix_seconds());
            let logged = last.time.as_ref().and_then(|time| Timestamp::from_str(time).ok());
            let is_over = |(seen, logged): (u64, Timestamp)| seen > logged.unix_seconds() + SAME_REFUSAL_SECONDS;
            if seen.zip(logged).is_some_and(is_over) {
                continue;
            }
            let refusal = EnableRefusal::Logged {
                explanation: last.answer.explanation.clone(),
                message: last.quote.clone().unwrap_or_default(),
                time: last.time.clone(),
            };
            self.logged.insert(namespace.name.clone(), refusal);
        }
    }

    /// Why the kernel did not enable a namespace in this boot, as it logged it.
    #[must_use]
    pub fn logged(&self, namespace: &str) -> Option<EnableRefusal> {
        self.logged.get(namespace).cloned()
    }

    /// The 4 KiB of a namespace as they were read.
    #[must_use]
    pub fn raw(&self, namespace: &str) -> Option<&[u8; superblock::SIZE]> {
        self.read.get(namespace).map(Box::as_ref)
    }

    /// The block of a namespace, if signature and checksum are right: the kernel accepts no other.
    #[must_use]
    pub fn parsed(&self, namespace: &str) -> Option<InfoBlock> {
        InfoBlock::from_block(self.raw(namespace)?).ok()
    }

    /// The block that a namespace had, and when it was last seen.
    #[must_use]
    pub fn saved(&self, namespace: &str) -> Option<(InfoBlock, Timestamp)> {
        self.saved.get(namespace).copied()
    }
}

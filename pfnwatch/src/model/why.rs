//! Why a creation or an enable failed: a cause with its evidence and the next command.

use std::time::Duration;

use serde::Serialize;

/// Why the kernel, ndctl or pfnwatch's guard refused something, or why a namespace is not enabled.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, strum::EnumIter, strum::IntoStaticStr,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FailureCause {
    /// Reservation and align leave nothing usable.
    AlignTooLarge,
    /// The align of the info block is larger than the namespace.
    AlignExceedsCapacity,
    /// The memmap of the info block is larger than the namespace.
    MemmapExceedsCapacity,
    /// The info block leaves nothing usable: kernels up to 6.1 wrote such blocks.
    NothingUsable,
    /// The info block reserves fewer bytes for each page than this kernel's struct page has.
    StructPageSizeMismatch,
    /// The info block was made by a kernel with larger pages.
    PageSizeMismatch,
    /// This kernel does not offer the align of the info block.
    AlignNotOffered,
    /// The device has another align or mode than its info block.
    SettingsMismatch,
    /// The first usable byte is no multiple of the align: the base address moved.
    BaseMoved,
    /// The namespace does not begin or end at a multiple of what the kernel can map.
    RangeMisaligned,
    /// The region does not begin at a multiple of what the kernel can map, or of what ndctl needs.
    RegionMisaligned,
    /// The info block counts more pages than the namespace has.
    PagesTruncated,
    /// A part was cut off because System RAM is in the same memory section: kernels before 5.3.
    SectionCollision,
    /// The struct page of this kernel is larger than what it reserves for each.
    MemoryDebugging,
    /// Something else of the kernel holds these addresses.
    AddressRangeBusy,
    /// Memory errors in the reservation cannot be cleared.
    MemoryErrors,
    /// The region is read-only, so that no info block can be written.
    ReadOnlyRegion,
    /// A security module refused the bind before the driver's probe.
    BindRefused,
    /// The guard of pfnwatch refused the creation.
    DeniedByGuard,
    /// The driver did not accept the device, for a reason that it did not log.
    DriverFailed,
    /// Another device has the namespace.
    AlreadyClaimed,
    /// Something uses the namespace, which has to be disabled first.
    InUse,
    /// The namespace serves as system RAM.
    SystemRam,
    /// The kernel could not add the namespace to system RAM.
    SystemRamRefused,
    /// The labels do not describe this interleave set.
    LabelsMismatch,
    /// The label area has no room.
    LabelsFull,
    /// The DIMM is locked.
    DimmLocked,
    /// The DIMM is disabled.
    DimmDisabled,
    /// The size or the address is no multiple of the region's align.
    SizeMisaligned,
    /// The region has no free stretch of that size.
    NoSpace,
    /// The namespace is smaller than 16 MiB, the smallest that can be fsdax, devdax or sector.
    NamespaceTooSmall,
    /// The namespace has no uuid.
    NoUuid,
    /// The namespace that ndctl would make next is not blank.
    SeedNotBlank,
    /// The kernel could not register a namespace.
    NotRegistered,
    /// The region is not enabled.
    RegionDisabled,
    /// The kernel's own bookkeeping is wrong.
    KernelDefect,
    /// The namespace is disabled, and nothing known keeps it from being enabled.
    Disabled,
    /// The namespace is disabled, and its info block is not known.
    Unknown,
    /// ENXIO: no device came up. The kernel's log or the event store names the reason.
    NoDeviceOrAddress,
    /// ENODEV: the device is gone or no driver takes it.
    NoDevice,
    /// EINVAL: a setting is not accepted.
    InvalidArgument,
    /// EOPNOTSUPP: this kernel does not accept the info block or the address.
    NotSupported,
    /// Writes may be lost with the power: no failure.
    NoFlush,
    /// New memory errors are not reported: no failure.
    ErrorsUnreported,
    /// The namespace is oversize: the cause is the verdict's.
    Oversize,
    /// What the size of a namespace consists of: no failure.
    SizeExplained,
}

impl FailureCause {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the kernel refuses the namespace as long as its info block, its place and the kernel stay as they are.
    #[must_use]
    pub const fn is_lasting_refusal(self) -> bool {
        matches!(
            self,
            Self::AlignExceedsCapacity
                | Self::MemmapExceedsCapacity
                | Self::NothingUsable
                | Self::StructPageSizeMismatch
                | Self::PageSizeMismatch
                | Self::AlignNotOffered
                | Self::BaseMoved
                | Self::RangeMisaligned
                | Self::MemoryErrors
        )
    }

    /// Whether something is wrong: the others are information.
    #[must_use]
    pub const fn is_problem(self) -> bool {
        !matches!(
            self,
            Self::Disabled
                | Self::Unknown
                | Self::NoFlush
                | Self::ErrorsUnreported
                | Self::SizeExplained
                | Self::PagesTruncated
        )
    }
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureEvidence {
    /// A message that was given with `--message`.
    #[strum(serialize = "message")]
    Message,
    /// The kernel's messages of this boot.
    #[strum(serialize = "kernel log")]
    KernelLog,
    /// An event that the agent recorded.
    #[strum(serialize = "event store")]
    EventStore,
    /// The info block that the agent saved.
    #[strum(serialize = "saved info block")]
    InfoBlock,
    /// What sysfs shows now.
    #[strum(serialize = "sysfs")]
    Sysfs,
}

/// A cause in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Answer {
    /// The cause.
    pub cause: FailureCause,
    /// What happened and why, in words.
    pub explanation: String,
    /// The next command.
    pub next: String,
}

impl Answer {
    pub(crate) fn new(cause: FailureCause, explanation: impl Into<String>, next: impl Into<String>) -> Self {
        Self { cause, explanation: explanation.into(), next: next.into() }
    }
}

/// One answer about one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// The namespace, if it is known, such as `namespace0.1`.
    pub namespace: Option<String>,
    /// The device that was bound, such as `pfn0.1`, or the region.
    pub device: Option<String>,
    /// Where the answer comes from.
    pub evidence: FailureEvidence,
    /// When it happened, in RFC 3339.
    pub time: Option<String>,
    /// The message or the line of the event.
    pub quote: Option<String>,
    /// Cause, explanation and next command.
    #[serde(flatten)]
    pub answer: Answer,
}

impl Finding {
    /// What it is about: the namespace, else the device.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.namespace.as_deref().or(self.device.as_deref())
    }
}

/// One message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Since boot, without suspend; `None` if a saved log does not show it.
    pub since_boot: Option<Duration>,
    /// The first line, without time and level.
    pub text: String,
}

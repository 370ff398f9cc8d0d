//! From a message of the kernel to its cause and the next command.

use super::{KernelMessage, LoggedMessage};
use crate::analysis::why::errno;
use crate::model::units::Bytes;
use crate::model::why::{Answer, FailureCause as Cause};

/// The names that a command needs; placeholders in capitals if they are unknown.
pub(in crate::analysis::why) struct Names<'a> {
    pub(in crate::analysis::why) namespace: &'a str,
    pub(in crate::analysis::why) region: &'a str,
}

impl LoggedMessage {
    #[must_use]
    pub fn answer(&self) -> Answer {
        let region = self.device.region();
        let namespace = self.namespace.as_ref().map_or("NAMESPACE", |name| name.as_str());
        self.message.answer(&Names { namespace, region: region.as_deref().unwrap_or("REGION") })
    }
}

impl KernelMessage {
    /// The answer to a message whose device is not known.
    #[must_use]
    pub fn general_answer(&self) -> Answer {
        self.answer(&Names { namespace: "NAMESPACE", region: "REGION" })
    }

    fn answer(&self, names: &Names<'_>) -> Answer {
        let Names { namespace, region } = names;
        let show_block = format!("ndctl read-infoblock {namespace}");
        let predict = format!("pfnwatch predict --region {region}");
        let list = format!("ndctl list -Ni -r {region}");
        match self {
            Self::AlignTooLarge => Answer::new(
                Cause::AlignTooLarge,
                "reservation and align leave nothing usable: use a larger size or a smaller --align",
                format!("{predict} --size SIZE --align 2M"),
            ),
            Self::AlignExceedsCapacity { align, capacity } => Answer::new(
                Cause::AlignExceedsCapacity,
                format!(
                    "the align of its info block, {}, is larger than the namespace, {}: it was cut down since; destroy it and create it again",
                    Bytes(*align),
                    Bytes(*capacity)
                ),
                show_block,
            ),
            Self::MemmapExceedsCapacity => Answer::new(
                Cause::MemmapExceedsCapacity,
                "its info block reserves more than the namespace has: it was cut down since; destroy it and create it again",
                show_block,
            ),
            Self::NothingUsable => Answer::new(
                Cause::NothingUsable,
                "its info block leaves nothing usable: kernels up to 6.1 wrote such blocks, newer ones refuse them; destroy it and create it with a larger size or a smaller --align",
                format!("{predict} --size SIZE --align 2M"),
            ),
            Self::StructPageSize { block } => Answer::new(
                Cause::StructPageSizeMismatch,
                format!(
                    "its info block reserves {block} bytes for each page, fewer than struct page has in this kernel: boot the kernel that made it to save the data, then create it again under this one"
                ),
                show_block,
            ),
            Self::PageSize { block } => Answer::new(
                Cause::PageSizeMismatch,
                format!(
                    "its info block was made by a kernel with pages of {}, larger than those of this one: boot a kernel with such pages",
                    Bytes(*block)
                ),
                show_block,
            ),
            Self::AlignNotOffered { block, .. } => Answer::new(
                Cause::AlignNotOffered,
                format!(
                    "this kernel does not offer the align of its info block, {}: boot a kernel with huge pages of that size, or create it again with another --align",
                    Bytes(*block)
                ),
                "grep . /sys/bus/nd/devices/*/supported_alignments",
            ),
            Self::Settings => Answer::new(
                Cause::SettingsMismatch,
                "the device was given another align or mode than its info block has, by hand in sysfs: disable and enable the namespace, which reads the block again",
                format!("ndctl disable-namespace {namespace} && ndctl enable-namespace {namespace}"),
            ),
            Self::BadOffset { offset, align } => Answer::new(
                Cause::BaseMoved,
                format!(
                    "its first usable byte ({offset:#x} behind its start) is no multiple of its align{}: the base address moved since the info block was made; move the region back (memmap=, the VM's memory), or create it again",
                    align.map_or_else(String::new, |align| format!(", {}", Bytes(align)))
                ),
                format!("cat /sys/bus/nd/devices/{region}/resource"),
            ),
            Self::StartMisaligned | Self::EndMisaligned => Answer::new(
                Cause::RangeMisaligned,
                format!(
                    "its {} is no multiple of what the kernel can map (2 MiB on x86): the base address moved, or the namespace was resized",
                    if *self == Self::StartMisaligned { "start" } else { "end" }
                ),
                format!("cat /sys/bus/nd/devices/{region}/resource"),
            ),
            Self::NamespaceMisaligned { range } => Answer::new(
                Cause::RangeMisaligned,
                format!(
                    "its range {range} does not begin and end at a multiple of what the kernel can map (2 MiB on x86)"
                ),
                format!("cat /sys/bus/nd/devices/{region}/resource"),
            ),
            Self::RegionMisaligned { start, unit } => Answer::new(
                Cause::RegionMisaligned,
                format!(
                    "it begins at {start:#x}, which is no multiple of {}, the unit that the kernel can map: move the region (memmap= on the kernel's command line, the VM's memory)",
                    Bytes(*unit)
                ),
                format!("cat /sys/bus/nd/devices/{region}/resource"),
            ),
            Self::PagesTruncated { block, namespace: pages } => Answer::new(
                Cause::PagesTruncated,
                format!(
                    "its info block counts {block} pages, the namespace has {pages}: it was cut down since; the rest is usable"
                ),
                "sudo pfnwatch scan".to_owned(),
            ),
            Self::SectionCollision { bytes } => Answer::new(
                Cause::SectionCollision,
                format!(
                    "System RAM or another region is in the same memory section, or its end is no multiple of the align, so that this old kernel cut {} off",
                    Bytes(*bytes)
                ),
                "sudo pfnwatch scan".to_owned(),
            ),
            Self::MemoryDebugging => Answer::new(
                Cause::MemoryDebugging,
                "the struct page of this kernel is larger than what it reserves for each, so that it refuses map=dev: boot a kernel without memory debugging, or use map=mem",
                format!("{predict} --size SIZE --map mem"),
            ),
            Self::AddressRangeBusy { range } => Answer::new(
                Cause::AddressRangeBusy,
                format!(
                    "another part of the kernel owns {}: a second driver, memmap= twice, a crash kernel; the info block may have been written already",
                    range.as_deref().unwrap_or("these addresses")
                ),
                "sudo cat /proc/iomem",
            ),
            Self::ErrorsNotCleared { sectors, first } => Answer::new(
                Cause::MemoryErrors,
                format!(
                    "{sectors} sectors from sector {first} of the region on have memory errors inside the reservation, and cannot be cleared"
                ),
                format!("ndctl list -M -r {region}"),
            ),
            Self::ReadOnly => Answer::new(
                Cause::ReadOnlyRegion,
                "the region is read-only, so that no info block can be written",
                format!("cat /sys/bus/nd/devices/{region}/read_only"),
            ),
            Self::BindRefused => Answer::new(
                Cause::BindRefused,
                "the bind was refused before the driver's probe; with a pfn or dax device that is the guard of pfnwatch or another security module",
                "sudo pfnwatch events --denied",
            ),
            // The driver core names the error alone: what the driver meant is in the line before, if it logged any.
            Self::ProbeFailed { errno } => Answer::new(
                errno::cause(*errno),
                format!("the driver did not accept the device: {}", errno::text(*errno)),
                list,
            ),
            Self::Claimed { by } => Answer::new(
                Cause::AlreadyClaimed,
                match by {
                    Some(by) => format!("{by} has the namespace: release the device that is not in use"),
                    None => {
                        "another device of the region has the namespace: release the one that is not in use".to_owned()
                    }
                },
                list,
            ),
            Self::InUse => {
                Answer::new(Cause::InUse, "the namespace is enabled", format!("ndctl disable-namespace {namespace}"))
            }
            Self::TooSmall => Answer::new(
                Cause::NamespaceTooSmall,
                "the kernel accepts no namespace below 16 MiB for fsdax, devdax or sector",
                format!("{predict} --size 16M"),
            ),
            Self::NoUuid => Answer::new(
                Cause::NoUuid,
                "the namespace has no uuid: a creation broke off; destroy it and create it again",
                list,
            ),
            Self::DimmLocked { dimm } => {
                Answer::new(Cause::DimmLocked, format!("{dimm} is locked by its security"), "ndctl load-keys")
            }
            Self::DimmDisabled { dimm } => {
                Answer::new(Cause::DimmDisabled, format!("{dimm} is disabled"), format!("ndctl enable-dimm {dimm}"))
            }
            Self::LabelsMismatch => Answer::new(
                Cause::LabelsMismatch,
                "the labels were written for another interleave set, or some are missing: DIMMs were moved; put them back (ndctl init-labels loses what is on them)",
                format!("ndctl list -D -r {region}"),
            ),
            Self::LabelsFull => {
                Answer::new(Cause::LabelsFull, "the label area of a DIMM has no room for labels", "ndctl list -Dv")
            }
            Self::SizeMisaligned { size, unit } => Answer::new(
                Cause::SizeMisaligned,
                format!("{size} is no multiple of the region's align, {}", Bytes(*unit)),
                format!("{predict} --size {size} --ndctl-size"),
            ),
            Self::NotRegistered => {
                Answer::new(Cause::NotRegistered, "the kernel could not register a namespace of the region", list)
            }
            Self::SystemRam { text } => Answer::new(
                Cause::SystemRamRefused,
                format!("system RAM is added in whole memory blocks: {text}"),
                "cat /sys/devices/system/memory/block_size_bytes",
            ),
            Self::Defect { text } => Answer::new(
                Cause::KernelDefect,
                format!("the kernel's own bookkeeping is wrong ({text}): please report it to nvdimm@lists.linux.dev"),
                "dmesg",
            ),
            Self::NoFlush => Answer::new(
                Cause::NoFlush,
                "the platform flushes no caches: writes may be lost with the power; the namespace works",
                format!("ndctl list -R -r {region}"),
            ),
            Self::ErrorsUnreported => Answer::new(
                Cause::ErrorsUnreported,
                "new memory errors are not reported to watchers of sysfs; the namespace works",
                format!("ndctl list -M -r {region}"),
            ),
        }
    }
}

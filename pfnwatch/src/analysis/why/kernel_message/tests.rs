use std::collections::BTreeSet;

use proptest::prelude::*;
use strum::IntoEnumIterator as _;

use super::*;
use crate::model::why::FailureCause as Cause;

/// Lines as the kernel logs them, and their causes. The texts are from Linux 6.1.176 unless another version is named; where a
/// later kernel has another text, both are here.
const LINES: &[(&str, Cause)] = &[
    // drivers/nvdimm/pfn_devs.c
    ("nd_pmem pfn0.0: error clearing 8 badblocks at 20", Cause::MemoryErrors),
    (" pfn0.1: init failed, page size mismatch 65536", Cause::PageSizeMismatch),
    (" pfn0.1: init failed, struct page size mismatch 32", Cause::StructPageSizeMismatch),
    ("dax_pmem dax0.0: init failed, alignment mismatch: 2097152:65536", Cause::AlignNotOffered),
    ("nd_pmem pfn0.0: init failed, settings mismatch", Cause::SettingsMismatch),
    ("nd_pmem pfn0.0: alignment: 40000000 exceeds capacity 20000000", Cause::AlignExceedsCapacity),
    ("nd_pmem pfn0.0: pfn array size exceeds capacity of namespace0.1", Cause::MemmapExceedsCapacity),
    ("nd_pmem pfn0.0: bad offset: 0x1200000 dax disabled align: 0x40000000", Cause::BaseMoved),
    // 4.9
    ("nd_pmem pfn0.0: bad offset: 0x1200000 dax disabled", Cause::BaseMoved),
    ("nd_pmem pfn0.0: resource start misaligned", Cause::RangeMisaligned),
    ("nd_pmem pfn0.0: resource end misaligned", Cause::RangeMisaligned),
    // 6.12.117
    ("nd_pmem pfn0.0: bad offset with small namespace", Cause::NothingUsable),
    ("nd_pmem pfn0.0: number of pfns truncated from 262144 to 131072", Cause::PagesTruncated),
    ("nd_pmem pfn0.0: region0 is read-only, unable to init metadata", Cause::ReadOnlyRegion),
    ("nd_pmem pfn1.0: namespace1.0: start 0x0000000240100000 misaligned to 0x200000", Cause::RegionMisaligned),
    ("nd_pmem pfn0.0: Memory debug options prevent using pmem for the page map", Cause::MemoryDebugging),
    ("dax_pmem dax0.0: namespace0.1 unable to satisfy requested alignment", Cause::AlignTooLarge),
    // 4.9
    ("nd_pmem pfn0.0: namespace0.0 section collision, truncate 67108864 bytes", Cause::SectionCollision),
    // 4.19.37, and 4.4 of Ubuntu
    ("nd_pmem pfn0.0: namespace0.0 alignment collision, truncate 67108864 bytes", Cause::SectionCollision),
    ("nd namespace0.0: failed, already claimed by pfn0.1", Cause::AlreadyClaimed),
    // drivers/nvdimm/pmem.c and claim.c
    ("nd_pmem pfn0.0: could not reserve region [mem 0x140000000-0x17fffffff flags 0x200]", Cause::AddressRangeBusy),
    ("nd_pmem namespace0.0: unable to guarantee persistence of writes", Cause::NoFlush),
    ("nd_pmem namespace0.0: 'badblocks' notification disabled", Cause::ErrorsUnreported),
    ("nd_pmem namespace0.0: request out of range", Cause::KernelDefect),
    ("nd pfn0.0: namespace already active", Cause::InUse),
    ("nd pfn0.0: namespace already set to: namespace0.1", Cause::AlreadyClaimed),
    ("nd pfn0.0: namespace0.1 too small to host", Cause::NamespaceTooSmall),
    ("nd pfn0.0: namespace0.1 already claimed", Cause::AlreadyClaimed),
    // 6.18.15
    ("nd pfn0.0: namespace namespace0.1 already claimed", Cause::AlreadyClaimed),
    // drivers/dax/pmem.c
    ("dax_pmem dax0.0: could not reserve metadata", Cause::AddressRangeBusy),
    // drivers/dax/device.c
    ("device_dax dax0.0: mapping0: 0x140000000-0x17fffffff could not reserve range", Cause::AddressRangeBusy),
    ("device_dax dax0.0: static pgmap / multi-range device conflict", Cause::KernelDefect),
    ("device_dax dax0.0: dynamic-dax with pre-populated page map", Cause::KernelDefect),
    // drivers/dax/kmem.c
    ("kmem dax0.0: mapping0: 0x140000000-0x17fffffff could not reserve region", Cause::AddressRangeBusy),
    ("kmem dax0.0: mapping0: 0x140000000-0x17fffffff memory add failed", Cause::SystemRamRefused),
    ("kmem dax0.0: mapping0: 0x140000000-0x1401fffff too small after alignment", Cause::SystemRamRefused),
    (
        "kmem dax0.0: mapping0: 0x140000000-0x1401fffff cannot be hotremoved until the next reboot",
        Cause::SystemRamRefused,
    ),
    ("kmem dax0.0: rejecting DAX region without any memory after alignment", Cause::SystemRamRefused),
    ("kmem dax0.0: rejecting DAX region with invalid node: -1", Cause::SystemRamRefused),
    // drivers/nvdimm/namespace_devs.c
    (
        "nd_pmem namespace0.0: [mem 0x140100000-0x17fffffff flags 0x200] misaligned, unable to map",
        Cause::RangeMisaligned,
    ),
    ("nd_region region0: nmem0 missing label for 6ee5c199-bbe8-42f6-9ea1-20b61fde34a7", Cause::LabelsMismatch),
    ("nd_region region0: nmem0 invalid label for 6ee5c199-bbe8-42f6-9ea1-20b61fde34a7", Cause::LabelsMismatch),
    ("nd_region region0: invalid interleave-set-cookie", Cause::LabelsMismatch),
    ("nd_region region0: invalid cookie in label: 6ee5c199-bbe8-42f6-9ea1-20b61fde34a7", Cause::LabelsMismatch),
    (
        "nd_region region0: error: conflicting extents for uuid: 6ee5c199-bbe8-42f6-9ea1-20b61fde34a7",
        Cause::LabelsMismatch,
    ),
    ("nd_region region0: nmem0: is locked, failing probe", Cause::DimmLocked),
    ("nd_region region0: nmem0: is disabled, failing probe", Cause::DimmDisabled),
    ("nd_pmem namespace0.0: nmem0 locked", Cause::DimmLocked),
    ("nd_region region0: failed to create namespace", Cause::NotRegistered),
    ("nd_region region0: failed to create pfn namespace", Cause::NotRegistered),
    ("nd_region region0: failed to create dax namespace", Cause::NotRegistered),
    ("nd_pmem namespace0.0: namespace must be idle during label update", Cause::InUse),
    ("nd_pmem namespace0.0: is active, can't bind pfn0.0", Cause::InUse),
    ("nd_pmem namespace0.0: claimed by pfn0.0, failing probe", Cause::AlreadyClaimed),
    ("nd_pmem namespace0.0: 0x0000000000000800, too small must be at least 0x1000", Cause::NamespaceTooSmall),
    ("nd namespace0.0: nvdimm_namespace_common_probe: uuid not set", Cause::NoUuid),
    ("nd namespace0.0: 1048576000 is not 16384K aligned", Cause::SizeMisaligned),
    ("nd_region region0: pmem reserve underrun: 0x1000 of 0x2000 bytes", Cause::KernelDefect),
    ("nd_region region0: allocation underrun: 0x1000 of 0x2000 bytes", Cause::KernelDefect),
    ("nd_pmem namespace0.0: host (pfn0.0) vs claim (pfn0.1) mismatch", Cause::KernelDefect),
    // drivers/nvdimm/region.c and label.c
    ("nd_region region0: failed to register 2 namespaces, continuing...", Cause::NotRegistered),
    ("nvdimm nmem0: label area (256) too small to host (128 byte) labels", Cause::LabelsFull),
    // drivers/base/dd.c; then 6.12.117
    ("really_probe: driver_sysfs_add(pfn0.0) failed", Cause::BindRefused),
    ("nd_pmem pfn0.0: really_probe: driver_sysfs_add failed", Cause::BindRefused),
    ("nd_pmem: probe of namespace0.0 failed with error -95", Cause::NotSupported),
    ("nd_pmem namespace0.0: probe with driver nd_pmem failed with error -95", Cause::NotSupported),
    ("nd_pmem: probe of pfn0.0 failed with error -16", Cause::AddressRangeBusy),
    ("nd_pmem: probe of namespace0.0 failed with error -13", Cause::DimmLocked),
    ("nd_pmem: probe of pfn0.0 failed with error -22", Cause::InvalidArgument),
    ("nd_pmem: probe of pfn0.0 failed with error -12", Cause::DriverFailed),
    ("nd_pmem: probe of pfn0.0 rejects match -6", Cause::NoDeviceOrAddress),
    ("nd_pmem namespace0.0: probe with driver nd_pmem rejects match -19", Cause::NoDevice),
];

fn parse(line: &str) -> LoggedMessage {
    LoggedMessage::parse(line).unwrap_or_else(|| panic!("nothing matches {line}"))
}

#[test]
fn each_line_has_its_cause_and_a_next_command() {
    for (line, cause) in LINES {
        let answer = parse(line).answer();
        assert_eq!(answer.cause, *cause, "{line}");
        assert!(!answer.explanation.is_empty() && !answer.next.is_empty(), "{line}");
        assert!(!answer.next.contains("REGION"), "{line}: {}", answer.next);
    }
}

#[test]
fn each_pattern_has_a_line() {
    let used = |pattern: &str| {
        LINES.iter().any(|(line, _)| line.split_once(": ").is_some_and(|(_, body)| fields(body, pattern).is_some()))
    };
    let all = KNOWN.iter().chain(&DRIVER_CORE).chain(&OLD_DRIVER_CORE);
    let unused: Vec<_> = all.map(|(pattern, _)| *pattern).filter(|pattern| !used(pattern)).collect();
    assert_eq!(unused, Vec::<&str>::new());
}

#[test]
fn each_pattern_is_in_the_documentation() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/troubleshooting.md"));
    for (pattern, _) in KNOWN.iter().chain(&DRIVER_CORE).chain(&OLD_DRIVER_CORE) {
        assert!(page.contains(&format!("`{}`", pattern.replace('*', "…"))), "{pattern}");
    }
}

/// Every cause is that of a line here, or of what the other modules find.
#[test]
fn each_cause_is_given() {
    let elsewhere = BTreeSet::from([
        Cause::DeniedByGuard,
        Cause::SystemRam,
        Cause::NoSpace,
        Cause::SeedNotBlank,
        Cause::RegionDisabled,
        Cause::Disabled,
        Cause::Unknown,
        Cause::Oversize,
        Cause::SizeExplained,
    ]);
    let here: BTreeSet<Cause> = LINES.iter().map(|(_, cause)| *cause).collect();
    for cause in Cause::iter() {
        assert!(here.contains(&cause) != elsewhere.contains(&cause), "{}", cause.as_str());
    }
}

#[test]
fn numbers_and_names_are_read() {
    let name = |text| DeviceName::parse(text);
    let align = parse("dax_pmem dax0.0: init failed, alignment mismatch: 2097152:65536");
    assert_eq!(align.message, KernelMessage::AlignNotOffered { device: 2 << 20, block: 64 << 10 });
    assert_eq!((Some(align.device), align.namespace), (name("dax0.0"), None));
    let capacity = parse("nd_pmem pfn0.0: alignment: 40000000 exceeds capacity 20000000");
    assert_eq!(capacity.message, KernelMessage::AlignExceedsCapacity { align: 1 << 30, capacity: 512 << 20 });
    let start = parse("nd_pmem pfn1.0: namespace1.0: start 0x0000000240100000 misaligned to 0x200000");
    assert_eq!(start.message, KernelMessage::RegionMisaligned { start: 0x2_4010_0000, unit: 2 << 20 });
    assert_eq!(start.namespace, name("namespace1.0"));
    let busy = parse("nd_pmem pfn0.0: could not reserve region [mem 0x140000000-0x17fffffff flags 0x200]");
    assert_eq!(busy.message, KernelMessage::AddressRangeBusy { range: Some("0x140000000-0x17fffffff".to_owned()) });
    let size = parse("nd namespace0.0: 1048576000 is not 16384K aligned");
    assert_eq!(size.message, KernelMessage::SizeMisaligned { size: 1_048_576_000, unit: 16 << 20 });
    let refused = parse("really_probe: driver_sysfs_add(pfn0.0) failed");
    assert_eq!((Some(refused.device), refused.namespace), (name("pfn0.0"), None));
    let failed = parse("nd_pmem: probe of namespace0.0 failed with error -95");
    assert_eq!((failed.message, failed.namespace), (KernelMessage::ProbeFailed { errno: 95 }, name("namespace0.0")));
}

#[test]
fn answers_have_the_names_of_the_message() {
    let answer = parse("dax_pmem dax2.0: namespace2.1 unable to satisfy requested alignment").answer();
    assert_eq!(answer.next, "pfnwatch predict --region region2 --size SIZE --align 2M");
    let settings = KernelMessage::parse("init failed, settings mismatch").unwrap().general_answer();
    assert_eq!(settings.next, "ndctl disable-namespace NAMESPACE && ndctl enable-namespace NAMESPACE");
    let mismatch = parse(" pfn0.1: init failed, struct page size mismatch 32").answer();
    assert!(mismatch.explanation.contains("reserves 32 bytes for each page"), "{}", mismatch.explanation);
}

#[test]
fn other_lines_are_no_failures() {
    for line in [
        "",
        "nd_pmem pfn0.0",
        "usb 1-1: failed to create namespace",
        "nd_pmem pfn0.0: hello",
        "nd_region region0: sda locked",
        "nd_region region0: nmem0: is fine, failing probe",
        "systemd[1]: region0: resource start misaligned",
        "nd_pmem: probe of sda failed with error -95",
        "nd_pmem: probe of pfn0.0 failed with error -x",
        "nd_pmem pfn0.0: init failed, page size mismatch many",
        "pfn0.0: could not reserve region everything",
    ] {
        let parsed = LoggedMessage::parse(line);
        let is_vague = parsed.as_ref().is_some_and(|it| it.message == KernelMessage::AddressRangeBusy { range: None });
        assert!(parsed.is_none() || is_vague, "{line}: {parsed:?}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(.|\n){0,120}") {
        let _ = (LoggedMessage::parse(&text), KernelMessage::parse(&text));
    }

    /// What a broken log makes of the lines: cut, joined, with other bytes in between.
    #[test]
    fn no_mangled_line_panics(index in 0..LINES.len(), cut in any::<prop::sample::Index>(), noise in ".{0,6}") {
        let line = LINES[index].0;
        let at = cut.index(line.len());
        let mangled = format!("{}{noise}{}", &line[..at], &line[at..]);
        if let Some(logged) = LoggedMessage::parse(&mangled) {
            prop_assert!(!logged.answer().next.is_empty());
        }
    }
}

//! Memory that is no NVDIMM: volatile and persistent CXL devices behind one host bridge, and a virtio-pmem device.

/// The machine with a CXL window of 8 GiB.
pub(super) const MACHINE: &str =
    "q35,nvdimm=on,cxl=on,cxl-fmw.0.targets.0=cxl0,cxl-fmw.0.size=8G,cxl-fmw.0.interleave-granularity=4k";

/// Without this processor flag the kernel commits a CXL region: else it refuses, since a guest cannot flush caches
/// (`cpu_cache_has_invalidate_memregion` in arch/x86/mm/pat/set_memory.c).
pub(super) const PROCESSOR_FLAG: &str = "-hypervisor";

/// By serial number, which is the place in this list and one: the option that takes the memory. Of the last two, tests leave memory in
/// use until the guest ends.
const CXL: [&str; 5] =
    ["volatile-memdev", "volatile-memdev", "persistent-memdev", "volatile-memdev", "persistent-memdev"];

pub(super) const VIRTIO_PMEM_BYTES: u64 = 1 << 30;

pub(super) fn arguments() -> Vec<String> {
    let mut words = ["-device", "pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl0"].map(str::to_owned).to_vec();
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    for (number, option) in CXL.iter().enumerate() {
        let serial = number + 1;
        let mut memory = format!("{option}=cxl-mem{number}");
        if option.starts_with("persistent") {
            add("-object", format!("memory-backend-ram,id=labels{number},share=on,size=16M"));
            memory += &format!(",lsa=labels{number}");
        }
        add("-object", format!("memory-backend-ram,id=cxl-mem{number},share=on,size=1G"));
        add("-device", format!("cxl-rp,port={number},bus=cxl0,id=port{number},chassis=0,slot={serial}"));
        add("-device", format!("cxl-type3,bus=port{number},{memory},id=cxl-device{number},sn={serial:#x}"));
    }
    add("-object", format!("memory-backend-ram,id=virtio-mem,share=on,size={VIRTIO_PMEM_BYTES}"));
    add("-device", "virtio-pmem-pci,bus=pcie.0,memdev=virtio-mem".to_owned());
    words
}

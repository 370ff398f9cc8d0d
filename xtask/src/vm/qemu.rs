//! QEMU: the right version, the accelerator that works, and the command line of a guest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::kernel::Kernel;
use super::memory_devices;
use super::scenario::{LABELS_BYTES, LEGACY_START, MIB, Nvdimm, Scenario};
use crate::architecture::Architecture;
use crate::process::{Task, ended_with_xtask};
use crate::setup::{self, ARM64_FIRMWARE};

/// A kernel without a root file system panics within 2 s under KVM.
const KVM_TRIAL: Duration = Duration::from_secs(15);
/// A processor that has no quick string instructions to offer: emulated, they go byte by byte, and a kernel that does not find
/// them copies and clears by words. It takes an eighth less of the host's time for the same tests.
const EMULATED: &str = "max,-erms,-fsrm,-fsrs,-fzrm,-fsrc";
/// What makes the BPF LSM active: Debian's own list, written out, for a kernel whose default is another. And no test of
/// the timer at boot: it counts ticks against a loop of instructions, and panics where the host was busy elsewhere
/// ("IO-APIC + timer doesn't work!", seen under emulation).
const KERNEL_ARGUMENTS: &str =
    "quiet panic=-1 oops=panic no_timer_check lsm=landlock,lockdown,yama,integrity,apparmor,bpf";

/// What a machine of an architecture is beside its memory and devices.
struct Platform {
    machine: &'static str,
    /// The processor under emulation.
    emulated: &'static str,
    console: &'static str,
    firmware: Option<&'static str>,
}

const X86_64: Platform = Platform { machine: "q35,nvdimm=on", emulated: EMULATED, console: "ttyS0", firmware: None };
/// With ACPI and its firmware: kernels find NVDIMMs by ACPI's tables. Pointers are authenticated by an algorithm of QEMU's own: the architecture's
/// takes half of the emulator's time.
const ARM64: Platform = Platform {
    machine: "virt,nvdimm=on,acpi=on,gic-version=3",
    emulated: "max,pauth-impdef=on",
    console: "ttyAMA0",
    firmware: Some(ARM64_FIRMWARE),
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Accelerator {
    Kvm,
    Tcg,
    /// Emulation in which each instruction takes a nanosecond of the guest's clock, and idling none.
    Counting,
}

pub(super) struct Qemu {
    program: PathBuf,
    platform: &'static Platform,
    version: String,
    accelerator: Accelerator,
}

impl Qemu {
    /// Finds QEMU, refuses an old one, and tries KVM by booting this kernel: /dev/kvm alone proves nothing, there are
    /// hosts that have it and hang.
    pub(super) fn find(kernel: &Kernel) -> Result<Self> {
        let architecture = kernel.flavour.architecture;
        let name = architecture.qemu();
        let program = setup::host_path(name).with_context(|| format!("{name} is missing: `cargo xtask setup`"))?;
        let (platform, has_kvm) = match architecture {
            Architecture::X86_64 => (&X86_64, kvm_works(&program, &kernel.image)),
            Architecture::Arm64 => (&ARM64, false),
        };
        let accelerator = if has_kvm { Accelerator::Kvm } else { Accelerator::Tcg };
        Ok(Self { program, platform, version: setup::qemu_version(architecture)?, accelerator })
    }

    pub(super) fn counting(self) -> Self {
        Self { accelerator: Accelerator::Counting, ..self }
    }

    pub(super) fn emulates(&self) -> bool {
        self.accelerator != Accelerator::Kvm
    }

    pub(super) fn words(&self) -> String {
        let how = match self.accelerator {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "TCG (KVM does not work here)",
            Accelerator::Counting => "TCG, counting instructions",
        };
        format!("QEMU {} with {how}", self.version)
    }

    /// The command that runs a guest: its console on standard output, its reports on standard error. `further`: words of the
    /// kernel's command line beside the machine's own.
    pub(super) fn command(
        &self,
        kernel: &Path,
        initramfs: &Path,
        machine: &Scenario,
        backends: &[PathBuf],
        disk: Option<&Path>,
        further: &str,
    ) -> Command {
        let mut command = ended_with_xtask("KILL", self.program.as_os_str());
        let (accelerator, processor, processors) = match self.accelerator {
            Accelerator::Kvm => (["-accel", "kvm"].as_slice(), "host", "2"),
            Accelerator::Tcg => (&["-accel", "tcg"] as &[_], self.platform.emulated, "2"),
            // One processor: a second one's instructions would pass as time of the first.
            Accelerator::Counting => (&["-accel", "tcg", "-icount", "shift=0,sleep=off"] as &[_], "max", "1"),
        };
        let flag = if machine.has_memory_devices { memory_devices::PROCESSOR_FLAG } else { "" };
        let processor = [processor, flag].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(",");
        command.args(accelerator).args(["-cpu", &processor, "-smp", processors]);
        command.args([
            "-machine",
            if machine.has_memory_devices { memory_devices::MACHINE } else { self.platform.machine },
        ]);
        command.args(["-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot"]);
        command.args(["-serial", "file:/dev/stdout", "-serial", "file:/dev/stderr"]);
        command.args(self.platform.firmware.iter().flat_map(|firmware| ["-bios", firmware]));
        command.arg("-m").arg(memory(machine));
        for (number, (nvdimm, backend)) in machine.nvdimms.iter().zip(backends).enumerate() {
            command.args(nvdimm_arguments(number, nvdimm, backend));
        }
        if machine.has_memory_devices {
            command.args(memory_devices::arguments());
        }
        if let Some(disk) = disk {
            // `/dev/vda`
            let drive = format!("if=none,id=disk0,format=raw,file={}", value(disk));
            command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk0"]);
        }
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
        command.arg("-append").arg(kernel_arguments(machine, self.platform, further));
        command
    }
}

/// Boots a kernel with nothing to run: where KVM works, it panics for want of a root file system.
fn kvm_works(program: &Path, kernel_image: &Path) -> bool {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let machine =
        "-machine q35 -accel kvm -cpu host -m 512M -no-reboot -nodefaults -display none -serial file:/dev/stdout";
    let words = machine.split(' ').chain(["-append", "console=ttyS0 panic=-1", "-kernel"]).map(AsRef::as_ref);
    let console = Task::new(program, words.chain([kernel_image.as_os_str()])).limit(KVM_TRIAL).read();
    console.is_ok_and(|text| text.contains("Kernel panic - not syncing: VFS"))
}

/// DRAM, and address space for the NVDIMMs and virtio-pmem: up to the end of the last that has an address, and as much again.
fn memory(machine: &Scenario) -> String {
    if machine.has_memory_devices {
        let space = machine.memory_bytes + 2 * memory_devices::VIRTIO_PMEM_BYTES;
        return format!("{}M,slots=1,maxmem={}M", machine.memory_bytes / MIB, space / MIB);
    }
    if machine.nvdimms.is_empty() {
        return format!("{}M", machine.memory_bytes / MIB);
    }
    let ends = machine.nvdimms.iter().map(|nvdimm| nvdimm.address.unwrap_or(0) + backend_bytes(nvdimm));
    let space = machine.memory_bytes + 2 * ends.sum::<u64>();
    format!("{}M,slots={},maxmem={}M", machine.memory_bytes / MIB, machine.nvdimms.len(), space / MIB)
}

pub(super) fn backend_bytes(nvdimm: &Nvdimm) -> u64 {
    nvdimm.region_bytes + LABELS_BYTES
}

/// The arguments for the disk that a Debian lies on. Of what disks there are, kernels have NVMe built in. Nothing is flushed to the host's disk:
/// the file serves no longer than the run.
pub(super) fn root_arguments(image: &Path) -> [String; 4] {
    let drive = format!("id=root,if=none,format=raw,cache=unsafe,file={}", value(image));
    ["-drive".into(), drive, "-device".into(), "nvme,serial=root,drive=root".into()]
}

fn nvdimm_arguments(number: usize, nvdimm: &Nvdimm, backend: &Path) -> [String; 4] {
    let (size, file) = (backend_bytes(nvdimm) / MIB, value(backend));
    let object = format!("memory-backend-file,id=nv{number},share=on,size={size}M,mem-path={file}");
    let address = nvdimm.address.map_or_else(String::new, |address| format!(",addr={address:#x}"));
    let device = format!("nvdimm,id=nvdimm{number},memdev=nv{number},label-size={LABELS_BYTES}{address}");
    ["-object".into(), object, "-device".into(), device]
}

/// A path among QEMU's options: a comma in it is written twice.
fn value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

fn kernel_arguments(machine: &Scenario, platform: &Platform, further: &str) -> String {
    let legacy = match machine.legacy_pmem_bytes / MIB {
        0 => String::new(),
        size => format!("memmap={size}M!{}M", LEGACY_START / MIB),
    };
    let console = format!("console={}", platform.console);
    let words = [&console, KERNEL_ARGUMENTS, &legacy, machine.arguments, further];
    words.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::scenario::ALL;
    use super::*;

    #[test]
    fn second_nvdimm_of_the_usual_machine_lies_at_an_odd_multiple_of_2_mib_behind_the_first() {
        let default = &ALL[0];
        let address = default.nvdimms[1].address.unwrap();
        assert_eq!((address % (2 * MIB), address / (2 * MIB) % 2), (0, 1));
        assert!(address >= 4096 * MIB + backend_bytes(&default.nvdimms[0]));
        assert!(kernel_arguments(default, &X86_64, "a=1 b=2").ends_with(" memmap=512M!1024M a=1 b=2"));
        assert_eq!(kernel_arguments(default, &X86_64, "").split(' ').next_back(), Some("memmap=512M!1024M"));
        assert!(memory(default).starts_with("2560M,slots=2,maxmem="));
    }
}

use super::types::ModuleTypes;
use super::*;
use crate::kernel::layout::FIELDS;
use crate::testing::btf_writer::Writer;

struct Fake {
    folder: tempfile::TempDir,
    host: FeatureSources,
}

impl Fake {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let paths = Paths { sysfs: at("sys"), procfs: at("proc") };
        let host = FeatureSources { paths, modules: at("modules"), boot: at("boot") };
        Self { folder, host }
    }

    fn put(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn gather(&self) -> Features {
        Features::gather(&self.host, None)
    }
}

/// BTF with a `struct page` of 64 bytes.
fn vmlinux() -> Writer {
    let mut w = Writer::new();
    w.structure("page", 64, &[]);
    w
}

#[test]
fn a_host_that_shows_nothing_is_unknown_and_no_error() {
    let features = Fake::new().gather();
    assert_eq!(features.release, None);
    assert_eq!(features.privileges, None);
    assert!(features.types.unwrap_err().contains("sys/kernel/btf/vmlinux"));
    assert!(features.symbols.unwrap_err().contains("proc/kallsyms"));
    assert_eq!(features.modules.libnvdimm, Module::NotLoaded);
    assert!(!features.kprobe_events && !features.bpf_file_system);
    assert_eq!(features.kprobes_armed, None);
    assert_eq!((features.config, features.security_modules, features.lockdown), (None, None, None));
    assert_eq!(features.persistent_memory, None);
}

#[test]
fn everything_is_read_from_the_folders_that_are_named() {
    let fake = Fake::new();
    fake.put("proc/sys/kernel/osrelease", "6.12.9\n");
    fake.put("proc/self/status", "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n");
    fake.put("proc/kallsyms", "ffffffff81000000 t dev_attr_show\nffffffff81000010 t unwanted\n");
    fake.put("boot/config-6.12.9", "CONFIG_BPF_LSM=y\n");
    fake.put("modules/6.12.9/modules.dep", "kernel/drivers/nvdimm/libnvdimm.ko:\n");
    fake.put("sys/kernel/btf/vmlinux", vmlinux().bytes());
    fake.put("sys/bus/event_source/devices/kprobe/type", "8\n");
    fake.put("sys/kernel/debug/kprobes/enabled", "0\n");
    fake.put("sys/kernel/security/lsm", "lockdown,bpf");
    fake.put("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    for (device, size) in
        [("region0", "1"), ("region1", "1"), ("namespace0.0", "4096"), ("namespace0.1", "0"), ("pfn0.0", "1")]
    {
        fake.put(&format!("sys/bus/nd/devices/{device}/size"), size);
    }
    fake.put("sys/bus/dax/devices/dax0.0/size", "4096");
    // bus/nd without a module: libnvdimm is a part of the image.
    let features = fake.gather();
    assert_eq!(features.release.as_deref(), Some("6.12.9"));
    assert!(features.privileges.unwrap().root);
    assert_eq!(features.modules.libnvdimm, Module::BuiltIn);
    let symbols = features.symbols.unwrap();
    assert!(symbols.has_function(ATTRIBUTE_SHOW) && !symbols.has_function("unwanted"));
    assert!(features.kprobe_events);
    assert_eq!(features.kprobes_armed, Some(false));
    assert_eq!(features.config.unwrap().setting("BPF_LSM"), config::Setting::BuiltIn);
    assert_eq!(features.security_modules.unwrap(), ["lockdown", "bpf"]);
    assert_eq!(features.lockdown.as_deref(), Some("integrity"));
    assert_eq!(features.persistent_memory, Some(PersistentMemory { regions: 2, namespaces: 1 }));
    assert_eq!(features.dax_devices, 1);
    let types = features.types.unwrap();
    assert_eq!(types.struct_page_bytes, Ok(64));
    assert_eq!(types.libnvdimm, ModuleTypes::Kernel);
    assert_eq!(types.resolution.missing.len(), FIELDS, "the fake kernel has none of the structures");
}

#[test]
fn libnvdimms_types_come_from_its_own_file_or_are_missing() {
    let fake = Fake::new();
    let kernel = vmlinux();
    fake.put("sys/kernel/btf/vmlinux", kernel.bytes());
    fake.put("sys/module/libnvdimm/initstate", "live\n");
    let file = fake.host.paths.sysfs.join("kernel/btf/libnvdimm");
    assert_eq!(fake.gather().types.unwrap().libnvdimm, ModuleTypes::Missing(file.clone()));

    fake.put("sys/kernel/btf/libnvdimm", b"\x7fELF");
    let types = fake.gather().types.unwrap();
    assert!(matches!(types.libnvdimm, ModuleTypes::Unusable(reason) if reason.contains("ELF")));

    let mut module = Writer::over(&kernel);
    let pointer = module.ptr(0);
    module.structure("nd_pfn", 8, &[("uuid", pointer, 0)]);
    fake.put("sys/kernel/btf/libnvdimm", module.bytes());
    let types = fake.gather().types.unwrap();
    assert_eq!(types.libnvdimm, ModuleTypes::Own(file));
    assert_eq!(types.resolution.layout.nd_pfn.uuid.get(), Some(0));
}

#[test]
fn a_folder_with_btf_comes_before_the_kernels_own() {
    let fake = Fake::new();
    let mut other = Writer::new();
    other.structure("page", 80, &[]);
    fake.put("sys/kernel/btf/vmlinux", vmlinux().bytes());
    fake.put("btf/vmlinux", other.bytes());
    let folder = fake.folder.path().join("btf");
    let types = Features::gather(&fake.host, Some(&folder)).types.unwrap();
    assert_eq!(types.struct_page_bytes, Ok(80));
    let empty = fake.folder.path().join("sys");
    let error = Features::gather(&fake.host, Some(&empty)).types.unwrap_err();
    assert!(error.contains("sys/vmlinux"), "{error}");
}

#[test]
fn the_chosen_word_is_the_one_in_brackets() {
    assert_eq!(selected("[none] integrity confidentiality").as_deref(), Some("none"));
    assert_eq!(selected("none integrity"), None);
    assert_eq!(selected("]["), None);
}

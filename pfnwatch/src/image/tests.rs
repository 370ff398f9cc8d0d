use std::fs;
use std::path::PathBuf;

use super::*;
use crate::image::module_file::tests::libnvdimm;
use crate::image::package::tests::{deb, deb_with_control, rpm, rpm_with_requires};
use crate::image::vmlinux::tests::bzimage;
use crate::kernel::known_defects::may_lose_memmap;
use crate::kernel::max_struct_page::resolve;
use crate::testing::btf_writer::Writer;

const RELEASE: &str = "6.1.0-50-amd64";
const KO: &str = "lib/modules/6.1.0-50-amd64/kernel/drivers/nvdimm/libnvdimm.ko";

/// An image of [`RELEASE`] whose `struct page` has 64 bytes.
fn image() -> Vec<u8> {
    let mut types = Writer::new();
    types.structure("page", 64, &[]);
    bzimage("6.1.0-50-amd64 (a builder)", &types.bytes())
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// What is found of [`RELEASE`] in these paths: MAX_STRUCT_PAGE_SIZE and `sizeof(struct page)`.
fn found(paths: &[PathBuf]) -> (Option<u64>, Option<u64>) {
    let candidates = KernelImages::read(paths.iter().map(PathBuf::as_path));
    assert!(candidates.failures.is_empty(), "{:?}", candidates.failures);
    let kernel = &candidates.kernels[RELEASE];
    assert!(kernel.problems.is_empty(), "{:?}", kernel.problems);
    (kernel.evidence().next().map(|evidence| evidence.max.bytes), kernel.struct_page_bytes)
}

#[test]
fn one_package_or_two_packages_make_one_kernel() {
    let (image, module) = (image(), libnvdimm(128, 7));
    let boot = ("boot/vmlinuz-6.1.0-50-amd64", image.as_slice());
    let ko = (KO, module.as_slice());
    for package in [deb, rpm] {
        let (both, binary, modules) = (package(&[boot, ko]), package(&[boot]), package(&[ko]));
        let folder = folder(&[("both", &both), ("binary", &binary), ("modules", &modules)]);
        let path = |name| folder.path().join(name);
        assert_eq!(found(&[path("both")]), (Some(128), Some(64)));
        assert_eq!(found(&[path("modules"), path("binary")]), (Some(128), Some(64)));
        assert_eq!(found(&[path("modules")]), (Some(128), None));
        assert_eq!(found(&[path("binary")]), (None, Some(64)));
    }
}

#[test]
fn an_installed_tree_is_read_from_its_root_and_from_its_modules() {
    let (image, module) = (image(), libnvdimm(64, 6));
    for (prefix, boot) in [("", "boot/vmlinuz-6.1.0-50-amd64"), ("usr/", "usr/lib/modules/6.1.0-50-amd64/vmlinuz")] {
        let root = folder(&[(&format!("{prefix}{KO}"), &module), (boot, &image)]);
        let modules = root.path().join(format!("{prefix}lib/modules")).join(RELEASE);
        assert_eq!(found(&[root.path().to_owned()]), (Some(64), Some(64)));
        assert_eq!(found(&[modules]), (Some(64), Some(64)), "{boot}");
    }
}

#[test]
fn the_module_that_would_be_loaded_goes_before_the_one_in_the_usual_place() {
    let (updated, usual) = (libnvdimm(64, 6), libnvdimm(128, 7));
    let list = b"updates/dkms/libnvdimm.ko:\nkernel/drivers/acpi/nfit.ko: updates/dkms/libnvdimm.ko\n";
    let modules = "lib/modules/6.1.0-50-amd64";
    let (dep, update) = (format!("{modules}/modules.dep"), format!("{modules}/updates/dkms/libnvdimm.ko"));
    let root = folder(&[(KO, &usual), (&dep, list), (&update, &updated)]);
    assert_eq!(found(&[root.path().join(modules)]), (Some(64), None));
}

#[test]
fn module_and_image_by_themselves_are_joined_by_their_own_release() {
    let folder = folder(&[("a", &libnvdimm(64, 6)), ("b", &image())]);
    assert_eq!(found(&[folder.path().join("a"), folder.path().join("b")]), (Some(64), Some(64)));
}

#[test]
fn two_different_modules_of_one_release_are_both_kept() {
    let folder = folder(&[("a", &libnvdimm(64, 6)), ("b", &libnvdimm(128, 7))]);
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let candidates = KernelImages::read(paths.iter().map(PathBuf::as_path));
    let resolved = resolve(candidates.kernels[RELEASE].evidence().collect());
    assert_eq!((resolved.conflicting.len(), resolved.agreed()), (1, None));
}

#[test]
fn a_built_in_libnvdimm_is_told() {
    let lists = [
        (
            "lib/modules/6.1.0-50-amd64/modules.builtin",
            b"kernel/fs/a.ko\nkernel/drivers/nvdimm/libnvdimm.ko\n".as_slice(),
        ),
        ("lib/modules/6.12.0/modules.builtin", b"kernel/fs/a.ko\n"),
    ];
    let root = folder(&lists);
    let candidates = KernelImages::read([root.path()]);
    assert!(candidates.kernels[RELEASE].built_in);
    assert_eq!(candidates.kernels.len(), 1, "the other one's module is only missing");
}

/// Debian's linux-image from 6.19 on, and Fedora's kernel.
#[test]
fn a_package_that_only_depends_on_others_names_them() {
    let control = "Package: linux-image-6.19\nDepends: linux-binary-6.19 (= 6.19.1-1), linux-modules-6.19\n";
    let (meta, kernel) = (deb_with_control(control, &[]), deb(&[(KO, &libnvdimm(64, 6))]));
    let fedora = rpm_with_requires(&["kernel-core-uname-r"], &[]);
    let folder = folder(&[("meta.deb", &meta), ("kernel.deb", &kernel), ("meta.rpm", &fedora)]);
    let path = |name| folder.path().join(name);
    for (name, depends) in [("meta.deb", "linux-binary-6.19, linux-modules-6.19"), ("meta.rpm", "kernel-core-uname-r")]
    {
        let alone = KernelImages::read([path(name).as_path()]);
        let error = alone.failures[0].1.to_string();
        assert!(error.contains("depends on other packages") && error.ends_with(depends), "{error}");
    }
    let (meta, kernel) = (path("meta.deb"), path("kernel.deb"));
    let both = KernelImages::read([meta.as_path(), kernel.as_path()]);
    assert_eq!((both.kernels.len(), both.failures.len()), (1, 0));
}

/// Ubuntu's and Fedora's kernels: most modules are in packages without libnvdimm and image.
#[test]
fn packages_with_other_modules_of_a_kernel_are_joined_with_it() {
    let (image, module) = (image(), libnvdimm(128, 7));
    let boot = ("boot/vmlinuz-6.1.0-50-amd64", image.as_slice());
    let list = ("lib/modules/6.1.0-50-amd64/modules.builtin", b"kernel/fs/a.ko\n".as_slice());
    let other = ("usr/lib/modules/6.1.0-50-amd64/kernel/fs/b.ko", b"b".as_slice());
    let foreign = ("lib/modules/6.2.0/kernel/fs/b.ko", b"b".as_slice());
    for package in [deb, rpm] {
        let folder = folder(&[
            ("image", &package(&[boot])),
            ("modules", &package(&[list, (KO, &module)])),
            ("core", &package(&[list])),
            ("extra", &package(&[other])),
            ("foreign", &package(&[foreign])),
        ]);
        let path = |name: &str| folder.path().join(name);
        for order in [["extra", "image", "core", "modules"], ["modules", "core", "image", "extra"]] {
            assert_eq!(found(&order.map(path)), (Some(128), Some(64)));
        }
        let failure = |names: &[&str]| {
            let paths: Vec<_> = names.iter().map(|name| path(name)).collect();
            let mut read = KernelImages::read(paths.iter().map(PathBuf::as_path));
            assert_eq!(read.failures.len(), 1, "{:?}", read.failures);
            read.failures.remove(0).1.to_string()
        };
        assert!(failure(&["extra"]).starts_with("files of Linux 6.1.0-50-amd64, neither its libnvdimm"));
        assert!(failure(&["image", "foreign"]).starts_with("files of Linux 6.2.0, neither"));
    }
}

#[test]
fn each_path_without_a_kernel_has_its_reason() {
    let folder =
        folder(&[("text", b"text"), ("empty/file", b""), ("empty.deb", &deb(&[])), ("cut.deb", &deb(&[])[..90])]);
    let reason = |name: &str| {
        let path = folder.path().join(name);
        let mut candidates = KernelImages::read([path.as_path()]);
        assert_eq!((candidates.kernels.len(), candidates.failures.len()), (0, 1));
        candidates.failures.remove(0).1
    };
    assert!(matches!(reason("text"), ImageFileError::AnotherKind));
    assert!(matches!(reason("empty"), ImageFileError::Nothing));
    assert!(matches!(reason("empty.deb"), ImageFileError::Nothing));
    assert!(matches!(reason("cut.deb"), ImageFileError::Package(_)));
    assert!(matches!(reason("missing"), ImageFileError::Read(_)));
}

/// The packages that the guests' kernels came in, as far as they were downloaded; or those of another folder.
#[test]
#[ignore = "takes a minute for some packages: `cargo xtask vm` asks the built program the same"]
fn debian_kernels_return_a_memmap_by_their_code_as_their_releases_do() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/cache/deb");
    let folder = std::env::var_os("PFNWATCH_KERNEL_PACKAGES").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let Ok(files) = fs::read_dir(folder) else { return };
    let files = files.map(|file| file.unwrap().path());
    let is_image = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(".deb") && (name.starts_with("linux-image-") || name.starts_with("linux-binary-"))
    };
    for path in files.filter(is_image) {
        for (release, kernel) in KernelImages::read([path.as_path()]).kernels {
            let (returned, _) = kernel.memmap_return.unwrap().unwrap();
            let affected = may_lose_memmap(&release);
            assert_eq!(returned == MemmapReturn::NotReturned, affected, "{release}");
        }
    }
}

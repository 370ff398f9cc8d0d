//! What others changed in the running kernel's text: live patches and kprobes.

use std::fs;
use std::path::Path;

/// The live patch that replaces one of `functions`, in libnvdimm or in the kernel's image. Its code is elsewhere then, and
/// neither the old code nor the module file is evidence. A patch that is switched off leaves sysfs (kernel/livepatch/core.c).
#[must_use]
pub fn live_patch(sysfs: &Path, functions: &[&str]) -> Option<String> {
    let patches = fs::read_dir(sysfs.join("kernel/livepatch")).ok()?;
    patches.flatten().find_map(|patch| {
        let replaced =
            ["libnvdimm", "vmlinux"].iter().filter_map(|object| fs::read_dir(patch.path().join(object)).ok());
        // A folder is named by the function and its place among those of the same name: `nvdimm_setup_pfn,1`.
        let is_ours = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let function = name.to_str().and_then(|name| Some(name.rsplit_once(',')?.0));
            function.is_some_and(|function| functions.contains(&function))
        };
        replaced.flatten().flatten().any(is_ours).then(|| patch.file_name().to_string_lossy().into_owned())
    })
}

/// Bytes from the start of `function` to each kprobe that is armed in it, by debugfs; none if debugfs is not mounted.
#[must_use]
pub fn kprobes(sysfs: &Path, function: &str) -> Vec<u64> {
    let list = fs::read_to_string(sysfs.join("kernel/debug/kprobes/list")).unwrap_or_default();
    let armed = list.lines().filter(|line| !line.contains("[DISABLED]") && !line.contains("[GONE]"));
    // `ffffffffc056c710  k  nvdimm_setup_pfn+0x1d  libnvdimm [OPTIMIZED]` (report_probe in kernel/kprobes.c)
    let place = |line: &str| {
        let (name, offset) = line.split_ascii_whitespace().nth(2)?.split_once("+0x")?;
        u64::from_str_radix(offset, 16).ok().filter(|_| name == function)
    };
    armed.filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTIONS: [&str; 2] = ["nvdimm_setup_pfn", "nd_pfn_init"];

    #[test]
    fn a_live_patch_is_found_by_the_function_that_it_replaces() {
        for (folder, found) in [
            ("fix_a/libnvdimm/nvdimm_setup_pfn,1", Some("fix_a")),
            ("fix_b/vmlinux/nd_pfn_init,2", Some("fix_b")),
            ("fix_c/libnvdimm/nd_pfn_validate,1", None),
            ("fix_d/nd_pmem/nvdimm_setup_pfn,1", None),
            ("fix_e/libnvdimm/nvdimm_setup_pfn", None),
        ] {
            let sysfs = tempfile::tempdir().unwrap();
            assert_eq!(live_patch(sysfs.path(), &FUNCTIONS), None, "no live patches");
            fs::create_dir_all(sysfs.path().join("kernel/livepatch").join(folder)).unwrap();
            assert_eq!(live_patch(sysfs.path(), &FUNCTIONS).as_deref(), found, "{folder}");
        }
    }

    #[test]
    fn armed_kprobes_are_found_by_function() {
        let sysfs = tempfile::tempdir().unwrap();
        assert!(kprobes(sysfs.path(), "nvdimm_setup_pfn").is_empty());
        fs::create_dir_all(sysfs.path().join("kernel/debug/kprobes")).unwrap();
        let list = "\
ffffffffc056c714  k  nvdimm_setup_pfn+0x4  libnvdimm [FTRACE]
ffffffffc056c72d  k  nvdimm_setup_pfn+0x1d  libnvdimm [OPTIMIZED]
ffffffffc056c740  k  nvdimm_setup_pfn+0x30  libnvdimm [DISABLED]
ffffffffc056c750  k  nvdimm_setup_pfn+0x40  libnvdimm [GONE]
ffffffffc056c9f9  k  nvdimm_setup_pfn.cold+0x8  libnvdimm
ffffffff81000000  r  really_probe+0x0    [FTRACE]
ffffffff81000000  k  0xffffffff81000000
";
        fs::write(sysfs.path().join("kernel/debug/kprobes/list"), list).unwrap();
        assert_eq!(kprobes(sysfs.path(), "nvdimm_setup_pfn"), [0x4, 0x1d]);
    }
}

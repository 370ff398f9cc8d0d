//! Whether a part of the kernel is loaded, built in, or could be loaded.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::{fmt, fs};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Module {
    Loaded,
    /// A part of the kernel's image.
    BuiltIn,
    /// Not loaded; the module is installed.
    Available,
    Absent,
    /// Not loaded; what is installed cannot be read.
    NotLoaded,
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loaded => "loaded",
            Self::BuiltIn => "built in",
            Self::Available => "installed, not loaded",
            Self::Absent => "not installed",
            Self::NotLoaded => "not loaded",
        })
    }
}

impl Module {
    /// Looks for modules of these names (with underscores) in sysfs and under `modules`, which is /lib/modules/RELEASE.
    pub fn detect<const N: usize>(sysfs: &Path, modules: &Path, names: [&str; N]) -> [Self; N] {
        let built_in = file_names(&modules.join("modules.builtin"));
        let drivers = sysfs.join("bus/nd/drivers");
        let installed = file_names(&modules.join("modules.dep"));
        names.map(|name| {
            let has = |names: &Option<Vec<String>>| names.as_ref().map(|names| names.iter().any(|n| n == name));
            let state = fs::read_to_string(sysfs.join("module").join(name).join("initstate"));
            match state.as_deref().map(str::trim_end) {
                Ok("live" | "coming") => Self::Loaded,
                // A part of the image has no initstate; its driver is there all the same.
                _ if has(&built_in) == Some(true) || drivers.join(name).is_dir() => Self::BuiltIn,
                _ => match has(&installed) {
                    Some(true) => Self::Available,
                    Some(false) => Self::Absent,
                    None => Self::NotLoaded,
                },
            }
        })
    }

    pub const fn is_there(&self) -> bool {
        matches!(self, Self::Loaded | Self::BuiltIn)
    }
}

/// `kernel/drivers/nvdimm/libnvdimm.ko.xz: …` is `libnvdimm`.
fn file_names(list: &Path) -> Option<Vec<String>> {
    let lines = BufReader::new(File::open(list).ok()?).lines();
    let name = |line: String| {
        let path = line.split(':').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        file.split_once(".ko").map(|(name, _)| name.replace('-', "_"))
    };
    Some(lines.map_while(Result::ok).filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_of_a_module_is_told() {
        let host = tempfile::tempdir().unwrap();
        let names = ["libnvdimm", "nd_pmem", "dax_pmem", "nfit"];
        let look = || Module::detect(host.path(), host.path(), names);
        assert_eq!(look(), [const { Module::NotLoaded }; 4]);

        fs::write(
            host.path().join("modules.dep"),
            "kernel/drivers/nvdimm/nd-pmem.ko.xz: kernel/drivers/nvdimm/libnvdimm.ko.xz\n",
        )
        .unwrap();
        fs::write(host.path().join("modules.builtin"), "kernel/drivers/dax/dax_pmem.ko\n").unwrap();
        for (name, state) in [("libnvdimm", "live\n"), ("nfit", "going\n")] {
            fs::create_dir_all(host.path().join("module").join(name)).unwrap();
            fs::write(host.path().join("module").join(name).join("initstate"), state).unwrap();
        }
        assert_eq!(look(), [Module::Loaded, Module::Available, Module::BuiltIn, Module::Absent]);
        fs::create_dir_all(host.path().join("bus/nd/drivers/nd_pmem")).unwrap();
        assert_eq!(look()[1], Module::BuiltIn);
    }
}

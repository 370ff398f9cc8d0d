//! This host's evidence for its own kernel's MAX_STRUCT_PAGE_SIZE.

use crate::kernel::boot::loaded_build_id;
use std::{
    fmt::Display,
    fs::File,
    path::{Path, PathBuf},
};

use crate::kernel::max_struct_page::{Addresses, Evidence, Resolved, Source, of_release, resolve};
use crate::{
    image::{
        kernel_paths,
        module_file::{self, Module},
        running_code as running,
    },
    os::paths::Paths,
};

const INSTALLED: &str = "/lib/modules";

#[derive(Debug)]
pub struct RunningKernel {
    pub resolved: Resolved,
    /// Whether the parameter `page_struct_override` is set; `None` if the kernel has none.
    pub override_set: Option<bool>,
    pub problems: Vec<String>,
}

impl RunningKernel {
    /// Reads the running code, the installed module file with the same build-id, and the release's name; `observed` is
    /// evidence from blocks that this kernel wrote.
    #[must_use]
    pub fn gather(paths: &Paths, release: &str, observed: Vec<Evidence>) -> Self {
        let mut problems = Vec::new();
        let mut evidence = observed;
        let installed = Installed::read(&Path::new(INSTALLED).join(release));
        match running_code(paths, installed.as_ref().ok().map(|installed| &installed.module)) {
            Ok(found) => evidence.push(found),
            Err(error) => problems.push(format!("running code: {error}")),
        }
        match installed.and_then(|installed| installed.evidence(&paths.sysfs)) {
            Ok(found) => evidence.extend(found),
            Err(problem) => problems.push(format!("module file: {problem}")),
        }
        evidence.extend(of_release(release));
        let override_set = running::page_struct_override(&paths.sysfs).unwrap_or_else(|error| {
            problems.push(error.to_string());
            None
        });
        Self { resolved: resolve(evidence), override_set, problems }
    }
}

fn running_code(paths: &Paths, installed: Option<&Module>) -> Result<Evidence, running::RunningError> {
    let (function, decoded) = running::decode_running(paths, installed)?;
    let max = decoded.max_struct_page()?;
    Ok(Evidence { max, source: Source::RunningCode { function, at: Addresses::from(&decoded) } })
}

struct Installed {
    path: PathBuf,
    module: Module,
}

impl Installed {
    fn read(folder: &Path) -> Result<Self, String> {
        let path = kernel_paths::module(folder).ok_or_else(|| format!("{} holds no libnvdimm", folder.display()))?;
        let file = File::open(&path).map_err(|error| named(&path, &error))?;
        let module = module_file::read(file).map_err(|error| named(&path, &error))?;
        Ok(Self { path, module })
    }

    /// The evidence of its code, if it is the loaded module by the build-id, or if none is loaded.
    fn evidence(&self, sysfs: &Path) -> Result<Option<Evidence>, String> {
        if let Err(error) = &self.module.code {
            return Err(named(&self.path, error));
        }
        match loaded_build_id(sysfs) {
            Some(loaded) if self.module.build_id.as_ref() != Some(&loaded) => {
                Err(named(&self.path, &format!("this is not what is loaded, whose build-id is {loaded}")))
            }
            _ => Ok(self.module.evidence(&self.path.display().to_string())),
        }
    }
}

fn named(path: &Path, error: &dyn Display) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_counts_only_if_it_is_what_is_loaded() {
        let sysfs = tempfile::tempdir().unwrap();
        let notes = sysfs.path().join("module/libnvdimm/notes");
        assert_eq!(loaded_build_id(sysfs.path()), None, "not loaded");
        fs::create_dir_all(&notes).unwrap();
        let note = [&4_u32.to_ne_bytes()[..], &3_u32.to_ne_bytes(), &3_u32.to_ne_bytes(), b"GNU\0", &[0xab, 1, 2, 0]];
        fs::write(notes.join(".note.gnu.build-id"), note.concat()).unwrap();
        assert_eq!(loaded_build_id(sysfs.path()).as_deref(), Some("ab0102"));

        let modules = tempfile::tempdir().unwrap();
        assert!(Installed::read(modules.path()).err().unwrap().ends_with("holds no libnvdimm"));
        let folder = modules.path().join("kernel/drivers/nvdimm");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libnvdimm.ko"), module_file::tests::libnvdimm(128, 7)).unwrap();
        let installed = Installed::read(modules.path()).unwrap();
        let error = installed.evidence(sysfs.path()).unwrap_err();
        assert!(error.contains("not what is loaded, whose build-id is ab0102"), "{error}");
        let unloaded = tempfile::tempdir().unwrap();
        let found = installed.evidence(unloaded.path()).unwrap().unwrap();
        assert_eq!(found.max.bytes, 128);
    }
}

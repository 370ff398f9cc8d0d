//! How the kernel was built, from /proc/config.gz or /boot/config-RELEASE.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// More than any configuration takes (about 300 KB).
const MAX_BYTES: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `=y`
    BuiltIn,
    /// `=m`
    Module,
    /// Not set, or not known to this kernel.
    Off,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub file: PathBuf,
    built_in: Vec<String>,
    modules: Vec<String>,
}

impl Config {
    /// Reads the first of the two files that is readable; `None` if neither is.
    pub fn read(procfs: &Path, boot: &Path, release: &str) -> Option<Self> {
        let running = procfs.join("config.gz");
        let installed = boot.join(format!("config-{release}"));
        let from_kernel = File::open(&running).and_then(|file| Self::parse(GzDecoder::new(file), running));
        from_kernel.or_else(|_| File::open(&installed).and_then(|file| Self::parse(file, installed))).ok()
    }

    fn parse(from: impl Read, file: PathBuf) -> io::Result<Self> {
        let mut config = Self { file, built_in: Vec::new(), modules: Vec::new() };
        for line in BufReader::new(from.take(MAX_BYTES)).lines() {
            let line = line?;
            if let Some((option, value)) = line.strip_prefix("CONFIG_").and_then(|line| line.split_once('=')) {
                match value {
                    "y" => config.built_in.push(option.to_owned()),
                    "m" => config.modules.push(option.to_owned()),
                    _ => {}
                }
            }
        }
        if config.built_in.is_empty() { Err(io::ErrorKind::InvalidData.into()) } else { Ok(config) }
    }

    /// The setting of an option, named without `CONFIG_`.
    pub fn setting(&self, option: &str) -> Setting {
        if self.built_in.iter().any(|on| on == option) {
            Setting::BuiltIn
        } else if self.modules.iter().any(|on| on == option) {
            Setting::Module
        } else {
            Setting::Off
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const TEXT: &str =
        "# Linux\nCONFIG_BPF_LSM=y\nCONFIG_LIBNVDIMM=m\n# CONFIG_KPROBES is not set\nCONFIG_LSM=\"bpf\"\n";

    #[test]
    fn options_are_read_from_either_file_and_the_running_kernel_comes_first() {
        let host = tempfile::tempdir().unwrap();
        assert_eq!(Config::read(host.path(), host.path(), "6.12.0"), None);
        fs::write(host.path().join("config-6.12.0"), TEXT).unwrap();
        let config = Config::read(host.path(), host.path(), "6.12.0").unwrap();
        assert_eq!(config.setting("BPF_LSM"), Setting::BuiltIn);
        assert_eq!(config.setting("LIBNVDIMM"), Setting::Module);
        assert_eq!(config.setting("KPROBES"), Setting::Off);
        assert_eq!(config.setting("LSM"), Setting::Off);

        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(b"CONFIG_KPROBES=y\n").unwrap();
        fs::write(host.path().join("config.gz"), packed.finish().unwrap()).unwrap();
        let config = Config::read(host.path(), host.path(), "6.12.0").unwrap();
        assert_eq!(config.setting("KPROBES"), Setting::BuiltIn);
        assert_eq!(config.file, host.path().join("config.gz"));
    }

    #[test]
    fn a_damaged_file_is_no_configuration() {
        let host = tempfile::tempdir().unwrap();
        fs::write(host.path().join("config.gz"), b"\x1f\x8b\x08 not gzip").unwrap();
        fs::write(host.path().join("config-6.1"), b"\xff\xfe\0").unwrap();
        assert_eq!(Config::read(host.path(), host.path(), "6.1"), None);
    }
}

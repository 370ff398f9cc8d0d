//! The checks of the fuzz targets, a module each: `check` takes any bytes, and panics if pfnwatch handles them wrongly.
//!
//! `cargo xtask fuzz` builds the targets with libFuzzer. Built without, a target runs its check on the named files:
//! that is how a crash is reproduced in a debugger.

pub mod btf;
pub mod code;
pub mod config;
pub mod control;
pub mod fleet;
pub mod image;
pub mod info_block;
pub mod inventory;
pub mod module;
pub mod package;
pub mod policy;
pub mod record;

#[cfg(fuzzing)]
pub use libfuzzer_sys;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// The program of a target: libFuzzer around its `check`, or what tries files.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $check(bytes));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::try_files($check)
        }
    };
}

#[must_use]
pub fn try_files(check: fn(&[u8])) -> ExitCode {
    let files = env::args_os().skip(1);
    let failed = files.filter(|file| try_file(Path::new(file), check).is_err()).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_file(file: &Path, check: fn(&[u8])) -> std::io::Result<()> {
    let bytes = fs::read(file).inspect_err(|error| eprintln!("{}: {error}", file.display()))?;
    check(&bytes);
    println!("{}: fine", file.display());
    Ok(())
}

/// Where a target puts the files that it needs: memory, where the host has a file system of it.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { env::temp_dir() }
}

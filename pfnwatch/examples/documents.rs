//! Writes the man pages and the shells' completions, of the command line as it is: `cargo xtask dist` puts them into the package.
//! An example, so that what writes them is no part of the binary.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};
use pfnwatch::cli::Cli;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("usage: documents FOLDER")?;
    let (man, completions) = (Path::new(&folder).join("man"), Path::new(&folder).join("completions"));
    for folder in [&man, &completions] {
        // A page of a command that is gone must not stay.
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
    }
    clap_mangen::generate_to(Cli::command(), &man)?;
    for shell in SHELLS {
        generate_to(shell, &mut Cli::command(), "pfnwatch", &completions)?;
    }
    Ok(())
}

//! The project's own commands: set-up, build, checks, VM tests.

mod debian;
mod paths;
mod process;
mod progress;

fn main() {}

//! The `pfnwatch` command: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use pfnwatch::cli::Cli;
use pfnwatch::cli::output::terminal::Terminal;
use pfnwatch::model::exit::Exit;
use pfnwatch::os::abandonable;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What the program is made of, in the section where scanners look for it (cargo-auditable's format). `cargo xtask build --release` puts it in; in other
/// builds it is empty.
// SAFETY: the section is of this one value, and no code reads it.
#[unsafe(link_section = ".dep-v0")]
static DEPENDENCIES: [u8; include_bytes!(concat!(env!("OUT_DIR"), "/dependencies.zlib")).len()] =
    *include_bytes!(concat!(env!("OUT_DIR"), "/dependencies.zlib"));

fn main() -> ExitCode {
    // The linker drops what nothing refers to.
    std::hint::black_box(&DEPENDENCIES);
    let cli = Cli::parse();
    log_to_stderr();
    if cli.command.reads_sysfs() { abandonable::run(|| run(cli)) } else { run(cli).into() }
}

fn run(cli: Cli) -> Exit {
    cli.run().unwrap_or_else(|error| {
        eprintln!("pfnwatch: {error:#}");
        Exit::from_error(&error)
    })
}

/// Log messages go to standard error, so that standard output has only events and reports. RUST_LOG sets the
/// level: `debug`, or `pfnwatch=debug,warn`.
fn log_to_stderr() {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(Terminal::stderr().colour)
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

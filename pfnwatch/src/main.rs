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

fn main() -> ExitCode {
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

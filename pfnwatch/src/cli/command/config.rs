//! `pfnwatch config`: what is configured.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::config::origin::{DEFAULTS, OriginTable, Value, tables};
use crate::config::{Config, ConfigArgs, ConfigFiles};
use crate::model::exit::Exit;
use crate::os::paths::Paths;

#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Show the values in force: defaults, the configuration and its drop-ins merged
    Show(Show),
}

pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let Command::Show(args) = &args.command;
    show(args)
}

/// Where the origins begin, unless a value is longer.
const COLUMN: usize = 44;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch config show                    all values in force, as one TOML file
  pfnwatch config show --origin           the same with the file and line of each value, or `default`
  pfnwatch config show --format json      the same for programs, with the hash that metrics and `status` show

A later file overrides an earlier one, key by key: first the configuration, then conf.d/*.toml beside it in the order of their names. Lists of tables \
([[exemptions]], [[alerts.receivers]]) are appended; an empty list clears the earlier entries. Of a URL, only scheme and host are shown.

Exit codes: 0 success; 1 error; 2 a file is not valid, or wrong usage.")]
struct Show {
    /// Show the source of each value
    #[arg(long)]
    origin: bool,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

fn show(args: &Show) -> anyhow::Result<Exit> {
    let files = args.config.sources()?;
    let _valid = Config::of(&files)?;
    let (hash, sources) = (files.hash(), files.over(DEFAULTS));
    let tables = tables(&sources)?;
    terminal::print(
        &args.format.render(&ConfigDocument::of(&tables, &sources, &hash), || text(&tables, &sources, args.origin))?,
    )?;
    Ok(Exit::Success)
}

/// A TOML file with the same values; its comments are their origins.
fn text(tables: &[OriginTable], sources: &ConfigFiles, with_origin: bool) -> String {
    let mut text = String::new();
    for table in tables {
        let heading = match table.number {
            _ if table.name.is_empty() => String::new(),
            Some(_) => format!("[[{}]]\n", table.name),
            None => format!("[{}]\n", table.name),
        };
        let between = if text.is_empty() { "" } else { "\n" };
        // Writing to a text cannot fail.
        let _ = write!(text, "{between}{heading}");
        for value in &table.values {
            let line = format!("{} = {}", value.key, value.text);
            let _ = if with_origin {
                writeln!(text, "{line:COLUMN$} # {}", origin(value, sources))
            } else {
                writeln!(text, "{line}")
            };
        }
    }
    text
}

fn origin(value: &Value, sources: &ConfigFiles) -> String {
    let file = sources.place(value.offset).and_then(|place| Some(format!("{}:{}", place.path?.display(), place.line)));
    file.unwrap_or_else(|| "default".to_owned())
}

/// All values in force.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ConfigDocument"))]
pub(in crate::cli::command) struct ConfigDocument<'a> {
    /// The first 16 digits of the SHA-256 of the configuration's files, as metrics and `status` have it.
    hash: &'a str,
    /// The files that were read, in order: a value of a later file overrides that of an earlier one.
    files: Vec<&'a Path>,
    /// The values.
    values: Vec<EffectiveValue<'a>>,
}

/// One value.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct EffectiveValue<'a> {
    /// Its table: `guard`, `alerts.receivers`; empty at the top.
    table: &'a str,
    /// The number of its table, from 1, if it is in a list; else null.
    number: Option<usize>,
    /// Its key.
    key: &'a str,
    /// What it is: a text, a number, a boolean, or a list of these.
    value: &'a serde_json::Value,
    /// Whether a file sets it.
    origin: ValueOrigin,
    /// Which file; null for a default.
    file: Option<&'a Path>,
    /// At which line of it, from 1.
    line: Option<usize>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ValueOrigin"))]
#[serde(rename_all = "snake_case")]
enum ValueOrigin {
    /// A file of the configuration.
    File,
    /// The defaults.
    Default,
}

impl<'a> ConfigDocument<'a> {
    fn of(tables: &'a [OriginTable], sources: &'a ConfigFiles, hash: &'a str) -> Self {
        let values =
            tables.iter().flat_map(|table| table.values.iter().map(|value| effective_value(table, value, sources)));
        let files = sources.iter().filter_map(|source| source.path.as_deref());
        Self { hash, files: files.collect(), values: values.collect() }
    }
}

fn effective_value<'a>(table: &'a OriginTable, value: &'a Value, sources: &'a ConfigFiles) -> EffectiveValue<'a> {
    let place = sources.place(value.offset).and_then(|place| Some((place.path?, place.line)));
    EffectiveValue {
        table: &table.name,
        number: table.number,
        key: &value.key,
        value: &value.json,
        origin: if place.is_some() { ValueOrigin::File } else { ValueOrigin::Default },
        file: place.map(|(file, _)| file),
        line: place.map(|(_, line)| line),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::cli::output::json::document;

    fn files() -> (tempfile::TempDir, ConfigFiles) {
        let folder = tempfile::tempdir().unwrap();
        let drop_ins = folder.path().join("conf.d");
        std::fs::create_dir(&drop_ins).unwrap();
        std::fs::write(drop_ins.join("10-mode.toml"), "[guard]\nmode = \"enforce\"\n").unwrap();
        let hook = "[[alerts.receivers]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"https://h/s3cret\"\n";
        std::fs::write(drop_ins.join("20-hook.toml"), hook).unwrap();
        let sources = ConfigFiles::read(None, &drop_ins).unwrap();
        (folder, sources)
    }

    #[test]
    fn what_is_printed_is_a_configuration_that_says_the_same() {
        let (_folder, files) = files();
        let config = Config::of(&files).unwrap();
        let sources = files.over(DEFAULTS);
        let tables = tables(&sources).unwrap();
        for with_origin in [false, true] {
            let printed = text(&tables, &sources, with_origin);
            let again = Config::parse(&printed).unwrap();
            assert_eq!((again.policy(), again.web(), again.store()), (config.policy(), config.web(), config.store()));
            assert!(!printed.contains("s3cret"), "{printed}");
        }
        let printed = text(&tables, &sources, true);
        assert!(
            printed.lines().any(|line| line.starts_with("mode = \"enforce\" ") && line.ends_with("10-mode.toml:2")),
            "{printed}"
        );
        assert!(
            printed.lines().any(|line| line.starts_with("on_agent_exit") && line.ends_with(" # default")),
            "{printed}"
        );
    }

    #[test]
    fn programs_get_the_same_with_the_hash() {
        let (_folder, files) = files();
        let hash = files.hash();
        let sources = files.over(DEFAULTS);
        let tables = tables(&sources).unwrap();
        let json: Json =
            serde_json::from_str(&document(&ConfigDocument::of(&tables, &sources, &hash)).unwrap()).unwrap();
        assert_eq!(
            (&json["schema"], &json["hash"], json["files"].as_array().unwrap().len()),
            (&json!(1), &json!(hash), 2)
        );
        let values = json["values"].as_array().unwrap();
        let of = |key: &str| values.iter().find(|it| it["key"] == key).unwrap();
        assert_eq!(
            (&of("mode")["value"], &of("mode")["origin"], &of("mode")["line"]),
            (&json!("enforce"), &json!("file"), &json!(2))
        );
        assert_eq!((&of("max_age")["origin"], &of("max_age")["file"]), (&json!("default"), &Json::Null));
        assert!(!json.to_string().contains("s3cret"));
    }
}

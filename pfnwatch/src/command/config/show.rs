//! `pfnwatch config show`: the configuration as a whole.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::{
    config::{
        Config, ConfigArgs, Sources,
        origin::{DEFAULTS, Table, Value, tables},
    },
    event::SCHEMA,
    exit::Exit,
    format::Format,
    terminal,
};

/// Where the origins begin, unless a value is longer.
const COLUMN: usize = 44;

/// Options of `pfnwatch config show`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch config show                    all values in force, as one TOML file
  pfnwatch config show --origin           and where each comes from: a file and line, or the defaults
  pfnwatch config show --format json      the same for programs, with the hash that metrics and `status` have

Later files go before earlier ones, key by key: the configuration, then conf.d/*.toml beside it by name. Lists of tables \
([[exemptions]], [[alerts.receivers]]) grow; an empty list takes away what came before. What follows the host of a URL is not shown.

Exit codes: 0 fine; 1 error; 2 a file is not valid, or wrong usage.")]
pub(super) struct Args {
    /// Say where each value comes from
    #[arg(long)]
    origin: bool,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
///
/// # Errors
/// The configuration cannot be read, or is not valid.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let files = args.config.sources()?;
    let _valid = Config::of(&files)?;
    let (hash, sources) = (files.hash(), files.over(DEFAULTS));
    let tables = tables(&sources)?;
    terminal::print(&match args.format {
        Format::Json => serde_json::to_string_pretty(&document(&tables, &sources, &hash))? + "\n",
        Format::Table => text(&tables, &sources, args.origin),
    })?;
    Ok(Exit::Fine)
}

/// A TOML file that says the same; its comments are what is asked for.
fn text(tables: &[Table], sources: &Sources, with_origin: bool) -> String {
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

fn origin(value: &Value, sources: &Sources) -> String {
    let file = sources.place(value.offset).and_then(|place| Some(format!("{}:{}", place.path?.display(), place.line)));
    file.unwrap_or_else(|| "default".to_owned())
}

fn document(tables: &[Table], sources: &Sources, hash: &str) -> Json {
    let values = tables.iter().flat_map(|table| table.values.iter().map(move |value| (table, value)));
    let values = values.map(|(table, value)| {
        let place = sources.place(value.offset);
        let file = place.as_ref().and_then(|it| it.path);
        json!({
            "table": table.name,
            "number": table.number,
            "key": value.key,
            "value": value.json,
            "origin": if file.is_some() { "file" } else { "default" },
            "file": file,
            "line": file.and(place.as_ref()).map(|it| it.line),
        })
    });
    let files: Vec<_> = sources.iter().filter_map(|source| source.path.as_deref()).collect();
    json!({ "schema": SCHEMA, "hash": hash, "files": files, "values": values.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        let drop_ins = folder.path().join("conf.d");
        std::fs::create_dir(&drop_ins).unwrap();
        std::fs::write(drop_ins.join("10-mode.toml"), "[guard]\nmode = \"enforce\"\n").unwrap();
        let hook = "[[alerts.receivers]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"https://h/s3cret\"\n";
        std::fs::write(drop_ins.join("20-hook.toml"), hook).unwrap();
        let sources = Sources::read(None, &drop_ins).unwrap();
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
            assert_eq!(
                (again.policy(), again.web(), again.journal()),
                (config.policy(), config.web(), config.journal())
            );
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
        let json = document(&tables(&sources).unwrap(), &sources, &hash);
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

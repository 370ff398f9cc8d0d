//! `pfnwatch schema`: the JSON schemas of what pfnwatch writes.
//!
//! They are made of the types that are written (`cargo xtask docs`), and lie in the binary as one compressed document.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use comfy_table::{Table, presets};
use flate2::read::ZlibDecoder;
use serde_json::{Map, Value};

use crate::cli::output::terminal;
use crate::model::exit::{Exit, ExitContext};

/// dist/schema.json, as build.rs has compressed it.
const BUNDLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.json.zlib"));

const DEFS: &str = "$defs";

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch schema                       the names, and what each is about
  pfnwatch schema scan > scan.json      what `pfnwatch scan --format json` writes
  pfnwatch schema event.denied          an event of the kind `denied`; `event` is for a line of any kind
  pfnwatch schema --all schemas/        each as a file, schemas/NAME.json

They are JSON schemas of draft 2020-12. With the same \"schema\": 1 in a document, a later version may have more keys, more \
kinds of events and more values of an enumeration; none goes away, and none changes its type or meaning. So leave out what \
you do not know, and do not take a schema's enumerations for the last word.

Exit codes: 0 success; 1 error; 2 wrong usage, or there is no such schema.")]
pub struct Args {
    /// Print the schema of this name
    name: Option<String>,
    /// Write every schema into DIR, which is made where it is not there
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    all: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let schemas = Schemas::read()?;
    match (&args.name, &args.all) {
        (Some(name), _) => terminal::print(&schemas.text(name)?)?,
        (None, Some(folder)) => write(&schemas, folder)?,
        (None, None) => terminal::print(&table(&schemas))?,
    }
    Ok(Exit::Success)
}

fn write(schemas: &Schemas, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for (name, _) in schemas.named() {
        let file = folder.join(format!("{name}.json"));
        fs::write(&file, schemas.text(name)?).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn table(schemas: &Schemas) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["NAME", "OF"]);
    for (name, schema) in schemas.named() {
        table.add_row([name, schema.get("title").and_then(Value::as_str).unwrap_or_default()]);
    }
    format!("{}\n", table.trim_fmt())
}

struct Schemas {
    head: Map<String, Value>,
    defs: Map<String, Value>,
}

impl Schemas {
    fn read() -> anyhow::Result<Self> {
        let mut text = String::new();
        ZlibDecoder::new(BUNDLE).read_to_string(&mut text).context("the schemas in this binary are damaged")?;
        let mut head: Map<String, Value> = serde_json::from_str(&text)?;
        match head.remove(DEFS) {
            Some(Value::Object(defs)) => Ok(Self { head, defs }),
            _ => anyhow::bail!("the schemas in this binary are damaged"),
        }
    }

    /// The schemas of documents: the names of shared types begin with a capital letter.
    fn named(&self) -> impl Iterator<Item = (&str, &Value)> {
        let named = self.defs.iter().filter(|(name, _)| name.starts_with(|first: char| first.is_ascii_lowercase()));
        named.map(|(name, schema)| (&**name, schema))
    }

    fn text(&self, name: &str) -> anyhow::Result<String> {
        let schema = self.named().find(|(other, _)| *other == name).and_then(|(_, schema)| schema.as_object());
        let schema = schema.with_context(|| {
            ExitContext::usage(format!("there is no schema `{name}`: `pfnwatch schema` lists the schemas"))
        })?;
        let mut needed = BTreeSet::new();
        schema.values().for_each(|it| self.need(it, &mut needed));
        let mut document = self.head.clone();
        document.insert("$id".to_owned(), format!("urn:pfnwatch:schema:1:{name}").into());
        document.extend(schema.clone());
        let defs: Map<String, Value> =
            needed.iter().filter_map(|name| Some(((*name).to_owned(), self.defs.get(*name)?.clone()))).collect();
        if !defs.is_empty() {
            document.insert(DEFS.to_owned(), Value::Object(defs));
        }
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn need<'a>(&'a self, schema: &'a Value, needed: &mut BTreeSet<&'a str>) {
        match schema {
            Value::String(text) => {
                let name = text.strip_prefix("#/$defs/").filter(|name| self.defs.contains_key(*name));
                if let Some(name) = name.filter(|name| needed.insert(*name))
                    && let Some(schema) = self.defs.get(name)
                {
                    self.need(schema, needed);
                }
            }
            Value::Array(list) => list.iter().for_each(|it| self.need(it, needed)),
            Value::Object(fields) => fields.values().for_each(|it| self.need(it, needed)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Body;

    #[test]
    fn each_stands_by_itself() {
        let schemas = Schemas::read().unwrap();
        for (name, _) in schemas.named() {
            let text = schemas.text(name).unwrap();
            let document: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(document["$id"], format!("urn:pfnwatch:schema:1:{name}"));
            assert!(document["title"].is_string() && document["$schema"].is_string(), "{name}");
            let there = |name: &str| document["$defs"].get(name).is_some();
            let wanted = text.split("#/$defs/").skip(1).map(|rest| rest.split('"').next().unwrap());
            wanted.for_each(|it| assert!(there(it), "{name} refers to {it}"));
        }
        assert_eq!(schemas.named().filter(|(name, _)| name.starts_with("event.")).count(), Body::KINDS.len());
    }

    #[test]
    fn what_is_not_there_is_wrong_usage() {
        let schemas = Schemas::read().unwrap();
        for name in ["", "nothing", "Actor", "event.", "$defs"] {
            assert_eq!(Exit::from_error(&schemas.text(name).unwrap_err()), Exit::Usage, "{name}");
        }
    }
}

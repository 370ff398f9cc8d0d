//! The rooms of `pfnwatch/src`, the table of who may import whom, and which modules may use what (`xtask/rooms.toml`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::source::{Named, below, within};
use super::tree::{File, folder_of, join};
use super::{Tree, Violation, broken};

pub(super) const PARSED: &str = "each file of a crate can be parsed, and each declared module has its file: correct it";
pub(super) const IMPORTS: &str = "a room imports only the rooms that xtask/rooms.toml allows, in tests as well: move the \
    item into a room that both may import; only if the edge is right, add it to the table with its reason";
pub(super) const NO_CYCLE: &str = "the table of rooms has no cycle and names known rooms: remove one of the edges";
pub(super) const COMPLETE: &str = "xtask/rooms.toml names the modules of pfnwatch/src and no others: move the module \
    into a room, or correct the table";
pub(super) const DOCUMENTED: &str = "the table of rooms in ARCHITECTURE.md has the rooms and imports of \
    xtask/rooms.toml, in their order: correct the row";
pub(super) const NAMED_ROOM: &str = "a path into the crate names the room that it leads to: write crate::ROOM::item, \
    without an alias or a glob import of the crate's root";
pub(super) const PURPOSE: &str = "the first file of a room begins with one sentence that states its purpose: add \
    `//! …` with a full stop";
pub(super) const ONE_TRANSLATOR: &str = "a wire record is not a domain event, and only bpf/decode knows both: take an \
    event of model/ here, and translate in pfnwatch/src/bpf/decode";
pub(super) const PURE: &str = "the modules listed as pure in xtask/rooms.toml do no input or output and read no clock: \
    do it in the caller, and pass the value";
pub(super) const ONLY: &str = "a crate listed under [only] in xtask/rooms.toml is used by those modules alone: give \
    that module a function for what is needed here";

pub(super) const TABLE: &str = "xtask/rooms.toml";
/// The crate's root, and that of its program.
pub(super) const LIB: &str = "pfnwatch/src/lib.rs";
pub(super) const MAIN: &str = "pfnwatch/src/main.rs";
const CRATE: &str = "pfnwatch";
pub(super) const DOCUMENT: &str = "ARCHITECTURE.md";
pub(super) const HEAD: &str = "| room | contains | may import |";
const DECODE: &str = "bpf::decode";
/// Errors and addresses are values like others.
const IMPURE: &str = "std::fs std::net::TcpListener std::net::TcpStream std::net::ToSocketAddrs std::net::UdpSocket \
    std::os std::process std::env std::thread tokio nix";
const VALUES: &str = "nix::errno";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// The rooms with what each may import.
    rooms: BTreeMap<String, Vec<String>>,
    pure: BTreeSet<String>,
    /// Items of other crates, with the modules that alone use them.
    only: BTreeMap<String, BTreeSet<String>>,
}

impl Table {
    /// The room that a module belongs to: the longest row that is the module or around it.
    fn room(&self, module: &str) -> Option<&str> {
        self.rooms.keys().map(String::as_str).filter(|row| within(module, row)).max_by_key(|row| row.len())
    }
}

/// A file of a crate, with the module that it is: nothing for the crate's root.
struct Module<'a> {
    file: &'a File,
    path: String,
}

impl Module<'_> {
    /// What the file names, each with the module around it.
    fn named(&self) -> impl Iterator<Item = (&Named, String)> {
        self.file.source().named.iter().map(|named| (named, below(&self.path, &named.inline)))
    }

    fn broken(&self, rule: &str, named: &Named) -> Violation {
        broken(rule, &self.file.path, named.line, format!("names {}", named.path))
    }
}

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let table: Table = match tree.toml(TABLE) {
        Ok(table) => table,
        Err(broken) => return broken,
    };
    let (mut modules, mut found) = modules_of(tree, LIB, "");
    modules.extend(modules_of(tree, MAIN, "main").0);
    let known: BTreeSet<&str> = modules.iter().map(|module| module.path.as_str()).collect();
    found.extend(in_order(&table));
    found.extend(complete(&table, &modules, &known));
    found.extend(tree.file(DOCUMENT).map(|document| documented(&table, document)).unwrap_or_default());
    for module in &modules {
        found.extend(Some(module).filter(|module| table.rooms.contains_key(&module.path)).and_then(purpose));
        found.extend(imports(&table, module, &known));
        found.extend(only(&table, module));
        found.extend(pure(&table, module));
        found.extend(one_translator(module, &known));
    }
    found
}

/// The module of this file and those below it, along `mod` declarations, and what could not be read.
fn modules_of<'a>(tree: &'a Tree, root: &str, module: &str) -> (Vec<Module<'a>>, Vec<Violation>) {
    let (mut modules, mut violations) = (Vec::new(), Vec::new());
    // Files with the modules that they are, and the folders of their child modules.
    let mut left = vec![(root.to_owned(), module.to_owned(), folder_of(root).to_owned())];
    while let Some((path, module, folder)) = left.pop() {
        let Some(file) = tree.file(&path).filter(|file| file.source().is_read) else {
            violations.push(broken(PARSED, &path, 0, "is missing or cannot be parsed"));
            continue;
        };
        for child in &file.source().children {
            let inside = join(&folder, &child.path.replace("::", "/"));
            let (place, inside) = match &child.place {
                Some(place) => (join(folder_of(&path), place), folder_of(&join(folder_of(&path), place)).to_owned()),
                None => (format!("{inside}.rs"), inside),
            };
            left.push((place, below(&module, &child.path), inside));
        }
        modules.push(Module { file, path: module });
    }
    (modules, violations)
}

/// Where a path leads, if it leads into the crate: `crate`, `self` and `super` resolved, as is a child module's name.
fn resolve(path: &str, around: &str, known: &BTreeSet<&str>) -> Option<String> {
    let parent = |module: &str| module.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned());
    let (first, mut rest) = path.split_once("::").unwrap_or((path, ""));
    let mut base = match first {
        "crate" | CRATE => String::new(),
        "self" => around.to_owned(),
        "super" => parent(around),
        child => return known.contains(below(around, child).as_str()).then(|| below(around, path)),
    };
    while let Some(after) = rest.strip_prefix("super").filter(|after| after.is_empty() || after.starts_with("::")) {
        base = parent(&base);
        rest = after.trim_start_matches("::");
    }
    Some(below(&base, rest))
}

/// The imports of a module that the table does not allow, and the paths whose room cannot be known.
fn imports(table: &Table, module: &Module, known: &BTreeSet<&str>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (named, around) in module.named() {
        let Some(target) = resolve(&named.path, &around, known) else { continue };
        let Named { line, path, .. } = named;
        match (table.room(&around), table.room(&target)) {
            (_, None) => found.push(broken(NAMED_ROOM, &module.file.path, *line, format!("{path} leads to no room"))),
            (Some(from), Some(to))
                if from == to || table.rooms.get(from).is_some_and(|row| row.iter().any(|it| it == to)) => {}
            (from, Some(to)) => {
                let edge = format!("{} -> {to} ({path})", from.unwrap_or("lib"));
                found.push(broken(IMPORTS, &module.file.path, *line, edge));
            }
        }
    }
    found
}

/// The table by itself: known rooms, no cycle.
fn in_order(table: &Table) -> Vec<Violation> {
    let edges = table.rooms.iter().flat_map(|(room, imports)| imports.iter().map(move |import| (room, import)));
    let unknown = edges.filter(|(_, import)| !table.rooms.contains_key(*import));
    let mut found: Vec<String> =
        unknown.map(|(room, import)| format!("{room} imports {import}, which has no row")).collect();
    // A room without imports among those that are left cannot be part of a cycle.
    let mut left = table.rooms.clone();
    while let Some((free, _)) = left.iter().find(|(_, row)| !row.iter().any(|import| left.contains_key(import))) {
        let free = free.clone();
        left.remove(&free);
    }
    if !left.is_empty() {
        found.push(format!("a cycle lies among {}", left.into_keys().collect::<Vec<_>>().join(", ")));
    }
    found.into_iter().map(|found| broken(NO_CYCLE, TABLE, 0, found)).collect()
}

fn complete(table: &Table, modules: &[Module], known: &BTreeSet<&str>) -> Vec<Violation> {
    let has_row = |module: &str| table.rooms.keys().any(|row| within(row, module));
    let top = modules.iter().filter(|module| !module.path.is_empty() && !module.path.contains("::"));
    let without_row = top.filter(|module| !has_row(&module.path));
    let mut found: Vec<Violation> = without_row
        .map(|module| broken(COMPLETE, &module.file.path, 0, format!("module {} has no row", module.path)))
        .collect();
    // A rule about a module that is gone would no longer apply.
    let listed = table.rooms.keys().chain(&table.pure).chain(table.only.values().flatten()).map(String::as_str);
    let missing = listed.filter(|name| !known.contains(name));
    found.extend(missing.map(|name| broken(COMPLETE, TABLE, 0, format!("{name} is not in the tree"))));
    found
}

/// Compares the table of a document with that of the rules, as far as it is about rooms that the document has: those of
/// test support are not in it.
fn documented(table: &Table, document: &File) -> Vec<Violation> {
    let cells =
        document.table(HEAD).filter_map(|(_, cells)| Some((cells.first()?.trim_matches(['`', '/']), *cells.last()?)));
    let cells: BTreeMap<&str, &str> = cells.collect();
    let is_documented = |room: &str| room != "main" && !room.contains("::");
    let mut found = Vec::new();
    for (room, imports) in table.rooms.iter().filter(|(room, _)| is_documented(room)) {
        let imports: Vec<&str> = imports.iter().map(String::as_str).filter(|room| is_documented(room)).collect();
        let expected = if imports.is_empty() { "–".to_owned() } else { imports.join(", ") };
        if cells.get(room.as_str()) != Some(&expected.as_str()) {
            found.push(broken(DOCUMENTED, DOCUMENT, 0, format!("the row of {room} has to end with: {expected}")));
        }
    }
    let unknown = cells.keys().filter(|room| !table.rooms.contains_key(**room));
    found.extend(unknown.map(|room| broken(DOCUMENTED, DOCUMENT, 0, format!("{room} is no room"))));
    found
}

fn purpose(module: &Module) -> Option<Violation> {
    let doc = module.file.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let paragraph = doc.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let begins = paragraph.starts_with(|c: char| c.is_uppercase() || c == '`');
    let ends = paragraph.ends_with('.') || paragraph.contains(". ");
    (!(begins && ends)).then(|| broken(PURPOSE, &module.file.path, 1, "has no sentence of purpose"))
}

fn only(table: &Table, module: &Module) -> Vec<Violation> {
    let is_strange = |(named, around): &(&Named, String)| {
        let mut rules = table.only.iter().filter(|(item, _)| named.reaches(item));
        rules.any(|(_, allowed)| !allowed.iter().any(|allowed| within(around, allowed)))
    };
    module.named().filter(is_strange).map(|(named, _)| module.broken(ONLY, named)).collect()
}

fn pure(table: &Table, module: &Module) -> Vec<Violation> {
    if module.file.is_test() || !table.pure.iter().any(|pure| within(&module.path, pure)) {
        return Vec::new();
    }
    // A point in time is a value, too; what matters is who reads the clock.
    let is_impure = |(named, _): &(&Named, String)| {
        named.path.ends_with("::now")
            || IMPURE.split_whitespace().any(|item| named.reaches(item)) && !within(&named.path, VALUES)
    };
    let named = outside_of_tests(module).filter(is_impure);
    let mut found: Vec<Violation> = named.map(|(named, _)| module.broken(PURE, named)).collect();
    let lines = module.file.source().code.lines().enumerate().filter(|(_, line)| line.contains(".elapsed("));
    found.extend(lines.map(|(index, line)| broken(PURE, &module.file.path, index + 1, line.trim())));
    found
}

fn one_translator(module: &Module, known: &BTreeSet<&str>) -> Option<Violation> {
    let is_event = |(named, around): (&Named, String)| {
        resolve(&named.path, &around, known).is_some_and(|target| within(&target, "model::event"))
    };
    let (record, _) = outside_of_tests(module).find(|(named, _)| named.reaches("pfnwatch_common::record"))?;
    let allowed = module.file.is_test()
        || [DECODE, "testing"].iter().any(|allowed| within(&module.path, allowed))
        || within(&module.path, "bpf") && !outside_of_tests(module).any(is_event);
    (!allowed).then(|| module.broken(ONE_TRANSLATOR, record))
}

fn outside_of_tests<'a>(module: &'a Module) -> impl Iterator<Item = (&'a Named, String)> {
    module.named().filter(|(named, _)| !named.inline.split("::").any(|inline| inline == "tests"))
}

//! The rooms of `pfnwatch/src` and the table of who may import whom (`xtask/rooms.toml`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::modules::{self, Module, resolve};
use super::tree::File;
use super::{Rule, Tree, Violation};

static IMPORTS: Rule = Rule {
    requirement: "a room imports only the rooms that xtask/rooms.toml allows, in tests as well",
    remedy: "move the item into a room that both may import; only if the edge is right, add it to the table with its reason",
};
static NO_CYCLE: Rule = Rule {
    requirement: "the table of rooms has no cycle and names known rooms",
    remedy: "remove one of the edges from xtask/rooms.toml",
};
static COMPLETE: Rule = Rule {
    requirement: "xtask/rooms.toml and the modules of pfnwatch/src/lib.rs are the same rooms",
    remedy: "move the module into a room, or correct the table",
};
static DOCUMENTED: Rule = Rule {
    requirement: "the table of rooms in ARCHITECTURE.md has the rooms and imports of xtask/rooms.toml",
    remedy: "correct the row: imports are a list of rooms, or `all but ROOM`",
};
static NAMED_ROOM: Rule = Rule {
    requirement: "a path into the crate names the room that it leads to",
    remedy: "write crate::ROOM::item, without an alias or a glob import of the crate's root",
};
static PURPOSE: Rule = Rule {
    requirement: "the first file of a room begins with one sentence that states its purpose",
    remedy: "add `//! …` with a full stop at its beginning",
};

/// Where the table is.
pub(super) const TABLE: &str = "xtask/rooms.toml";
/// The crate's root.
pub(super) const LIB: &str = "pfnwatch/src/lib.rs";
const DOCUMENT: &str = "ARCHITECTURE.md";
const HEAD: &str = "| room | contains | may import |";
const MAIN: &str = "pfnwatch/src/main.rs";
/// The crate's name.
pub(super) const CRATE: &str = "pfnwatch";

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// The rooms with what each may import.
    rooms: BTreeMap<String, BTreeSet<String>>,
    /// Modules without input, output and clock.
    #[serde(default)]
    pub(super) pure: BTreeSet<String>,
    /// Items of other crates, with the modules that alone use them.
    #[serde(default)]
    pub(super) only: BTreeMap<String, BTreeSet<String>>,
}

/// An import of one room by another that the table does not allow.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    file: String,
    line: usize,
    path: String,
}

/// Every rule about rooms.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let table = match read(tree) {
        Ok(table) => table,
        Err(violation) => return vec![violation],
    };
    let (modules, mut found) = modules::of_crate(tree, LIB);
    found.extend(in_order(&table));
    found.extend(complete(&table, &modules));
    found.extend(tree.file(DOCUMENT).map(|document| documented(&table, document)).unwrap_or_default());
    found.extend(modules.iter().filter(|module| table.rooms.contains_key(&module.path.join("::"))).filter_map(purpose));
    let (edges, others) = imports(tree, &table, &modules);
    found.extend(edges.iter().map(|edge| {
        let found = format!("room {} imports {} ({}), which the table does not allow", edge.from, edge.to, edge.path);
        IMPORTS.broken(&edge.file, edge.line, found)
    }));
    found.extend(others);
    found
}

/// The edges that the table does not allow with the number of imports of each, one a line, the most frequent first.
pub(super) fn summary(tree: &Tree) -> Vec<String> {
    let Ok(table) = read(tree) else { return Vec::new() };
    let (modules, _) = modules::of_crate(tree, LIB);
    let mut counts: BTreeMap<(String, String), (usize, String)> = BTreeMap::new();
    for edge in imports(tree, &table, &modules).0 {
        let first = format!("{}:{}", edge.file, edge.line);
        counts.entry((edge.from, edge.to)).or_insert((0, first)).0 += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    counts.iter().map(|((from, to), (count, first))| format!("{count:>5} {from} -> {to} (first: {first})")).collect()
}

/// Reads the table.
pub(super) fn read(tree: &Tree) -> Result<Table, Violation> {
    let file = tree.file(TABLE).ok_or_else(|| COMPLETE.broken(TABLE, 0, "is missing"))?;
    toml::from_str(&file.text).map_err(|error| COMPLETE.broken(TABLE, 0, error.to_string()))
}

impl Table {
    /// The room that a module belongs to: the longest row that is the module or around it.
    fn room(&self, module: &[String]) -> Option<String> {
        let longest = (1..=module.len()).rev().filter_map(|length| Some(module.get(..length)?.join("::")));
        longest.into_iter().find(|name| self.rooms.contains_key(name))
    }

    /// Whether rows lie below a module that is none itself.
    fn has_below(&self, module: &str) -> bool {
        self.rooms.keys().any(|row| row.strip_prefix(module).is_some_and(|rest| rest.starts_with("::")))
    }
}

/// The table by itself: known rooms, no cycle.
fn in_order(table: &Table) -> Vec<Violation> {
    let mut found = Vec::new();
    for (room, imports) in &table.rooms {
        let unknown = imports.iter().filter(|import| !table.rooms.contains_key(*import));
        found.extend(
            unknown.map(|import| NO_CYCLE.broken(TABLE, 0, format!("{room} imports {import}, which has no row"))),
        );
    }
    // A room without imports among those that are left cannot be part of a cycle.
    let mut left = table.rooms.clone();
    while let Some(free) = left.iter().find(|(_, imports)| !imports.iter().any(|import| left.contains_key(import))) {
        let free = free.0.clone();
        left.remove(&free);
    }
    if !left.is_empty() {
        let names: Vec<&str> = left.keys().map(String::as_str).collect();
        found.push(NO_CYCLE.broken(TABLE, 0, format!("a cycle lies among {}", names.join(", "))));
    }
    found
}

fn complete(table: &Table, modules: &[Module]) -> Vec<Violation> {
    let mut found = Vec::new();
    for module in modules.iter().filter(|module| !module.path.is_empty()) {
        let name = module.path.join("::");
        let first = module.path.len() == 1;
        if first && !table.rooms.contains_key(&name) && !table.has_below(&name) {
            found.push(COMPLETE.broken(&module.file, 0, format!("module {name} has no row in {TABLE}")));
        }
    }
    let there = |row: &String| row == "main" || modules.iter().any(|module| module.path.join("::") == *row);
    let missing = table.rooms.keys().filter(|row| !there(row));
    found.extend(missing.map(|row| COMPLETE.broken(TABLE, 0, format!("room {row} is not in the tree"))));
    found
}

/// Compares the table of a document, if it has one, with that of the rules.
fn documented(table: &Table, document: &File) -> Vec<Violation> {
    let rows = document.lines().skip_while(|(_, line)| line.trim() != HEAD).skip(2);
    let rows = rows.take_while(|(_, line)| line.starts_with('|')).filter_map(|(number, line)| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        Some((cells.first()?.trim_matches(['`', '/']).to_owned(), number, cells.last()?.replace(['`', '/'], "")))
    });
    let rows: Vec<(String, usize, String)> = rows.collect();
    let names: BTreeSet<String> = rows.iter().map(|(room, ..)| room.clone()).collect();
    let mut found = Vec::new();
    for (room, number, cell) in &rows {
        let listed = |list: &str| list.split(',').map(|name| name.trim().to_owned()).collect::<BTreeSet<_>>();
        let imports: BTreeSet<String> = match cell.strip_prefix("all but ") {
            Some(others) => {
                names.iter().filter(|name| *name != room && !listed(others).contains(*name)).cloned().collect()
            }
            None => names.intersection(&listed(cell)).cloned().collect(),
        };
        // Rooms of test support are not in the document.
        let allowed = table.rooms.get(room).map(|allowed| allowed.iter().filter(|room| !room.contains("::")).cloned());
        if allowed.map(BTreeSet::from_iter) != Some(imports) {
            found.push(DOCUMENTED.broken(DOCUMENT, *number, format!("{room} differs from {TABLE}")));
        }
    }
    let missing = table.rooms.keys().filter(|room| *room != "main" && !room.contains("::") && !names.contains(*room));
    found.extend(
        missing.filter(|_| !rows.is_empty()).map(|room| DOCUMENTED.broken(DOCUMENT, 0, format!("{room} has no row"))),
    );
    found
}

fn purpose(module: &Module) -> Option<Violation> {
    let paragraph = module.doc.iter().map(|line| line.trim()).take_while(|line| !line.is_empty());
    let paragraph = paragraph.collect::<Vec<_>>().join(" ");
    let begins = paragraph.starts_with(|c: char| c.is_uppercase() || c == '`');
    let ends = paragraph.ends_with('.') || paragraph.contains(". ");
    (!(begins && ends)).then(|| PURPOSE.broken(&module.file, 1, "has no sentence of purpose"))
}

/// The imports that the table does not allow, and the paths whose room cannot be known.
fn imports(tree: &Tree, table: &Table, modules: &[Module]) -> (Vec<Edge>, Vec<Violation>) {
    let known: BTreeSet<Vec<String>> = modules.iter().map(|module| module.path.clone()).collect();
    let (mut edges, mut others) = (Vec::new(), Vec::new());
    let mut add =
        |module: &Module, from: Option<String>, name: String, line: usize, path: String, target: &[String]| {
            let Some(to) = table.room(target) else {
                return others.push(NAMED_ROOM.broken(&module.file, line, format!("{path} leads to no room")));
            };
            let allowed =
                from.as_ref().and_then(|from| table.rooms.get(from)).is_some_and(|imports| imports.contains(&to));
            if from.as_ref() != Some(&to) && !allowed {
                edges.push(Edge { from: from.unwrap_or(name), to, file: module.file.clone(), line, path });
            }
        };
    for module in modules {
        for named in module.named {
            let around = module.around(named);
            if let Some(target) = resolve(&named.path, &around, CRATE, &known) {
                // What a container of rooms declares itself is no import.
                let name = if around.is_empty() { "lib".to_owned() } else { around.join("::") };
                add(module, table.room(&around), name, named.line, named.text(), &target);
            }
        }
    }
    if tree.file(MAIN).is_some() {
        for module in modules::of_crate(tree, MAIN).0 {
            for named in module.named {
                if let Some((first, target)) = named.path.split_first().filter(|(first, _)| *first == CRATE) {
                    add(&module, Some("main".to_owned()), first.clone(), named.line, named.text(), target);
                }
            }
        }
    }
    (edges, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE_TEXT: &str = "[rooms]\nmodel = []\nstore = [\"model\"]\ncli = [\"store\", \"model\", \"testing::trees\"]\n\"testing::trees\" = [\"model\"]\nmain = [\"cli\"]\n";
    const LIB_TEXT: &str = "//! A.\npub mod model;\npub mod store;\npub mod cli;\n#[cfg(test)]\nmod testing;\n";

    /// The tree of those rooms with other files, or other texts of them.
    fn found(changed: &[(&str, &str)]) -> Vec<String> {
        let mut files = BTreeMap::from([
            (TABLE, TABLE_TEXT),
            (LIB, LIB_TEXT),
            (MAIN, "use pfnwatch::cli::Cli;"),
            ("pfnwatch/src/model.rs", "//! What all rooms know."),
            ("pfnwatch/src/store.rs", "//! Where events are.\nuse crate::model::Event;"),
            ("pfnwatch/src/cli.rs", "//! The command line.\nmod args;\nuse crate::store;"),
            ("pfnwatch/src/cli/args.rs", "use super::Cli;\nuse crate::model;"),
            ("pfnwatch/src/testing.rs", "#[path = \"../tests/support/trees.rs\"]\nmod trees;"),
            ("pfnwatch/tests/support/trees.rs", "//! Made-up trees.\nuse pfnwatch::model;"),
        ]);
        files.extend(changed.iter().copied());
        let files: Vec<(&str, &str)> = files.into_iter().filter(|(_, text)| *text != "gone").collect();
        let text = |violation: Violation| format!("{}:{} {}", violation.file, violation.line, violation.found);
        check(&Tree::of(&files)).into_iter().map(text).collect()
    }

    #[test]
    fn allowed_imports_pass() {
        assert_eq!(found(&[]), [""; 0]);
    }

    #[test]
    fn imports_outside_of_the_table_are_found() {
        let store = "pfnwatch/src/store.rs";
        for import in [
            "use crate::cli::Cli;",
            "use pfnwatch::cli::Cli;",
            "use super::{cli::Cli, model};",
            "fn f() { crate::cli::run() }",
            "#[cfg(test)] mod tests { use super::super::cli; }",
            "#[serde(with = \"crate::cli\")] struct A;",
            "fn f() { vec![crate::cli::run()] }",
        ] {
            let violations = found(&[(store, &format!("//! Where events are.\n{import}"))]);
            assert_eq!(violations.len(), 1, "{import}: {violations:?}");
            assert!(violations[0].starts_with("pfnwatch/src/store.rs:2 room store imports cli ("), "{violations:?}");
        }
        let nested = found(&[
            ("pfnwatch/src/model.rs", "//! A.\nmod deep;"),
            ("pfnwatch/src/model/deep.rs", "use crate::store;"),
        ]);
        assert_eq!(
            nested,
            ["pfnwatch/src/model/deep.rs:1 room model imports store (crate::store), which the table does not allow"]
        );
        assert_eq!(found(&[(MAIN, "use pfnwatch::{cli, store::Store};")]).len(), 1);
        assert_eq!(found(&[("pfnwatch/tests/support/trees.rs", "//! A.\nuse pfnwatch::store::Store;")]).len(), 1);
        assert_eq!(
            found(&[(
                "pfnwatch/src/testing.rs",
                "#[path = \"../tests/support/trees.rs\"]\nmod trees;\nuse trees::Tree;"
            )])
            .len(),
            1
        );
    }

    #[test]
    fn paths_without_a_room_are_found() {
        for import in
            ["use crate::*;", "use crate as root;", "use super::*;", "use crate::Event;", "use crate::testing::Tree;"]
        {
            let violations = found(&[("pfnwatch/src/store.rs", &format!("//! Where events are.\n{import}"))]);
            assert_eq!(violations.len(), 1, "{import}: {violations:?}");
            assert!(violations[0].ends_with("leads to no room"), "{violations:?}");
        }
    }

    #[test]
    fn tables_with_a_cycle_or_unknown_rooms_are_found() {
        let cycle = TABLE_TEXT.replace("model = []", "model = [\"cli\"]");
        assert_eq!(
            found(&[(TABLE, &cycle)]),
            ["xtask/rooms.toml:0 a cycle lies among cli, main, model, store, testing::trees"]
        );
        let unknown = TABLE_TEXT.replace("model = []", "model = [\"os\"]");
        assert_eq!(found(&[(TABLE, &unknown)]), ["xtask/rooms.toml:0 model imports os, which has no row"]);
        assert_eq!(found(&[(TABLE, "gone")]), ["xtask/rooms.toml:0 is missing"]);
        assert_eq!(found(&[(TABLE, "[rooms]\nmodel = 1")]).len(), 1);
    }

    #[test]
    fn table_and_tree_are_the_same_rooms() {
        let more = format!("{LIB_TEXT}mod os;");
        let os = ("pfnwatch/src/os.rs", "//! The system.");
        assert_eq!(found(&[(LIB, &more), os]), ["pfnwatch/src/os.rs:0 module os has no row in xtask/rooms.toml"]);
        let fewer = LIB_TEXT.replace("#[cfg(test)]\nmod testing;\n", "");
        assert_eq!(found(&[(LIB, &fewer)]), ["xtask/rooms.toml:0 room testing::trees is not in the tree"]);
        assert_eq!(found(&[("pfnwatch/src/model.rs", "gone")]).len(), 2);
        assert_eq!(found(&[("pfnwatch/src/cli/args.rs", "use {")]).len(), 1);
    }

    #[test]
    fn the_document_has_the_same_table() {
        let document = |cli: &str, store: &str| {
            format!("{HEAD}\n|---|---|---|\n| `model/` | a | pfnwatch-common |\n{store}| `cli/` | b | {cli} |\n\nEnd\n")
        };
        let found = |cli, store| found(&[(DOCUMENT, &document(cli, store))]);
        let store = "| `store/` | c | model |\n";
        assert!(found("model, store", store).is_empty());
        assert!(found("all but the agent's internals", store).is_empty());
        assert_eq!(found("model", store), ["ARCHITECTURE.md:5 cli differs from xtask/rooms.toml"]);
        assert_eq!(found("all but store", store), ["ARCHITECTURE.md:5 cli differs from xtask/rooms.toml"]);
        assert_eq!(found("all but x", "")[1], "ARCHITECTURE.md:0 store has no row");
    }

    #[test]
    fn rooms_state_their_purpose() {
        let expected = ["pfnwatch/src/model.rs:1 has no sentence of purpose"];
        for text in ["", "//! events", "//! Events", "//!\n//! Events."] {
            assert_eq!(found(&[("pfnwatch/src/model.rs", text)]), expected, "{text}");
        }
        assert!(found(&[("pfnwatch/src/model.rs", "//! Events, and\n//! more. And\n//! more")]).is_empty());
    }

    #[test]
    fn summary_counts_edges() {
        let tree = Tree::of(&[
            (TABLE, "[rooms]\na = []\nb = []\n"),
            (LIB, "mod a;\nmod b;"),
            ("pfnwatch/src/a.rs", "use crate::b::{X, Y};"),
            ("pfnwatch/src/b.rs", "use crate::a;"),
        ]);
        assert_eq!(
            summary(&tree),
            ["    2 a -> b (first: pfnwatch/src/a.rs:1)", "    1 b -> a (first: pfnwatch/src/b.rs:1)"]
        );
    }
}

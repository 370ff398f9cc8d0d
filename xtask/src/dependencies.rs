//! What the agent is made of: the list inside the program, as cargo-auditable has it, and the SBOM beside it. Both are made of
//! `cargo metadata` and Cargo.lock, and are the same bytes for the same sources.
//!
//! Neither of the usual tools is used: each would be built for minutes, and cargo-auditable's wrapper of the compiler would make the
//! shipped program another one than the tests run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::architecture::Architecture;
use crate::{paths, toolchain};

const ROOT: &str = "pfnwatch";
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    source: Option<String>,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `None` for a dependency of the program itself, else `build` or `dev`.
    kind: Option<String>,
}

/// A package of the program, or of the programs that build it.
#[derive(Debug, PartialEq)]
struct Component {
    name: String,
    version: String,
    license: Option<String>,
    is_from_registry: bool,
    builds_only: bool,
    /// Places in the list, which has no cycle.
    dependencies: Vec<usize>,
}

/// The root and all that it depends on, ordered by name and version.
#[derive(Debug, PartialEq)]
pub(crate) struct Dependencies(Vec<Component>);

impl Dependencies {
    pub(crate) fn read(architecture: Architecture) -> Result<Self> {
        let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", architecture.target()];
        Self::parse(&toolchain::cargo_task(arguments).read()?)
    }

    fn parse(metadata: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(metadata).context("`cargo metadata` is not understood")?;
        let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let root = metadata.packages.iter().find(|package| package.name == ROOT && package.source.is_none());
        let root = root.with_context(|| format!("no package {ROOT}"))?.id.as_str();
        let in_program = reached(&nodes, root, &|kind| kind.is_none());
        let all = reached(&nodes, root, &|kind| kind != Some("dev"));
        let mut packages: Vec<&Package> = metadata.packages.iter().filter(|it| all.contains(it.id.as_str())).collect();
        packages.sort_by_key(|package| (&package.name, &package.version));
        let place = |id: &str| packages.iter().position(|package| package.id == id);
        let component = |package: &&Package| {
            let deps = nodes.get(package.id.as_str()).map_or(&[][..], |node| &node.deps);
            let wanted = deps.iter().filter(|it| it.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev")));
            let mut dependencies: Vec<usize> = wanted.filter_map(|it| place(&it.pkg)).collect();
            dependencies.sort_unstable();
            Component {
                name: package.name.clone(),
                version: package.version.clone(),
                license: package.license.clone(),
                is_from_registry: package.source.as_deref() == Some(REGISTRY),
                builds_only: !in_program.contains(package.id.as_str()),
                dependencies,
            }
        };
        Ok(Self(packages.iter().map(component).collect()))
    }

    /// The list inside the program, to be compressed by its build: the format of cargo-auditable, whose readers report known
    /// vulnerabilities of a program without its sources.
    fn auditable(&self) -> Value {
        let package = |component: &Component| {
            let source = if component.is_from_registry { "crates.io" } else { "local" };
            let dependencies = Some(&component.dependencies).filter(|places| !places.is_empty());
            object([
                ("name", Some(json!(component.name))),
                ("version", Some(json!(component.version))),
                ("source", Some(json!(source))),
                ("kind", component.builds_only.then(|| json!("build"))),
                ("dependencies", dependencies.map(|places| json!(places))),
                ("root", (component.name == ROOT).then_some(json!(true))),
            ])
        };
        json!({ "packages": self.0.iter().map(package).collect::<Vec<_>>() })
    }

    /// The SBOM of an artefact, in CycloneDX 1.5. Its serial number is left out, as the format allows: it would have to be another each time.
    pub(crate) fn sbom(&self, artefact: &Artefact<'_>) -> Result<Value> {
        let checksums = checksums(&fs::read_to_string(paths::root().join("Cargo.lock"))?)?;
        let components = self.0.iter().filter(|it| it.name != ROOT).map(|it| {
            // Older crates write `MIT/Apache-2.0`.
            let license = it.license.as_ref().map(|text| json!([{ "expression": text.replace('/', " OR ") }]));
            let sum = checksums.get(&(it.name.clone(), it.version.clone()));
            object([
                ("type", Some(json!("library"))),
                ("bom-ref", Some(json!(it.reference()))),
                ("name", Some(json!(it.name))),
                ("version", Some(json!(it.version))),
                ("scope", Some(json!(if it.builds_only { "excluded" } else { "required" }))),
                ("hashes", sum.map(|sum| json!([{ "alg": "SHA-256", "content": sum }]))),
                ("licenses", license),
                ("purl", Some(json!(it.purl()))),
            ])
        });
        let dependencies = self.0.iter().map(|it| {
            let on = it.dependencies.iter().filter_map(|place| Some(self.0.get(*place)?.reference()));
            json!({ "ref": it.reference(), "dependsOn": on.collect::<Vec<_>>() })
        });
        let root = self.0.iter().find(|it| it.name == ROOT).context("a list without its root")?;
        Ok(json!({
            "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "metadata": {
                "timestamp": artefact.time,
                "component": {
                    "type": "application", "bom-ref": root.reference(), "name": ROOT, "version": root.version,
                    "purl": root.purl(), "licenses": [{ "expression": root.license }],
                    "hashes": [{ "alg": "SHA-256", "content": artefact.sha256 }],
                    "properties": [
                        { "name": "pfnwatch:artefact", "value": artefact.name },
                        { "name": "pfnwatch:target", "value": artefact.architecture.target() },
                    ],
                },
            },
            "components": components.collect::<Vec<_>>(),
            "dependencies": dependencies.collect::<Vec<_>>(),
        }))
    }
}

/// What an SBOM is of.
pub(crate) struct Artefact<'a> {
    pub(crate) name: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) architecture: Architecture,
    /// As `2026-11-23T00:00:00Z`.
    pub(crate) time: &'a str,
}

impl Component {
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// The entries that have a value.
fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// Everything that a package depends on by dependencies of these kinds, itself included.
fn reached<'a>(
    nodes: &BTreeMap<&'a str, &'a Node>,
    root: &'a str,
    accept: &dyn Fn(Option<&str>) -> bool,
) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![root]);
    while let Some(id) = open.pop() {
        if found.insert(id) {
            let deps = nodes.get(id).map_or(&[][..], |node| &node.deps);
            let wanted = deps.iter().filter(|it| it.dep_kinds.iter().any(|kind| accept(kind.kind.as_deref())));
            open.extend(wanted.map(|it| it.pkg.as_str()));
        }
    }
    found
}

/// The checksums of a Cargo.lock, by name and version.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let lock: Lock = toml::from_str(lock).context("Cargo.lock is not understood")?;
    Ok(lock.package.into_iter().filter_map(|it| Some(((it.name, it.version), it.checksum?))).collect())
}

/// Writes the list for the agent's build, and returns its file.
pub(crate) fn write_auditable(architecture: Architecture) -> Result<PathBuf> {
    let file = paths::target().join("dependencies").join(format!("{}.json", architecture.name()));
    let list = Dependencies::read(architecture)?.auditable().to_string();
    // A new time stamp would build the agent again.
    if fs::read_to_string(&file).ok().as_ref() != Some(&list) {
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::write(&file, list)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "packages": [
            { "id": "z", "name": "zlib", "version": "1.0.0", "license": "MIT/Apache-2.0",
              "source": "registry+https://github.com/rust-lang/crates.io-index" },
            { "id": "p", "name": "pfnwatch", "version": "0.1.0", "license": "MIT", "source": null },
            { "id": "c", "name": "cc", "version": "1.2.0", "license": null,
              "source": "registry+https://github.com/rust-lang/crates.io-index" },
            { "id": "t", "name": "proptest", "version": "1.0.0", "license": null,
              "source": "registry+https://github.com/rust-lang/crates.io-index" }
        ],
        "resolve": { "nodes": [
            { "id": "p", "deps": [
                { "pkg": "z", "dep_kinds": [{ "kind": null }, { "kind": "dev" }] },
                { "pkg": "t", "dep_kinds": [{ "kind": "dev" }] }
            ] },
            { "id": "z", "deps": [{ "pkg": "c", "dep_kinds": [{ "kind": "build" }] }] },
            { "id": "c", "deps": [] }, { "id": "t", "deps": [] }
        ] }
    }"#;

    #[test]
    fn list_has_what_is_in_the_program_and_what_builds_it() {
        let list = Dependencies::parse(METADATA).unwrap().auditable();
        let expected = json!({ "packages": [
            { "name": "cc", "version": "1.2.0", "source": "crates.io", "kind": "build" },
            { "name": "pfnwatch", "version": "0.1.0", "source": "local", "dependencies": [2], "root": true },
            { "name": "zlib", "version": "1.0.0", "source": "crates.io", "dependencies": [0] },
        ] });
        assert_eq!(list, expected);
    }

    #[test]
    fn sbom_names_the_artefact_and_each_package_with_licence_and_hash() {
        let dependencies = Dependencies::read(Architecture::HOST).unwrap();
        let architecture = Architecture::Arm64;
        let artefact = Artefact { name: "a.deb", sha256: "00ff", architecture, time: "2026-11-23T00:00:00Z" };
        let sbom = dependencies.sbom(&artefact).unwrap();
        assert_eq!(sbom["metadata"]["component"]["hashes"][0]["content"], "00ff");
        let components = sbom["components"].as_array().unwrap();
        let aya = components.iter().find(|it| it["name"] == "aya").unwrap();
        assert!(aya["hashes"][0]["content"].as_str().is_some_and(|sum| sum.len() == 64), "{aya}");
        assert_eq!(aya["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert!(components.iter().all(|it| it["name"] != "proptest"), "a dependency of tests alone is in the SBOM");
        assert_eq!(sbom, dependencies.sbom(&artefact).unwrap());
    }
}

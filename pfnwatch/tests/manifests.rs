//! The shipped files for containers match the agent: its options exist, and it gets the privileges that it needs and no
//! more.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy knows tests by #[test] alone, and not what they call"
)]

use std::collections::BTreeSet;

use clap::Parser as _;
use pfnwatch::{cli::Cli, config::Config};
use yaml_rust2::{Yaml, YamlLoader};

const UNIT: &str = include_str!("../dist/systemd/pfnwatch.service");
const DOCKERFILE: &str = include_str!("../dist/container/Dockerfile");
const MANIFEST: &str = include_str!("../dist/kubernetes/pfnwatch.yaml");

fn documents() -> Vec<Yaml> {
    YamlLoader::load_from_str(MANIFEST).unwrap()
}

fn of_kind(kind: &str) -> Yaml {
    documents().into_iter().find(|it| it["kind"].as_str() == Some(kind)).unwrap()
}

fn pod() -> Yaml {
    of_kind("DaemonSet")["spec"]["template"]["spec"].clone()
}

fn container() -> Yaml {
    let containers = pod()["containers"].clone();
    assert_eq!(containers.as_vec().unwrap().len(), 1);
    containers[0].clone()
}

fn texts(list: &Yaml) -> Vec<String> {
    list.as_vec().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn is_understood(arguments: impl IntoIterator<Item = String>) {
    let words = ["pfnwatch".to_owned()].into_iter().chain(arguments);
    let parsed = Cli::try_parse_from(words).map(drop).map_err(|error| error.to_string());
    assert_eq!(parsed, Ok(()));
}

#[test]
fn the_options_are_understood() {
    is_understood(texts(&container()["args"]));
    let command = DOCKERFILE.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    is_understood(serde_json::from_str::<Vec<String>>(command).unwrap());
    let unit = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/pfnwatch ")).unwrap();
    is_understood(unit.split(' ').map(str::to_owned));
}

#[test]
fn what_needs_a_namespace_names_the_one_that_is_made() {
    let documents = documents();
    let kinds: Vec<_> = documents.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "ConfigMap", "NetworkPolicy", "DaemonSet"]);
    for document in &documents {
        assert!(document["apiVersion"].as_str().is_some() && document["metadata"]["name"].as_str() == Some("pfnwatch"));
    }
    assert!(documents[1..].iter().all(|it| it["metadata"]["namespace"].as_str() == Some("pfnwatch")));
    let set = of_kind("DaemonSet");
    let (selector, labels) = (&set["spec"]["selector"]["matchLabels"], &set["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(selector, labels, "the set would not find its own pods");
}

#[test]
fn only_the_monitoring_namespace_may_scrape() {
    let policy = of_kind("NetworkPolicy")["spec"].clone();
    assert_eq!(texts(&policy["policyTypes"]), ["Ingress"], "alerts go out to wherever receivers are");
    assert_eq!(policy["podSelector"]["matchLabels"], of_kind("DaemonSet")["spec"]["selector"]["matchLabels"]);
    let [rule] = policy["ingress"].as_vec().unwrap().as_slice() else { panic!("{policy:?}") };
    let [from] = rule["from"].as_vec().unwrap().as_slice() else { panic!("{rule:?}") };
    let namespaces = &from["namespaceSelector"]["matchLabels"];
    assert_eq!(namespaces["kubernetes.io/metadata.name"].as_str(), Some("monitoring"));
    assert_eq!((from.as_hash().unwrap().len(), namespaces.as_hash().unwrap().len()), (1, 1), "and nobody else");
    let [port] = rule["ports"].as_vec().unwrap().as_slice() else { panic!("{rule:?}") };
    assert_eq!(port["port"], container()["ports"][0]["name"]);
}

#[test]
fn the_capabilities_are_those_of_the_unit_and_all_others_are_dropped() {
    let context = container()["securityContext"].clone();
    let unit = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let wanted: Vec<_> = unit.split(' ').map(|name| name.strip_prefix("CAP_").unwrap()).collect();
    assert_eq!(texts(&context["capabilities"]["add"]), wanted);
    assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(context["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert!(
        context["privileged"].is_badvalue() && pod()["hostNetwork"].is_badvalue() && pod()["hostPID"].is_badvalue()
    );
}

/// Each mount has its volume; only what the agent writes is writable.
#[test]
fn mounts_have_volumes_and_few_can_be_written() {
    let (mounts, volumes) = (container()["volumeMounts"].clone(), pod()["volumes"].clone());
    let names = |list: &Yaml| {
        list.as_vec().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&mounts), names(&volumes));
    let mounts = mounts.into_vec().unwrap();
    let writable = mounts.iter().filter(|it| it["readOnly"].as_bool() != Some(true));
    let writable: Vec<_> = writable.map(|it| it["mountPath"].as_str().unwrap()).collect();
    assert_eq!(writable, ["/sys/fs/bpf", "/run/pfnwatch", "/var/lib/pfnwatch"]);
    let arguments = texts(&container()["args"]);
    let paths: Vec<_> = mounts.iter().map(|it| it["mountPath"].as_str().unwrap()).collect();
    for option in ["--path.sysfs=", "--path.procfs=", "--config-dir="] {
        let path = arguments.iter().find_map(|it| it.strip_prefix(option)).unwrap();
        assert!(paths.contains(&path), "{option}{path} is not mounted");
    }
}

#[test]
fn the_configuration_is_good_and_probes_ask_where_it_listens() {
    let map = of_kind("ConfigMap");
    for (name, text) in map["data"].as_hash().unwrap() {
        assert!(name.as_str().unwrap().ends_with(".toml"), "drop-ins end in .toml: {name:?}");
        let config = Config::parse(text.as_str().unwrap()).unwrap();
        let port = i64::from(config.web().listen.port());
        assert!(config.web().listen.ip().is_unspecified(), "probes come from outside of the pod");
        assert_eq!(container()["ports"][0]["containerPort"].as_i64(), Some(port));
        let annotations = of_kind("DaemonSet")["spec"]["template"]["metadata"]["annotations"].clone();
        assert_eq!(annotations["prometheus.io/port"].as_str(), Some(port.to_string().as_str()));
    }
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        let get = container()[probe]["httpGet"].clone();
        assert_eq!(
            (get["path"].as_str(), get["port"].as_str()),
            (Some(path), container()["ports"][0]["name"].as_str())
        );
    }
}

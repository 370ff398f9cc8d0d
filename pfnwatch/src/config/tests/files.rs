//! Several files as one configuration.

use super::*;
use crate::config::origin;
use crate::model::exit::Exit;

fn of(files: &[(&str, &str)]) -> anyhow::Result<Config> {
    Config::of(&ConfigFiles::of(files))
}

fn wrong(files: &[(&str, &str)]) -> String {
    let error = of(files).expect_err("wrong");
    assert_eq!(Exit::from_error(&error), Exit::Usage);
    format!("{error:#}")
}

#[test]
fn drop_ins_go_before_the_main_file_key_by_key() {
    let main = "[guard]\nmode = \"audit\"\non_agent_exit = \"hold\"\n[thresholds]\naligns = 2\n";
    let config =
        of(&[("main", main), ("10", "[guard]\nmode = \"enforce\""), ("20", "thresholds.aligns = 3")]).expect("good");
    let policy = config.policy();
    assert_eq!((policy.mode, policy.on_agent_exit, policy.thresholds.aligns), (Mode::Enforce, OnAgentExit::Hold, 3));
    assert_eq!(of(&[]).expect("nothing"), Config::default());
    assert_eq!(of(&[("10", "[guard]\nmode = \"enforce\"")]).expect("no main file").policy().mode, Mode::Enforce);
}

#[test]
fn each_file_may_add_exemptions_and_receivers() {
    let exempt = |start: u32| format!("[[exemptions]]\nregion_start = \"{start}\"\nreason = \"r\"\n");
    let receiver =
        |name: &str| format!("[[alerts.receivers]]\nname = \"{name}\"\ntype = \"webhook\"\nurl = \"http://h/\"\n");
    let (a, b) = (exempt(1) + &receiver("a"), exempt(2) + &receiver("b"));
    let config = of(&[("main", &a), ("10", &b)]).expect("good");
    assert_eq!(
        config.policy().exemptions.iter().map(|it| it.subject).collect::<Vec<_>>(),
        [ExemptionSubject::RegionStart(1), ExemptionSubject::RegionStart(2)]
    );
    assert_eq!(config.alerts().receivers.into_iter().map(|it| it.name).collect::<Vec<_>>(), ["a", "b"]);
    let config = of(&[("main", &a), ("10", "exemptions = []\n[alerts]\nreceivers = []"), ("20", &b)]).expect("good");
    assert_eq!(config.policy().exemptions.len(), 1, "an empty list takes away what came before");
    assert_eq!(config.alerts().receivers.into_iter().map(|it| it.name).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_file_and_place() {
    let said = wrong(&[("main", ""), ("conf.d/10.toml", "[guard]\nmodus = 1")]);
    assert!(
        said.contains("conf.d/10.toml") && said.contains("line 2, column 1") && said.contains("unknown field"),
        "{said}"
    );
    let said = wrong(&[("main", ""), ("conf.d/10.toml", "[guard")]);
    assert!(said.contains("conf.d/10.toml") && said.contains("line 1"), "{said}");
}

#[test]
fn what_is_wrong_with_all_together_is_named_with_the_file_at_fault() {
    let receiver = "\n[[alerts.receivers]]\nname = \"a\"\ntype = \"webhook\"\nurl = \"http://h/secret\"\n";
    let said = wrong(&[("main", receiver), ("10.toml", receiver)]);
    assert!(said.contains("two receivers are called \"a\"") && !said.contains("secret"), "{said}");
    let exempt = "[[exemptions]]\nregion_start = \"1\"\nreason = \"r\"\n";
    let said = wrong(&[("main", &exempt.repeat(64)), ("10.toml", &("\n".to_owned() + exempt))]);
    assert!(said.contains("10.toml, line 2, column 1: more than 64 exemptions"), "{said}");
}

/// `config show` takes the defaults from the example, which needs every key.
#[test]
fn the_example_has_every_key() {
    let shown = origin::tables(&ConfigFiles::default().over(origin::DEFAULTS)).expect("the example");
    for table in ["guard", "store", "thresholds", "web", "alerts"] {
        // The error names all there are.
        let said = Config::parse(&format!("[{table}]\nno_such_key = 1")).expect_err("no such key").message().to_owned();
        let known = said.split_once("expected").expect("a list of keys").1;
        let lists = ["receivers"];
        let known: std::collections::BTreeSet<_> =
            known.split('`').skip(1).step_by(2).filter(|key| !lists.contains(key)).collect();
        let values = &shown.iter().find(|it| it.name == table).expect("the table").values;
        assert_eq!(
            values.iter().map(|it| it.key.as_str()).collect::<std::collections::BTreeSet<_>>(),
            known,
            "{table}"
        );
    }
}

proptest! {
    #[test]
    fn no_texts_panic(one in "(\\PC|\n){0,40}", other in "(\\[\\[?(guard|exemptions|web)\\]\\]?\n|mode = 1\n|a.b = \\[\\]\n|a = \\[\\{\\}\\]\n){0,6}") {
        let sources = ConfigFiles::of(&[("one", &one), ("other", &other)]);
        let _ = Config::of(&sources);
        let _ = origin::tables(&sources);
    }
}

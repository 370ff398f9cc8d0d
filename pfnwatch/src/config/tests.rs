use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::config::{Config, origin};
use crate::model::exit::Exit;
use crate::model::policy::ExemptionSubject;
use crate::model::redact::redact_quotes;

const UUID: &str = "9d58c5d0-3a3f-4bd6-8a3c-0d6a9a8d1f11";

#[test]
fn nothing_said_is_the_default() {
    let config = Config::parse("").expect("empty");
    assert_eq!(config, Config::default());
    assert_eq!(config.thresholds(), Thresholds::default());
    assert_eq!(config.policy(), Policy::default());
}

#[test]
fn thresholds_are_taken() {
    let config =
        Config::parse("[thresholds]\naligns = 2\npercent = 1.5\nreference_struct_page_bytes = 32").expect("good");
    let expected = Thresholds { reference_struct_page: 32, aligns: 2, parts_per_million: 15_000 };
    assert_eq!(config.thresholds(), expected);
    assert_eq!(config.policy().thresholds, expected);
}

#[test]
fn the_example_is_the_default() {
    let example = include_str!("../../dist/pfnwatch.toml");
    assert_eq!(Config::parse(example).expect("the example"), Config::default());
}

/// The values that the example shows in comments are valid.
#[test]
fn what_the_example_comments_out_is_good() {
    let example = include_str!("../../dist/pfnwatch.toml");
    let shown: Vec<_> = example.lines().filter_map(|line| line.strip_prefix("#| ")).collect();
    let config = Config::parse(&shown.join("\n")).expect("the example's exemptions");
    let names: Vec<_> = config.alerts().receivers.into_iter().map(|receiver| receiver.name).collect();
    assert_eq!(names, ["alertmanager", "hook"]);
    let policy = config.policy();
    let subjects: Vec<_> = policy.exemptions.iter().map(|exemption| exemption.subject.key()).collect();
    assert_eq!(subjects, ["region_set_cookie", "region_start", "namespace_uuid"]);
}

#[test]
fn the_guard_is_configured() {
    let policy = Config::parse("[guard]\nmode = \"enforce\"\non_agent_exit = \"hold\"").expect("good").policy();
    assert_eq!((policy.mode, policy.on_agent_exit), (Mode::Enforce, OnAgentExit::Hold));
}

#[test]
fn the_web_server_is_configured() {
    let text = "[web]\nenabled = false\nlisten = \"[::1]:80\"\nhosts = [\"DB1.example.com\"]";
    let config = Config::parse(text).expect("good");
    let listen = "[::1]:80".parse().expect("an address");
    let expected = WebConfig { enabled: false, listen, hosts: vec!["db1.example.com".to_owned()] };
    assert_eq!(config.web(), &expected);
}

#[test]
fn the_event_store_is_configured() {
    let text = "[store]\nfile = \"/a/b.db\"\nmax_age = \"2h\"\nmax_size = \"1MiB\"";
    let settings = Config::parse(text).expect("good").store();
    let (file, max_age) = (Some("/a/b.db".into()), Duration::from_secs(7200));
    assert_eq!(settings, StoreSettings { file, max_age, max_size_bytes: 1 << 20 });
    assert_eq!(Config::parse("[store]\nenabled = false").expect("good").store().file, None);
    assert_eq!(Config::default().store(), StoreSettings::default());
}

#[test]
fn exemptions_are_taken_in_their_order() {
    let text = format!(
        "[[exemptions]]\nregion_set_cookie = \"0xdeadbeefcafef00d\"\nreason = \" an old box \"\n\
         [[exemptions]]\nregion_start = \"4294967296\"\nreason = \"tests\"\nuntil = 2026-12-31T02:30:00+02:30\n\
         [[exemptions]]\nnamespace_uuid = \"{UUID}\"\nreason = \"a migration\"\nuntil = 2026-12-31T00:00:00.999Z\n"
    );
    let exemptions = Config::parse(&text).expect("good").policy().exemptions;
    let until = Some(UNIX_EPOCH + Duration::from_secs(1_798_675_200));
    let exemption = |subject, until, reason: &str| Exemption { subject, until, reason: reason.to_owned() };
    assert_eq!(
        exemptions,
        [
            exemption(ExemptionSubject::RegionCookie(0xdead_beef_cafe_f00d), None, "an old box"),
            exemption(ExemptionSubject::RegionStart(1 << 32), until, "tests"),
            exemption(ExemptionSubject::Namespace(UUID.parse().expect("a uuid")), until, "a migration"),
        ]
    );
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let exempt = |lines: &str| format!("[guard]\nmode = \"audit\"\n\n[[exemptions]]\nreason = \"why\"\n{lines}");
    for (text, place, said) in [
        ("[thresholds]\npercant = 1".to_owned(), "line 2, column 1", "unknown field"),
        ("[thresholds]\npercent = 101".to_owned(), "line 2, column 11", "from 0 to 100"),
        ("[thresholds]\npercent = nan".to_owned(), "line 2, column 11", "from 0 to 100"),
        ("[thresholds]\npercent = -0.1".to_owned(), "line 2, column 11", "from 0 to 100"),
        ("[thresholds]\nreference_struct_page_bytes = 0".to_owned(), "line 2, column 31", "from 1 to 4096"),
        ("[thresholds".to_owned(), "line 1", "unclosed table"),
        ("[thresholds]\naligns = -1".to_owned(), "line 2, column 10", "expected u64"),
        ("[thresholds]\naligns = 4294967296".to_owned(), "line 2, column 10", "from 0 to 4294967295"),
        ("[guard]\nmode = \"on\"".to_owned(), "line 2, column 8", "expected `audit` or `enforce`"),
        ("[guard]\non_agent_exit = \"stay\"".to_owned(), "line 2, column 17", "expected `release` or `hold`"),
        ("[guard]\nmodus = 1".to_owned(), "line 2, column 1", "unknown field"),
        ("[web]\nlisten = \"9464\"".to_owned(), "line 2, column 10", "an address and a port"),
        ("[web]\nlisten = \"localhost:9464\"".to_owned(), "line 2, column 10", "an address and a port"),
        ("[web]\nhosts = [\"db1:9464\"]".to_owned(), "line 2, column 9", "without a port"),
        ("[web]\nenabled = 1".to_owned(), "line 2, column 11", "expected a boolean"),
        ("[web]\nport = 1".to_owned(), "line 2, column 1", "unknown field"),
        ("[store]\nfile = \"a.db\"".to_owned(), "line 2, column 8", "a whole path that ends in .db"),
        ("[store]\nfile = \"/etc/passwd\"".to_owned(), "line 2, column 8", "a whole path that ends in .db"),
        ("[store]\nmax_age = \"1min\"".to_owned(), "line 2, column 11", "an hour at least"),
        ("[store]\nmax_age = 90".to_owned(), "line 2, column 11", "expected a string"),
        ("[store]\nmax_size = \"64KiB\"".to_owned(), "line 2, column 12", "from 1MiB to 1TiB"),
        ("[store]\nmax_size = \"64 elephants\"".to_owned(), "line 2, column 12", "unknown unit"),
        ("[store]\npath = 1".to_owned(), "line 2, column 1", "unknown field"),
        ("[gaurd]\n".to_owned(), "line 1, column 2", "unknown field"),
        ("exemptions = 3".to_owned(), "line 1, column 14", "expected tables"),
        ("exemptions = [3]".to_owned(), "line 1, column 15", "expected a table"),
        (exempt(""), "line 4, column 1", "exactly one of"),
        (exempt(&format!("region_start = \"1\"\nnamespace_uuid = \"{UUID}\"")), "line 4, column 1", "exactly one of"),
        (exempt("region_start = \"0x\""), "line 6, column 16", "\"0x…\""),
        (exempt("region_start = 4096"), "line 6, column 16", "expected a string"),
        (exempt("region_set_cookie = \"-1\""), "line 6, column 21", "\"0x…\""),
        (exempt("region_set_cookie = \"0x0\""), "line 6, column 21", "no region has that"),
        (exempt("namespace_uuid = \"9d58\""), "line 6, column 18", "not a uuid"),
        (exempt(&format!("namespace_uuid = \"{}\"", Uuid::nil())), "line 6, column 18", "null"),
        (exempt("region_start = \"1\"\nuntil = 2026-12-31T00:00:00"), "line 7, column 9", "with an offset"),
        (exempt("region_start = \"1\"\nuntil = 2026-12-31"), "line 7, column 9", "with an offset"),
        (exempt("region_start = \"1\"\nuntil = 9999-12-31T23:59:59-01:00"), "line 7, column 9", "to 9999"),
        (exempt("region_start = \"1\"\nuntil = 1970-01-01T00:00:00+01:00"), "line 7, column 9", "from 1970"),
        (exempt("region_start = \"1\"\nuntil = \"tomorrow\""), "line 7, column 9", "datetime"),
        (exempt("region_start = \"1\"\nreson = \"\""), "line 7, column 1", "unknown field"),
        ("[[exemptions]]\nregion_start = \"1\"".to_owned(), "line 1, column 1", "missing field `reason`"),
        ("[[exemptions]]\nregion_start = \"1\"\nreason = \"  \"".to_owned(), "line 3, column 10", "empty"),
        ("[[exemptions]]\nregion_start = \"1\"\nreason = \"a\\nb\"".to_owned(), "line 3, column 10", "one line"),
    ] {
        let error = Config::parse(&text).expect_err(&text).to_string();
        assert!(error.contains(&format!("{place}\n")) || error.contains(&format!("{place},")), "{text}: {error}");
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn as_many_exemptions_as_the_guard_holds() {
    let one = "[[exemptions]]\nregion_start = \"1\"\nreason = \"r\"\n";
    assert_eq!(Config::parse(&one.repeat(64)).expect("64").policy().exemptions.len(), 64);
    let error = Config::parse(&one.repeat(65)).expect_err("65").to_string();
    assert!(error.contains("line 193, column 1") && error.contains("more than 64"), "{error}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|\n){0,80}") {
        let _ = Config::parse(&text);
    }

    /// Any date and time gives an instant that can be written again, or an error.
    #[test]
    fn no_end_panics(year in 0_u32..10_000, day in 1_u32..=31, month in 1_u32..=12, hour in 0_u32..24, minutes in 0_u32..60, east: bool, away in 0_u32..24) {
        let sign = if east { '+' } else { '-' };
        let until = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minutes:02}:00{sign}{away:02}:30");
        let text = format!("[[exemptions]]\nregion_start = \"1\"\nreason = \"r\"\nuntil = {until}\n");
        if let Ok(config) = Config::parse(&text) {
            let until = config.policy().exemptions[0].until.expect("an end");
            prop_assert!(humantime::format_rfc3339_seconds(until).to_string().ends_with('Z'));
        }
    }
}

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

#[test]
fn what_is_quoted_of_the_file_is_left_out() {
    for secret in [
        "url = \"https://user:hunter2@alerts.example.com/hunter2?token=hunter2\"\ntype = 5",
        "url = \"hunter2\"\nname = \"a\"\ntype = \"webhook\"",
        "bearer_token = \"hunter2\"",
        "url = \"user:hunter2@alerts.example.com\"\nname = \"a\"\ntype = \"webhook\"",
        "url = \"ftp://user:hunter2@x/hunter2?hunter2\"\nname = \"a\"\ntype = \"webhook\"",
        "url = \"https://user:hunter2@x/\" nonsense",
    ] {
        let error = Config::parse(&format!("[[alerts.receivers]]\n{secret}\n")).unwrap_err().to_string();
        let said = redact_quotes(&error);
        assert!(!said.contains("hunter2"), "{secret}: {said}");
        assert!(said.contains("line ") && said.contains("column "), "{secret}: {said}");
    }
}

#[test]
fn urls_are_masked_and_words_are_not() {
    for (text, expected) in [
        ("no URL: https://a:b@c.d:1/e?f=g.", "no URL: https://…@c.d:1/…."),
        ("\"http://[::1]:9464/\" is it", "\"http://[::1]:9464/\" is it"),
        ("https://hooks.example.com/T0/B0/xyz", "https://hooks.example.com/…"),
        ("x?token=1 a:b@c", "x?… …@c"),
        ("/etc/pfnwatch/config.toml: 5 of 7; why not", "/etc/pfnwatch/config.toml: 5 of 7; why not"),
    ] {
        assert_eq!(redact_quotes(text), expected);
    }
}

use std::collections::BTreeSet;

use super::encode::MAX_SERIES;
use super::*;
use crate::testing::view::{HOSTILE, blind, healthy, hostile, idle, oversize};

fn text(view: &View) -> String {
    render(&of_view(view))
}

fn value<'a>(text: &'a str, series: &str) -> &'a str {
    let line =
        text.lines().find(|line| line.starts_with(&format!("{series} "))).unwrap_or_else(|| panic!("{series}: {text}"));
    line.rsplit_once(' ').unwrap().1
}

/// Invariants of any view: every sample is under its own header, no series is there twice, and values are numbers.
fn check(text: &str) {
    let (mut metric, mut families, mut series) = ("", BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(type_of) = line.strip_prefix("# TYPE ") {
            metric = type_of.split(' ').next().unwrap();
            assert!(families.insert(metric), "twice: {metric}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            assert!(name.starts_with(metric), "{line} under {metric}");
            assert!(series.insert(name), "twice: {name}");
        }
    }
    assert!(families.len() > 10, "{text}");
}

#[test]
fn every_view_is_well_formed() {
    for view in [healthy(), oversize(), blind(), idle(), hostile()] {
        check(&text(&view));
    }
}

#[test]
fn numbers_are_those_of_the_view() {
    let text = text(&oversize());
    let labels = "namespace=\"namespace0.0\",region=\"region0\",mode=\"fsdax\",map=\"dev\"";
    for (series, expected) in [
        (format!("pfnwatch_namespace_excess_bytes{{{labels}}}"), "268435456"),
        (format!("pfnwatch_namespace_verdict{{{labels},verdict=\"oversize\"}}"), "1"),
        (format!("pfnwatch_namespace_verdict{{{labels},verdict=\"ok\"}}"), "0"),
        ("pfnwatch_host_oversize".to_owned(), "1"),
        ("pfnwatch_guard_mode{mode=\"enforce\"}".to_owned(), "1"),
        ("pfnwatch_kernel_max_struct_page_size_bytes".to_owned(), "128"),
        ("pfnwatch_agent_start_time_seconds".to_owned(), "1767323045"),
        ("pfnwatch_events_total{event=\"denied\"}".to_owned(), "3"),
        ("pfnwatch_events_total{event=\"lost\"}".to_owned(), "0"),
        ("pfnwatch_guard_outcomes_total{outcome=\"would_deny\"}".to_owned(), "1"),
        ("pfnwatch_program_run_seconds_total{program=\"guard\"}".to_owned(), "0.0015"),
        ("pfnwatch_config_info{hash=\"e3b0c44298fc1c14\"}".to_owned(), "1"),
        ("pfnwatch_store_up".to_owned(), "1"),
        ("pfnwatch_ready".to_owned(), "1"),
        ("pfnwatch_kernel_memmap_returned".to_owned(), "0"),
        ("pfnwatch_capacity_regressions{subject=\"memmap_return\"}".to_owned(), "0"),
        ("pfnwatch_capacity_regressions{subject=\"device\"}".to_owned(), "0"),
    ] {
        assert_eq!(value(&text, &series), expected, "{series}");
    }
    let unknown = "pfnwatch_namespace_excess_bytes{namespace=\"namespace0.2\"";
    assert!(!text.contains(unknown), "what is not known has no value");
}

#[test]
fn what_is_wrong_shows() {
    let text = text(&blind());
    for (series, expected) in [
        ("pfnwatch_observing", "0"),
        ("pfnwatch_ready", "0"),
        ("pfnwatch_enforcement_effective", "0"),
        ("pfnwatch_store_up", "0"),
        ("pfnwatch_records_missed_total{reason=\"ring_full\"}", "17"),
        ("pfnwatch_program_attached{program=\"uuid_store\"}", "0"),
        ("pfnwatch_program_recursion_misses_total{program=\"guard\"}", "3"),
        ("pfnwatch_program_probe_misses_total{program=\"guard\"}", "2"),
        ("pfnwatch_config_last_reload_successful", "0"),
        ("pfnwatch_guard_exemptions_skipped", "1"),
        ("pfnwatch_capacity_regressions{subject=\"host\"}", "1"),
        ("pfnwatch_kernel_memmap_returned", "0"),
        ("pfnwatch_memmap_not_returned_bytes_total{evidence=\"code\"}", "16744448"),
        ("pfnwatch_alert_receiver_up{receiver=\"alertmanager\"}", "0"),
        ("pfnwatch_alert_messages_given_up_total{receiver=\"alertmanager\"}", "0"),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
}

#[test]
fn an_idle_agent_is_ready_and_tells_no_guard_counts() {
    let text = text(&idle());
    assert_eq!((value(&text, "pfnwatch_ready"), value(&text, "pfnwatch_observing")), ("1", "0"));
    assert!(!text.contains("pfnwatch_guard_outcomes") && !text.contains("pfnwatch_program_attached"), "{text}");
    assert_eq!(value(&text, "pfnwatch_host_namespaces"), "0");
}

#[test]
fn series_of_a_metric_are_limited_and_those_omitted_are_counted() {
    let mut view = oversize();
    assert_eq!(value(&text(&view), "pfnwatch_series_omitted"), "0");
    let receiver = view.alerts[0].clone();
    let receivers = 0..MAX_SERIES + 10;
    view.alerts = receivers.map(|n| DeliveryStats { receiver: format!("r{n}"), ..receiver.clone() }).collect();
    let text = text(&view);
    check(&text);
    // Five families with one series for each receiver, of which one has two.
    let omitted = 4 * 10 + (MAX_SERIES + 20);
    assert_eq!(value(&text, "pfnwatch_series_omitted"), omitted.to_string());
    let series = |name: &str| text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
    assert_eq!(series("pfnwatch_alert_receiver_up"), MAX_SERIES);
    assert_eq!(series("pfnwatch_alert_deliveries_total"), MAX_SERIES);
}

#[test]
fn names_are_escaped() {
    let escaped = r#"receiver="<script>document.title='taken'</script>\"'&\\\n""#;
    assert!(text(&hostile()).contains(escaped), "{HOSTILE}");
}

#[test]
fn headers_and_escapes_are_those_of_the_text_format() {
    let families = [
        Family::counter("a_seconds", "A \"help\" \\ of\ntwo lines.").value(1.5),
        Family::info("b", "B.").with(vec![("x", "y".to_owned())], 1_u64),
        Family::gauge("c", "Without samples."),
    ];
    let expected = "# HELP a_seconds_total A \"help\" \\\\ of\\ntwo lines.\n# TYPE a_seconds_total counter\na_seconds_total 1.5\n\
                    # HELP b_info B.\n# TYPE b_info gauge\nb_info{x=\"y\"} 1\n";
    assert_eq!(render(&families), expected);
}

//! Families of samples, written in Prometheus' text format 0.0.4, which every scraper takes.

use std::fmt::{self, Write as _};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many series a metric may have: enough for the verdicts of 1,024 namespaces. A page then has at most some 6 MB.
pub(super) const MAX_SERIES: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    /// It only grows; its samples end in `_total`.
    Counter,
    Gauge,
    /// Always 1, for its labels; its samples end in `_info`.
    Info,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    Whole(u64),
    Real(f64),
}

impl fmt::Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
        }
    }
}

impl From<u64> for MetricValue {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for MetricValue {
    fn from(number: usize) -> Self {
        Self::Whole(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<f64> for MetricValue {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for MetricValue {
    fn from(truth: bool) -> Self {
        Self::Whole(truth.into())
    }
}

pub(super) type MetricLabels = Vec<(&'static str, String)>;

/// Samples of one name. A family without samples is omitted: an unknown number has no value.
#[derive(Clone, Debug)]
pub struct Family {
    /// Without `_total` and `_info`. Its last word is the unit: `_bytes`, `_seconds`.
    name: &'static str,
    help: &'static str,
    kind: MetricKind,
    /// At most [`MAX_SERIES`].
    samples: Vec<(MetricLabels, MetricValue)>,
    /// How many more there would be.
    omitted: u64,
}

impl Family {
    const fn new(kind: MetricKind, name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind, samples: Vec::new(), omitted: 0 }
    }

    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(MetricKind::Gauge, name, help)
    }

    /// A number that only grows; `name` without `_total`.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(MetricKind::Counter, name, help)
    }

    /// Facts that are text; `name` without `_info`.
    #[must_use]
    pub const fn info(name: &'static str, help: &'static str) -> Self {
        Self::new(MetricKind::Info, name, help)
    }

    #[must_use]
    pub fn value(self, value: impl Into<MetricValue>) -> Self {
        self.with(Vec::new(), value)
    }

    /// Adds a sample without labels, if the value is known.
    #[must_use]
    pub fn optional_value(self, value: Option<impl Into<MetricValue>>) -> Self {
        match value {
            Some(value) => self.value(value),
            None => self,
        }
    }

    #[must_use]
    pub fn with(mut self, labels: MetricLabels, value: impl Into<MetricValue>) -> Self {
        if self.samples.len() < MAX_SERIES {
            self.samples.push((labels, value.into()));
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
        self
    }

    #[must_use]
    pub fn each<V: Into<MetricValue>>(
        self,
        label: &'static str,
        values: impl IntoIterator<Item = (String, V)>,
    ) -> Self {
        values.into_iter().fold(self, |family, (text, value)| family.with(vec![(label, text)], value))
    }

    const fn suffix(&self) -> &'static str {
        match self.kind {
            MetricKind::Counter => "_total",
            MetricKind::Gauge => "",
            MetricKind::Info => "_info",
        }
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let Self { name, help, kind, .. } = self;
        let suffix = self.suffix();
        let kind = if *kind == MetricKind::Counter { "counter" } else { "gauge" };
        writeln!(text, "# HELP {name}{suffix} {}\n# TYPE {name}{suffix} {kind}", escape(help))?;
        for (labels, value) in &self.samples {
            write!(text, "{name}{suffix}")?;
            for (at, (label, value)) in labels.iter().enumerate() {
                let before = if at == 0 { '{' } else { ',' };
                write!(text, "{before}{label}=\"{}\"", escape(value).replace('"', "\\\""))?;
            }
            writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" })?;
        }
        Ok(())
    }
}

/// How many series these families omit.
pub(super) fn omitted(families: &[Family]) -> Family {
    let count = families.iter().map(|family| family.omitted).fold(0, u64::saturating_add);
    Family::gauge("pfnwatch_series_omitted", "Series that this page omits, since a metric has at most 4096 of them.")
        .value(count)
}

#[cfg(test)]
pub(crate) struct Described {
    pub(crate) name: String,
    /// As its samples show it; empty without samples.
    pub(crate) labels: std::collections::BTreeSet<&'static str>,
    pub(crate) kind: &'static str,
    pub(crate) unit: Option<&'static str>,
    pub(crate) help: &'static str,
    pub(crate) is_told: bool,
}

#[cfg(test)]
impl Family {
    fn unit(&self) -> Option<&'static str> {
        let unit = self.name.rsplit_once('_')?.1;
        ["bytes", "seconds"].contains(&unit).then_some(unit)
    }

    pub(crate) fn described(&self) -> Described {
        let kind = match self.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Info => "info",
        };
        let labels = self.samples.iter().flat_map(|(labels, _)| labels).map(|(label, _)| *label).collect();
        let name = format!("{}{}", self.name, self.suffix());
        Described { name, labels, kind, unit: self.unit(), help: self.help, is_told: !self.samples.is_empty() }
    }
}

#[must_use]
pub fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        // Writing to a string does not fail.
        let _ = family.write(&mut text);
    }
    text
}

/// Escapes for help and label values; quotes are escaped in the latter only.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

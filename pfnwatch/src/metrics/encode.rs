//! Families of samples, written in Prometheus' text format 0.0.4, which every scraper takes.

use std::fmt::{self, Write as _};

/// The media type of what [`render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It only grows; its samples end in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Always 1, for its labels; its samples end in `_info`.
    Info,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number, to the last digit.
    Whole(u64),
    /// Seconds, most of all.
    Real(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Whole(truth.into())
    }
}

/// The labels of a sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Samples of one name. One without samples is left out: what is not known has no value.
#[derive(Clone, Debug)]
pub struct Family {
    /// Without `_total` and `_info`. A unit is its last word: `_bytes`, `_seconds`.
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<(Labels, Value)>,
}

impl Family {
    const fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind, samples: Vec::new() }
    }

    /// A number that goes up and down.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Gauge, name, help)
    }

    /// A number that only grows; `name` without `_total`.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Counter, name, help)
    }

    /// Facts that are text; `name` without `_info`.
    #[must_use]
    pub const fn info(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Info, name, help)
    }

    /// Adds a sample without labels.
    #[must_use]
    pub fn of(self, value: impl Into<Value>) -> Self {
        self.with(Vec::new(), value)
    }

    /// Adds a sample without labels, where the value is known.
    #[must_use]
    pub fn maybe(self, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.of(value),
            None => self,
        }
    }

    /// Adds a sample.
    #[must_use]
    pub fn with(mut self, labels: Labels, value: impl Into<Value>) -> Self {
        self.samples.push((labels, value.into()));
        self
    }

    /// Adds a sample for each of these, told apart by one label.
    #[must_use]
    pub fn each<V: Into<Value>>(self, label: &'static str, values: impl IntoIterator<Item = (String, V)>) -> Self {
        values.into_iter().fold(self, |family, (text, value)| family.with(vec![(label, text)], value))
    }

    const fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        }
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let Self { name, help, kind, .. } = self;
        let suffix = self.suffix();
        let kind = if *kind == Kind::Counter { "counter" } else { "gauge" };
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

/// What a family is, for those who describe it.
#[cfg(test)]
pub(crate) struct Described {
    /// As its samples are called.
    pub(crate) name: String,
    /// As its samples show it; empty without samples.
    pub(crate) labels: std::collections::BTreeSet<&'static str>,
    pub(crate) kind: &'static str,
    pub(crate) unit: Option<&'static str>,
    pub(crate) help: &'static str,
    /// Whether it has samples.
    pub(crate) is_told: bool,
}

#[cfg(test)]
impl Family {
    fn unit(&self) -> Option<&'static str> {
        let unit = self.name.rsplit_once('_')?.1;
        ["bytes", "seconds"].contains(&unit).then_some(unit)
    }

    /// What it is.
    pub(crate) fn described(&self) -> Described {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
        };
        let labels = self.samples.iter().flat_map(|(labels, _)| labels).map(|(label, _)| *label).collect();
        let name = format!("{}{}", self.name, self.suffix());
        Described { name, labels, kind, unit: self.unit(), help: self.help, is_told: !self.samples.is_empty() }
    }
}

/// Writes all families that have samples.
#[must_use]
pub fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        // Writing to a string does not fail.
        let _ = family.write(&mut text);
    }
    text
}

/// What both help and the values of labels escape; quotes are escaped in the latter only.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

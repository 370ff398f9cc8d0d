//! The expected contents of a store, stream by stream, and the comparison: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub const AGENT: &str = "agent";

/// Keys of an event with the values that they must have.
pub type Facts = Map<String, Value>;

#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub one_of: Vec<Facts>,
    /// Whether it is required. Not if it is uncertain: an event that a killed agent had not yet written.
    pub surely: bool,
}

/// Events and expectations of one subject, each in their order.
#[derive(Clone, Debug, Default)]
struct Stream {
    expected: Vec<Expected>,
    told: Vec<Value>,
}

/// All subjects. They have no common order: their events come from different threads of the kernel.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    all: BTreeMap<String, Stream>,
    /// Those that changed since the last success.
    touched: BTreeSet<String>,
}

impl Streams {
    /// Expects an event in a stream, after those already expected.
    pub fn expect(&mut self, stream: &str, expected: Expected) {
        self.of(stream).expected.push(expected);
    }

    /// Records an event. One that belongs to no stream is ignored.
    pub fn record(&mut self, event: &Value) {
        if let Some(stream) = stream_name(event) {
            self.of(&stream).told.push(event.clone());
        }
    }

    fn of(&mut self, stream: &str) -> &mut Stream {
        self.touched.insert(stream.to_owned());
        self.all.entry(stream.to_owned()).or_default()
    }

    /// The difference between expected and recorded events; `None` if there is none.
    pub fn complaint(&mut self) -> Option<String> {
        let touched = self.touched.iter().filter_map(|name| Some((name, self.all.get(name)?.complaint()?)));
        let wrong: Vec<String> = touched.map(|(name, wrong)| format!("{name}: {wrong}")).collect();
        if wrong.is_empty() {
            self.touched.clear();
        }
        (!wrong.is_empty()).then(|| wrong.join("\n"))
    }

    /// Compares the same expectations with other events.
    pub fn compare(&self, events: &[Value]) -> Option<String> {
        let mut other = self.clone();
        other.all.values_mut().for_each(|stream| stream.told.clear());
        events.iter().for_each(|event| other.record(event));
        other.touched = other.all.keys().cloned().collect();
        other.complaint()
    }

    /// Makes pending expectations optional, and returns them: whether they are ever reported is now unknown.
    pub fn take_uncertain(&mut self) -> Vec<(String, Expected)> {
        let mut doubted = Vec::new();
        for (name, stream) in self.all.iter_mut().filter(|(name, _)| self.touched.contains(*name)) {
            // If some expected events are optional, it is not certain which of the reported ones they are.
            for expected in stream.expected.iter_mut().skip(stream.told.len()) {
                expected.surely = false;
                doubted.push((name.clone(), expected.clone()));
            }
        }
        doubted
    }

    pub fn recorded(&self) -> usize {
        self.all.values().map(|stream| stream.told.len()).sum()
    }
}

impl Stream {
    /// Follows all ways through the expectations at once, since an optional one may look like a required one.
    fn complaint(&self) -> Option<String> {
        let mut at = self.skipping([0].into());
        for event in &self.told {
            let matching = |place: &usize| self.expected.get(*place).is_some_and(|expected| expected.fits(event));
            let next: Vec<usize> = at.iter().copied().filter(matching).map(|place| place + 1).collect();
            if next.is_empty() {
                return Some(format!("{event} came, and {}", self.words(&at)));
            }
            at = self.skipping(next);
        }
        (!at.contains(&self.expected.len())).then(|| format!("nothing more came, and {}", self.words(&at)))
    }

    /// These places, and those reachable without an event.
    fn skipping(&self, from: Vec<usize>) -> Vec<usize> {
        let mut places = from;
        let mut next = 0;
        while let Some(place) = places.get(next).copied() {
            let skips = self.expected.get(place).is_some_and(|expected| !expected.surely);
            if skips && !places.contains(&(place + 1)) {
                places.push(place + 1);
            }
            next += 1;
        }
        places
    }

    fn words(&self, at: &[usize]) -> String {
        let expected = at.iter().filter_map(|place| self.expected.get(*place));
        let words: Vec<String> = expected.map(Expected::words).collect();
        if words.is_empty() { "nothing was expected".to_owned() } else { format!("expected: {}", words.join(" or ")) }
    }
}

impl Expected {
    pub fn required(facts: Facts) -> Self {
        Self { one_of: vec![facts], surely: true }
    }

    pub fn optional(facts: Facts) -> Self {
        Self { one_of: vec![facts], surely: false }
    }

    pub fn is(&self, kind: &str) -> bool {
        self.one_of.iter().any(|facts| facts.get("event").is_some_and(|it| it == kind))
    }

    fn fits(&self, event: &Value) -> bool {
        self.one_of.iter().any(|facts| facts.iter().all(|(key, value)| event.get(key) == Some(value)))
    }

    fn words(&self) -> String {
        let words = self.one_of.iter().map(|facts| Value::Object(facts.clone()).to_string());
        words.collect::<Vec<_>>().join(" | ")
    }
}

/// The subject of an event; `None` for those whose number varies by chance, such as written labels.
fn stream_name(event: &Value) -> Option<String> {
    let text = |key: &str| event.get(key).and_then(Value::as_str);
    match text("event")? {
        "probe" | "claim" | "label" | "guard_state" | "max_struct_page" => None,
        // A namespace that is enabled raw for a moment, and regions and DIMMs with libnvdimm.
        "unbind" if !text("device")?.starts_with(['p', 'd']) => None,
        "set_up" | "unbind" | "destroy" | "existing_namespace" | "denied" | "would_deny" | "exempt" | "unjudged" => {
            Some(format!("namespace {}", text("namespace_uuid").unwrap_or("without a uuid")))
        }
        "exemption_granted" | "exemption_spent" | "exemption_ended" => {
            Some(format!("exemption {}", event.get("exemption_id")?))
        }
        _ => Some(AGENT.to_owned()),
    }
}

#[cfg(test)]
mod tests;

//! What a line says: one of the agent's events as JSON, or one of bpftrace's as `kind key=value …`.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Line {
    pub(super) text: String,
    since_boot: Duration,
    since_1970: Duration,
}

/// A set-up that ended with a valid info block: the start of its namespace, and its reservation.
#[derive(Debug, PartialEq)]
pub(super) struct SetUp {
    pub(super) start: u64,
    pub(super) reservation_bytes: u64,
}

impl Line {
    pub(super) fn now(text: String) -> Result<Self> {
        let clock = |id| clock_gettime(id).map(Duration::from).context("no clock");
        Ok(Self { text, since_boot: clock(ClockId::CLOCK_BOOTTIME)?, since_1970: clock(ClockId::CLOCK_REALTIME)? })
    }

    pub(super) fn ends(&self, device: &str) -> bool {
        match self.json() {
            Some(event) => is(&event, "event", "set_up") && is(&event, "device", device),
            None => self.text.starts_with("bind ") && self.value("device") == Some(device),
        }
    }

    /// The delay of the line after the kernel's time of its event.
    pub(super) fn lateness(&self) -> Option<Duration> {
        let Some(event) = self.json() else {
            let at = Duration::from_nanos(self.value("at_ns")?.parse().ok()?);
            return self.since_boot.checked_sub(at);
        };
        let (now, then) = (self.since_1970.as_micros() % DAY.as_micros(), micros_of_day(event.get("time")?.as_str()?)?);
        // Past midnight as well.
        u64::try_from((now + DAY.as_micros() - then) % DAY.as_micros()).ok().map(Duration::from_micros)
    }

    pub(super) fn set_up(&self) -> Option<SetUp> {
        if let Some(event) = self.json().filter(|event| is(event, "event", "set_up")) {
            let number = |key| event.get(key)?.as_u64();
            return Some(SetUp { start: number("start_address")?, reservation_bytes: number("reservation_bytes")? });
        }
        let number = |key| self.value(key)?.parse::<u64>().ok();
        if !self.text.starts_with("set_up ") || self.value("setup") != Some("0") {
            return None;
        }
        Some(SetUp { start: number("start")?, reservation_bytes: number("start_pad")? + number("dataoff")? })
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok()
    }

    /// bpftrace's `key=value`.
    fn value(&self, key: &str) -> Option<&str> {
        self.text.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

fn is(event: &Value, key: &str, text: &str) -> bool {
    event.get(key).and_then(Value::as_str) == Some(text)
}

/// `2026-11-23T05:07:38.123456Z`
fn micros_of_day(rfc3339: &str) -> Option<u128> {
    let mut parts = rfc3339.split_once('T')?.1.trim_end_matches('Z').split([':', '.']);
    let mut number = || parts.next()?.parse::<u128>().ok();
    let (hours, minutes, seconds, micros) = (number()?, number()?, number()?, number()?);
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let since_1970 = DAY * 20_000 + Duration::from_millis(1);
        Line { text: text.to_owned(), since_boot: Duration::from_micros(7), since_1970 }
    }

    #[test]
    fn an_event_of_ours() {
        let event = line(
            r#"{"schema":1,"time":"2026-11-23T23:59:59.999500Z","event":"set_up","device":"pfn0.1","start_address":4096,"reservation_bytes":2097152}"#,
        );
        assert!(event.ends("pfn0.1") && !event.ends("pfn0.0"));
        assert_eq!(event.lateness(), Some(Duration::from_micros(1500)));
        assert_eq!(event.set_up(), Some(SetUp { start: 4096, reservation_bytes: 2_097_152 }));
        let failed = line(r#"{"time":"2026-11-23T23:59:59.999500Z","event":"set_up","start_address":4096}"#);
        assert_eq!(failed.set_up(), None);
    }

    #[test]
    fn lines_of_bpftrace() {
        let end = line("bind at_ns=3000 took_ns=1 tid=7 device=pfn0.1 region=region0 result=0");
        assert!(end.ends("pfn0.1") && !end.ends("pfn0.10"));
        assert_eq!(end.lateness(), Some(Duration::from_micros(4)));
        let set_up =
            "set_up at_ns=1 device=pfn0.1 uuid=ab cd setup=0 validate=0 start=4096 end=9 dataoff=100 start_pad=1";
        assert_eq!(line(set_up).set_up(), Some(SetUp { start: 4096, reservation_bytes: 101 }));
        assert_eq!(line(&set_up.replace("setup=0", "setup=-6")).set_up(), None);
        assert!(!line(set_up).ends("pfn0.1"));
    }
}

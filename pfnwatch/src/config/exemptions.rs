//! The tables `[[exemptions]]`: what the guard allows all the same, why and until when.
//!
//! Errors about a whole table are raised inside its visitor, so that toml adds the table's place.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::value::{Datetime, Offset};
use uuid::Uuid;

use crate::model::event::Time;
use crate::model::policy::{Exemption, ExemptionSubject};
use crate::model::units::parse_number;
use crate::policy::MAX_EXEMPTIONS;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, deserialize_with = "set_cookie")]
    region_set_cookie: Option<ExemptionSubject>,
    #[serde(default, deserialize_with = "start")]
    region_start: Option<ExemptionSubject>,
    #[serde(default, deserialize_with = "namespace")]
    namespace_uuid: Option<ExemptionSubject>,
    #[serde(default, deserialize_with = "until")]
    until: Option<SystemTime>,
    #[serde(deserialize_with = "reason")]
    reason: String,
}

pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Exemption>, D::Error> {
    deserializer.deserialize_seq(List)
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Vec<Exemption>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tables [[exemptions]]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tables: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(exemption) = tables.next_element_seed(One { number: list.len() + 1 })? {
            list.push(exemption);
        }
        Ok(list)
    }
}

struct One {
    number: usize,
}

impl<'de> DeserializeSeed<'de> for One {
    type Value = Exemption;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Exemption, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One {
    type Value = Exemption;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table [[exemptions]]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Exemption, A::Error> {
        if self.number > MAX_EXEMPTIONS {
            return Err(A::Error::custom(format!("more than {MAX_EXEMPTIONS} exemptions: the guard has no room")));
        }
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        let mut subjects = [table.region_set_cookie, table.region_start, table.namespace_uuid].into_iter().flatten();
        let (Some(subject), None) = (subjects.next(), subjects.next()) else {
            let one_of = "exactly one of region_set_cookie, region_start and namespace_uuid must name what is exempt";
            return Err(A::Error::custom(one_of));
        };
        Ok(Exemption { subject, until: table.until, reason: table.reason })
    }
}

fn set_cookie<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ExemptionSubject>, D::Error> {
    match number(deserializer, "region_set_cookie")? {
        0 => Err(D::Error::custom("region_set_cookie is 0: no region has that, use region_start for a region without")),
        cookie => Ok(Some(ExemptionSubject::RegionCookie(cookie))),
    }
}

fn start<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ExemptionSubject>, D::Error> {
    number(deserializer, "region_start").map(|start| Some(ExemptionSubject::RegionStart(start)))
}

/// As sysfs prints it. A string, since TOML's own integers end at 2^63.
fn number<'de, D: Deserializer<'de>>(deserializer: D, key: &str) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || D::Error::custom(format!("{key} is \"{text}\": it must be a number as sysfs has it, \"0x…\""));
    parse_number(&text).ok_or_else(wrong)
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ExemptionSubject>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |error| D::Error::custom(format!("namespace_uuid is \"{text}\", which is not a uuid: {error}"));
    let uuid = Uuid::try_parse(&text).map_err(wrong)?;
    if uuid.is_nil() {
        return Err(D::Error::custom(
            "namespace_uuid is null, as that of every namespace without a label: name the region",
        ));
    }
    Ok(Some(ExemptionSubject::Namespace(uuid)))
}

fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let reason = String::deserialize(deserializer)?;
    match reason.trim() {
        "" => Err(D::Error::custom("the reason is empty: give one for whoever finds this exemption later")),
        line if line.contains(char::is_control) => Err(D::Error::custom("the reason must be one line of text")),
        line => Ok(line.to_owned()),
    }
}

fn until<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    let datetime = Datetime::deserialize(deserializer)?;
    let wrong = || {
        D::Error::custom(format!(
            "until is {datetime}: it must be a date and a time with an offset from 1970 to 9999, as 2026-12-31T00:00:00Z"
        ))
    };
    instant(&datetime).map(Some).ok_or_else(wrong)
}

/// To the second; `None` for an incomplete date, a time without an offset, or out of range.
fn instant(datetime: &Datetime) -> Option<SystemTime> {
    let (date, time) = (datetime.date?, datetime.time?);
    let offset = match datetime.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let second = time.second.unwrap_or(0);
    let local = humantime::parse_rfc3339(&format!("{date}T{:02}:{:02}:{second:02}Z", time.hour, time.minute)).ok()?;
    let seconds = local.duration_since(UNIX_EPOCH).ok()?.as_secs().checked_add_signed(-offset * 60)?;
    (seconds <= Time::LAST_SECOND.as_secs()).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
}

//! The kinds of events, by the `event` of their JSON.

use strum::VariantNames as _;

use super::Body;

impl Body {
    pub const KINDS: &[&'static str] = Self::VARIANTS;

    /// Its kind: the `event` of its JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Blind, LostRecords, RecordTotals};

    #[test]
    fn kinds_are_what_json_says() {
        let reason = "why".to_owned();
        for body in
            [Body::Blind(Blind { reason }), Body::Lost(LostRecords::default()), Body::Stopped(RecordTotals::default())]
        {
            assert_eq!(serde_json::to_value(&body).unwrap()["event"], body.kind());
            assert!(Body::KINDS.contains(&body.kind()));
        }
    }

    #[test]
    fn kinds_are_those_of_the_schema() {
        let schema = schemars::schema_for!(Body).to_value();
        let variants = schema["oneOf"].as_array().unwrap().iter();
        let kinds: Vec<_> = variants.map(|variant| variant["properties"]["event"]["const"].as_str().unwrap()).collect();
        assert_eq!(kinds, Body::KINDS);
    }
}

//! The name of a device of libnvdimm.

use std::fmt;

/// Kinds of devices, by the beginning of their names.
const KINDS: [&str; 7] = ["namespace", "region", "pfn", "dax", "btt", "nmem", "ndbus"];

/// A name such as `pfn0.1`, `namespace0.0` or `region2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceName {
    text: String,
    kind: &'static str,
    number: u32,
}

impl DeviceName {
    /// `None` if no device of libnvdimm or of the dax bus has such a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = KINDS.into_iter().find(|kind| text.starts_with(kind))?;
        let numbers = text.strip_prefix(kind)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = match numbers.split_once('.') {
            Some((region, id)) => Some(region).filter(|region| digits(region) && digits(id)),
            None => Some(numbers).filter(|number| digits(number)),
        };
        Some(Self { text: text.to_owned(), kind, number: number?.parse().ok()? })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn is_namespace(&self) -> bool {
        self.kind == "namespace"
    }

    /// Its region: `region0` of `pfn0.1`. DIMMs and buses have none.
    #[must_use]
    pub fn region(&self) -> Option<String> {
        (!matches!(self.kind, "nmem" | "ndbus")).then(|| format!("region{}", self.number))
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        for (text, region) in [
            ("pfn0.1", Some("region0")),
            ("namespace12.3", Some("region12")),
            ("region2", Some("region2")),
            ("nmem1", None),
        ] {
            assert_eq!(DeviceName::parse(text).map(|name| name.region()), Some(region.map(str::to_owned)), "{text}");
        }
        for text in ["", "pfn", "pfn.1", "pfn0.", "pfn0.1.2", "pfn-1.0", "pfnx.1", "sda", "dax99999999999.0"] {
            assert_eq!(DeviceName::parse(text), None, "{text}");
        }
        assert!(DeviceName::parse("namespace0.0").is_some_and(|name| name.is_namespace()));
    }
}

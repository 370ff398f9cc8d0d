//! Which format of metrics somebody wants, by the header `Accept` (RFC 9110, section 12.5.1).

use crate::metrics::ExpositionFormat;

/// OpenMetrics where it is asked for by its name, in a version that this is, and not less than the text format; else the
/// text format, which everybody takes.
pub(super) fn format(accept: &str) -> ExpositionFormat {
    let ranges: Vec<Range> = accept.split(',').filter_map(Range::parse).collect();
    let open_metrics = ranges.iter().filter(|range| range.is_open_metrics()).map(|range| range.quality).max();
    let text = ranges.iter().filter_map(Range::as_text).max().map_or(0, |(_, quality)| quality);
    match open_metrics {
        Some(quality) if quality > 0 && quality >= text => ExpositionFormat::OpenMetrics,
        _ => ExpositionFormat::Text,
    }
}

/// A media range with its parameters.
struct Range<'a> {
    media: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().filter(|media| !media.is_empty())?;
        let mut range = Self { media, version: None, quality: 1000 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = quality(value.trim())?,
                "version" => range.version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        Some(range)
    }

    fn is_open_metrics(&self) -> bool {
        self.media.eq_ignore_ascii_case("application/openmetrics-text")
            && self.version.is_none_or(|version| version == "1.0.0")
    }

    /// How well it fits the text format, and how much that is wanted: of two ranges the narrower counts.
    fn as_text(&self) -> Option<(u8, u16)> {
        let fit = match self.media.to_ascii_lowercase().as_str() {
            "text/plain" if self.version.is_none_or(|version| version == "0.0.4") => 2,
            "text/*" => 1,
            "*/*" => 0,
            _ => return None,
        };
        Some((fit, self.quality))
    }
}

/// `0.5` in thousandths; none for what is no quality.
fn quality(text: &str) -> Option<u16> {
    let quality: f32 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000")]
    (0.0..=1.0).contains(&quality).then(|| (quality * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_asked_for() {
        let open = "application/openmetrics-text";
        for (accept, format_wanted) in [
            (String::new(), ExpositionFormat::Text),
            ("*/*".to_owned(), ExpositionFormat::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8".to_owned(), ExpositionFormat::Text),
            (open.to_owned(), ExpositionFormat::OpenMetrics),
            (format!("{open}; version=1.0.0; charset=utf-8"), ExpositionFormat::OpenMetrics),
            (format!("{open};version=0.0.1"), ExpositionFormat::Text),
            (format!("{open};q=0"), ExpositionFormat::Text),
            (format!("{open};q=0.5,text/plain;version=0.0.4"), ExpositionFormat::Text),
            (format!("{open};q=2,text/plain;q=0.1"), ExpositionFormat::Text),
            (format!("text/plain;q=0.3, {open};q=0.3"), ExpositionFormat::OpenMetrics),
            (format!("{open};q=0.5,text/plain;q=0.4,*/*;q=0.9"), ExpositionFormat::OpenMetrics),
            ("APPLICATION/OpenMetrics-Text;VERSION=\"1.0.0\"".to_owned(), ExpositionFormat::OpenMetrics),
            // What Prometheus 2 and 3 send.
            (
                format!(
                    "{open};version=1.0.0;q=0.8,{open};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
                ),
                ExpositionFormat::OpenMetrics,
            ),
            (
                format!("{open};version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;q=0.5,*/*;q=0.2"),
                ExpositionFormat::OpenMetrics,
            ),
        ] {
            assert_eq!(format(&accept), format_wanted, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(accept in "[\\PC]{0,80}") {
            let _ = format(&accept);
        }
    }
}

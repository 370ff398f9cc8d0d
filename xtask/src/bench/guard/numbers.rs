//! What several rounds of the same work came to.

use serde_json::{Value, json};

/// Instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Numbers {
    /// The one that counts: now and then a round is interrupted by something that it did not cause.
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Numbers {
    /// None where there is no value, or one that is no number.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let numbers = Self { median: *values.get(values.len() / 2)?, min: *values.first()?, max: *values.last()? };
        values.iter().all(|value| value.is_finite()).then_some(numbers)
    }

    pub(super) fn json(&self) -> Value {
        let tenths = |value: f64| (value * 10.0).round() / 10.0;
        json!({ "median": tenths(self.median), "min": tenths(self.min), "max": tenths(self.max) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_ends() {
        let numbers = Numbers::of(vec![66.0, 70.0, 65.0, 66.5, 90.0]).unwrap();
        assert_eq!(numbers, Numbers { median: 66.5, min: 65.0, max: 90.0 });
        assert!(Numbers::of(Vec::new()).is_none() && Numbers::of(vec![1.0, f64::NAN]).is_none());
    }
}

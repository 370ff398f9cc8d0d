//! A regression in words.

use super::{Cost, Regression, RegressionSubject};
use crate::model::units::Bytes;

/// The regression, its amount and the kernels: one sentence without its full stop.
#[must_use]
pub fn describe(regression: &Regression) -> String {
    let Regression { subject, before, after } = regression;
    format!(
        "{} costs {} now ({}) and cost {} ({}): {} more",
        subject_text(subject),
        Bytes(after.reservation_bytes),
        under_kernel(after),
        Bytes(before.reservation_bytes),
        under_kernel(before),
        Bytes(regression.lost_bytes())
    )
}

#[must_use]
pub fn describe_ended(regression: &Regression) -> String {
    let Regression { subject, after, .. } = regression;
    format!(
        "{} does not cost {} any more ({})",
        subject_text(subject),
        Bytes(after.reservation_bytes),
        under_kernel(after)
    )
}

#[must_use]
pub fn describe_accepted(regression: &Regression) -> String {
    let Regression { subject, before, after } = regression;
    format!(
        "that {} costs {} ({}) is the baseline from now on; it cost {} ({})",
        subject_text(subject),
        Bytes(after.reservation_bytes),
        under_kernel(after),
        Bytes(before.reservation_bytes),
        under_kernel(before),
    )
}

#[must_use]
pub fn subject_text(subject: &RegressionSubject) -> String {
    match subject {
        RegressionSubject::Host => "a namespace of 1 TiB with map=dev".to_owned(),
        RegressionSubject::Namespace(it) => format!("{} of {}", it.namespace, Bytes(it.size_bytes)),
    }
}

#[must_use]
pub fn under_kernel(cost: &Cost) -> String {
    match cost.max_struct_page_size_bytes {
        Some(bytes) => format!("{bytes} B a page, seen under {}", cost.kernel),
        None => format!("seen under {}", cost.kernel),
    }
}

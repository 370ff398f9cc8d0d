//! A regression in words.

use super::{Cost, Regression, RegressionSubject};
use crate::model::units::Bytes;

/// What costs how much more, under which kernels: one sentence without its full stop.
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

/// What does not cost more any longer.
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

/// What is the baseline from now on.
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

/// What a cost is that of.
#[must_use]
pub fn subject_text(subject: &RegressionSubject) -> String {
    match subject {
        RegressionSubject::Host => "a namespace of 1 TiB with map=dev".to_owned(),
        RegressionSubject::Namespace(it) => format!("{} of {}", it.namespace, Bytes(it.size_bytes)),
    }
}

/// The kernel, and what it reserves for each page.
#[must_use]
pub fn under_kernel(cost: &Cost) -> String {
    match cost.max_struct_page_size_bytes {
        Some(bytes) => format!("{bytes} B a page, seen under {}", cost.kernel),
        None => format!("seen under {}", cost.kernel),
    }
}

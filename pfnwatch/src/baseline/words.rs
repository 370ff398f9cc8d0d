//! A regression in words.

use super::{Cost, Regression, Subject};
use crate::units::Bytes;

/// What costs how much more, under which kernels: one sentence without its full stop.
#[must_use]
pub fn of(regression: &Regression) -> String {
    let Regression { subject, before, after } = regression;
    format!(
        "{} costs {} now ({}) and cost {} ({}): {} more",
        what(subject),
        Bytes(after.reservation_bytes),
        under(after),
        Bytes(before.reservation_bytes),
        under(before),
        Bytes(regression.lost_bytes())
    )
}

/// What does not cost more any longer.
#[must_use]
pub fn ended(regression: &Regression) -> String {
    let Regression { subject, after, .. } = regression;
    format!("{} does not cost {} any more ({})", what(subject), Bytes(after.reservation_bytes), under(after))
}

/// What is the baseline from now on.
#[must_use]
pub fn accepted(regression: &Regression) -> String {
    let Regression { subject, before, after } = regression;
    format!(
        "that {} costs {} ({}) is the baseline from now on; it cost {} ({})",
        what(subject),
        Bytes(after.reservation_bytes),
        under(after),
        Bytes(before.reservation_bytes),
        under(before),
    )
}

/// What a cost is that of.
#[must_use]
pub fn what(subject: &Subject) -> String {
    match subject {
        Subject::Host => "a namespace of 1 TiB with map=dev".to_owned(),
        Subject::Namespace(it) => format!("{} of {}", it.namespace, Bytes(it.size_bytes)),
    }
}

/// The kernel, and what it reserves for each page.
#[must_use]
pub fn under(cost: &Cost) -> String {
    match cost.max_struct_page_size_bytes {
        Some(bytes) => format!("{bytes} B a page, seen under {}", cost.kernel),
        None => format!("seen under {}", cost.kernel),
    }
}

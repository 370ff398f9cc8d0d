//! Metrics of namespaces and of the agent, as families of samples, and Prometheus' text format for them. Pure.
//!
//! Why the format is written here: the maintained library for it (`prometheus`) wants to own the numbers, and ours come
//! from one view at the moment of a scrape.

mod agent;
mod encode;
mod guard;
mod namespaces;
mod records;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::encode::Described;
pub use self::encode::{CONTENT_TYPE, Family, MetricValue, render};
pub use self::namespaces::families as of_scan;
use crate::model::view::View;

#[must_use]
pub fn of_view(view: &View) -> Vec<Family> {
    let mut families = agent::families(view);
    families.extend(guard::families(view));
    families.extend(records::families(view));
    families
        .push(Family::gauge("pfnwatch_inventory_up", "1 where the namespaces could be read.").value(view.scan.is_ok()));
    if let Ok(scan) = &view.scan {
        families.extend(of_scan(scan));
    }
    families
}

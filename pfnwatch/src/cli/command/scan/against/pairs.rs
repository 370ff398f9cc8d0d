//! Which namespace then is which one now, and what it costs more. Pure.

use serde::Serialize;

use super::super::report::NamespaceRow;
use super::earlier::{Costs, EarlierNamespace};

/// A namespace then and now.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ComparedNamespace"))]
pub(super) struct ComparedNamespace {
    /// Its name now.
    pub(super) namespace: String,
    /// How it was recognised.
    pub(super) paired_by: PairedBy,
    /// What it cost then.
    pub(super) before: Costs,
    /// What it costs now.
    pub(super) after: Costs,
    /// What is reserved more than then, in bytes; none where it is less, or not known.
    pub(super) more_bytes: Option<u64>,
    /// Whether it costs more, and not because of another size, map or align.
    pub(super) regressed: bool,
}

/// How a namespace was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum PairedBy {
    /// It has the same namespace uuid.
    NamespaceUuid,
    /// It has the same first address and size.
    Address,
    /// It has the same name and size: another host that is built alike.
    Name,
}

/// Pairs them by uuid, the rest by place, the rest by name. Also returns the unpaired names, of then and of now.
pub(super) fn pair(
    mut before: Vec<EarlierNamespace>,
    mut after: Vec<NamespaceRow>,
) -> (Vec<ComparedNamespace>, Vec<String>, Vec<String>) {
    let mut pairs = Vec::new();
    for by in [PairedBy::NamespaceUuid, PairedBy::Address, PairedBy::Name] {
        let mut left = Vec::new();
        for now in after {
            match before.iter().position(|then| by.is_same(then, &now)) {
                Some(place) => pairs.push(ComparedNamespace::new(before.swap_remove(place), now, by)),
                None => left.push(now),
            }
        }
        after = left;
    }
    pairs.sort_by(|a, b| a.namespace.cmp(&b.namespace));
    let mut only_before: Vec<_> = before.into_iter().map(|known| known.namespace).collect();
    only_before.sort_unstable();
    (pairs, only_before, after.into_iter().map(|row| row.namespace).collect())
}

impl PairedBy {
    fn is_same(self, then: &EarlierNamespace, now: &NamespaceRow) -> bool {
        let known = |then: bool, same: bool| then && same;
        let of_size = known(then.costs.size_bytes.is_some(), then.costs.size_bytes == now.size_bytes);
        match self {
            Self::NamespaceUuid => known(then.namespace_uuid.is_some(), then.namespace_uuid == now.namespace_uuid),
            Self::Address => of_size && known(then.start_address.is_some(), then.start_address == now.start_address),
            Self::Name => of_size && then.namespace == now.namespace,
        }
    }

    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::NamespaceUuid => "namespace uuid",
            Self::Address => "address and size",
            Self::Name => "name and size",
        }
    }
}

impl ComparedNamespace {
    fn new(then: EarlierNamespace, now: NamespaceRow, paired_by: PairedBy) -> Self {
        let namespace = now.namespace.clone();
        let (before, after) = (then.costs, Costs::from(now));
        let more = |then: Option<u64>, now: Option<u64>| now?.checked_sub(then?).filter(|more| *more > 0);
        let more_bytes = more(before.reservation_bytes, after.reservation_bytes);
        let regressed = before.size_bytes == after.size_bytes
            && more_bytes.is_some()
            && more(before.excess_bytes, after.excess_bytes).is_some();
        Self { namespace, paired_by, before, after, more_bytes, regressed }
    }

    pub(super) fn changed(&self) -> bool {
        self.before != self.after
    }
}

impl From<NamespaceRow> for Costs {
    fn from(row: NamespaceRow) -> Self {
        let NamespaceRow { size_bytes, usable_bytes, reservation_bytes, excess_bytes, .. } = row;
        let (mode, map) = (row.mode.to_owned(), row.map.map(ToOwned::to_owned));
        Self {
            mode,
            map,
            size_bytes,
            usable_bytes,
            reservation_bytes,
            excess_bytes,
            verdict: row.verdict.as_str().to_owned(),
        }
    }
}

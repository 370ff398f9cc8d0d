//! Several files as one configuration. Tables are merged key by key, and the later file has the word on a key. What is a list of
//! tables (`[[exemptions]]`, `[[alerts.receivers]]`) grows with each file, so that each may add its own; an empty list, as
//! `exemptions = []`, takes away all that came before. Any other list is a value as any other, and is replaced.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Error};

use super::source::ConfigFiles;

/// The files' tables in one, each key and value with its offset among the bytes of all files ([`ConfigFiles::place`]).
pub(super) fn merged(sources: &ConfigFiles) -> Result<Spanned<DeTable<'_>>, Error> {
    let mut all = DeTable::new();
    for (base, source) in sources.with_bases() {
        merge(&mut all, shifted(DeTable::parse(&source.text)?.into_inner(), base));
    }
    Ok(Spanned::new(0..0, all))
}

fn merge<'a>(under: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        match (under.get_mut(&key).map(Spanned::get_mut), value.get_ref()) {
            (Some(DeValue::Table(below)), DeValue::Table(_)) => {
                if let DeValue::Table(above) = value.into_inner() {
                    merge(below, above);
                }
            }
            (Some(DeValue::Array(below)), DeValue::Array(above)) if is_tables(above) => {
                if let DeValue::Array(above) = value.into_inner() {
                    above.into_iter().for_each(|table| below.push(table));
                }
            }
            _ => {
                // The key goes too: its place is the value's.
                under.remove(&key);
                under.insert(key, value);
            }
        }
    }
}

/// A list of tables, which drop-ins extend.
pub(super) fn is_tables(array: &DeArray<'_>) -> bool {
    !array.is_empty() && array.iter().all(|it| it.get_ref().is_table())
}

fn shifted(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let span = later(key.span(), by);
        (Spanned::new(span, key.into_inner()), shifted_value(value, by))
    });
    entries.collect()
}

fn shifted_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = later(value.span(), by);
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shifted(table, by)),
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(|it| shifted_value(it, by)).collect()),
        plain => plain,
    };
    Spanned::new(span, inner)
}

fn later(span: Range<usize>, by: usize) -> Range<usize> {
    span.start.saturating_add(by)..span.end.saturating_add(by)
}

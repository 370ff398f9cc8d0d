//! Entries of the programs' tables that nothing removes any more: their end was not seen, and their thread has not come by again.

use std::time::Duration;

use anyhow::Context as _;
use aya::maps::{HashMap, MapData};
use aya::{Ebpf, Pod};
use pfnwatch_common::guard::UuidStore;
use pfnwatch_common::names;
use pfnwatch_common::record::Attempt;

use super::pod::Wire;

/// A bind takes a minute or so for some TiB.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Both tables are keyed by the thread.
pub struct Leftovers {
    attempts: HashMap<MapData, u32, Wire<Attempt>>,
    uuid_stores: HashMap<MapData, u32, Wire<UuidStore>>,
}

impl Leftovers {
    pub(super) fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self { attempts: table(ebpf, names::ATTEMPTS)?, uuid_stores: table(ebpf, names::UUID_STORES)? })
    }

    /// Removes what began more than [`MAX_AGE`] before `now_ns`, in nanoseconds since boot. Returns how many entries that were.
    pub fn sweep(&mut self, now_ns: u64) -> u64 {
        sweep(&mut self.attempts, now_ns, |Wire(attempt)| attempt.began_ns)
            + sweep(&mut self.uuid_stores, now_ns, |Wire(store)| store.began_ns)
    }
}

fn sweep<V: Pod>(table: &mut HashMap<MapData, u32, V>, now_ns: u64, began_ns: impl Fn(&V) -> u64) -> u64 {
    let is_old = |(thread, entry): (u32, V)| is_old(began_ns(&entry), now_ns).then_some(thread);
    let old: Vec<u32> = table.iter().flatten().filter_map(is_old).collect();
    // One that has ended after all is not counted.
    old.iter().map(|thread| u64::from(table.remove(thread).is_ok())).sum()
}

fn is_old(began_ns: u64, now_ns: u64) -> bool {
    u128::from(now_ns.saturating_sub(began_ns)) > MAX_AGE.as_nanos()
}

fn table<V: Pod>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<HashMap<MapData, u32, V>> {
    let map = ebpf.take_map(name).with_context(|| format!("the eBPF object has no map {name}"))?;
    map.try_into().with_context(|| format!("cannot use the map {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_old() {
        let hour = 3_600_000_000_000;
        assert!(!is_old(5, hour + 5) && is_old(4, hour + 5));
        assert!(!is_old(hour, 0), "begun after the clock was read");
    }
}

//! The per-CPU counters of the eBPF programs.

use anyhow::Context as _;
use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use pfnwatch_common::counter::Counter;
use pfnwatch_common::names;

use super::pins::Pins;

pub struct Counters(PerCpuArray<MapData, u64>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterTotals([u64; Counter::ALL.len()]);

impl CounterTotals {
    pub fn set(&mut self, counter: Counter, total: u64) {
        if let Some((_, value)) = Counter::ALL.iter().zip(&mut self.0).find(|(known, _)| **known == counter) {
            *value = total;
        }
    }

    pub fn get(&self, counter: Counter) -> u64 {
        Counter::ALL.iter().zip(self.0).find(|(known, _)| **known == counter).map_or(0, |(_, total)| total)
    }
}

impl Counters {
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let map = ebpf.take_map(names::COUNTERS).context("the eBPF object has no map COUNTERS")?;
        Ok(Self(map.try_into().context("cannot use the map COUNTERS")?))
    }

    /// Adds to a counter that the programs do not write.
    ///
    /// # Errors
    /// The counter cannot be written.
    pub fn add(&mut self, counter: Counter, count: u64) -> anyhow::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let index = counter as u32;
        let mut values = self.0.get(&index, 0).with_context(|| format!("counter {}", counter.name()))?.to_vec();
        if let Some(first) = values.first_mut() {
            *first = first.wrapping_add(count);
        }
        let values = PerCpuValues::try_from(values).context("the number of CPUs")?;
        self.0.set(index, values, 0).with_context(|| format!("counter {}", counter.name()))
    }

    /// Opens the counters of a guard that is pinned.
    ///
    /// # Errors
    /// They are not pinned, or cannot be opened.
    pub fn open(pins: &Pins) -> anyhow::Result<Self> {
        let pinned = MapData::from_pin(pins.map(names::COUNTERS)).and_then(Map::from_map_data);
        Ok(Self(pinned.and_then(PerCpuArray::try_from).context("the pinned map COUNTERS cannot be opened")?))
    }

    pub fn read(&self) -> anyhow::Result<CounterTotals> {
        let mut totals = CounterTotals::default();
        for counter in Counter::ALL {
            let values = self.0.get(&(*counter as u32), 0).with_context(|| format!("counter {}", counter.name()))?;
            totals.set(*counter, values.iter().copied().fold(0, u64::wrapping_add));
        }
        Ok(totals)
    }
}

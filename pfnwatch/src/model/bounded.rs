//! A map with a limit, for what is remembered of the outside for as long as the agent runs.

use std::collections::BTreeMap;

/// A map of at most `MAX` entries. The entry that was written the longest ago is evicted first; evictions are counted.
#[derive(Clone, Debug)]
pub struct BoundedMap<K, V, const MAX: usize> {
    /// Each value with the number of its last write.
    entries: BTreeMap<K, (u64, V)>,
    /// The keys by the number of their last write.
    order: BTreeMap<u64, K>,
    writes: u64,
    evicted: u64,
}

impl<K, V, const MAX: usize> Default for BoundedMap<K, V, MAX> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), writes: 0, evicted: 0 }
    }
}

impl<K: Ord + Clone, V, const MAX: usize> BoundedMap<K, V, MAX> {
    /// Writes an entry, and returns the earlier value of its key.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.remove(&key);
        if self.entries.len() >= MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
            self.evicted += 1;
        }
        self.writes += 1;
        self.order.insert(self.writes, key.clone());
        self.entries.insert(key, (self.writes, value));
        before
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (write, value) = self.entries.remove(key)?;
        self.order.remove(&write);
        Some(value)
    }

    /// Removes all entries, which is no eviction.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    /// How many entries were evicted so far.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_was_written_the_longest_ago_is_evicted_and_counted() {
        let mut map = BoundedMap::<_, _, 3>::default();
        for key in [1, 2, 3] {
            assert_eq!(map.insert(key, 'a'), None);
        }
        assert_eq!((map.insert(1, 'b'), map.evicted()), (Some('a'), 0), "it was there already");
        assert_eq!((map.insert(4, 'c'), map.get(&2), map.evicted()), (None, None, 1));
        assert_eq!([1, 3, 4].map(|key| map.get(&key).copied()), [Some('b'), Some('a'), Some('c')]);
        assert_eq!(map.remove(&3), Some('a'));
        map.insert(5, 'd');
        assert_eq!((map.entries.len(), map.order.len(), map.evicted()), (3, 3, 1));
        map.clear();
        assert_eq!((map.get(&1), map.order.len(), map.evicted()), (None, 0, 1));
    }
}

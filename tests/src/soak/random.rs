//! Numbers that look random, the same again for the same seed.

/// A generator: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number().checked_rem(end).unwrap_or(0)
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// `None` if there are no choices.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(choices.len()).unwrap_or(u64::MAX);
        choices.get(usize::try_from(self.below(count)).unwrap_or(0))
    }

    /// One of these, with a probability in proportion to its weight.
    pub fn weighted_choice<T: Copy>(&mut self, choices: &[(u64, T)]) -> Option<T> {
        let mut left = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            match left.checked_sub(*weight) {
                None => return Some(*choice),
                Some(rest) => left = rest,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_does_not() {
        let of = |seed| {
            let mut random = Random::new(seed);
            [random.number(), random.number(), random.number()]
        };
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        // The reference implementation's first number of seed 0.
        assert_eq!(Random::new(0).number(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn weights_are_kept_and_nothing_is_not_chosen() {
        let mut random = Random::new(1);
        let mut counts = [0; 2];
        for _ in 0..4000 {
            counts[random.weighted_choice(&[(3, 0), (1, 1), (0, 9)]).unwrap()] += 1;
        }
        assert!((2800..3200).contains(&counts[0]), "{counts:?}");
        assert_eq!(random.weighted_choice::<u8>(&[]), None);
        assert_eq!(random.one_of::<u8>(&[]), None);
    }
}

//! What is done next: by chance, among what can be done.

use super::model::act::{Act, Configured, Shape, Subject};
use super::model::{Model, Observer};
use crate::MIB;
use crate::creation::{Map, Mode};
use crate::policy::GuardMode;

/// Namespaces at a time: loading libnvdimm takes time for each.
const MAX_NAMESPACES: usize = 8;
/// From never oversize to oversize with half a struct page; multiples of the regions' align.
const SIZES: [u64; 6] = [16 * MIB, 64 * MIB, 128 * MIB, 256 * MIB, 384 * MIB, 512 * MIB];
const ALIGNS: [u64; 2] = [4096, 2 * MIB];
/// How many acts an agent lives at least: some lives are long, so that growth shows.
const LIVES: [u64; 4] = [4, 12, 12, 120];

#[derive(Debug)]
pub struct Chooser {
    random: Random,
    /// The number of acts before the agent may end.
    calm: u64,
}

impl Chooser {
    pub const fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), calm: 0 }
    }

    /// The next act. Deterministic for a seed and the outcomes so far.
    pub fn next(&mut self, model: &Model) -> Act {
        self.calm = self.calm.saturating_sub(1);
        let kinds: &[(u64, ActionKind)] = match (model.watch, self.calm) {
            (Observer::Agent, 1..) => &NORMAL_WEIGHTS,
            (Observer::Agent, 0) => &WITH_AGENT,
            (Observer::Held { .. }, _) => &PINNED_WEIGHTS,
            // An agent is blind only within an act.
            (Observer::Nobody | Observer::Blind, _) => &ALONE,
        };
        loop {
            if let Some(act) = self.random.weighted_choice(kinds).and_then(|kind| self.act(kind, model)) {
                return act;
            }
        }
    }

    fn act(&mut self, kind: ActionKind, model: &Model) -> Option<Act> {
        Some(match kind {
            ActionKind::Create if model.namespaces.len() < MAX_NAMESPACES => Act::Create(self.region(), self.shape()),
            ActionKind::Create => return None,
            ActionKind::Disable => Act::Disable(self.namespace(model, |enabled| enabled)?),
            ActionKind::Enable => Act::Enable(self.namespace(model, |enabled| !enabled)?),
            ActionKind::Destroy => Act::Destroy(self.namespace(model, |_| true)?),
            ActionKind::Remake => Act::Remake(self.namespace(model, |_| true)?, self.shape()),
            ActionKind::SetMode => Act::SetMode(self.stance()),
            // Which of several exemptions is used is nobody's promise.
            ActionKind::Allow if model.grants.is_empty() => Act::Allow(self.subject(model), self.random.coin()),
            ActionKind::Allow => return None,
            ActionKind::Revoke => Act::Revoke(self.random.one_of(&model.grants)?.id),
            ActionKind::Reload => Act::Reload(self.configured()),
            ActionKind::Start => {
                self.calm = self.random.one_of(&LIVES).copied().unwrap_or_default();
                Act::Start(self.configured())
            }
            ActionKind::Stop => Act::Stop,
            ActionKind::Kill => Act::Kill { settled: self.random.coin() },
            ActionKind::Release => Act::Release,
            ActionKind::BreakGlass => {
                let has_room = model.namespaces.len() < MAX_NAMESPACES;
                Act::BreakGlass(self.stance(), has_room.then(|| (self.region(), self.shape())))
            }
            ActionKind::ReloadLibnvdimm => Act::ReloadLibnvdimm,
            ActionKind::Storm => Act::Storm,
        })
    }

    fn region(&mut self) -> usize {
        usize::from(self.random.coin())
    }

    fn shape(&mut self) -> Shape {
        let mode = if self.random.coin() { Mode::Fsdax } else { Mode::Devdax };
        // map=dev is what this is about.
        let map = if self.random.below(4) > 0 { Map::Dev } else { Map::Mem };
        let size_bytes = self.random.one_of(&SIZES).copied().unwrap_or(MIB);
        let align_bytes = self.random.one_of(&ALIGNS).copied().unwrap_or(MIB);
        Shape { mode, map, size_bytes, align_bytes }
    }

    fn stance(&mut self) -> GuardMode {
        if self.random.coin() { GuardMode::Enforce } else { GuardMode::Audit }
    }

    fn configured(&mut self) -> Configured {
        Configured { strict: self.random.below(4) > 0, stance: self.stance(), hold: self.random.coin() }
    }

    fn subject(&mut self, model: &Model) -> Subject {
        match self.namespace(model, |_| true) {
            Some(uuid) if self.random.coin() => Subject::Namespace(uuid),
            _ => Subject::Region(self.region()),
        }
    }

    fn namespace(&mut self, model: &Model, which: fn(bool) -> bool) -> Option<String> {
        // In the order of their addresses: uuids are another time's by chance.
        let mut those: Vec<_> = model.namespaces.values().filter(|namespace| which(namespace.enabled)).collect();
        those.sort_by_key(|namespace| namespace.target.start);
        self.random.one_of(&those).map(|namespace| namespace.target.uuid.clone())
    }
}

#[derive(Clone, Copy, Debug)]
enum ActionKind {
    Create,
    Disable,
    Enable,
    Destroy,
    Remake,
    SetMode,
    Allow,
    Revoke,
    Reload,
    Start,
    Stop,
    Kill,
    Release,
    BreakGlass,
    ReloadLibnvdimm,
    Storm,
}

const NORMAL_WEIGHTS: [(u64, ActionKind); 12] = [
    (20, ActionKind::Create),
    (10, ActionKind::Disable),
    (14, ActionKind::Enable),
    (8, ActionKind::Destroy),
    (8, ActionKind::Remake),
    (8, ActionKind::SetMode),
    (5, ActionKind::Allow),
    (3, ActionKind::Revoke),
    (4, ActionKind::Reload),
    (3, ActionKind::BreakGlass),
    (2, ActionKind::ReloadLibnvdimm),
    (1, ActionKind::Storm),
];

const WITH_AGENT: [(u64, ActionKind); 5] = [
    (10, ActionKind::Create),
    (10, ActionKind::Enable),
    (5, ActionKind::Stop),
    (8, ActionKind::Kill),
    (1, ActionKind::ReloadLibnvdimm),
];

const PINNED_WEIGHTS: [(u64, ActionKind); 8] = [
    (8, ActionKind::Create),
    (4, ActionKind::Disable),
    (6, ActionKind::Enable),
    (3, ActionKind::Destroy),
    (3, ActionKind::Remake),
    (8, ActionKind::Start),
    (1, ActionKind::Release),
    (1, ActionKind::ReloadLibnvdimm),
];

const ALONE: [(u64, ActionKind); 7] = [
    (5, ActionKind::Create),
    (3, ActionKind::Disable),
    (4, ActionKind::Enable),
    (2, ActionKind::Destroy),
    (2, ActionKind::Remake),
    (8, ActionKind::Start),
    (1, ActionKind::ReloadLibnvdimm),
];

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
    fn a_seed_repeats_itself_and_an_agent_comes_of_it() {
        let acts = |seed| {
            let mut chooser = Chooser::new(seed);
            let mut model = Model::new();
            let mut acts = Vec::new();
            for _ in 0..60 {
                let act = chooser.next(&model);
                match &act {
                    Act::Start(file) => model.started(*file),
                    Act::Stop | Act::Kill { .. } => model.stopped(),
                    _ => (),
                }
                acts.push(act);
            }
            acts
        };
        assert_eq!(acts(1), acts(1));
        assert_ne!(acts(1), acts(2));
        for kind in ["start", "create", "mode", "allow"] {
            assert!((1..4).any(|seed| acts(seed).iter().any(|act| act.kind() == kind)), "{kind}");
        }
    }

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

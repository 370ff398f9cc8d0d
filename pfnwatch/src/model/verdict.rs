//! Verdicts with their causes, evidence and numbers.

use crate::model::thresholds::Thresholds;

/// Whether the reservation of a namespace is what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// The reservation is what it should be, or nothing is reserved at all.
    Ok,
    /// The excess passes both thresholds.
    Oversize,
    /// The kernel refused to set it up.
    Refused,
    /// There is not enough information for a verdict.
    Unknown,
}

impl Verdict {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Where the numbers came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Evidence {
    /// pfnwatch saw the block being made.
    Observed,
    /// The namespace's info block.
    InfoBlock,
    /// The addresses in sysfs, which only root can read: exact.
    Sysfs,
    /// The sizes in sysfs: only the sum of reservation and end_trunc is known, and the formula divides it.
    Inferred,
}

impl Evidence {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Bytes of one namespace; `None` is "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub size: Option<u64>,
    pub usable: Option<u64>,
    /// From the start of the namespace to its first usable byte.
    pub reservation: Option<u64>,
    /// Cut off at the end for alignment.
    pub end_trunc: Option<u64>,
    /// The reservation of the same geometry at the reference struct page size.
    pub ideal: Option<u64>,
    /// reservation - ideal, never negative.
    pub excess: Option<u64>,
    /// reservation - the formula at the running kernel's `sizeof(struct page)`, never negative: informational.
    pub unused: Option<u64>,
    /// DRAM that holds the struct pages of the namespace; 0 while it is disabled.
    pub dram: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    pub verdict: Verdict,
    pub cause: Cause,
    /// One sentence for people: the cause with its numbers, or why there is no verdict.
    pub detail: String,
    /// Where the reservation came from; `None` if there is none.
    pub evidence: Option<Evidence>,
    pub numbers: Numbers,
    /// Other ways to gain capacity, the most important first.
    pub hints: Vec<Hint>,
}

/// The cause of a namespace's cost. The first six are the waste classes A to F.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// A: the block of a kernel that reserves 128 bytes for each page.
    RegressedKernel,
    /// B: devdax with map=dev, where map=mem would let the kernel deduplicate the memmap's tail pages.
    NoDeduplication,
    /// C: devdax with map=dev in use as system RAM: nothing uses the reservation.
    SystemRam,
    /// D: rounding to the align, and what is cut off at the end.
    Rounding,
    /// E: a block made with smaller pages than the running kernel's.
    SmallerPages,
    /// F: the running kernel's struct page is smaller than the one that the block reserves for.
    SmallerStructPage,
    /// A kernel before 5.5 or so made the block, by another formula.
    OlderKernel,
    /// The namespace was resized after its block was made.
    Resized,
    /// The namespace's base address moved after its block was made.
    Moved,
    /// A kernel with a wider struct page (memory debugging) made the block.
    WideStructPage,
    /// A tool or a person made the block: no kernel writes one like it.
    HandMade,
    /// None of the known causes explains the bytes.
    Unexplained,
    /// There is nothing to explain.
    None,
}

impl Cause {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The letter of its waste class; `None` for causes outside of the six classes.
    #[must_use]
    pub const fn class(self) -> Option<char> {
        match self {
            Self::RegressedKernel => Some('A'),
            Self::NoDeduplication => Some('B'),
            Self::SystemRam => Some('C'),
            Self::Rounding => Some('D'),
            Self::SmallerPages => Some('E'),
            Self::SmallerStructPage => Some('F'),
            Self::OlderKernel
            | Self::Resized
            | Self::Moved
            | Self::WideStructPage
            | Self::HandMade
            | Self::Unexplained
            | Self::None => None,
        }
    }
}

/// A way to gain capacity, or to know why it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub cause: Cause,
    /// Persistent memory in bytes that is concerned.
    pub bytes: u64,
    pub detail: String,
}

impl Hint {
    pub(crate) const fn new(cause: Cause, bytes: u64, detail: String) -> Self {
        Self { cause, bytes, detail }
    }
}

/// Sums over the namespaces of a host, in bytes. Unknown numbers are not included; `unknown` counts those namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamespaceTotals {
    /// Namespaces.
    pub namespaces: u64,
    /// Those with the verdict oversize.
    pub oversize: u64,
    /// Those with the verdict refused.
    pub refused: u64,
    /// Those with the verdict unknown.
    pub unknown: u64,
    /// Their sizes.
    pub size_bytes: u64,
    /// Their usable bytes.
    pub usable_bytes: u64,
    /// Their reservations.
    pub reservation_bytes: u64,
    /// Their ideals.
    pub ideal_bytes: u64,
    /// Their excess.
    pub excess_bytes: u64,
    /// Reserved bytes that the running kernel does not use.
    pub unused_bytes: u64,
    /// DRAM that holds the struct pages of the enabled namespaces for which it is known.
    pub memmap_dram_bytes: u64,
    /// Enabled namespaces for which that is unknown.
    pub memmap_dram_unknown: u64,
    /// The sizes of the namespaces that have a reservation.
    #[serde(skip)]
    judged_bytes: u64,
}

impl NamespaceTotals {
    /// Adds one namespace. Sums saturate.
    pub fn add(&mut self, assessment: &Assessment) {
        let numbers = &assessment.numbers;
        let add = |sum: &mut u64, bytes: Option<u64>| *sum = sum.saturating_add(bytes.unwrap_or(0));
        add(&mut self.namespaces, Some(1));
        add(&mut self.oversize, Some(u64::from(assessment.verdict == Verdict::Oversize)));
        add(&mut self.refused, Some(u64::from(assessment.verdict == Verdict::Refused)));
        add(&mut self.unknown, Some(u64::from(assessment.verdict == Verdict::Unknown)));
        add(&mut self.size_bytes, numbers.size);
        add(&mut self.usable_bytes, numbers.usable);
        add(&mut self.reservation_bytes, numbers.reservation);
        add(&mut self.ideal_bytes, numbers.ideal);
        add(&mut self.excess_bytes, numbers.excess);
        add(&mut self.unused_bytes, numbers.unused);
        add(&mut self.memmap_dram_bytes, numbers.dram);
        add(&mut self.memmap_dram_unknown, Some(u64::from(numbers.dram.is_none())));
        // What reserves nothing (raw, sector) must not make the excess of the others look small.
        let reserves = numbers.reservation.is_some_and(|bytes| bytes > 0);
        add(&mut self.judged_bytes, numbers.size.filter(|_| reserves));
    }

    /// Whether the host as a whole loses more than the share that makes a finding, though no namespace alone may.
    #[must_use]
    pub fn verdict(&self, thresholds: &Thresholds) -> Verdict {
        if self.oversize > 0 || thresholds.passed_by(self.excess_bytes, 0, self.judged_bytes) {
            Verdict::Oversize
        } else if self.refused > 0 {
            Verdict::Refused
        } else if self.unknown > 0 {
            Verdict::Unknown
        } else {
            Verdict::Ok
        }
    }
}

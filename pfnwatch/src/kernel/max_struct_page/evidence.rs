//! What is known of MAX_STRUCT_PAGE_SIZE, from where, and what to make of it when there is more than one answer.

#[cfg(test)]
mod tests;

use std::fmt;

use pfnwatch_common::reservation::{REFERENCE_STRUCT_PAGE, REGRESSED_STRUCT_PAGE};

use crate::code::max_struct_page::{Decoded, MaxStructPage};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub max: MaxStructPage,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The upstream release in the kernel's name: weak, since anybody can patch.
    Release {
        /// As `uname -r` prints it.
        release: String,
    },
    /// The machine code in a module file. For a running kernel: of the file with the loaded module's build-id.
    ModuleFile {
        file: String,
        function: String,
        at: Addresses,
        build_id: Option<String>,
    },
    RunningCode {
        function: String,
        at: Addresses,
    },
    /// A block that this kernel wrote while pfnwatch watched.
    ObservedBlock {
        namespace: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub store: u64,
    pub shift: Option<u64>,
}

impl From<&Decoded> for Addresses {
    fn from(decoded: &Decoded) -> Self {
        let shift = decoded.from_shift.as_ref().map(|shift| shift.address);
        Self { store: decoded.from_store.address, shift }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stored at {:#x}", self.store)?;
        self.shift.map_or(Ok(()), |shift| write!(f, ", shifted at {shift:#x}"))
    }
}

/// The weight of an answer, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Only a name.
    Release,
    /// A file that should be the running code.
    ModuleFile,
    /// The running code.
    RunningCode,
    /// Its result.
    ObservedBlock,
}

impl Source {
    #[must_use]
    pub const fn strength(&self) -> Strength {
        match self {
            Self::Release { .. } => Strength::Release,
            Self::ModuleFile { .. } => Strength::ModuleFile,
            Self::RunningCode { .. } => Strength::RunningCode,
            Self::ObservedBlock { .. } => Strength::ObservedBlock,
        }
    }

    #[must_use]
    pub const fn addresses(&self) -> Option<Addresses> {
        match self {
            Self::ModuleFile { at, .. } | Self::RunningCode { at, .. } => Some(*at),
            Self::Release { .. } | Self::ObservedBlock { .. } => None,
        }
    }
}

impl Strength {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::ModuleFile => "module file",
            Self::RunningCode => "running code",
            Self::ObservedBlock => "observed block",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release { release } => write!(f, "upstream release {release} (weak)"),
            Self::ModuleFile { file, function, at, .. } => write!(f, "{function} ({at}) in {file}"),
            Self::RunningCode { function, at } => write!(f, "{function} as it runs ({at})"),
            Self::ObservedBlock { namespace } => write!(f, "the block that this kernel wrote to {namespace}"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub best: Option<Evidence>,
    /// Evidence for the same answer, the strongest first.
    pub agreeing: Vec<Evidence>,
    /// Evidence for another answer, the strongest first. It is reported, never averaged away.
    pub conflicting: Vec<Evidence>,
}

impl Resolved {
    /// The answer for reports: `None` if anything better than a release's name contradicts it.
    #[must_use]
    pub fn agreed(&self) -> Option<MaxStructPage> {
        let contradicted = self.conflicting.iter().any(|evidence| evidence.source.strength() > Strength::Release);
        self.best.as_ref().filter(|_| !contradicted).map(|best| best.max)
    }

    /// The answer that the guard may deny by: a release's name alone is none, since anybody can patch a kernel and keep it.
    #[must_use]
    pub fn proven(&self) -> Option<MaxStructPage> {
        let is_shown = self.best.as_ref().is_some_and(|best| best.source.strength() > Strength::Release);
        self.agreed().filter(|_| is_shown)
    }
}

#[must_use]
pub fn resolve(mut evidence: Vec<Evidence>) -> Resolved {
    evidence.sort_by_key(|evidence| std::cmp::Reverse(evidence.source.strength()));
    let mut strongest_first = evidence.into_iter();
    let Some(best) = strongest_first.next() else { return Resolved::default() };
    let (agreeing, conflicting) = strongest_first.partition(|other| agree(best.max, other.max));
    Resolved { best: Some(best), agreeing, conflicting }
}

/// Whether one kernel can give both answers: with the override set, blocks carry its size.
fn agree(a: MaxStructPage, b: MaxStructPage) -> bool {
    a.bytes == b.bytes || a.overridden_bytes == Some(b.bytes) || b.overridden_bytes == Some(a.bytes)
}

/// The answer of the upstream release of that name; `None` if it is not exactly an upstream name, as a distribution's
/// `6.1.0-50-amd64`, and for releases that nobody has checked.
#[must_use]
pub fn of_release(release: &str) -> Option<Evidence> {
    let Release { major, minor, patch, candidate } = Release::parse(release)?;
    let bytes = match (major, minor, patch, candidate) {
        // 6e9f05dc66f9 came in 6.1-rc1; c91d71363084 took it back in 6.2-rc8 and 6.1.12.
        (6, 1, 0..=11, _) | (6, 2, 0, Some(1..=7)) => REGRESSED_STRUCT_PAGE,
        // Read in 5.10, 6.1, 6.12, 7.2 and 7.3.
        (5, 10.., _, _) | (6, _, _, _) | (7, 0..=3, _, _) => REFERENCE_STRUCT_PAGE,
        _ => return None,
    };
    let max = MaxStructPage { bytes, overridden_bytes: None };
    Some(Evidence { max, source: Source::Release { release: release.to_owned() } })
}

/// A release of upstream's: 6.1.0, 6.1.11, 6.2.0-rc3.
struct Release {
    major: u32,
    minor: u32,
    patch: u32,
    candidate: Option<u32>,
}

impl Release {
    fn parse(text: &str) -> Option<Self> {
        let (numbers, candidate) = match text.split_once("-rc") {
            Some((numbers, candidate)) => (numbers, Some(number(candidate)?)),
            None => (text, None),
        };
        let mut numbers = numbers.split('.').map(number);
        let release = Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()??, candidate };
        numbers.next().is_none().then_some(release)
    }
}

/// Digits only: [`str::parse`] accepts `+`, which marks local changes in a release.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

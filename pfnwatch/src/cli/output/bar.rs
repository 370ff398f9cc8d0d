//! A bar that shows a namespace from its first byte to its last: memmap, excess, usable, cut off.

use crate::cli::output::terminal::Terminal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarPart {
    /// The reservation as it should be.
    Memmap,
    /// What is reserved more than that.
    Excess,
    Usable,
    /// Cut off at the end for alignment.
    Cut,
}

const BAR_PARTS: [BarPart; 4] = [BarPart::Memmap, BarPart::Excess, BarPart::Usable, BarPart::Cut];

impl BarPart {
    /// The excess is the darkest, to be seen first.
    const fn cell(self, unicode: bool) -> char {
        match (self, unicode) {
            (Self::Memmap, true) => '▒',
            (Self::Excess, true) => '█',
            (Self::Usable, true) => '░',
            (Self::Cut, true) => '·',
            (Self::Memmap, false) => '=',
            (Self::Excess, false) => '#',
            (Self::Usable, false) => '.',
            (Self::Cut, false) => '-',
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Memmap => "\x1b[34m",
            Self::Excess => "\x1b[31m",
            Self::Usable => "\x1b[32m",
            Self::Cut => "\x1b[90m",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Memmap => "memmap",
            Self::Excess => "excess",
            Self::Usable => "usable",
            Self::Cut => "cut off",
        }
    }

    fn paint(self, cells: usize, terminal: Terminal) -> String {
        let cells = self.cell(terminal.unicode).to_string().repeat(cells);
        if terminal.colour && !cells.is_empty() { format!("{}{cells}\x1b[0m", self.colour()) } else { cells }
    }
}

/// Draws `parts` (bytes each) in `width` cells for `whole` bytes, so that bars of one scale can be compared. Each part
/// that is not zero gets a cell: 1.6 % of a namespace would vanish otherwise.
#[must_use]
pub fn draw(parts: &[(BarPart, u64)], whole: u64, width: usize, terminal: Terminal) -> String {
    let cells = apportion(&parts.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), whole, width);
    parts.iter().zip(cells).map(|((part, _), cells)| part.paint(cells, terminal)).collect()
}

#[must_use]
pub fn legend(terminal: Terminal) -> String {
    BAR_PARTS.map(|part| format!("{} {}", part.paint(1, terminal), part.name())).join("  ")
}

/// Distributes `width` cells over `bytes`: rounded, at least one for each that is not zero, and at most `width`
/// together.
fn apportion(bytes: &[u64], whole: u64, width: usize) -> Vec<usize> {
    let whole = u128::from(whole.max(1));
    let share = |bytes: u64| {
        let rounded = (u128::from(bytes) * (width as u128) + whole / 2) / whole;
        usize::try_from(rounded).unwrap_or(width).max(usize::from(bytes > 0)).min(width)
    };
    let mut cells: Vec<usize> = bytes.iter().map(|bytes| share(*bytes)).collect();
    let full = bytes.iter().map(|bytes| u128::from(*bytes)).sum::<u128>() >= whole;
    let sum = |cells: &[usize]| cells.iter().sum::<usize>();
    // The largest part pays for the small ones that were lifted to a cell, and gets what rounding left over.
    while sum(&cells) > width {
        let Some(largest) = cells.iter_mut().max().filter(|cells| **cells > 0) else { break };
        *largest -= 1;
    }
    if full && sum(&cells) < width {
        let missing = width - sum(&cells);
        if let Some(largest) = cells.iter_mut().max() {
            *largest += missing;
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASCII: Terminal = Terminal { colour: false, unicode: false };

    #[test]
    fn small_parts_are_seen() {
        let parts = [(BarPart::Memmap, 258), (BarPart::Excess, 256), (BarPart::Usable, 15870), (BarPart::Cut, 0)];
        assert_eq!(draw(&parts, 16384, 20, ASCII), "=#..................");
    }

    #[test]
    fn colours_and_blocks_where_they_can_be_shown() {
        let parts = [(BarPart::Excess, 1), (BarPart::Usable, 1)];
        assert_eq!(draw(&parts, 2, 4, Terminal { colour: false, unicode: true }), "██░░");
        assert_eq!(draw(&parts, 2, 2, Terminal { colour: true, unicode: false }), "\x1b[31m#\x1b[0m\x1b[32m.\x1b[0m");
        assert_eq!(legend(ASCII), "= memmap  # excess  . usable  - cut off");
    }

    #[test]
    fn a_shorter_whole_leaves_room() {
        assert_eq!(draw(&[(BarPart::Usable, 5)], 10, 10, ASCII), ".....");
        assert_eq!(draw(&[], 0, 10, ASCII), "");
    }

    proptest! {
        #[test]
        fn never_wider_than_asked(bytes in proptest::collection::vec(any::<u64>(), 0..5), whole: u64, width in 0usize..200) {
            let cells = apportion(&bytes, whole, width);
            prop_assert!(cells.iter().sum::<usize>() <= width);
        }
    }
}

//! A guest's console: keeps its end, and finds the lines in which a kernel says that something went wrong.

use std::collections::VecDeque;

/// Lines that are kept for a failure's report.
const TAIL_LINES: usize = 60;

/// What ails a guest's kernel, worst last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fault {
    HungTask,
    RcuStall,
    SoftLockup,
    Bug,
    Oops,
    Panic,
}

impl Fault {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::HungTask => "a hung task",
            Self::RcuStall => "an RCU stall",
            Self::SoftLockup => "a soft lock-up",
            Self::Bug => "a kernel BUG",
            Self::Oops => "a kernel oops",
            Self::Panic => "a kernel panic",
        }
    }
}

/// What kernels from 5.10 to 7.3 print: kernel/panic.c, arch/x86/kernel/{dumpstack,traps}.c, arch/x86/mm/fault.c,
/// kernel/rcu/tree_stall.h, kernel/watchdog.c, kernel/hung_task.c.
const SIGNS: [(&str, Fault); 15] = [
    ("Kernel panic - not syncing", Fault::Panic),
    ("Oops: ", Fault::Oops),
    ("BUG: unable to handle", Fault::Oops),
    ("BUG: kernel NULL pointer dereference", Fault::Oops),
    ("general protection fault", Fault::Oops),
    ("double fault: ", Fault::Oops),
    ("soft lockup - CPU#", Fault::SoftLockup),
    ("hard LOCKUP on cpu", Fault::SoftLockup),
    ("detected stalls on CPUs", Fault::RcuStall),
    ("detected expedited stalls on CPUs", Fault::RcuStall),
    ("self-detected stall on CPU", Fault::RcuStall),
    ("kthread starved for", Fault::RcuStall),
    ("kernel BUG at ", Fault::Bug),
    ("BUG: ", Fault::Bug),
    ("blocked for more than ", Fault::HungTask),
];

/// What was seen of a console so far.
#[derive(Default)]
pub(super) struct Console {
    tail: VecDeque<String>,
    fault: Option<Fault>,
}

impl Console {
    /// Takes a line as it came from the serial port. True where it is the first sign of trouble.
    pub(super) fn feed(&mut self, raw: &str) -> bool {
        let line = raw.trim_end_matches(['\r', '\n']);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        let first = self.fault.is_none();
        self.fault = self.fault.max(fault_of(line));
        first && self.fault.is_some()
    }

    /// The worst that was seen.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The last lines.
    pub(super) fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }
}

/// The first sign of the table that the line holds. A line without the kernel's time stamp is a program's, and a
/// program may say "BUG: " as it likes; before the stamps start, a kernel has no fault to tell that would not end it.
fn fault_of(line: &str) -> Option<Fault> {
    let stamped = line.trim_start().starts_with('[');
    SIGNS.iter().find(|(sign, _)| stamped && line.contains(sign)).map(|(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> Console {
        let mut console = Console::default();
        for line in lines {
            console.feed(line);
        }
        console
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let told = [
            ("[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n", Fault::Panic),
            ("[    3.1] Oops: 0000 [#1] PREEMPT SMP NOPTI\r\n", Fault::Oops),
            ("[    3.1] BUG: kernel NULL pointer dereference, address: 0000000000000018\r", Fault::Oops),
            ("[    3.1] BUG: unable to handle page fault for address: ffffb1\r", Fault::Oops),
            ("[   60.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [ndctl:77]\r", Fault::SoftLockup),
            ("[   60.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\r", Fault::RcuStall),
            ("[   60.0] rcu: INFO: rcu_sched self-detected stall on CPU\r", Fault::RcuStall),
            ("[  243.0] INFO: task ndctl:93 blocked for more than 120 seconds.\r", Fault::HungTask),
            ("[    9.9] kernel BUG at drivers/nvdimm/bus.c:123!\r", Fault::Bug),
            ("[    9.9] BUG: sleeping function called from invalid context at mm/page.c:1\r", Fault::Bug),
        ];
        for (line, fault) in told {
            assert_eq!(after(&[line]).fault(), Some(fault), "{line}");
        }
    }

    #[test]
    fn harmless_lines_are_no_fault() {
        let harmless = [
            "SeaBIOS (version 1.16.3)\r\n",
            "[    0.1] Spectre V2 : Mitigation: Retpolines\r",
            "[    7.0] really_probe: driver_sysfs_add(pfn0.1) failed\r",
            "BUG: said by a program",
            "",
        ];
        assert_eq!(after(&harmless).fault(), None);
    }

    #[test]
    fn worst_fault_stays_and_only_the_first_sign_is_news() {
        let mut console = Console::default();
        assert!(console.feed("[ 1.0] BUG: unable to handle page fault"));
        assert!(!console.feed("[ 1.1] Kernel panic - not syncing: Fatal exception"));
        assert!(!console.feed("[ 1.2] BUG: again"));
        assert_eq!(console.fault(), Some(Fault::Panic));
    }

    #[test]
    fn tail_is_bounded_and_without_carriage_returns() {
        let mut console = Console::default();
        for number in 0..1000 {
            console.feed(&format!("line {number}\r\n"));
        }
        let tail: Vec<&str> = console.tail().collect();
        assert_eq!((tail.len(), tail[0], tail[TAIL_LINES - 1]), (TAIL_LINES, "line 940", "line 999"));
    }
}

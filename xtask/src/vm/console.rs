//! A guest's console: keeps its end, and finds the lines in which a kernel says that something went wrong.

use std::collections::VecDeque;

/// Lines that are kept for a failure's report.
const TAIL_LINES: usize = 60;

/// What ails a guest's kernel, worst last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fault {
    HungTask,
    RcuStall,
    LostTimer,
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
            Self::LostTimer => "a processor without its timer",
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
    /// The processors that idled in a stall, as the kernel lists them.
    idle: Vec<String>,
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
        self.idle.extend(idle_in_stall(line).map(str::to_owned));
        let lost = lost_timer(line).filter(|processor| self.idle.iter().any(|idle| idle == processor));
        self.fault = self.fault.max(fault_of(line)).max(lost.map(|_| Fault::LostTimer));
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

/// The processor of a line of a stall that says that it idles, in no interrupt (`print_cpu_stall_info`, kernel/rcu/tree_stall.h):
/// `rcu: 0-...!: (0 ticks this GP) idle=2818/0/0x0 softirq=33/33 …`
fn idle_in_stall(line: &str) -> Option<&str> {
    let (processor, rest) = line.split_once("rcu: ")?.1.trim_start().split_once('-')?;
    rest.contains("/0/0x0 softirq=").then_some(processor)
}

/// The processor whose timer did not wake RCU's thread: `Possible timer handling issue on cpu=0 timer-softirq=8`. One that hangs with its
/// interrupts off is named so, too: it has lost its timer only if it idles.
fn lost_timer(line: &str) -> Option<&str> {
    line.split_once("Possible timer handling issue on cpu=")?.1.split_whitespace().next()
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
    fn a_stall_for_want_of_a_timer_is_none_of_the_kernels() {
        let stall = [
            "[   22.445080] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\r",
            "[   22.447099] rcu: \t0-...!: (0 ticks this GP) idle=2818/0/0x0 softirq=33/33 fqs=0 (false positive?)\r",
            "[   22.448813] rcu: \tPossible timer handling issue on cpu=0 timer-softirq=8\r",
            "[   22.448813] rcu: rcu_preempt kthread starved for 5254 jiffies! g-1147 f0x0 ->state=0x402 ->cpu=0\r",
        ];
        assert_eq!(after(&stall).fault(), Some(Fault::LostTimer));
        assert_eq!(after(&stall[..2]).fault(), Some(Fault::RcuStall));
        let hangs = stall[1].replace("2818/0/0x0", "2819/1/0x4000000000000000");
        assert_eq!(after(&[stall[0], &hangs, stall[2], stall[3]]).fault(), Some(Fault::RcuStall));
        let another = stall[1].replace("0-...!", "1-...!");
        assert_eq!(after(&[stall[0], &another, stall[2], stall[3]]).fault(), Some(Fault::RcuStall));
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

//! A guest's console: keeps its end, and finds the lines in which a kernel reports that something went wrong.

use std::collections::VecDeque;

const TAIL_LINES: usize = 60;

/// What ails a guest's kernel, worst first, and what kernels from 5.10 to 7.3 print for it. From kernel/panic.c,
/// arch/x86/kernel/{dumpstack,traps}.c, arch/x86/mm/fault.c, kernel/rcu/tree_stall.h, kernel/watchdog.c, kernel/hung_task.c.
const FAULTS: [(&str, &[&str]); 7] = [
    ("a kernel panic", &["Kernel panic - not syncing"]),
    (
        "a kernel oops",
        &["Oops: ", "BUG: unable to handle", "BUG: kernel NULL pointer", "general protection fault", "double fault: "],
    ),
    ("a kernel BUG", &["kernel BUG at ", "] BUG: "]),
    ("a soft lock-up", &["soft lockup - CPU#", "hard LOCKUP on cpu"]),
    (LOST_TIMER, &[]),
    (
        "an RCU stall",
        &[
            "detected stalls on CPU",
            "detected expedited stalls on CPU",
            "self-detected stall on CPU",
            "kthread starved for",
        ],
    ),
    ("a hung task", &["blocked for more than "]),
];
/// Found by `lost_timer`.
pub(super) const LOST_TIMER: &str = "a processor without its timer";

/// What was seen of a console so far.
#[derive(Default)]
pub(super) struct Console {
    pub(super) tail: VecDeque<String>,
    /// The place of the worst fault in the table.
    fault: Option<usize>,
    /// The processors that idled in a stall, as the kernel lists them.
    idle: Vec<String>,
}

impl Console {
    /// Takes a line as it came from the serial port. True if it is the first sign of trouble.
    pub(super) fn feed(&mut self, raw: &str) -> bool {
        let line = raw.trim_end_matches(['\r', '\n']);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        let before = self.fault;
        self.idle.extend(idle_in_stall(line).map(str::to_owned));
        let has_lost = lost_timer(line).is_some_and(|processor| self.idle.iter().any(|idle| idle == processor));
        let is_fault = |(name, signs): &(&str, &[&str])| {
            *name == LOST_TIMER && has_lost || is_stamped(line) && signs.iter().any(|sign| line.contains(sign))
        };
        self.fault = FAULTS.iter().position(is_fault).into_iter().chain(before).min();
        before.is_none() && self.fault.is_some()
    }

    /// The worst fault that was seen.
    pub(super) fn fault(&self) -> Option<&'static str> {
        FAULTS.get(self.fault?).map(|(name, _)| *name)
    }
}

/// A line without the kernel's time stamp is a program's, which may print "BUG: " as it likes; before the stamps start, a
/// kernel has no fault to report that would not end it.
fn is_stamped(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// The processor in a line about a stall that idles, in no interrupt (`print_cpu_stall_info`, kernel/rcu/tree_stall.h):
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

    fn fault_after(lines: &[&str]) -> Option<&'static str> {
        let mut console = Console::default();
        lines.iter().for_each(|line| _ = console.feed(line));
        console.fault()
    }

    #[test]
    fn faults_are_distinguished() {
        for (line, fault) in [
            (
                "[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n",
                Some("a kernel panic"),
            ),
            ("[    3.1] Oops: 0000 [#1] PREEMPT SMP NOPTI\r\n", Some("a kernel oops")),
            ("[    3.1] BUG: kernel NULL pointer dereference, address: 0000000000000018\r", Some("a kernel oops")),
            ("[    3.1] BUG: unable to handle page fault for address: ffffb1\r", Some("a kernel oops")),
            ("[   60.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [ndctl:77]\r", Some("a soft lock-up")),
            ("[   60.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\r", Some("an RCU stall")),
            ("[   60.0] rcu: INFO: rcu_sched self-detected stall on CPU\r", Some("an RCU stall")),
            ("[  243.0] INFO: task ndctl:93 blocked for more than 120 seconds.\r", Some("a hung task")),
            ("[    9.9] kernel BUG at drivers/nvdimm/bus.c:123!\r", Some("a kernel BUG")),
            ("[    9.9] BUG: sleeping function called from invalid context at mm/page.c:1\r", Some("a kernel BUG")),
            ("SeaBIOS (version 1.16.3)\r\n", None),
            ("[    0.1] Spectre V2 : Mitigation: Retpolines\r", None),
            ("[    7.0] really_probe: driver_sysfs_add(pfn0.1) failed\r", None),
            ("BUG: printed by a program", None),
            ("", None),
        ] {
            assert_eq!(fault_after(&[line]), fault, "{line}");
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
        assert_eq!(fault_after(&stall), Some(LOST_TIMER));
        assert_eq!(fault_after(&stall[..2]), Some("an RCU stall"));
        let hangs = stall[1].replace("2818/0/0x0", "2819/1/0x4000000000000000");
        let another = stall[1].replace("0-...!", "1-...!");
        for line in [&hangs, &another] {
            assert_eq!(fault_after(&[stall[0], line, stall[2], stall[3]]), Some("an RCU stall"));
        }
    }

    #[test]
    fn worst_fault_stays_the_first_sign_is_news_and_the_tail_is_bounded() {
        let mut console = Console::default();
        assert!(console.feed("[ 1.0] BUG: unable to handle page fault"));
        assert!(!console.feed("[ 1.1] Kernel panic - not syncing: Fatal exception"));
        assert!(!console.feed("[ 1.2] BUG: again"));
        assert_eq!(console.fault(), Some("a kernel panic"));
        for number in 0..1000 {
            console.feed(&format!("line {number}\r\n"));
        }
        let tail = console.tail;
        assert_eq!((tail.len(), &*tail[0], &*tail[TAIL_LINES - 1]), (TAIL_LINES, "line 940", "line 999"));
    }
}

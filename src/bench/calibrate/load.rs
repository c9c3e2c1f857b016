//! What other programs take of the processor meanwhile: then more threads lose to fewer for a reason that is gone tomorrow.

/// Processor time since the start of the system and of this process, in the kernel's ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    total: u64,
    busy: u64,
    own: u64,
}

impl Load {
    /// Now; none where the system does not tell as Linux does.
    pub fn now() -> Option<Load> {
        Load::parse(&std::fs::read_to_string("/proc/stat").ok()?, &std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(system: &str, own: &str) -> Option<Load> {
        let ticks: Vec<u64> =
            system.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|n| n.parse().ok()).take(8).collect();
        let [_, _, _, idle, waiting, ..] = ticks[..] else { return None };
        let total = ticks.iter().sum::<u64>();
        // The program's name stands in parentheses and may hold anything; user and system time are the 12th and 13th field after it.
        let fields: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
        let own = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Load { total, busy: total - idle - waiting, own })
    }

    /// Percent of the machine that other programs took since then.
    pub fn of_others_since(self, then: Load) -> u8 {
        let total = self.total.saturating_sub(then.total);
        let others = self.busy.saturating_sub(then.busy).saturating_sub(self.own.saturating_sub(then.own));
        (100 * others).checked_div(total).map_or(0, |percent| percent.min(100) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_takes_is_not_counted() {
        let at = |system: &str, own: &str| Load::parse(system, own).expect("as Linux has it");
        let process = |user: u64| format!("17 (a) b) R 1 1 1 0 -1 0 9 9 9 9 {user} 5 0 0 20 0 3 0");
        let then = at("cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 1\n", &process(10));
        let now = at("cpu  160 0 60 920 60 0 0 0 7 7\ncpu0 1\n", &process(40));
        // Of 200 ticks 70 were busy, 30 of them this process's.
        assert_eq!(now.of_others_since(then), 20);
        assert_eq!(then.of_others_since(then), 0);
        assert!(Load::parse("intr 1", &process(1)).is_none() && Load::parse("cpu  1 2 3 4 5", "17").is_none());
        #[cfg(target_os = "linux")]
        assert!(Load::now().is_some());
    }
}

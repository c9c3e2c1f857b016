//! What the system tells of processes: processor time, peak memory, and how busy everybody else is.
//!
//! Processor time is known on Unix, peak memory on Linux and macOS, the load of others on Linux; elsewhere nothing is said.

use std::time::{Duration, Instant};

/// Processor seconds of this process so far, in all of its threads.
pub fn own_seconds() -> Option<f64> {
    #[cfg(unix)]
    {
        seconds_of(nix::sys::resource::UsageWho::RUSAGE_SELF)
    }
    #[cfg(not(unix))]
    {
        None
    }
}

#[cfg(unix)]
fn seconds_of(who: nix::sys::resource::UsageWho) -> Option<f64> {
    let usage = nix::sys::resource::getrusage(who).ok()?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The most bytes of this process that were in memory at once.
pub fn peak_memory() -> Option<u64> {
    // Not the usage's own figure on Linux: that begins with what the parent had when it started this process.
    #[cfg(target_os = "linux")]
    {
        kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:").map(|kilobytes| kilobytes << 10)
    }
    #[cfg(target_os = "macos")]
    {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
        u64::try_from(usage.max_rss()).ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        None
    }
}

#[cfg(any(target_os = "linux", test))]
fn kilobytes(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// Ends this process at once: a runtime's threads would not let it end in order.
pub fn end_now() -> ! {
    #[cfg(unix)]
    {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
    std::process::exit(1)
}

/// Who else computes while something is measured.
pub struct Watch {
    begun: Instant,
    busy: Option<f64>,
    own: Option<f64>,
}

impl Watch {
    /// Begins to watch.
    pub fn begin() -> Watch {
        Watch { begun: Instant::now(), busy: busy_seconds().map(|busy| busy.0), own: with_children() }
    }

    /// The share of all processors that others, or the machine's host, had meanwhile, 0 to 1. Children of this process count as itself once
    /// they were waited for. Not known where the system does not tell, or within a moment.
    pub fn others(&self) -> Option<f64> {
        let elapsed = self.begun.elapsed();
        if elapsed < Duration::from_secs(1) {
            return None;
        }
        let (now, processors) = busy_seconds()?;
        let (busy, own) = (now - self.busy?, with_children()? - self.own?);
        Some(((busy - own) / (elapsed.as_secs_f64() * processors)).clamp(0.0, 1.0))
    }
}

/// Processor seconds of this process and of its children that have ended.
fn with_children() -> Option<f64> {
    #[cfg(unix)]
    {
        Some(own_seconds()? + seconds_of(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?)
    }
    #[cfg(not(unix))]
    {
        None
    }
}

/// Processor seconds of everybody since the machine started, what its host took included; and how many processors they are of.
fn busy_seconds() -> Option<(f64, f64)> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    Some((busy_ticks(&stat)? as f64 / TICKS_PER_SECOND, processors(&stat) as f64))
}

/// Of `/proc/stat`, on every architecture that Linux tells it on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The first line: user, nice, system, idle, waiting for a disk, interrupts twice, taken by the host; what follows is part of the first two.
fn busy_ticks(stat: &str) -> Option<u64> {
    let ticks: Vec<u64> = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let &[user, nice, system, _, _, interrupts, soft, ref rest @ ..] = ticks.as_slice() else { return None };
    Some(user + nice + system + interrupts + soft + rest.first().copied().unwrap_or(0))
}

/// The table has a line for each that is on, whichever of them this process may use.
fn processors(stat: &str) -> usize {
    let is_one = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    stat.lines().filter(is_one).count().max(1)
}

/// The processes that wanted a processor over the last minute, on average.
pub fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_tables_are_read() {
        assert_eq!(busy_ticks("cpu  100 20 30 4000 50 6 7 8 90 10\ncpu0 1 2 3"), Some(171));
        assert_eq!(processors("cpu  1 2\ncpu0 1\ncpu1 1\ncpu12 1\nintr 5\ncpufreq 1\n"), 3);
        assert_eq!(busy_ticks("intr 1 2 3"), None);
        assert_eq!(busy_ticks("cpu  1 2"), None);
        assert_eq!(kilobytes("VmPeak:\t  9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 7 kB\n", "VmHWM:"), Some(2048));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_and_memory_are_seen() {
        let (begun, watch) = (own_seconds().expect("seconds"), Watch::begin());
        let mut value = 1u64;
        while own_seconds().expect("seconds") - begun < 0.05 {
            value = std::hint::black_box(value.wrapping_mul(6364136223846793005).wrapping_add(1));
        }
        let before = peak_memory().expect("memory");
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(block.iter().map(|&byte| u64::from(byte)).sum::<u64>() == 64 << 20);
        assert!(peak_memory().expect("memory") >= before && before > 1 << 20);
        assert_eq!(watch.others(), None, "a moment says nothing");
        assert!(load().is_some() && busy_seconds().expect("seconds").0 > 0.0);
    }
}

//! What a lockfile tells of the machine that it was written on.

use crate::embed::select;
use crate::recipe::lock::Machine;

/// This machine.
pub(super) fn this() -> Machine {
    Machine {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cpu: cpu(),
        threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        instruction_set: instruction_set(),
    }
}

/// The processor's name, as the system tells it.
fn cpu() -> Option<String> {
    let name = if cfg!(target_os = "macos") {
        let output = std::process::Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output().ok()?;
        String::from_utf8(output.stdout).ok()?
    } else if cfg!(windows) {
        std::env::var("PROCESSOR_IDENTIFIER").ok()?
    } else {
        let table = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        table.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.to_owned()))?
    };
    let words: Vec<&str> = name.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The extensions that the runtimes choose their kernels by, sorted.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn instruction_set() -> Vec<String> {
    let known = [
        // Where the system lets it be used as well.
        ("amx-bf16", select::has_tiles()),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("fma", is_x86_feature_detected!("fma")),
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
    ];
    named(&known)
}

/// The extensions that the runtimes choose their kernels by, sorted.
#[cfg(target_arch = "aarch64")]
fn instruction_set() -> Vec<String> {
    use std::arch::is_aarch64_feature_detected;
    let known = [
        ("bf16", is_aarch64_feature_detected!("bf16")),
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("fp16", is_aarch64_feature_detected!("fp16")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
        ("neon", is_aarch64_feature_detected!("neon")),
        ("sve", is_aarch64_feature_detected!("sve")),
    ];
    named(&known)
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_set() -> Vec<String> {
    Vec::new()
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))]
fn named(known: &[(&str, bool)]) -> Vec<String> {
    known.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_same_machine_is_told_in_the_same_words() {
        let machine = super::this();
        assert_eq!(machine, super::this());
        assert!(machine.instruction_set.is_sorted() && machine.threads > 0);
        #[cfg(target_os = "linux")]
        if let Ok(table) = std::fs::read_to_string("/proc/cpuinfo") {
            // The kernel's own list is the reference.
            for feature in ["avx2", "fma", "f16c", "avx512f"] {
                let there = table.lines().any(|line| line.starts_with("flags") && line.split(' ').any(|word| word == feature));
                assert_eq!(machine.instruction_set.iter().any(|name| name == feature), there, "{feature}");
            }
        }
    }
}

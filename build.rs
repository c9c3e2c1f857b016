//! Stamps the build with its git revision and the versions of libraries that do not tell theirs, and says which backends it carries:
//! `cfg(backend_onnx)`, `cfg(backend_mlx)`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(backend_onnx)");
    println!("cargo::rustc-check-cfg=cfg(backend_mlx)");
    if env::var_os("CARGO_FEATURE_ONNX").is_some() {
        println!("cargo::rustc-cfg=backend_onnx");
    }
    let target = |key: &str| env::var(key).unwrap_or_default();
    // On Apple silicon every build carries it: see the target's dependencies in Cargo.toml.
    let apple = target("CARGO_CFG_TARGET_OS") == "macos" && target("CARGO_CFG_TARGET_ARCH") == "aarch64";
    if apple || env::var_os("CARGO_FEATURE_MLX").is_some() {
        println!("cargo::rustc-cfg=backend_mlx");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let revision = revision().map(|revision| format!(" ({revision})")).unwrap_or_default();
    println!("cargo::rustc-env=PATINA_REVISION={revision}");
    println!("cargo::rerun-if-changed=Cargo.lock");
    let resolved = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    for (crate_name, variable) in [("tokenizers", "PATINA_TOKENIZERS"), ("ort", "PATINA_ORT")] {
        println!("cargo::rustc-env={variable}={}", version_of(crate_name, &resolved));
    }
}

/// The version of a dependency that does not tell its own, as Cargo's lockfile has it: lockfiles of projects pin it.
fn version_of(name: &str, resolved: &str) -> String {
    let mut lines = resolved.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \""));
    version.map_or("unknown", |version| version.trim_end_matches('"')).to_owned()
}

/// The short hash of the commit, if this is a checkout and git is there. A source archive has none.
fn revision() -> Option<String> {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // Only when the root of the checkout is this package: a vendored copy does not bear its host's revision.
    let prefix = git(&["rev-parse", "--show-prefix"])?;
    if !prefix.is_empty() {
        return None;
    }
    let folder = git(&["rev-parse", "--absolute-git-dir"])?;
    let head = Path::new(&folder).join("logs/HEAD");
    if head.exists() {
        println!("cargo::rerun-if-changed={}", head.display());
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

//! `patina runtime`: the libraries that engines run on.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::cli::Context;
use crate::embed::provision::{Outcome, PINNED, Places, Platform, Source, install};
use crate::embed::select;
use crate::error::{Error, Result};
use crate::progress::Job;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put ONNX Runtime into Patina's cache: the pinned version through pip, or one at hand.
    Install {
        /// A wheel of onnxruntime, or a library, to install instead of fetching one (no network).
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Fetch for another platform: linux-x86_64, linux-arm64, macos-arm64 or windows-x86_64.
        #[arg(long, value_name = "PLATFORM", conflicts_with = "from")]
        platform: Option<String>,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<()> {
    let Command::Install { from, platform } = command;
    let platform = match platform {
        None => None,
        Some(name) => Some(Platform::parse(&name).ok_or_else(|| {
            let known: Vec<&str> = Platform::ALL.iter().map(|platform| platform.name()).collect();
            Error::usage(format!("{name:?} is not a platform that Patina knows")).hint(format!("known are {}", known.join(", ")))
        })?),
    };
    let places = Places::of_this_machine();
    let progress = context.report.progress();
    let source = from.map_or(Source::Pip, Source::File);
    let installed = install(&source, platform.or(Platform::current()), &places, Job::new(progress.as_ref(), &context.cancel))?;
    // A library for this machine is proven by loading it.
    let here = platform.is_none() || platform == Platform::current();
    let loaded = if here { Some(select::onnx_version(&installed.located.path)?) } else { None };
    let version = loaded.clone().or(installed.located.version).unwrap_or_else(|| PINNED.to_string());
    let path = installed.located.path;
    let outcome = match installed.outcome {
        Outcome::AlreadyThere => "already installed",
        Outcome::Fresh => "installed",
        Outcome::Replaced => "installed in place of a damaged one",
    };
    let value = json!({
        "version": version, "path": path, "outcome": outcome, "sha256_verified": installed.verified, "loads": loaded.is_some(),
    });
    context.report.result(&value, |_| {
        let verified = if installed.verified { "hash checked" } else { "hash not known" };
        let loads = if loaded.is_some() { ", loads" } else { "" };
        format!("ONNX Runtime {version} {outcome} ({verified}{loads})\n{}", path.display())
    })
}

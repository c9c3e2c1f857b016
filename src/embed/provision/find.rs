//! The search for ONNX Runtime's library: the one the user names, then Patina's cache, then the system.

use std::path::{Path, PathBuf};

use super::catalogue::{Platform, version_in_name};
use super::record::Record;
use super::{COMMAND, LIBRARY_VARIABLE, MINIMUM, Places, Version};
use crate::error::{Error, Result};

/// Who brought a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user named it ([`LIBRARY_VARIABLE`]).
    Named,
    /// `patina runtime install` put it into Patina's cache.
    Cache,
    /// It lies in a library folder of the system.
    System,
}

impl Origin {
    /// The words in reports.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Named => LIBRARY_VARIABLE,
            Origin::Cache => "cache",
            Origin::System => "system",
        }
    }
}

/// A library that can be tried: whoever loads it asks it for its version again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The library.
    pub path: PathBuf,
    /// Its version as its name or its install record tells; none if neither does.
    pub version: Option<String>,
    /// Who brought it.
    pub origin: Origin,
}

/// A place that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which search it belongs to.
    pub origin: Origin,
    /// The library, or the folder that was searched in vain.
    pub path: PathBuf,
    /// What was found.
    pub finding: Finding,
}

/// What a place has to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A library that can be tried, and its version if known.
    Usable(Option<Version>),
    /// A library of a release that lacks the API.
    TooOld(Version),
    /// Something that should be a library and is none: what is wrong with it.
    Damaged(String),
    /// Nothing.
    Absent,
}

/// The library to load: the first usable one of [`candidates`].
///
/// # Errors
/// `Missing` if there is none, or only ones that are too old; `Missing` too if the one that the user named is not there or too
/// old, for a named library is used or refused and never replaced by another one; `Corrupt` if an installed one is damaged.
pub fn find(places: &Places) -> Result<Located> {
    let mut too_old = None;
    for Candidate { origin, path, finding } in candidates(places) {
        match finding {
            Finding::Usable(version) => return Ok(Located { path, version: version.map(|version| version.to_string()), origin }),
            Finding::TooOld(version) if origin == Origin::Named => return Err(refused(&path, version, Some(LIBRARY_VARIABLE))),
            Finding::TooOld(version) => too_old = too_old.or(Some((path, version))),
            Finding::Damaged(reason) if origin == Origin::Named => {
                return Err(Error::missing(format!("{LIBRARY_VARIABLE} names no library of ONNX Runtime: {reason}"))
                    .at(path)
                    .hint(format!("correct {LIBRARY_VARIABLE}, or unset it and run `{COMMAND}`")));
            }
            Finding::Damaged(reason) => {
                return Err(Error::corrupt(format!("the installed ONNX Runtime is damaged: {reason}"))
                    .at(path)
                    .hint(format!("run `{COMMAND}`: it replaces what is damaged")));
            }
            Finding::Absent => {}
        }
    }
    match too_old {
        Some((path, version)) => Err(refused(&path, version, None)),
        None => Err(Error::missing(format!(
            "ONNX Runtime is not on this machine: {LIBRARY_VARIABLE} is not set, and neither Patina's cache nor the system has it"
        ))
        .hint(format!("run `{COMMAND}`, or set {LIBRARY_VARIABLE} to the library"))),
    }
}

fn refused(path: &Path, found: Version, variable: Option<&str>) -> Error {
    let named = variable.map(|variable| format!(" that {variable} names")).unwrap_or_default();
    let unset = variable.map(|variable| format!("unset {variable} and ")).unwrap_or_default();
    Error::missing(format!("the ONNX Runtime{named} is too old: found {found}, needed {MINIMUM} or newer"))
        .at(path)
        .hint(format!("{unset}run `{COMMAND}`"))
}

/// Every place that is looked at, in order of preference, with what is there. A named library is the only one: it ends the search.
pub fn candidates(places: &Places) -> Vec<Candidate> {
    if let Some(path) = &places.named {
        return vec![Candidate { origin: Origin::Named, path: path.clone(), finding: judge_named(path) }];
    }
    let mut all = cached(places);
    all.extend(places.system.iter().flat_map(|folder| in_system(folder, places.platform)));
    all
}

fn judge_named(path: &Path) -> Finding {
    match std::fs::metadata(path) {
        Ok(facts) if facts.is_file() => judge(path),
        Ok(_) => Finding::Damaged("it is not a file".to_owned()),
        Err(e) => Finding::Damaged(format!("it cannot be read: {e}")),
    }
}

/// Judges a library by its name, links followed: `libonnxruntime.so` is usually a link to the name with the version.
fn judge(path: &Path) -> Finding {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let named = |path: &Path| path.file_name().and_then(|name| name.to_str()).and_then(version_in_name);
    match named(&real).or_else(|| named(path)) {
        Some(version) if !version.is_enough() => Finding::TooOld(version),
        version => Finding::Usable(version),
    }
}

/// What the cache has for this platform: the newest release first, one of unknown version last.
fn cached(places: &Places) -> Vec<Candidate> {
    let (Some(runtimes), Some(platform)) = (places.runtimes(), places.platform) else {
        return Vec::new();
    };
    let candidate = |path: PathBuf, finding| Candidate { origin: Origin::Cache, path, finding };
    let mut found: Vec<(Option<Version>, Candidate)> = names_in(&runtimes)
        .into_iter()
        .filter_map(|name| {
            let version = installed_version(&name, platform)?;
            let folder = runtimes.join(&name);
            let (path, finding) = match Record::read(&folder) {
                Ok(Some(record)) => match (record.library_in(&folder), record.fault(&folder)) {
                    (Ok(path), Ok(None)) => {
                        let version = record.version();
                        let old = version.filter(|version| !version.is_enough());
                        (path, old.map_or(Finding::Usable(version), Finding::TooOld))
                    }
                    (Ok(path), Ok(Some(fault))) => (path, Finding::Damaged(fault)),
                    (Err(e), _) | (_, Err(e)) => (folder, Finding::Damaged(e.message().to_owned())),
                },
                Ok(None) => (folder, Finding::Damaged("it has no install record".to_owned())),
                Err(e) => (folder, Finding::Damaged(e.message().to_owned())),
            };
            Some((version, candidate(path, finding)))
        })
        .collect();
    // `None` is below every version.
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.path.cmp(&b.1.path)));
    match found.is_empty() {
        true => vec![candidate(runtimes, Finding::Absent)],
        false => found.into_iter().map(|(_, candidate)| candidate).collect(),
    }
}

/// The name of the folder of an installed runtime.
pub(super) fn folder_name(version: Option<Version>, platform: Platform) -> String {
    match version {
        Some(version) => format!("onnxruntime-{version}-{platform}"),
        None => format!("onnxruntime-unversioned-{platform}"),
    }
}

/// The reverse of [`folder_name`]: none if the name is another's, such as another platform's or a temporary folder's.
fn installed_version(name: &str, platform: Platform) -> Option<Option<Version>> {
    let middle = name.strip_prefix("onnxruntime-")?.strip_suffix(platform.name())?.strip_suffix('-')?;
    match middle {
        "unversioned" => Some(None),
        middle => Version::parse(middle).map(Some),
    }
}

/// The libraries in one folder of the system, newest first; links to the same file count once.
fn in_system(folder: &Path, platform: Option<Platform>) -> Vec<Candidate> {
    let candidate = |path: PathBuf, finding| Candidate { origin: Origin::System, path, finding };
    let is_library = |name: &str| match platform {
        Some(platform) => platform.is_library(name),
        None => Platform::ALL.iter().any(|platform| platform.is_library(name)),
    };
    let mut files: Vec<PathBuf> = names_in(folder)
        .into_iter()
        .filter(|name| is_library(name))
        .filter_map(|name| std::fs::canonicalize(folder.join(name)).ok())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files.dedup();
    let mut found: Vec<Candidate> = files
        .into_iter()
        .map(|path| {
            let finding = judge(&path);
            candidate(path, finding)
        })
        .collect();
    let rank = |candidate: &Candidate| match candidate.finding {
        Finding::Usable(version) => (1, version),
        _ => (0, None),
    };
    found.sort_by(|a, b| rank(b).cmp(&rank(a)).then_with(|| a.path.cmp(&b.path)));
    if found.is_empty() {
        found.push(candidate(folder.to_path_buf(), Finding::Absent));
    }
    found
}

/// The names in a folder, sorted; none if it cannot be read.
fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The library folders of this system, those the user added first.
pub(super) fn system_folders() -> Vec<PathBuf> {
    // Not on Windows: System32 has an old onnxruntime.dll of the system's own, and PATH is no place to take a library from.
    let (variable, usual): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("DYLD_LIBRARY_PATH", &["/opt/homebrew/lib", "/usr/local/lib"])
    } else if cfg!(target_os = "linux") {
        let by_machine = if cfg!(target_arch = "aarch64") { "/usr/lib/aarch64-linux-gnu" } else { "/usr/lib/x86_64-linux-gnu" };
        ("LD_LIBRARY_PATH", &["/usr/local/lib", "/usr/local/lib64", by_machine, "/usr/lib64", "/usr/lib"])
    } else {
        return Vec::new();
    };
    let added = std::env::var_os(variable).unwrap_or_default();
    let added: Vec<PathBuf> = std::env::split_paths(&added).filter(|folder| folder.is_absolute()).collect();
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in added.into_iter().chain(usual.iter().map(PathBuf::from)) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

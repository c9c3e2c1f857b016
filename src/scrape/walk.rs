//! Which files of a project are looked at: the tree under `.gitignore`, and the listed folders of session notes.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, WalkBuilder};

use super::formats::{Format, Verdict, verdict};
use super::{LeftOut, Options};
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;

/// Patina's own folder, which is never read.
const OWN_FOLDER: &str = ".patina";

/// Folders of other people's code and of what was built. They are read only if a pattern of `include` names them.
pub const VENDORED: &[&str] = &[
    "bower_components",
    "Carthage",
    "dist",
    "node_modules",
    "Pods",
    "site-packages",
    "third-party",
    "third_party",
    "thirdparty",
    "vendor",
    "vendored",
];

/// A file to read.
#[derive(Debug)]
pub(super) struct Candidate {
    pub path: PathBuf,
    pub format: Format,
    /// It lies in a folder that the options list as one of session notes.
    pub listed: bool,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By path relative to the project, with forward slashes.
    pub files: BTreeMap<String, Candidate>,
    pub left_out: Vec<LeftOut>,
    pub other_files: u64,
    pub notes: Vec<String>,
    /// Folders (relative, with forward slashes; empty for the whole project) that could not be read: what is known of them stays.
    pub unreadable: Vec<String>,
}

/// Walks the project. `in_work_tree` says that `.gitignore` files above the project belong to its repository.
pub(super) fn walk(root: &Path, options: &Options, in_work_tree: bool, job: Job<'_>) -> Result<Found> {
    let filter = Filter::new(root, options)?;
    let mut found = Found::default();
    let mut tree = WalkBuilder::new(root);
    // The user's own global ignore file is no part of the project: the same project gives the same chunks to everybody.
    tree.require_git(false).git_global(false).parents(in_work_tree).follow_links(false);
    run(tree, &filter, true, &mut found, job)?;
    for folder in &filter.folders {
        let path = root.join(folder);
        if folder.is_empty() {
            continue;
        }
        if !path.is_dir() {
            found.notes.push(format!("the folder of session notes {folder} is not there"));
            continue;
        }
        let mut notes = WalkBuilder::new(&path);
        notes.standard_filters(false).follow_links(false);
        run(notes, &filter, false, &mut found, job)?;
    }
    let seen = std::mem::take(&mut *filter.seen.lock().unwrap_or_else(PoisonError::into_inner));
    found.left_out.extend(seen.vendored.into_iter().map(|path| LeftOut { path: format!("{path}/"), reason: VENDORED_REASON.to_owned() }));
    if let [first, ..] = seen.nested.as_slice() {
        let others = if seen.nested.len() > 1 { format!(" and {} more", seen.nested.len() - 1) } else { String::new() };
        found.notes.push(format!("{first}{others}: a repository of its own, such as a submodule; its files are read, its history is not"));
    }
    found.left_out.sort();
    found.left_out.dedup();
    Ok(found)
}

/// `all` says that this is the walk of the whole project, in which other people's code is left out.
fn run(mut builder: WalkBuilder, filter: &Filter, all: bool, found: &mut Found, job: Job<'_>) -> Result<()> {
    let pruning = filter.clone();
    builder.filter_entry(move |entry| pruning.enters(entry, all)).sort_by_file_path(Ord::cmp);
    for entry in builder.build() {
        job.check()?;
        match entry {
            Ok(entry) => {
                // A line of an ignore file that is no pattern.
                found.notes.extend(entry.error().map(ToString::to_string));
                filter.take(&entry, found);
            }
            Err(error) => {
                let place = path_of(&error).map(|path| filter.relative(path).unwrap_or_default()).unwrap_or_default();
                found.notes.push(format!("cannot look into {}: {}", if place.is_empty() { "the project" } else { &place }, error));
                found.unreadable.push(place);
            }
        }
    }
    Ok(())
}

#[derive(Clone)]
struct Filter {
    root: PathBuf,
    /// Normalised: relative, forward slashes, no `.`; empty for the project itself.
    folders: Vec<String>,
    include: Option<Gitignore>,
    /// Folders of [`VENDORED`] that a pattern of `include` names.
    wanted: Vec<&'static str>,
    exclude: Gitignore,
    /// What the walk came by, whose filter only says yes or no.
    seen: Arc<Mutex<Seen>>,
}

/// Folders, relative to the project.
#[derive(Debug, Default)]
struct Seen {
    /// Those that were left out as other people's code.
    vendored: Vec<String>,
    /// Those that are repositories of their own.
    nested: Vec<String>,
}

const VENDORED_REASON: &str = "other people's code, or built; a pattern of `include` that names the folder has it read";

impl Filter {
    fn new(root: &Path, options: &Options) -> Result<Filter> {
        let folders = options.sessions.iter().map(|folder| session_folder(root, folder)).collect::<Result<Vec<_>>>()?;
        let include = match options.include.as_slice() {
            [] => None,
            patterns => Some(matcher(root, patterns, "include")?),
        };
        let named = |name: &&str| options.include.iter().any(|pattern| pattern.split('/').any(|part| part == *name));
        let wanted = VENDORED.iter().copied().filter(named).collect();
        let exclude = matcher(root, &options.exclude, "exclude")?;
        Ok(Filter { root: root.to_path_buf(), folders, include, wanted, exclude, seen: Arc::default() })
    }

    fn relative(&self, path: &Path) -> Option<String> {
        let relative = path.strip_prefix(&self.root).ok()?;
        let parts: Option<Vec<&str>> = relative.components().map(|part| part.as_os_str().to_str()).collect();
        Some(parts?.join("/"))
    }

    fn enters(&self, entry: &DirEntry, all: bool) -> bool {
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        if !is_folder {
            return true;
        }
        let Ok(relative) = entry.path().strip_prefix(&self.root) else { return false };
        let own =
            relative.components().any(|part| part == Component::Normal(OWN_FOLDER.as_ref()) || part == Component::Normal(".git".as_ref()));
        if own || relative.as_os_str().is_empty() {
            return !own;
        }
        if self.exclude.matched_path_or_any_parents(relative, true).is_ignore() {
            return false;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let path = || self.relative(entry.path()).unwrap_or_else(|| relative.to_string_lossy().into_owned());
        if all && VENDORED.contains(&name) && !self.wanted.contains(&name) {
            seen.vendored.push(path());
            return false;
        }
        if all && entry.path().join(".git").exists() {
            seen.nested.push(path());
        }
        true
    }

    fn take(&self, entry: &DirEntry, found: &mut Found) {
        let Some(kind) = entry.file_type().filter(|kind| !kind.is_dir()) else { return };
        let Some(path) = self.relative(entry.path()) else {
            let path = entry.path().strip_prefix(&self.root).unwrap_or(entry.path()).to_string_lossy().into_owned();
            found.left_out.push(LeftOut { path, reason: "its name is not UTF-8".to_owned() });
            return;
        };
        let relative = Path::new(&path);
        let included = self.include.as_ref().is_none_or(|include| include.matched_path_or_any_parents(relative, false).is_ignore());
        if !included || self.exclude.matched_path_or_any_parents(relative, false).is_ignore() || found.files.contains_key(&path) {
            return;
        }
        let mut leave_out = |reason: &str| found.left_out.push(LeftOut { path: path.clone(), reason: reason.to_owned() });
        match verdict(&entry.file_name().to_string_lossy()) {
            Verdict::Other => found.other_files += 1,
            Verdict::Made(what) => leave_out(what),
            Verdict::Read(_) if kind.is_symlink() => leave_out("a symbolic link; links are not followed"),
            Verdict::Read(_) if !kind.is_file() => leave_out("no regular file"),
            Verdict::Read(format) => {
                let listed = self.folders.iter().any(|folder| is_below(&path, folder));
                found.files.insert(path, Candidate { path: entry.path().to_path_buf(), format, listed });
            }
        }
    }
}

/// Whether a path lies in a folder; every path lies in the project itself, whose name is empty.
pub(super) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn session_folder(root: &Path, folder: &str) -> Result<String> {
    let refuse = |why: &str| Error::usage(format!("the folder of session notes {folder:?} {why}")).hint("name a folder inside the project");
    let inside = fs::contained(root, folder).map_err(|_| refuse("leaves the project"))?;
    let relative = inside.strip_prefix(root).map_err(|_| refuse("leaves the project"))?;
    let names = relative.components().filter(|part| matches!(part, Component::Normal(_)));
    let names: Vec<String> = names.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if names.first().is_some_and(|name| name == OWN_FOLDER) {
        return Err(refuse("is Patina's own"));
    }
    Ok(names.join("/"))
}

fn matcher(root: &Path, patterns: &[String], key: &str) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new(root);
    let refuse = |pattern: &str, e: ignore::Error| Error::usage(format!("the pattern {pattern:?} of `{key}` is none: {e}")).caused_by(e);
    for pattern in patterns {
        builder.add_line(None, pattern).map_err(|e| refuse(pattern, e))?;
    }
    builder.build().map_err(|e| refuse(&patterns.join(" "), e))
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        ignore::Error::Loop { child, .. } => Some(child),
        _ => None,
    }
}

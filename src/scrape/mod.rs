//! Session notes, git history, documents and source files become events.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::progress::Job;
use crate::store::{Kind, Store};

/// The largest file that is read unless the options say otherwise, in bytes.
pub const MAX_FILE_BYTES: u64 = 2 << 20;

/// What to read and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Folders of session notes, relative to the project; hidden and git-ignored ones too.
    pub sessions: Vec<String>,
    /// If not empty, only files that match one of these patterns (as in `.gitignore`) are read.
    pub include: Vec<String>,
    /// Files and folders that match one of these patterns (as in `.gitignore`) are not read.
    pub exclude: Vec<String>,
    /// Larger files are left out.
    pub max_file_bytes: u64,
    /// Read everything again and rebuild the derived tables, whatever seems unchanged.
    pub full: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { sessions: Vec::new(), include: Vec::new(), exclude: Vec::new(), max_file_bytes: MAX_FILE_BYTES, full: false }
    }
}

/// What a scrape found, by kind of source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Session notes.
    pub sessions: Tally,
    /// Commits.
    pub commits: Tally,
    /// Documents.
    pub documents: Tally,
    /// Source files.
    pub code: Tally,
    /// Files that were not read although their names say that they could be, and why; sorted by path.
    pub left_out: Vec<LeftOut>,
    /// Files that no rule reads, such as images.
    pub other_files: u64,
    /// Events that were written.
    pub events: u64,
    /// What else the user should know, such as that this is no git repository.
    pub notes: Vec<String>,
}

impl Report {
    /// The tally of a kind.
    pub fn tally(&self, kind: Kind) -> &Tally {
        match kind {
            Kind::Session => &self.sessions,
            Kind::Commit => &self.commits,
            Kind::Document => &self.documents,
            Kind::Code => &self.code,
        }
    }
}

/// Numbers of sources (files or commits) of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// New ones.
    pub added: u64,
    /// Known ones with other content.
    pub changed: u64,
    /// Known ones that are gone.
    pub removed: u64,
    /// Known ones with the same content.
    pub unchanged: u64,
}

/// A file that was not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeftOut {
    /// Relative to the project.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Brings the store up to date with the project at `root`.
pub fn scrape(_root: &Path, _store: &mut Store, _options: &Options, _job: Job<'_>) -> Result<Report> {
    Err(Error::bug("not built yet"))
}

//! Session notes, git history, documents and source files become events of the store.
//!
//! What is read:
//! - **Documents**: Markdown, reStructuredText, AsciiDoc and text, by heading, long sections cut at blank lines and list items.
//! - **Session notes**: Markdown whose first heading is `# Session: ...` or whose front matter dates and names it, anywhere in the project;
//!   and every document in the folders that [`Options::sessions`] lists.
//! - **Source files** by extension: along their syntax where there is a grammar, with symbols, imports and calls; else, and where the grammar does
//!   not understand the file, at blank lines. Short files are whole.
//! - **The git history** up to the commit that is checked out: one chunk a commit.
//!
//! The stated policies, each of which the [`Report`] tells of:
//! - `.gitignore` is respected, outside of git too; hidden files and `.patina/` are not read. Listed folders of session notes are read
//!   although hidden or ignored. Lock files, minified and generated files are left out.
//! - Other people's code and what was built is left out: folders named as in [`VENDORED`] unless a pattern of [`Options::include`] names them, and
//!   source files that say at their beginning that they are generated.
//! - A submodule's files are read as any others; its history is not. In a shallow clone the history is as long as the clone has it.
//! - An empty or blank file gives nothing. A binary file (a NUL in its first 8 KiB) and one of more than [`Options::max_file_bytes`] are left
//!   out; the latter is never read. JSON and XML beyond 32 KiB are data and left out.
//! - Bytes that are not UTF-8 become U+FFFD; the rest of the file is kept.
//! - Symbolic links are not followed. A file whose name is not UTF-8 is left out.
//! - A file that vanishes while it is read counts as deleted. One that cannot be read is noted, and what is known of it stays.
//! - Without git, or outside of a repository, everything else goes on.
//! - A second run over an unchanged project writes no event. A deleted file's chunks leave, and so do commits that a rewritten history no
//!   longer holds.

mod code;
mod commits;
mod files;
mod formats;
mod git;
mod headings;
mod notes;
mod pieces;
mod read;
mod walk;

#[cfg(test)]
mod meanings;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::progress::Job;
use crate::store::{Change, Kind, Store};

pub use code::{
    BYTES_OF_STEP, CODE_CHARS, DOC_CHARS, MAX_CALLS, MAX_ERROR_SHARE, MAX_IMPORTS, MAX_NESTING, MAX_SYMBOLS, PARSE_BYTES, PARSE_READS,
    PARSE_STEPS, PARSE_TIME, QUALIFIED_CHARS, SHORT_STEPS, SIGNATURE_CHARS, TARGET_BYTES,
};
pub use commits::{FILES_SHOWN, SUBJECT_CHARS};
pub use formats::DATA_BYTES;
pub use git::{MAX_COMMITS, MESSAGE_BYTES};
pub use headings::{CHUNK_CHARS, HEADING_CHARS};
pub use read::BINARY_BYTES;
pub use walk::VENDORED;

/// Reads a text as a source file of this name and keeps nothing of it: what stands before a stranger's source, for those who test it.
///
/// # Errors
/// [`ErrorKind::Bug`](crate::error::ErrorKind::Bug) if what came of it breaks a promise: pieces that name other lines than they have, facts
/// beyond their limits.
pub fn check_source(path: &str, text: &str) -> Result<()> {
    let lines = pieces::lines(text);
    let cut = code::cut(text, &lines, path, Job::silent());
    let lines_hold = cut.pieces.iter().all(|piece| {
        let named = piece.end_line as usize + 1 - piece.line as usize;
        piece.line >= 1 && piece.end_line as usize <= lines.len() && piece.text.lines().count() == named
    });
    let facts_hold = cut.facts.is_none_or(|facts| {
        let few = facts.symbols.len() <= MAX_SYMBOLS && facts.imports.len() <= MAX_IMPORTS && facts.calls.len() <= MAX_CALLS;
        let short = facts.imports.iter().all(|import| import.target.len() <= TARGET_BYTES);
        few && short
            && facts.symbols.iter().all(|symbol| symbol.qualified.chars().count() <= QUALIFIED_CHARS && symbol.line <= symbol.end_line)
    });
    match lines_hold && facts_hold {
        true => Ok(()),
        false => Err(Error::bug("what a source file came to breaks a promise").at(path)),
    }
}

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
    /// Files of a readable kind without any text.
    pub empty_files: u64,
    /// Files that no rule reads, such as images.
    pub other_files: u64,
    /// Source files that were read this time and that a grammar understood.
    pub parsed: u64,
    /// Source files that were read this time and whose grammar did not understand them (errors, size, steps, time): cut at blank lines, without facts.
    pub not_parsed: u64,
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

    /// Whether nothing was new, different or gone.
    pub fn is_unchanged(&self) -> bool {
        self.events == 0
    }

    fn tally_mut(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Session => &mut self.sessions,
            Kind::Commit => &mut self.commits,
            Kind::Document => &mut self.documents,
            Kind::Code => &mut self.code,
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

impl Tally {
    fn count(&mut self, change: Change) {
        *match change {
            Change::Added => &mut self.added,
            Change::Changed => &mut self.changed,
            Change::Unchanged => &mut self.unchanged,
        } += 1;
    }
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
///
/// Some hundred files are a transaction, and so are some hundred commits: an interruption keeps what was read, and the next scrape goes on
/// from there.
pub fn scrape(root: &Path, store: &mut Store, options: &Options, job: Job<'_>) -> Result<Report> {
    if !root.is_dir() {
        return Err(Error::missing("there is no such folder").at(root));
    }
    let mut report = Report::default();
    let before = store.counts()?.events;
    if options.full {
        store.rebuild(job)?;
    }
    let asked = git::find(root);
    let mut found = walk::walk(root, options, matches!(asked, git::Asked::Found(_)), job)?;
    report.left_out.append(&mut found.left_out);
    report.notes.append(&mut found.notes);
    report.other_files = found.other_files;
    files::scrape(&found, store, options, &mut report, job)?;
    commits::scrape(&asked, store, options.full, &mut report, job)?;
    report.left_out.sort();
    report.events = store.counts()?.events - before;
    store.finish_scrape(report.events)?;
    Ok(report)
}

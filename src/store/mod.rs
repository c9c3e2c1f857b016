//! The only truth on disk: `.patina/data/patina.db`, an append-only event log and the tables that are derived from it.
//!
//! Three layers live in the one SQLite file:
//! - `events` is only ever appended to (triggers refuse everything else). An event says what a source (a file, a commit) holds from
//!   now on, or that it is gone. Its id is a SHA-256 over its kind, its source, its content and the event of the same source before it, so
//!   the same history gives the same ids anywhere, and a file that is removed and comes back with the same bytes is two more
//!   events, not a lost one.
//! - `sources`, `chunks` (with the FTS5 table `chunks_fts`), `commits` and `commit_files`, `code_files`, `symbols`, `imports` and `calls`
//!   follow from the events alone; [`Store::rebuild`] makes them again.
//! - `vectors`, `file_stamps` and `state` are caches: losing them costs time, never knowledge.

mod census;
mod code;
mod events;
mod identifiers;
mod open;
mod read;
mod relations;
mod vectors;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::dump_derived;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use census::{Census, sqlite_version};
pub use code::{Call, CallEdge, CallFact, CallSite, CodeFacts, Import, ImportFact, Resolution, Symbol, SymbolFact, SymbolKind};
pub use identifiers::split_identifiers;
pub use open::{BUSY_TIMEOUT, FORMAT};
pub use relations::{CO_CHANGE_MIN_SUPPORT, Companion, Companions, MAX_CALL_DEPTH, MAX_RELATED, Related, Relatives, tie};
pub use vectors::StoredVectors;

/// Commits that touch more files than this are left out of the co-changes: they are sweeps (formatting, imports, renames) that
/// say nothing about which files belong together, and would make most of all pairs.
pub const CO_CHANGE_MAX_FILES: usize = 30;

/// BM25 weight of a match in a chunk's title.
pub const WEIGHT_TITLE: f64 = 2.0;
/// BM25 weight of a match in a chunk's text.
pub const WEIGHT_TEXT: f64 = 1.0;
/// BM25 weight of a match in a chunk's path.
pub const WEIGHT_PATH: f64 = 1.0;
/// BM25 weight of a match in the parts of a chunk's compound identifiers, which mostly repeat what the text says.
pub const WEIGHT_IDENTIFIERS: f64 = 0.5;

/// What a chunk was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A note about a working session.
    Session,
    /// A commit of the git history.
    Commit,
    /// A document: Markdown or text.
    Document,
    /// A source file.
    Code,
}

impl Kind {
    /// Every kind, in the order of reports.
    pub const ALL: [Kind; 4] = [Kind::Session, Kind::Commit, Kind::Document, Kind::Code];

    /// The word in the database, in reports and in filters.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Session => "session",
            Kind::Commit => "commit",
            Kind::Document => "document",
            Kind::Code => "code",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The searchable unit: a section, a piece of a file, or a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chunk {
    /// The canonical id, at most `i64::MAX`: the first 8 bytes (big-endian, top bit cleared) of a SHA-256 over kind, path, title, text and the
    /// ordinal among equal ones of the same source. It depends neither on the project's place nor on the time.
    pub id: u64,
    /// What it was cut from.
    pub kind: Kind,
    /// Relative to the project, with forward slashes; for a commit its full hash.
    pub path: String,
    /// First line, from 1; 0 for a commit.
    pub line: u32,
    /// Last line, from 1 and included; 0 for a commit.
    pub end_line: u32,
    /// The heading path (`A > B`), the subject of a commit, or the path of a source file.
    pub title: String,
    /// The body as it is shown. Never blank.
    pub text: String,
    /// When it was written, if the source says so: RFC 3339 or `YYYY-MM-DD`.
    pub date: Option<String>,
    /// What must never be split between training and evaluation: the path of the file, or the hash of the commit.
    pub group: String,
}

impl Chunk {
    /// What is embedded: the title, a line feed, the text.
    pub fn embed_text(&self) -> String {
        embed_text(&self.title, &self.text)
    }

    /// The SHA-256 of [`Chunk::embed_text`], the key of cached vectors.
    pub fn text_hash(&self) -> [u8; 32] {
        text_hash(&self.title, &self.text)
    }
}

/// A commit of the git history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The full hash, in hexadecimal.
    pub hash: String,
    /// When its author wrote it, RFC 3339 with the author's offset.
    pub date: String,
    /// The author's name.
    pub author: String,
    /// The first paragraph of the message, on one line.
    pub subject: String,
    /// The rest of the message.
    pub body: String,
    /// The files that it touches, sorted, relative to the project; a renamed file has its new path. Empty for a merge.
    pub files: Vec<String>,
}

/// Two files that changed in the same commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CoChange {
    /// The path that sorts first.
    pub a: String,
    /// The other path.
    pub b: String,
    /// In how many commits of at most [`CO_CHANGE_MAX_FILES`] files.
    pub count: u64,
}

/// How much there is of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Current chunks of each kind; every kind is there.
    pub chunks: BTreeMap<Kind, u64>,
    /// Events ever recorded.
    pub events: u64,
    /// Cached vectors of all models, the ones of texts that are no longer current included.
    pub vectors: u64,
    /// Current sources: files and commits.
    pub sources: u64,
    /// Current commits.
    pub commits: u64,
    /// Current symbols of source files.
    pub symbols: u64,
    /// Current calls in source files, whether it is known what they call or not.
    pub calls: u64,
    /// When the last scrape ended, RFC 3339 in UTC.
    pub last_scrape: Option<String>,
}

impl Counts {
    /// Current chunks of all kinds.
    pub fn chunks_total(&self) -> u64 {
        self.chunks.values().sum()
    }
}

/// What a source (a file, a commit) holds: the content of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What names it for good: `file:<path>` or `commit:<hash>`.
    pub key: String,
    /// What it holds.
    pub content: Content,
}

/// The content of a source, as it is written into its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// What kind of chunks it gives.
    pub kind: Kind,
    /// Relative to the project, with forward slashes; for a commit its hash.
    pub path: String,
    /// SHA-256 of the bytes that it was read from, in hexadecimal; for a commit its hash.
    pub hash: String,
    /// When it was written, if it says so: RFC 3339 or `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The commit, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// What it defines, imports and calls, if it is a source file that a grammar understands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeFacts>,
    /// Its pieces in order; at least one.
    pub pieces: Vec<Piece>,
}

/// A piece of a source, which becomes a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// See [`Chunk::title`].
    pub title: String,
    /// See [`Chunk::text`].
    pub text: String,
    /// See [`Chunk::line`].
    pub line: u32,
    /// See [`Chunk::end_line`].
    pub end_line: u32,
}

/// What an application of a source changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It was not there before.
    Added,
    /// It was there with other content.
    Changed,
    /// It was there with the same content; no event was written.
    Unchanged,
}

/// What the store knows about a current source without reading its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its kind.
    pub kind: Kind,
    /// [`Content::hash`]
    pub hash: String,
    /// How its file looked when it was read, if that can be trusted.
    pub stamp: Option<Stamp>,
}

/// How a file looked when it was read: if it still looks so, it need not be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time in nanoseconds since 1970.
    pub modified: i64,
    /// Which way of reading made the pieces; another way makes the stamp worthless.
    pub reader: String,
}

/// The open database. One thread uses it at a time; several processes may have it open, of which one writes.
#[derive(Debug)]
pub struct Store {
    connection: rusqlite::Connection,
    path: PathBuf,
}

impl Store {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn embed_text(title: &str, text: &str) -> String {
    format!("{title}\n{text}")
}

fn text_hash(title: &str, text: &str) -> [u8; 32] {
    Sha256::new().chain_update(title).chain_update("\n").chain_update(text).finalize().into()
}

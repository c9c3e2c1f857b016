//! Source files: cut along their syntax where a grammar understands them, with what they define, import and call; else cut at blank lines.
//!
//! - Which languages have a grammar is in [`languages`]: a table of node kinds for each, and nothing else that knows the language.
//! - A chunk is a function, a class or an `impl` block with its doc comment; small neighbours are joined, long ones are cut. Its title is the
//!   path and the names around it: `src/a.rs > impl Foo > bar`.
//! - A file of more than [`PARSE_BYTES`], one that takes more than [`PARSE_STEPS`] or [`PARSE_READS`] of the parser, and one of which the
//!   grammar does not understand more than [`MAX_ERROR_SHARE`] are cut at blank lines and give no facts: the same bytes always do. So is, on a machine that is
//!   stuck, one that takes longer than [`PARSE_TIME`]; that says nothing of the file, which is told and read again by the next scrape.
//! - Of one file at most [`MAX_SYMBOLS`] symbols, [`MAX_IMPORTS`] imports and [`MAX_CALLS`] calls are kept, the first ones; that there are more
//!   is told.

mod by_lines;
mod cut;
mod docs;
mod language;
mod languages;
mod made;
mod names;
mod outline;
mod parse;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::pieces::Line;
use crate::progress::Job;
use crate::store::{CodeFacts, Piece};

pub(super) use made::made_by;

/// A piece of source has about this many characters.
pub const CODE_CHARS: usize = 1_500;
/// A larger source file is not parsed, in bytes.
pub const PARSE_BYTES: usize = 1 << 20;
/// A parse of more steps is given up, and one of a short text after fewer ([`SHORT_STEPS`]). A step is a hundred operations of the parser; counted, and not timed, so that the same bytes give the
/// same pieces on every machine and under any load. A megabyte of usual source takes 15,000 of them, in a fifth of a second.
pub const PARSE_STEPS: u64 = 50_000;
/// Steps that a text of any length may take; each [`BYTES_OF_STEP`] bytes may take one more. Usual source takes one for a hundred bytes, and what takes
/// many more is no source: the parser is lost between many readings, of which each costs more than the one before.
pub const SHORT_STEPS: u64 = 200;
/// See [`SHORT_STEPS`].
pub const BYTES_OF_STEP: u64 = 8;
/// So is one that reads the text in more portions of a kilobyte: some grammars look for the end of an expression, or of the text, from every
/// token on, which steps do not count. A megabyte of usual source takes 2,000 of them, and this many some two seconds.
pub const PARSE_READS: u64 = 500_000;
/// The last resort against what neither counts. Many times what the two take.
pub const PARSE_TIME: Duration = Duration::from_secs(60);
/// The part of a file's bytes that the grammar may not understand.
pub const MAX_ERROR_SHARE: f64 = 0.3;
/// Symbols of one file.
pub const MAX_SYMBOLS: usize = 10_000;
/// Imports of one file.
pub const MAX_IMPORTS: usize = 5_000;
/// An import whose target has more bytes is none: each of the names that it brings in would have all of it.
pub const TARGET_BYTES: usize = 1_000;
/// A definition whose qualified name has more characters is none: whatever is in it would have all of it.
pub const QUALIFIED_CHARS: usize = 1_000;
/// Calls in one file.
pub const MAX_CALLS: usize = 50_000;
/// Definitions that lie deeper in one another are part of what is around them.
pub const MAX_NESTING: usize = 12;
/// Characters of a signature; what is longer is clipped.
pub const SIGNATURE_CHARS: usize = 400;
/// Characters of a doc comment; what is longer is clipped.
pub const DOC_CHARS: usize = 4_000;

/// What a source file came to.
#[derive(Debug)]
pub(super) struct Cut {
    pub pieces: Vec<Piece>,
    /// What it defines, imports and calls, if a grammar understood it.
    pub facts: Option<CodeFacts>,
    pub parsed: Parsed,
    /// Of what there is more in the file than is kept: `5000 imports`.
    pub more: Vec<String>,
}

/// Whether a grammar understood a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// Yes.
    Yes,
    /// There is no grammar for such files.
    NoGrammar,
    /// There is one, and it did not: errors, size or steps.
    No,
    /// Nobody knows: it took too long here and now.
    Late,
}

/// The pieces of a source file and its facts. A job that is stopped meanwhile has it [`Parsed::Late`].
pub(super) fn cut(text: &str, lines: &[Line<'_>], path: &str, job: Job<'_>) -> Cut {
    let Some(language) = languages::of(path, text) else {
        return Cut { pieces: by_lines::pieces(lines, path), facts: None, parsed: Parsed::NoGrammar, more: Vec::new() };
    };
    let outline = match parse::outline(language, text, PARSE_TIME, job) {
        Ok(outline) => outline,
        Err(parsed) => return Cut { pieces: by_lines::pieces(lines, path), facts: None, parsed, more: Vec::new() },
    };
    let pieces = cut::pieces(lines, &outline.items, path);
    Cut { pieces, facts: Some(outline.facts), parsed: Parsed::Yes, more: outline.more }
}

//! How well a project's own search finds what it should: questions with known answers, made from the project's history and its doc
//! comments or written by hand, asked of words, of vectors, of each projection and of all together as `scry` asks them.
//!
//! What is found are chunks; what is judged are units: files, or places in them. A ranking of chunks is folded to units by the best chunk
//! of each before anything is measured. A question never finds the text that it was taken from: those chunks are left out of its search.

pub mod choice;
pub mod comments;
pub mod history;
pub mod labels;
mod ranked;
pub mod sentences;
#[cfg(test)]
mod tests;
mod trec;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Figure;
use crate::error::{Error, Result};
use crate::store::{Chunk, Kind};

pub use ranked::{CUT, DEPTH, Flat, Joined, Projected, Rankings, Searched, embed};

/// Fewer questions than this say nothing, whatever the interval.
pub const MIN_QUERIES: usize = 20;
/// More questions than this are a sample's worth: the same ones are drawn every time.
pub const DEFAULT_LIMIT: usize = 500;
/// Questions that are shown with what was found instead, unless another number is asked for.
pub const DEFAULT_WORST: usize = 5;

/// A question and what it should find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its name in the set, told once.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// What is resampled as a whole: a commit, a file.
    pub group: String,
    /// The units that it should find; at least one.
    pub relevant: BTreeSet<String>,
    /// Chunks that it is not to find, because they hold its own text.
    pub without: BTreeSet<u64>,
    /// Units that are finer than a file, or have a name of their own, by the chunks that they are.
    pub places: BTreeMap<u64, String>,
}

impl Query {
    /// The unit that a chunk belongs to.
    pub fn unit(&self, chunk: &Chunk, unit: Unit) -> String {
        match (self.places.get(&chunk.id), unit) {
            (Some(place), _) => place.clone(),
            (None, Unit::File) => chunk.path.clone(),
            (None, Unit::Chunk) => format!("{}:{}", chunk.path, chunk.line),
        }
    }
}

/// What chunks are folded to before anything is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// All chunks of a file are one.
    File,
    /// Each chunk is one.
    Chunk,
}

/// Questions with their answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// `commits`, `docs`, or what a file of labels calls itself.
    pub name: String,
    /// What the questions are, in words.
    pub about: String,
    /// In their order; ids are told once.
    pub queries: Vec<Query>,
    /// Kinds of chunks that are searched; all if there are none.
    pub kinds: Vec<Kind>,
    /// What is judged.
    pub unit: Unit,
    /// What could have been asked or found and was not, and why.
    pub left_out: Vec<LeftOut>,
    /// What the reader of the figures should know of the questions.
    pub notes: Vec<String>,
}

/// What was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What was counted: `commits`, `files`, `functions`, ...
    pub what: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: usize,
}

/// The measures of one system, each a mean over questions, with intervals that resample whole groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// nDCG@10.
    pub ndcg_at_10: Figure,
    /// MRR@10.
    pub mrr_at_10: Figure,
    /// Recall@10.
    pub recall_at_10: Figure,
}

/// One way of searching.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemReport {
    /// `lexical`, `vector`, `projection:NAME` or `hybrid`.
    pub name: String,
    /// What the reader should know of it; empty if nothing.
    pub note: String,
    /// Its figures.
    pub figures: Figures,
    /// Its figures minus those of `hybrid`, question by question; none for `hybrid` itself.
    pub against_hybrid: Option<Figures>,
}

/// A question that hybrid search answers badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// The question's name.
    pub id: String,
    /// What was asked.
    pub query: String,
    /// Its nDCG@10 in hybrid search.
    pub ndcg_at_10: f64,
    /// What it should have found, and at which rank it was, from 1; none if it was not found.
    pub relevant: Vec<(String, Option<usize>)>,
    /// What was found first instead.
    pub found: Vec<String>,
}

/// What came of one set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    /// The set's name.
    pub name: String,
    /// What the questions are.
    pub about: String,
    /// Questions.
    pub queries: usize,
    /// Groups that they come from.
    pub groups: usize,
    /// Units that should be found, of all questions together.
    pub relevant: usize,
    /// Chunks that were left out of single questions' searches, of all questions together.
    pub hidden_chunks: usize,
    /// What was left out, and why.
    pub left_out: Vec<LeftOut>,
    /// What the reader of the figures should know of the questions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Every way of searching.
    pub systems: Vec<SystemReport>,
    /// The worst questions of hybrid search, the worst first.
    pub worst: Vec<Worst>,
}

impl Set {
    /// An error unless there are enough questions to say something.
    pub fn check(&self) -> Result<()> {
        if self.queries.len() >= MIN_QUERIES {
            return Ok(());
        }
        let why: Vec<String> = self.left_out.iter().map(|left| format!("{} {} ({})", left.count, left.what, left.reason)).collect();
        let hint = match why.is_empty() {
            true => "a project with a longer history, or `patina eval queries FILE` with questions of your own".to_owned(),
            false => format!("left out were {}", why.join("; ")),
        };
        let found = self.queries.len();
        Err(Error::missing(format!("the set {:?} has {found} questions, and at least {MIN_QUERIES} are needed", self.name)).hint(hint))
    }

    /// Keeps `limit` questions, as good as drawn by chance and the same every time, in their order. The others are told.
    fn draw(&mut self, limit: usize, what: &str) {
        if self.queries.len() <= limit {
            return;
        }
        let mut drawn: Vec<(String, usize)> =
            self.queries.iter().enumerate().map(|(at, query)| (crate::fs::sha256(query.id.as_bytes()), at)).collect();
        drawn.sort_unstable();
        let kept: BTreeSet<usize> = drawn.iter().take(limit).map(|(_, at)| *at).collect();
        let before = self.queries.len();
        let mut at = 0..;
        self.queries.retain(|_| at.next().is_some_and(|at| kept.contains(&at)));
        self.left_out(what, "not drawn, see --limit", before - self.queries.len());
    }

    /// Leaves out questions, and says how many.
    pub fn leave_out(&mut self, what: &str, reason: &str, is_out: impl Fn(&Query) -> bool) {
        let before = self.queries.len();
        self.queries.retain(|query| !is_out(query));
        self.left_out(what, reason, before - self.queries.len());
    }

    fn left_out(&mut self, what: &str, reason: &str, count: usize) {
        if count > 0 {
            self.left_out.push(LeftOut { what: what.to_owned(), reason: reason.to_owned(), count });
        }
    }
}

//! Semantic textual similarity: whether cosine similarity orders pairs of sentences as people did (MTEB's protocol: each sentence
//! embedded without a prompt, Spearman's and Pearson's correlation of cosine similarity with the scores).

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::lines::{Line, Lines, fields};
use super::{EngineReport, Figure, SEED, Speed, VERSION};
use crate::embed::{Embedder, Input, Order, TextKind};
use crate::error::{Error, Result};
use crate::fs;
use crate::metrics::bootstrap_correlations;
use crate::progress::Job;

/// What the files look like that are read.
const LAYOUTS: &str = "expected between tabs: the STS benchmark's own columns (score in column 5, sentences in 6 and 7), or a score and two \
                       sentences, or a first line that names the columns score, sentence1 and sentence2";
/// What a header calls the score, in lower case.
const SCORE_NAMES: [&str; 4] = ["score", "similarity_score", "similarity", "label"];
/// What a header calls the two sentences, in lower case.
const SENTENCE_NAMES: [(&str, &str); 4] = [("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("s1", "s2"), ("text1", "text2")];
/// The columns of the benchmark's own file that matter; those after them name sources.
const BENCHMARK: Columns = Columns { score: 4, first: 5, second: 6, count: 7, more: true };
const THREE: Columns = Columns { score: 0, first: 1, second: 2, count: 3, more: false };

/// Two sentences and how similar people found them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The score; only the order of scores counts for Spearman's correlation.
    pub score: f64,
    /// The sentences.
    pub sentences: [String; 2],
    /// The line of the file, from 1.
    pub line: usize,
}

/// A file of scored pairs, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct StsSet {
    /// The file.
    pub path: PathBuf,
    /// At least two pairs, whose scores are finite and not all equal.
    pub pairs: Vec<Pair>,
}

/// What came of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StsReport {
    /// Of these fields.
    pub version: u32,
    /// `sts`
    pub task: String,
    /// The file.
    pub file: PathBuf,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// What made the vectors.
    pub engine: EngineReport,
    /// How many pairs, all of the file.
    pub pairs: usize,
    /// Spearman's correlation.
    pub spearman: Figure,
    /// Pearson's correlation.
    pub pearson: Figure,
    /// How much was embedded.
    pub speed: Speed,
}

#[derive(Clone, Copy)]
struct Columns {
    score: usize,
    first: usize,
    second: usize,
    /// How many there are; `more` may follow.
    count: usize,
    more: bool,
}

impl StsSet {
    /// Reads a file. Quotes are plain characters, as in the benchmark's own file.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`](crate::error::ErrorKind::Missing) if there is none, [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) with the
    /// place if it is not such a file, or if its scores say nothing.
    pub fn read(path: &Path) -> Result<StsSet> {
        let mut columns: Option<Columns> = None;
        let mut pairs = Vec::new();
        for line in Lines::open(path, "scored pairs of sentences", LAYOUTS)? {
            let line = line?;
            let columns = match columns {
                Some(columns) => columns,
                None => {
                    let (found, is_header) = layout(path, &line)?;
                    columns = Some(found);
                    if is_header {
                        continue;
                    }
                    found
                }
            };
            pairs.push(pair(path, &line, columns)?);
        }
        let refuse = |message: String| Err(Error::usage(message).at(path).hint(LAYOUTS));
        match pairs.as_slice() {
            [] => refuse("the file holds no pair".to_owned()),
            [_] => refuse("the file holds one pair, and a correlation needs at least two".to_owned()),
            [first, rest @ ..] if rest.iter().all(|pair| pair.score == first.score) => {
                Err(Error::usage(format!("all {} pairs have the score {}, so that no correlation is defined", pairs.len(), first.score))
                    .at(path)
                    .hint("an unlabelled set cannot be evaluated; take the part whose scores are published"))
            }
            _ => Ok(StsSet { path: path.to_path_buf(), pairs }),
        }
    }

    /// Embeds every sentence and correlates. `kind` says which prompt the settings of `embedder` are asked for; MTEB uses none.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if all pairs have the same cosine similarity: no correlation is defined then.
    pub fn evaluate(&self, engine: EngineReport, embedder: &mut Embedder, kind: TextKind, job: Job<'_>) -> Result<StsReport> {
        let sha256 = fs::sha256_file(&self.path)?;
        let texts = self.pairs.len() * 2;
        let inputs = self.pairs.iter().flat_map(|pair| pair.sentences.iter()).map(|text| Ok(Input::Text(text.clone())));
        let name = |number: usize| {
            let line = self.pairs.get(number / 2).map_or(0, |pair| pair.line);
            format!("sentence {} of line {line} of {}", number % 2 + 1, self.path.display())
        };
        let mut cosines = Vec::with_capacity(self.pairs.len());
        let mut first: Vec<f32> = Vec::new();
        job.progress.begin("embedding", Some(texts as u64), "texts");
        let begun = Instant::now();
        embedder.embed(inputs, kind, Order::AsGiven, job, name, |number, vector| {
            match number % 2 {
                0 => first = vector.to_vec(),
                _ => cosines.push(cosine(&first, vector)),
            }
            Ok(())
        })?;
        let speed = Speed::since(texts, begun);
        job.progress.end("");
        let scores: Vec<f64> = self.pairs.iter().map(|pair| pair.score).collect();
        let Some((pearson, spearman)) = bootstrap_correlations(&scores, &cosines, SEED)? else {
            return Err(Error::corrupt("all pairs have the same cosine similarity, so that no correlation is defined")
                .at(&self.path)
                .hint("the model gives every text the same vector; `patina model show` and `patina parity` say more about it"));
        };
        Ok(StsReport {
            version: VERSION,
            task: "sts".to_owned(),
            file: self.path.clone(),
            sha256,
            engine,
            pairs: self.pairs.len(),
            spearman: spearman.into(),
            pearson: pearson.into(),
            speed,
        })
    }
}

/// The columns of a file from its first line, and whether that line is a header.
fn layout(path: &Path, line: &Line) -> Result<(Columns, bool)> {
    let fields = fields(&line.text);
    let names: Vec<String> = fields.iter().map(|(field, _)| field.trim().to_lowercase()).collect();
    let wrong = |message: String| Err(Error::usage(message).at_line(path, line.number, 1).hint(LAYOUTS));
    let plain = match fields.len() {
        3 => Some(THREE),
        count if count >= BENCHMARK.count => Some(BENCHMARK),
        _ => None,
    };
    // A line whose score is a number is no header, whatever its sentences say.
    if let Some(columns) = plain.filter(|columns| fields[columns.score].0.trim().parse::<f64>().is_ok()) {
        return Ok((columns, false));
    }
    let place = |name: &str| names.iter().position(|other| other == name);
    let Some(score) = SCORE_NAMES.iter().find_map(|name| place(name)) else {
        return match plain {
            Some(columns) => Ok((columns, false)),
            None => wrong(format!("the line has {}; 3, or 7 and more, were expected", counted(fields.len()))),
        };
    };
    let named = SENTENCE_NAMES.iter().find_map(|(first, second)| Some((place(first)?, place(second)?)));
    let rest: Vec<usize> = (0..fields.len()).filter(|&at| at != score).collect();
    let (first, second) = match (named, rest.as_slice()) {
        (Some(named), _) => named,
        (None, &[first, second]) => (first, second),
        _ => return wrong("the header names a score and not which columns are the two sentences".to_owned()),
    };
    Ok((Columns { score, first, second, count: fields.len(), more: false }, true))
}

fn pair(path: &Path, line: &Line, columns: Columns) -> Result<Pair> {
    let fields = fields(&line.text);
    let wrong = |message: String, column: usize| Error::usage(message).at_line(path, line.number, column).hint(LAYOUTS);
    if fields.len() < columns.count || (fields.len() > columns.count && !columns.more) {
        let expected = if columns.more { format!("{} and more", columns.count) } else { columns.count.to_string() };
        return Err(wrong(format!("the line has {}; {expected} were expected, as in the first line", counted(fields.len())), 1));
    }
    let (word, column) = fields[columns.score];
    let score = match word.trim() {
        "" => return Err(wrong("the pair has no score, and an unlabelled set cannot be evaluated".to_owned(), column)),
        word => word.parse::<f64>().map_err(|_| wrong(format!("the score is {word:?}, which is no number"), column))?,
    };
    if !score.is_finite() {
        return Err(wrong(format!("the score is {score}; a finite number was expected"), column));
    }
    let sentence = |at: usize| match fields[at] {
        (text, column) if text.trim().is_empty() => Err(wrong("the sentence is empty".to_owned(), column)),
        (text, _) => Ok(text.trim().to_owned()),
    };
    Ok(Pair { score, sentences: [sentence(columns.first)?, sentence(columns.second)?], line: line.number })
}

fn counted(columns: usize) -> String {
    format!("{columns} column{}", if columns == 1 { "" } else { "s" })
}

/// Cosine similarity in double precision; 0 with a vector of zeros, which has no direction.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

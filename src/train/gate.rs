//! The gate: a projection is published only if it helps on groups that neither training nor early stopping has seen.
//!
//! Every anchor of the held-out pairs asks for its positives among all candidates but itself (and exact copies of itself), once with
//! raw vectors, once with a PCA of the projection's size if that is smaller than raw, once with the projection, and with BM25 if the
//! caller has it. Differences are paired by query; their intervals resample whole groups.
//!
//! The rule, on nDCG@10, where "beats" means that the lower end of the 95 % interval of the difference is above zero:
//! 1. with fewer than [`MIN_TEST_QUERIES`] queries or [`MIN_TEST_GROUPS`] groups nothing is published;
//! 2. the projection beats raw vectors; or it is smaller than them and the lower end is not below -[`NOT_WORSE_TOLERANCE`];
//! 3. if it is smaller than raw vectors, it beats the PCA of the same size;
//! 4. MRR@10 is not clearly worse than that of raw vectors (the upper end of its interval is not below zero);
//! 5. if the caller asks for it, it beats BM25.

use serde::{Deserialize, Serialize};

use super::pca::pca;
use super::projection::Projection;
use super::ranking::{CUT, Questions};
use super::vectors::{RowPair, Vectors};
use crate::error::{Error, Result};
use crate::metrics::{self, Interval};
use crate::progress::Job;

/// Fewer held-out queries say nothing.
pub const MIN_TEST_QUERIES: usize = 30;
/// Fewer held-out groups give intervals that are too narrow to trust.
pub const MIN_TEST_GROUPS: usize = 8;
/// How much of nDCG@10 a smaller projection may lose at the lower end of the interval: nothing.
pub const NOT_WORSE_TOLERANCE: f64 = 0.0;
/// More queries than this make no interval narrower that matters; every n-th is taken then.
const MAX_TEST_QUERIES: usize = 5000;

/// BM25 as the caller has it: the best rows of a row's text, best first, at most so many. Copies and the row itself may be among them.
pub type Lexical<'a> = &'a dyn Fn(usize, usize) -> Result<Vec<usize>>;

/// What is judged, and on what.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// All vectors of the project; the PCA is made of them.
    pub vectors: &'a Vectors,
    /// Held-out pairs, of groups that are in no training or validation pair.
    pub test: &'a [RowPair],
    /// What is searched; all vectors if nothing is given. Relevant rows are added.
    pub candidates: Option<&'a [usize]>,
    /// What is judged.
    pub projection: &'a Projection,
    /// BM25 on the same questions, if the caller can answer them.
    pub lexical: Option<Lexical<'a>>,
    /// Whether beating BM25 is asked for too; else its figures are only shown, since search uses both together.
    pub must_beat_lexical: bool,
    /// For the bootstrap.
    pub seed: u64,
}

/// The measures of one system, each a mean over queries with its interval by group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// nDCG@10.
    pub ndcg: Interval,
    /// MRR@10.
    pub mrr: Interval,
    /// recall@10.
    pub recall: Interval,
}

/// A system and how much better the projection is than it (differences: projection minus system).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The system's own figures.
    pub figures: Figures,
    /// What the projection adds.
    pub gain: Figures,
}

/// The outcome, with everything that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether search may use the projection.
    pub published: bool,
    /// One sentence for people.
    pub reason: String,
    /// Held-out queries.
    pub queries: usize,
    /// Groups that they come from.
    pub groups: usize,
    /// Vectors that they were ranked against.
    pub candidates: usize,
    /// Numbers of a raw vector.
    pub input_dim: usize,
    /// Numbers of a projected vector.
    pub output_dim: usize,
    /// The projection's figures; nothing without queries.
    pub projection: Option<Figures>,
    /// Raw vectors; nothing without queries.
    pub raw: Option<Comparison>,
    /// PCA of the projection's size; nothing if that is not smaller than raw.
    pub pca: Option<Comparison>,
    /// BM25; nothing if the caller has none.
    pub lexical: Option<Comparison>,
}

/// Judges a projection; see the rule above. Fails only if something is wrong, never because the projection is.
pub fn judge(trial: &Trial<'_>, job: Job<'_>) -> Result<Verdict> {
    let Trial { vectors, projection, .. } = *trial;
    if projection.input_dim() != vectors.dimensions() {
        let (takes, has) = (projection.input_dim(), vectors.dimensions());
        return Err(Error::bug(format!("the projection takes vectors of {takes} numbers, the project's have {has}")));
    }
    vectors.check(trial.test)?;
    let questions = match trial.candidates {
        Some(rows) => Questions::new(vectors, trial.test, rows.iter().copied().filter(|&row| row < vectors.len()), MAX_TEST_QUERIES),
        None => Questions::new(vectors, trial.test, 0..vectors.len(), MAX_TEST_QUERIES),
    };
    let mut groups: Vec<usize> = questions.queries.iter().map(|query| query.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut verdict = Verdict {
        published: false,
        reason: String::new(),
        queries: questions.queries.len(),
        groups: groups.len(),
        candidates: questions.candidates.len(),
        input_dim: projection.input_dim(),
        output_dim: projection.output_dim(),
        projection: None,
        raw: None,
        pca: None,
        lexical: None,
    };
    if !questions.queries.is_empty() {
        measure(&mut verdict, trial, &questions, job)?;
    }
    (verdict.published, verdict.reason) = decide(&verdict, trial.must_beat_lexical);
    Ok(verdict)
}

fn measure(verdict: &mut Verdict, trial: &Trial<'_>, questions: &Questions, job: Job<'_>) -> Result<()> {
    let Trial { vectors, projection, seed, .. } = *trial;
    job.progress.begin("judging", None, "systems");
    let groups: Vec<usize> = questions.queries.iter().map(|query| query.group).collect();
    let done = |rankings: Vec<Vec<usize>>| {
        job.progress.advance(1);
        Scores::new(questions, &rankings)
    };
    let projected = done(questions.rank(vectors, &|rows| projection.forward(rows), job)?);
    let compare = |system: &Scores| -> Result<Comparison> {
        Ok(Comparison { figures: system.figures(&groups, seed)?, gain: projected.minus(system).figures(&groups, seed)? })
    };
    verdict.projection = Some(projected.figures(&groups, seed)?);
    verdict.raw = Some(compare(&done(questions.rank(vectors, &|rows| rows.to_owned(), job)?))?);
    if projection.output_dim() < projection.input_dim() {
        let pca = pca(vectors, projection.output_dim())?;
        verdict.pca = Some(compare(&done(questions.rank(vectors, &|rows| pca.forward(rows), job)?))?);
    }
    if let Some(lexical) = trial.lexical {
        let rankings = questions.queries.iter().map(|query| {
            job.check()?;
            rank_lexically(vectors, questions, query.row, lexical)
        });
        verdict.lexical = Some(compare(&done(rankings.collect::<Result<_>>()?))?);
    }
    job.progress.end("");
    Ok(())
}

/// How many rows BM25 is asked for beyond the cut, since the query itself, copies and rows that are no candidates are left out.
const LEXICAL_SPARE: usize = 20;

fn rank_lexically(vectors: &Vectors, questions: &Questions, row: usize, lexical: Lexical<'_>) -> Result<Vec<usize>> {
    let mut ranked: Vec<usize> = Vec::with_capacity(CUT);
    for found in lexical(row, CUT + LEXICAL_SPARE)?.into_iter().filter(|&found| found < vectors.len()) {
        let found = vectors.first_of(found);
        if found != row && !ranked.contains(&found) && questions.candidates.binary_search(&found).is_ok() && ranked.len() < CUT {
            ranked.push(found);
        }
    }
    Ok(ranked)
}

/// Measures by query.
struct Scores {
    ndcg: Vec<f64>,
    mrr: Vec<f64>,
    recall: Vec<f64>,
}

impl Scores {
    fn new(questions: &Questions, rankings: &[Vec<usize>]) -> Scores {
        let by = |measure: fn(&[usize], &metrics::Judgements<usize>, usize) -> f64| {
            questions.queries.iter().zip(rankings).map(|(query, ranked)| measure(ranked, &query.relevant, CUT)).collect()
        };
        Scores { ndcg: by(metrics::ndcg), mrr: by(metrics::reciprocal_rank), recall: by(metrics::recall) }
    }

    fn minus(&self, other: &Scores) -> Scores {
        let by = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        Scores { ndcg: by(&self.ndcg, &other.ndcg), mrr: by(&self.mrr, &other.mrr), recall: by(&self.recall, &other.recall) }
    }

    fn figures(&self, groups: &[usize], seed: u64) -> Result<Figures> {
        let by = |values: &[f64]| metrics::bootstrap_mean_by_group(values, groups, seed);
        Ok(Figures { ndcg: by(&self.ndcg)?, mrr: by(&self.mrr)?, recall: by(&self.recall)? })
    }
}

fn decide(verdict: &Verdict, must_beat_lexical: bool) -> (bool, String) {
    let Verdict { queries, groups, input_dim, output_dim, .. } = *verdict;
    let Some(raw) = verdict.raw else {
        return (false, "not published: there are no held-out pairs to judge it on".to_owned());
    };
    if queries < MIN_TEST_QUERIES || groups < MIN_TEST_GROUPS {
        let why = format!("too little is held out to tell (at least {MIN_TEST_QUERIES} queries of {MIN_TEST_GROUPS} groups)");
        return (false, format!("not published: {why}"));
    }
    let smaller = output_dim < input_dim;
    let beats_raw = raw.gain.ndcg.is_positive();
    let as_good = smaller && raw.gain.ndcg.low >= -NOT_WORSE_TOLERANCE;
    let refused = if !beats_raw && !as_good {
        Some("it does not clearly beat raw vectors")
    } else if raw.gain.mrr.is_negative() {
        Some("its MRR@10 is worse than that of raw vectors")
    } else if smaller && !verdict.pca.is_some_and(|pca| pca.gain.ndcg.is_positive()) {
        Some("it does not clearly beat PCA of the same size")
    } else if must_beat_lexical && !verdict.lexical.is_some_and(|lexical| lexical.gain.ndcg.is_positive()) {
        Some("it does not clearly beat BM25")
    } else {
        None
    };
    match refused {
        Some(why) => (false, format!("not published, search uses raw vectors: {why}")),
        None if beats_raw => (true, "published: it beats raw vectors".to_owned()),
        None => (true, "published: it is as good as raw vectors and smaller".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, high: f64) -> Interval {
        Interval { mean: (low + high) / 2.0, low, high }
    }

    fn verdict(output_dim: usize, against_raw: (f64, f64), against_pca: Option<(f64, f64)>) -> Verdict {
        let half = Figures { ndcg: interval(0.4, 0.6), mrr: interval(0.4, 0.6), recall: interval(0.4, 0.6) };
        let by = |(low, high)| Comparison {
            figures: half,
            gain: Figures { ndcg: interval(low, high), mrr: interval(low, high), recall: interval(low, high) },
        };
        Verdict {
            published: false,
            reason: String::new(),
            queries: MIN_TEST_QUERIES,
            groups: MIN_TEST_GROUPS,
            candidates: 100,
            input_dim: 384,
            output_dim,
            projection: Some(half),
            raw: Some(by(against_raw)),
            pca: against_pca.map(by),
            lexical: None,
        }
    }

    #[test]
    fn the_rule_is_as_written() {
        let cases = [
            (verdict(384, (0.01, 0.05), None), true, "beats raw vectors"),
            (verdict(384, (-0.01, 0.05), None), false, "does not clearly beat raw"),
            (verdict(384, (0.0, 0.0), None), false, "does not clearly beat raw"),
            (verdict(256, (0.0, 0.02), Some((0.01, 0.02))), true, "as good as raw vectors and smaller"),
            (verdict(256, (0.01, 0.02), Some((0.01, 0.02))), true, "beats raw vectors"),
            (verdict(256, (0.01, 0.02), Some((-0.01, 0.02))), false, "beat PCA"),
            (verdict(256, (-0.001, 0.02), Some((0.01, 0.02))), false, "does not clearly beat raw"),
            (Verdict { queries: MIN_TEST_QUERIES - 1, ..verdict(384, (0.1, 0.2), None) }, false, "too little"),
            (Verdict { groups: MIN_TEST_GROUPS - 1, ..verdict(384, (0.1, 0.2), None) }, false, "too little"),
            (Verdict { raw: None, projection: None, queries: 0, ..verdict(384, (0.1, 0.2), None) }, false, "no held-out pairs"),
        ];
        for (verdict, published, reason) in cases {
            let (found, text) = decide(&verdict, false);
            assert_eq!(found, published, "{text}");
            assert!(text.contains(reason), "{text}");
        }
        let mut good = verdict(384, (0.01, 0.05), None);
        assert!(!decide(&good, true).0, "BM25 was asked for and is not there");
        good.lexical = good.raw;
        assert!(decide(&good, true).0);
        if let Some(raw) = &mut good.raw {
            raw.gain.mrr = interval(-0.2, -0.1);
        }
        assert!(decide(&good, false).1.contains("MRR@10 is worse"));
        let text = serde_json::to_string(&good).expect("JSON");
        let read: Verdict = serde_json::from_str(&text).expect("read back");
        assert_eq!((read.queries, read.pca, read.projection), (good.queries, good.pca, good.projection));
    }
}

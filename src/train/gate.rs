//! The gate: a projection is published only if it helps on groups that neither training nor early stopping has seen.
//!
//! Every anchor of the held-out pairs asks for its positives among all candidates but itself (and exact copies of itself): with raw
//! vectors; with a PCA, the first numbers and a random projection of the projection's size; with the projection; with BM25 and a table
//! lookup if the caller has them; and with BM25 and vectors fused as search fuses them, without the projection and with it. Differences
//! are paired by query; their intervals resample whole groups. With several folds each is asked of the projection that has not seen it,
//! and all are judged together.
//!
//! The rule, on nDCG@10, where "beats" means that the lower end of the 95 % interval of the difference is above zero:
//! 1. with fewer than [`MIN_TEST_QUERIES`] queries or [`MIN_TEST_GROUPS`] groups nothing is published;
//! 2. the projection beats raw vectors, and if it is smaller than them also the PCA, the first numbers and the random projection of the same
//!    size;
//! 3. or, as a win of memory, it is smaller and nearly as good: the lower end against raw vectors is not below -[`NOT_WORSE_MARGIN`], these
//!    find enough for that to mean something ([`MIN_RAW_NDCG`]), and on the mean it is not behind the three others of its size;
//! 4. MRR@10 is not clearly worse than that of raw vectors (the upper end of its interval is not below zero);
//! 5. it beats the table lookup, if there is one;
//! 6. the fused search is not clearly worse with it than without it;
//! 7. if the caller asks for it, it beats BM25.

use serde::{Deserialize, Serialize};

use super::config::Sides;
use super::pca;
use super::projection::Projection;
use super::ranking::{CUT, Map, Questions};
use super::vectors::{RowPair, Vectors};
use crate::error::{Error, Result};
use crate::metrics::{self, Interval};
use crate::progress::Job;

/// Fewer held-out queries say nothing.
pub const MIN_TEST_QUERIES: usize = 30;
/// Fewer held-out groups give intervals that are too narrow to trust.
pub const MIN_TEST_GROUPS: usize = 8;
/// How much of nDCG@10 a smaller projection may lose to raw vectors at the lower end of the interval and still be a win of memory: one point.
/// An interval that ends at exactly nothing lost would be as good as never.
pub const NOT_WORSE_MARGIN: f64 = 0.01;
/// Where raw vectors find less (nDCG@10), one point is much of it, and nothing is within a point of nothing.
pub const MIN_RAW_NDCG: f64 = 10.0 * NOT_WORSE_MARGIN;
/// How deep each list is read that is fused: as deep as search fuses.
pub const FUSED_DEPTH: usize = 500;
/// More queries than this make no interval narrower that matters, and each is asked of BM25 too, which takes some milliseconds; every n-th
/// is taken then.
const MAX_TEST_QUERIES: usize = 1000;

/// A row that was found, and the score that the system gave it.
pub type Found = (usize, f64);

/// BM25 or a table as the caller has it: the best rows for a row, best first, at most so many. Copies and the row itself may be among
/// them.
pub type Lexical<'a> = &'a dyn Fn(usize, usize) -> Result<Vec<Found>>;

/// How search fuses rankings: words, raw vectors, and a projection if there is one; best first.
pub type Fuse<'a> = &'a dyn Fn(&[Found], &[Found], Option<&[Found]>) -> Vec<usize>;

/// A projection and held-out pairs, of groups that are in no training or validation pair of it.
#[derive(Clone, Copy)]
pub struct Fold<'a> {
    /// What is judged.
    pub projection: &'a Projection,
    /// By what.
    pub test: &'a [RowPair],
}

/// What is judged, and on what.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// All vectors of the project; the PCA is made of them.
    pub vectors: &'a Vectors,
    /// One fold; or several with projections of the same shape, whose groups are numbered together and are in one fold each.
    pub folds: &'a [Fold<'a>],
    /// What is searched; all vectors if nothing is given. Relevant rows are added.
    pub candidates: Option<&'a [usize]>,
    /// BM25 on the same questions, if the caller can answer them.
    pub lexical: Option<Lexical<'a>>,
    /// A table that answers the same questions without learning (co-changes), if there is one. It must not know the answers, and it must be
    /// able to: one that knows nothing of what is held out is no opponent.
    pub table: Option<Lexical<'a>>,
    /// How search fuses; needs [`Trial::lexical`].
    pub fuse: Option<Fuse<'a>>,
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

/// Fused search without the projection and with it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hybrid {
    /// BM25 and raw vectors.
    pub without: Figures,
    /// BM25, raw vectors and the projection.
    pub with: Figures,
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
    /// The first numbers of raw vectors, as many as the projection has; nothing if that is not fewer.
    pub cut: Option<Comparison>,
    /// A random projection to the same size; nothing if documents stay raw.
    pub random: Option<Comparison>,
    /// BM25; nothing if the caller has none.
    pub lexical: Option<Comparison>,
    /// The table lookup; nothing if there is none.
    pub table: Option<Comparison>,
    /// Fused search; nothing without BM25.
    pub hybrid: Option<Hybrid>,
}

/// Judges a projection; see the rule above. Fails only if something is wrong, never because the projection is.
pub fn judge(trial: &Trial<'_>, job: Job<'_>) -> Result<Verdict> {
    let vectors = trial.vectors;
    let Some(first) = trial.folds.first() else { return Err(Error::bug("nothing was given to be judged")) };
    for Fold { projection, test } in trial.folds {
        if projection.input_dim() != vectors.dimensions() {
            let (takes, has) = (projection.input_dim(), vectors.dimensions());
            return Err(Error::bug(format!("the projection takes vectors of {takes} numbers, the project's have {has}")));
        }
        if (projection.output_dim(), projection.sides()) != (first.projection.output_dim(), first.projection.sides()) {
            return Err(Error::bug("projections of different shapes cannot be judged together"));
        }
        vectors.check(test)?;
    }
    let most = MAX_TEST_QUERIES / trial.folds.len();
    let asked: Vec<Asked<'_>> = trial
        .folds
        .iter()
        .map(|fold| Asked {
            projection: fold.projection,
            questions: match trial.candidates {
                Some(rows) => Questions::new(vectors, fold.test, rows.iter().copied().filter(|&row| row < vectors.len()), most),
                None => Questions::new(vectors, fold.test, 0..vectors.len(), most),
            },
        })
        .collect();
    let mut groups: Vec<usize> = asked.iter().flat_map(|asked| &asked.questions.queries).map(|query| query.group).collect();
    let queries = groups.len();
    groups.sort_unstable();
    groups.dedup();
    let mut verdict = Verdict {
        published: false,
        reason: String::new(),
        queries,
        groups: groups.len(),
        candidates: asked.iter().map(|asked| asked.questions.candidates.len()).max().unwrap_or(0),
        input_dim: first.projection.input_dim(),
        output_dim: first.projection.output_dim(),
        projection: None,
        raw: None,
        pca: None,
        cut: None,
        random: None,
        lexical: None,
        table: None,
        hybrid: None,
    };
    if queries > 0 {
        measure(&mut verdict, trial, &asked, job)?;
    }
    (verdict.published, verdict.reason) = decide(&verdict, trial.must_beat_lexical);
    Ok(verdict)
}

/// A fold as questions.
struct Asked<'a> {
    projection: &'a Projection,
    questions: Questions,
}

/// The rankings of all folds, one after another.
type Rankings = Vec<Vec<Found>>;

fn measure(verdict: &mut Verdict, trial: &Trial<'_>, asked: &[Asked<'_>], job: Job<'_>) -> Result<()> {
    let Trial { vectors, seed, .. } = *trial;
    job.progress.begin("judging", None, "systems");
    let groups: Vec<usize> = asked.iter().flat_map(|asked| &asked.questions.queries).map(|query| query.group).collect();
    let scores = |rankings: &Rankings| {
        let rows: Vec<Vec<usize>> = rankings.iter().map(|list| list.iter().map(|found| found.0).collect()).collect();
        Scores::new(asked, &rows)
    };
    let found = |lists: Vec<Vec<(f32, usize)>>| -> Rankings {
        lists.into_iter().map(|list| list.into_iter().map(|(score, row)| (row, f64::from(score))).collect()).collect()
    };
    let raw_map: Map<'_> = &|rows| rows.to_owned();
    // Lists that are fused are read deeper; measures look at their first ten.
    let fused = trial.fuse.zip(trial.lexical);
    let depth = if fused.is_some() { FUSED_DEPTH } else { CUT };
    let ranked = |depth: usize, map: Map<'_>| -> Result<Rankings> {
        let all: Result<Vec<Rankings>> =
            asked.iter().map(|asked| Ok(found(asked.questions.rank_to(depth, vectors, map, map, job)?))).collect();
        job.progress.advance(1);
        Ok(all?.concat())
    };
    let projected: Result<Vec<Rankings>> = asked
        .iter()
        .map(|Asked { projection, questions }| {
            let map: Map<'_> = &|rows| projection.forward(rows);
            let documents = if projection.sides() == Sides::Both { map } else { raw_map };
            Ok(found(questions.rank_to(depth, vectors, map, documents, job)?))
        })
        .collect();
    let projected = projected?.concat();
    job.progress.advance(1);
    let own = scores(&projected);
    let compare = |rankings: &Rankings| -> Result<Comparison> {
        let system = scores(rankings);
        Ok(Comparison { figures: system.figures(&groups, seed)?, gain: own.minus(&system).figures(&groups, seed)? })
    };
    verdict.projection = Some(own.figures(&groups, seed)?);
    let raw = ranked(depth, raw_map)?;
    verdict.raw = Some(compare(&raw)?);
    let (input, output) = (verdict.input_dim, verdict.output_dim);
    if output < input {
        let pca = pca::pca(vectors, output)?;
        verdict.pca = Some(compare(&ranked(CUT, &|rows| pca.forward(rows))?)?);
        let cut = pca::cut(input, output);
        verdict.cut = Some(compare(&ranked(CUT, &|rows| cut.forward(rows))?)?);
    }
    if asked.iter().all(|asked| asked.projection.sides() == Sides::Both) {
        let random = pca::random(input, output, seed);
        verdict.random = Some(compare(&ranked(CUT, &|rows| random.forward(rows))?)?);
    }
    let looked_up = |lookup: Lexical<'_>, depth: usize| -> Result<Rankings> {
        let all = asked.iter().flat_map(|asked| asked.questions.queries.iter().map(move |query| (&asked.questions, query.row)));
        let rankings = all.map(|(questions, row)| {
            job.check()?;
            rank_lexically(vectors, questions, row, lookup, depth)
        });
        let rankings = rankings.collect::<Result<_>>()?;
        job.progress.advance(1);
        Ok(rankings)
    };
    if let Some(table) = trial.table {
        verdict.table = Some(compare(&looked_up(table, CUT)?)?);
    }
    if let Some(lexical) = trial.lexical {
        let words = looked_up(lexical, depth)?;
        verdict.lexical = Some(compare(&words)?);
        if let Some((fuse, _)) = fused {
            let fused = |projected: Option<&Rankings>| -> Scores {
                let all = words.iter().zip(&raw).enumerate();
                let fused = all.map(|(at, (words, raw))| fuse(words, raw, projected.map(|lists| lists[at].as_slice())));
                Scores::new(asked, &fused.collect::<Vec<_>>())
            };
            let (without, with) = (fused(None), fused(Some(&projected)));
            verdict.hybrid = Some(Hybrid {
                without: without.figures(&groups, seed)?,
                with: with.figures(&groups, seed)?,
                gain: with.minus(&without).figures(&groups, seed)?,
            });
        }
    }
    job.progress.end("");
    Ok(())
}

/// How many rows BM25 is asked for beyond the cut, since the query itself, copies and rows that are no candidates are left out.
const LEXICAL_SPARE: usize = 20;

fn rank_lexically(vectors: &Vectors, questions: &Questions, row: usize, lexical: Lexical<'_>, depth: usize) -> Result<Vec<Found>> {
    let mut ranked: Vec<Found> = Vec::with_capacity(depth);
    for (found, score) in lexical(row, depth + LEXICAL_SPARE)?.into_iter().filter(|&(found, _)| found < vectors.len()) {
        let found = vectors.first_of(found);
        let is_new = found != row && !ranked.iter().any(|known| known.0 == found);
        if is_new && questions.candidates.binary_search(&found).is_ok() && ranked.len() < depth {
            ranked.push((found, score));
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
    fn new(asked: &[Asked<'_>], rankings: &[Vec<usize>]) -> Scores {
        let by = |measure: fn(&[usize], &metrics::Judgements<usize>, usize) -> f64| {
            let queries = asked.iter().flat_map(|asked| &asked.questions.queries);
            queries.zip(rankings).map(|(query, ranked)| measure(ranked, &query.relevant, CUT)).collect()
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
    let beats = |comparison: Option<Comparison>| comparison.is_some_and(|comparison| comparison.gain.ndcg.is_positive());
    let is_behind = |comparison: Option<Comparison>| comparison.is_none_or(|comparison| comparison.gain.ndcg.mean < 0.0);
    let gain = |gain: Option<Interval>| gain.map(told).unwrap_or_default();
    let of = |comparison: Option<Comparison>| gain(comparison.map(|comparison| comparison.gain.ndcg));
    let of_its_size = [
        ("PCA of the same size".to_owned(), verdict.pca),
        (format!("the first {output_dim} numbers of raw vectors"), verdict.cut),
        ("a random projection of the same size".to_owned(), verdict.random),
    ];
    // Whom a smaller one does not beat, and to whom it loses.
    let unbeaten = of_its_size.iter().find(|(_, comparison)| smaller && !beats(*comparison));
    let ahead = of_its_size.iter().find(|(_, comparison)| is_behind(*comparison));
    let wins = beats_raw && unbeaten.is_none();
    let is_near = smaller && raw.gain.ndcg.low >= -NOT_WORSE_MARGIN && raw.figures.ndcg.mean >= MIN_RAW_NDCG;
    let points = 100.0 * NOT_WORSE_MARGIN;
    let refused = if !beats_raw && !is_near {
        let near = if smaller { format!(", and is not surely within {points} point of them") } else { String::new() };
        Some(format!("it does not clearly beat raw vectors{near}{}", told(raw.gain.ndcg)))
    } else if raw.gain.mrr.is_negative() {
        Some("its MRR@10 is worse than that of raw vectors".to_owned())
    } else if let Some((system, comparison)) = unbeaten.filter(|_| !is_near) {
        Some(format!("it does not clearly beat {system}{}", of(*comparison)))
    } else if let Some((system, comparison)) = ahead.filter(|_| !wins) {
        Some(format!("it finds less than {system}{}", of(*comparison)))
    } else if verdict.table.is_some() && !beats(verdict.table) {
        Some(format!("it does not clearly beat the table lookup, which costs nothing{}", of(verdict.table)))
    } else if verdict.hybrid.is_some_and(|hybrid| hybrid.gain.ndcg.is_negative()) {
        let change = gain(verdict.hybrid.map(|hybrid| hybrid.gain.ndcg));
        Some(format!("search with words and vectors together gets worse with it{change}"))
    } else if must_beat_lexical && !beats(verdict.lexical) {
        Some(format!("it does not clearly beat BM25{}", of(verdict.lexical)))
    } else {
        None
    };
    let against_raw = told(raw.gain.ndcg);
    match (refused, unbeaten) {
        (Some(why), _) => (false, format!("not published, search uses raw vectors: {why}")),
        (None, _) if wins => (true, format!("published: it beats raw vectors{against_raw}")),
        (None, Some((system, _))) if beats_raw => {
            let but = format!("{output_dim} of {input_dim} numbers; it does not clearly beat {system}");
            (true, format!("published as a win of memory: no worse than raw vectors{against_raw} at {but}"))
        }
        (None, _) => {
            let equal = format!("equal within {points} point at {output_dim} of {input_dim} numbers");
            (true, format!("published as a win of memory: {equal}{against_raw}"))
        }
    }
}

/// A gain in words.
fn told(gain: Interval) -> String {
    format!(" (nDCG@10 {:+.4}, 95 % interval {:+.4} to {:+.4})", gain.mean, gain.low, gain.high)
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
            cut: against_pca.map(by),
            random: against_pca.map(by),
            lexical: None,
            table: None,
            hybrid: None,
        }
    }

    #[test]
    fn the_rule_is_as_written() {
        let cases = [
            (verdict(384, (0.01, 0.05), None), true, "beats raw vectors"),
            (verdict(384, (-0.01, 0.05), None), false, "does not clearly beat raw"),
            (verdict(384, (0.0, 0.0), None), false, "does not clearly beat raw"),
            (
                verdict(256, (-0.01, 0.02), Some((0.01, 0.02))),
                true,
                "as a win of memory: equal within 1 point at 256 of 384 numbers (nDCG@10 +0.0050,",
            ),
            // What beats nothing of its size clearly is not behind: that is all that a win of memory needs.
            (verdict(256, (-0.009, 0.01), Some((-0.02, 0.02))), true, "equal within 1 point at 256 of 384 numbers"),
            (
                verdict(256, (-0.009, 0.01), Some((-0.02, 0.019))),
                false,
                "vectors: it finds less than PCA of the same size (nDCG@10 -0.0005,",
            ),
            (
                verdict(256, (-0.0101, 0.02), Some((0.01, 0.02))),
                false,
                "not clearly beat raw vectors, and is not surely within 1 point of them",
            ),
            (verdict(384, (-0.009, 0.01), None), false, "does not clearly beat raw vectors (nDCG@10"),
            (verdict(256, (0.01, 0.02), Some((0.01, 0.02))), true, "published: it beats raw vectors"),
            (
                verdict(256, (0.01, 0.02), Some((-0.01, 0.02))),
                true,
                "no worse than raw vectors (nDCG@10 +0.0150, 95 % interval +0.0100 to +0.0200) at 256 of 384 numbers; it does not clearly beat PCA",
            ),
            (verdict(256, (0.01, 0.02), Some((-0.03, 0.02))), false, "it finds less than PCA of the same size"),
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
        good.table = verdict(384, (-0.01, 0.03), None).raw;
        assert!(decide(&good, false).1.contains("table lookup"));
        good.table = verdict(384, (0.01, 0.03), None).raw;
        let fused = |low, high| {
            let by = verdict(384, (low, high), None).raw.expect("a comparison");
            Some(Hybrid { without: by.figures, with: by.figures, gain: by.gain })
        };
        good.hybrid = fused(-0.02, 0.001);
        assert!(decide(&good, false).0, "within noise is not worse");
        good.hybrid = fused(-0.02, -0.001);
        let (published, why) = decide(&good, false);
        assert!(!published && why.contains("words and vectors together gets worse with it (nDCG@10 -0.0105"), "{why}");
        good.hybrid = None;
        let mut cut = verdict(256, (0.01, 0.02), Some((0.01, 0.02)));
        cut.cut = verdict(256, (-0.03, 0.02), None).raw;
        assert!(decide(&cut, false).1.contains("it finds less than the first 256 numbers of raw vectors"));
        cut.cut = cut.pca;
        cut.random = None;
        assert!(decide(&cut, false).1.contains("random projection"));
        // A win of memory is held to the other rules as every projection is.
        let near = || verdict(256, (-0.009, 0.02), Some((0.01, 0.02)));
        let refused = |verdict: Verdict, why: &str| {
            let (published, text) = decide(&verdict, false);
            assert!(!published && text.contains(why), "{text}");
        };
        refused(Verdict { table: verdict(256, (-0.01, 0.03), None).raw, ..near() }, "table lookup");
        refused(Verdict { hybrid: fused(-0.02, -0.001), ..near() }, "gets worse with it");
        let mut slow = near();
        if let Some(raw) = &mut slow.raw {
            raw.gain.mrr = interval(-0.2, -0.1);
        }
        refused(slow, "MRR@10 is worse");
        // Where raw vectors find next to nothing, all is within a point of them.
        let mut blind = near();
        if let Some(raw) = &mut blind.raw {
            raw.figures.ndcg = interval(0.0, 0.19);
        }
        refused(blind.clone(), "does not clearly beat raw");
        if let Some(raw) = &mut blind.raw {
            (raw.figures.ndcg, raw.gain.ndcg) = (interval(0.0, 0.19), interval(0.01, 0.02));
        }
        blind.pca = verdict(256, (-0.01, 0.02), None).raw;
        refused(blind, "does not clearly beat PCA");
        if let Some(raw) = &mut good.raw {
            raw.gain.mrr = interval(-0.2, -0.1);
        }
        assert!(decide(&good, false).1.contains("MRR@10 is worse"));
        let text = serde_json::to_string(&good).expect("JSON");
        let read: Verdict = serde_json::from_str(&text).expect("read back");
        assert_eq!((read.queries, read.pca, read.projection), (good.queries, good.pca, good.projection));
    }
}

//! How good a ranking is, as trec_eval defines it, how well two series agree, and how sure one can be of a figure or of a difference.
//!
//! The measures take the documents of one query, best first, and its judgements (a grade above 0 is relevant; a document that is
//! not judged is not relevant). The values are those of `pytrec_eval`: `ndcg_cut_k` with linear gain, `recip_rank` cut at k,
//! `recall_k`, `map`. Among equal scores trec_eval puts the greater document id (as a string) first: [`trec_order`] does so, for figures
//! that are to be those of others; inside Patina [`best_first`] puts the smaller one first.

mod bootstrap;
mod correlation;
pub mod random;
mod rank_sum;

use std::cmp::Ordering;
use std::collections::BTreeMap;

pub use bootstrap::{
    Interval, LEVEL, RESAMPLES, bootstrap_difference, bootstrap_difference_by_group, bootstrap_mean, bootstrap_mean_by_group,
};
pub use correlation::{average_ranks, bootstrap_correlations, pearson, spearman};
pub use rank_sum::{rank_sum, rank_sum_below};

/// The judgements of one query: the grade of each judged document; 0 means judged and not relevant.
pub type Judgements<D> = BTreeMap<D, u32>;

/// Orders scored documents best first, ties by the smaller document id; a score that is NaN comes last.
pub fn best_first<D: Ord>(a: &(D, f64), b: &(D, f64)) -> Ordering {
    let key = |score: f64| if score.is_nan() { f64::NEG_INFINITY } else { score };
    key(b.1).total_cmp(&key(a.1)).then_with(|| a.0.cmp(&b.0))
}

/// Orders scored documents as trec_eval does: best first by the score in single precision, which is all that it keeps of one, ties by
/// the greater document id; a score that is NaN comes last.
pub fn trec_order<D: Ord>(a: &(D, f64), b: &(D, f64)) -> Ordering {
    // Adding 0 makes -0 the 0 that it equals.
    let key = |score: f64| if score.is_nan() { f32::NEG_INFINITY } else { score as f32 + 0.0 };
    key(b.1).total_cmp(&key(a.1)).then_with(|| b.0.cmp(&a.0))
}

/// Normalised discounted cumulative gain of the first `k`: the gain is the grade, the discount log2(rank + 1), the ideal ranking
/// that of all judged documents. 0 if nothing is relevant.
pub fn ndcg<D: Ord>(ranked: &[D], judged: &Judgements<D>, k: usize) -> f64 {
    let discount = |place: usize| ((place + 2) as f64).log2();
    let gain: f64 = ranked.iter().take(k).enumerate().map(|(place, id)| f64::from(grade(judged, id)) / discount(place)).sum();
    let mut grades: Vec<u32> = judged.values().copied().filter(|&grade| grade > 0).collect();
    grades.sort_unstable_by(|a, b| b.cmp(a));
    let ideal: f64 = grades.iter().take(k).enumerate().map(|(place, &grade)| f64::from(grade) / discount(place)).sum();
    if ideal > 0.0 { gain / ideal } else { 0.0 }
}

/// One over the rank of the first relevant document, 0 if there is none among the first `k`. Its mean over queries is MRR@k.
pub fn reciprocal_rank<D: Ord>(ranked: &[D], judged: &Judgements<D>, k: usize) -> f64 {
    ranked.iter().take(k).position(|id| grade(judged, id) > 0).map_or(0.0, |place| 1.0 / (place + 1) as f64)
}

/// The share of the relevant documents that is among the first `k`. 0 if nothing is relevant.
pub fn recall<D: Ord>(ranked: &[D], judged: &Judgements<D>, k: usize) -> f64 {
    let found = ranked.iter().take(k).filter(|id| grade(judged, id) > 0).count();
    share(found as f64, relevant(judged))
}

/// The mean, over all relevant documents, of the precision at the rank of each (0 for one that is not in the ranking).
pub fn average_precision<D: Ord>(ranked: &[D], judged: &Judgements<D>) -> f64 {
    let hits = ranked.iter().enumerate().filter(|(_, id)| grade(judged, id) > 0);
    let sum: f64 = hits.enumerate().map(|(before, (place, _))| (before + 1) as f64 / (place + 1) as f64).sum();
    share(sum, relevant(judged))
}

fn grade<D: Ord>(judged: &Judgements<D>, id: &D) -> u32 {
    judged.get(id).copied().unwrap_or(0)
}

fn relevant<D>(judged: &Judgements<D>) -> usize {
    judged.values().filter(|&&grade| grade > 0).count()
}

fn share(part: f64, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    /// Values of pytrec_eval-terrier 0.5.11 (ndcg_cut.3,10, recip_rank, recall.3,10, map) for the same rankings.
    #[test]
    fn values_are_those_of_pytrec_eval() {
        let ranked = [7, 3, 11, 1, 9, 2, 14, 5, 8, 4, 6, 10];
        let judged = Judgements::from([(3, 2), (9, 1), (4, 3), (10, 1), (99, 2), (1, 0)]);
        close(ndcg(&ranked, &judged, 3), 0.23981246656813146);
        close(ndcg(&ranked, &judged, 10), 0.41384205651527195);
        close(reciprocal_rank(&ranked, &judged, 10), 0.5);
        close(recall(&ranked, &judged, 3), 0.2);
        close(recall(&ranked, &judged, 10), 0.6);
        close(average_precision(&ranked, &judged), 0.30666666666666664);
    }

    /// Random runs with ties, graded, negative and missing judgements: fixtures that pytrec_eval made (`tests/fixtures/metrics/make.py`).
    #[test]
    fn random_runs_have_the_values_of_pytrec_eval() {
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../tests/fixtures/metrics/rankings.json")).expect("the fixture");
        assert!(cases.len() >= 40);
        let mut ties = 0;
        for (number, case) in cases.iter().enumerate() {
            let pairs = |key: &str| -> Vec<(&str, f64)> {
                let object = case[key].as_object().expect("an object");
                object.iter().map(|(id, value)| (id.as_str(), value.as_f64().expect("a number"))).collect()
            };
            let mut run = pairs("run");
            run.sort_by(trec_order);
            ties += run.windows(2).filter(|pair| pair[0].1 as f32 == pair[1].1 as f32).count();
            let ranked: Vec<&str> = run.iter().map(|pair| pair.0).collect();
            let judged: Judgements<&str> = pairs("qrels").into_iter().map(|(id, grade)| (id, grade.max(0.0) as u32)).collect();
            for (name, value) in [
                ("ndcg_cut_3", ndcg(&ranked, &judged, 3)),
                ("ndcg_cut_10", ndcg(&ranked, &judged, 10)),
                ("recip_rank_10", reciprocal_rank(&ranked, &judged, 10)),
                ("recall_10", recall(&ranked, &judged, 10)),
                ("recall_100", recall(&ranked, &judged, 100)),
                ("map", average_precision(&ranked, &judged)),
                ("map_cut_20", average_precision(&ranked[..ranked.len().min(20)], &judged)),
            ] {
                let expected = case["expected"][name].as_f64().expect("a value");
                assert!((value - expected).abs() < 1e-9, "case {number}, {name}: {value} is not {expected}");
            }
        }
        assert!(ties > 500, "the fixture has {ties} ties");
    }

    #[test]
    fn small_cases_by_hand() {
        let ranked: Vec<u64> = (1..=12).collect();
        let eleventh = Judgements::from([(11, 1)]);
        assert_eq!(reciprocal_rank(&ranked, &eleventh, 10), 0.0, "the cut applies");
        close(reciprocal_rank(&ranked, &eleventh, 20), 1.0 / 11.0);
        close(average_precision(&ranked, &eleventh), 1.0 / 11.0);
        close(ndcg(&[1, 2], &Judgements::from([(2, 1)]), 10), 1.0 / 3f64.log2());
        close(ndcg(&[8, 5], &Judgements::from([(5, 1), (8, 1)]), 10), 1.0);
        let none = Judgements::from([(1, 0)]);
        assert_eq!((ndcg(&ranked, &none, 10), recall(&ranked, &none, 10), average_precision(&ranked, &none)), (0.0, 0.0, 0.0));
        assert_eq!(ndcg::<u64>(&[], &eleventh, 10), 0.0);
    }

    #[test]
    fn ties_go_to_the_smaller_id_and_nan_last() {
        let mut scored = [(3, 0.5), (9, f64::NAN), (2, 0.5), (7, 0.9), (1, -1.0)];
        scored.sort_by(best_first);
        assert_eq!(scored.iter().map(|pair| pair.0).collect::<Vec<_>>(), [7, 2, 3, 1, 9]);
        scored.sort_by(trec_order);
        assert_eq!(scored.iter().map(|pair| pair.0).collect::<Vec<_>>(), [7, 3, 2, 1, 9]);
        let mut close = [("B", 0.0), ("a", -0.0), ("b", 0.5), ("c", 0.5 + 1e-12)];
        close.sort_by(trec_order);
        assert_eq!(close.map(|pair| pair.0), ["c", "b", "a", "B"], "single precision decides, then the bytes of the id");
        let mut close = [("c", 0.5), ("b", 0.5 + 1e-12)];
        close.sort_by(trec_order);
        assert_eq!(close.map(|pair| pair.0), ["c", "b"]);
    }
}

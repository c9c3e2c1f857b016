//! Brute-force rankings of held-out queries, the same way for raw vectors, PCA and the projection.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, ArrayView2};

use super::network::product;
use super::vectors::{RowPair, Vectors};
use crate::error::Result;
use crate::metrics::{self, Judgements};
use crate::progress::Job;

/// The cut of every measure.
pub const CUT: usize = 10;
/// Candidates and queries of one matrix product; together they bound its memory.
const CANDIDATES: usize = 4096;
const QUERIES: usize = 512;

/// A query: a row, what it shall find, and the group it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The row that asks; never a candidate of its own.
    pub row: usize,
    /// Rows that shall be found, all among the candidates.
    pub relevant: Judgements<usize>,
    /// For the bootstrap.
    pub group: usize,
}

/// Queries and what they are ranked against. Rows with equal vectors count once, by the first of them, so that a query never meets
/// a copy of itself and a relevant document never competes with a copy of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// Ordered by row.
    pub queries: Vec<Query>,
    /// Ordered; holds everything relevant.
    pub candidates: Vec<usize>,
}

/// Rows to rows: what turns the model's vectors into those to compare, `[rows, input]` to `[rows, any]`.
pub type Map<'a> = &'a dyn Fn(ArrayView2<'_, f32>) -> Array2<f32>;

impl Questions {
    /// One query for each anchor of `pairs`, at most `max` of them (then every n-th), against `candidates` and all that is relevant.
    pub fn new(vectors: &Vectors, pairs: &[RowPair], candidates: impl IntoIterator<Item = usize>, max: usize) -> Questions {
        let mut by_anchor: BTreeMap<usize, (Judgements<usize>, usize)> = BTreeMap::new();
        for pair in pairs {
            let (row, positive) = (vectors.first_of(pair.anchor), vectors.first_of(pair.positive));
            if row != positive {
                by_anchor.entry(row).or_insert((Judgements::new(), pair.group)).0.insert(positive, 1);
            }
        }
        let step = by_anchor.len().div_ceil(max.max(1)).max(1);
        let queries: Vec<Query> =
            by_anchor.into_iter().step_by(step).map(|(row, (relevant, group))| Query { row, relevant, group }).collect();
        let relevant = queries.iter().flat_map(|query| query.relevant.keys().copied());
        let candidates: BTreeSet<usize> = candidates.into_iter().map(|row| vectors.first_of(row)).chain(relevant).collect();
        Questions { queries, candidates: candidates.into_iter().collect() }
    }

    /// One query for each anchor of `pairs` against `candidates` alone, with nothing that is relevant: to see what is near.
    pub fn of_anchors(vectors: &Vectors, pairs: &[RowPair], candidates: impl IntoIterator<Item = usize>) -> Questions {
        let anchors: BTreeMap<usize, usize> = pairs.iter().map(|pair| (vectors.first_of(pair.anchor), pair.group)).collect();
        let queries = anchors.into_iter().map(|(row, group)| Query { row, relevant: Judgements::new(), group }).collect();
        let candidates: BTreeSet<usize> = candidates.into_iter().map(|row| vectors.first_of(row)).collect();
        Questions { queries, candidates: candidates.into_iter().collect() }
    }

    /// The best [`CUT`] candidates of every query by dot product after `map`, ties by the smaller row.
    pub fn rank(&self, vectors: &Vectors, map: Map<'_>, job: Job<'_>) -> Result<Vec<Vec<usize>>> {
        self.rank_sides(CUT, vectors, map, map, job)
    }

    /// The same to another depth, where queries and candidates are mapped differently.
    pub fn rank_sides(&self, depth: usize, vectors: &Vectors, query: Map<'_>, document: Map<'_>, job: Job<'_>) -> Result<Vec<Vec<usize>>> {
        let best = self.rank_to(depth, vectors, query, document, job)?;
        Ok(best.into_iter().map(|list| list.into_iter().map(|(_, row)| row).collect()).collect())
    }

    /// The same with the scores.
    pub fn rank_to(
        &self,
        depth: usize,
        vectors: &Vectors,
        query: Map<'_>,
        document: Map<'_>,
        job: Job<'_>,
    ) -> Result<Vec<Vec<(f32, usize)>>> {
        let rows: Vec<usize> = self.queries.iter().map(|query| query.row).collect();
        let asked: Vec<Array2<f32>> = rows.chunks(QUERIES).map(|rows| query(vectors.select(rows).view())).collect();
        let mut best: Vec<Vec<(f32, usize)>> = vec![Vec::with_capacity(depth + 1); rows.len()];
        for candidates in self.candidates.chunks(CANDIDATES) {
            job.check()?;
            let mapped = document(vectors.select(candidates).view());
            for (block, (asked, rows)) in asked.iter().zip(rows.chunks(QUERIES)).enumerate() {
                let scores = product(&asked.view(), &mapped.t());
                for (at, (scores, &row)) in scores.rows().into_iter().zip(rows).enumerate() {
                    let best = &mut best[block * QUERIES + at];
                    for (&score, &candidate) in scores.iter().zip(candidates) {
                        // Candidates come in rising order, so an equal score never displaces.
                        let enters = best.len() < depth || best.last().is_some_and(|worst| score > worst.0);
                        if enters && candidate != row {
                            let place = best.partition_point(|better| better.0 >= score);
                            best.insert(place, (score, candidate));
                            best.truncate(depth);
                        }
                    }
                }
            }
        }
        Ok(best)
    }

    /// The mean nDCG of rankings in the order of the queries.
    pub fn ndcg(&self, rankings: &[Vec<usize>]) -> f64 {
        let sum: f64 = self.queries.iter().zip(rankings).map(|(query, ranked)| metrics::ndcg(ranked, &query.relevant, CUT)).sum();
        sum / self.queries.len().max(1) as f64
    }

    /// The mean reciprocal rank of rankings in the order of the queries.
    pub fn mrr(&self, rankings: &[Vec<usize>]) -> f64 {
        let sum: f64 =
            self.queries.iter().zip(rankings).map(|(query, ranked)| metrics::reciprocal_rank(ranked, &query.relevant, CUT)).sum();
        sum / self.queries.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::random::SplitMix64;

    #[test]
    fn rankings_are_those_of_sorting_all_scores() {
        let mut random = SplitMix64::new(2);
        // More than one block of queries and of candidates, and copies among them.
        let mut items: Vec<(u64, Vec<f32>)> = (0..5000).map(|id| (id, (0..6).map(|_| random.normal() as f32).collect())).collect();
        for copy in 0..200 {
            items[4000 + copy].1 = items[copy].1.clone();
        }
        let vectors = Vectors::new(6, &items).expect("vectors");
        let pairs: Vec<RowPair> = (0..700).map(|at| RowPair { anchor: at * 7, positive: (at * 13 + 1) % 5000, group: at / 3 }).collect();
        let questions = Questions::new(&vectors, &pairs, 0..5000, 10_000);
        assert_eq!(questions.candidates.len(), 4800);
        let rankings = questions.rank(&vectors, &|rows| rows.to_owned(), Job::silent()).expect("ranked");
        let all = vectors.all();
        for (query, ranked) in questions.queries.iter().zip(&rankings) {
            let mut scored: Vec<(usize, f64)> = questions
                .candidates
                .iter()
                .filter(|&&row| row != query.row)
                .map(|&row| (row, f64::from(all.row(row).dot(&all.row(query.row)))))
                .collect();
            scored.sort_by(metrics::best_first);
            let scores =
                |rows: &mut dyn Iterator<Item = usize>| -> Vec<f32> { rows.map(|row| all.row(row).dot(&all.row(query.row))).collect() };
            let (found, expected) = (scores(&mut ranked.iter().copied()), scores(&mut scored.iter().take(CUT).map(|pair| pair.0)));
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
            assert!(!ranked.contains(&query.row));
        }
    }

    #[test]
    fn a_query_is_never_its_own_answer_nor_is_a_copy_of_it() {
        let items = [(1, [1.0, 0.0]), (2, [1.0, 0.0]), (3, [0.6, 0.8]), (4, [0.0, 1.0]), (5, [0.6, 0.8])];
        let vectors = Vectors::new(2, &items).expect("vectors");
        // 2 is a copy of 1, 5 of 3; the pair (1, 2) is no question.
        let (pairs, left_out) = vectors.pairs([(1, 2, "a"), (1, 5, "a"), (2, 4, "b"), (9, 1, "c")]);
        assert_eq!((pairs.len(), left_out), (2, 2));
        let questions = Questions::new(&vectors, &pairs, 0..5, 10);
        assert_eq!(questions.queries, [Query { row: 0, relevant: Judgements::from([(2, 1), (3, 1)]), group: 0 }]);
        assert_eq!(questions.candidates, [0, 2, 3]);
        assert_eq!(questions.rank(&vectors, &|rows| rows.to_owned(), Job::silent()).expect("ranked"), [[2, 3]]);
    }
}

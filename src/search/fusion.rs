//! Reciprocal rank fusion of ranked lists over canonical document ids (Cormack, Clarke and Buettcher, SIGIR 2009).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// The constant of reciprocal rank fusion: how little the first ranks differ. 60 is the paper's and everybody's.
pub const RRF_K: f64 = 60.0;

/// What one retriever found, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedList {
    /// The retriever's name: `lexical`, `vector`, or `projection:NAME`.
    pub retriever: String,
    /// What one of its votes counts; 1 is usual.
    pub weight: f64,
    /// Ids with the retriever's own scores. A second mention of an id is ignored.
    pub items: Vec<(u64, f64)>,
}

/// What one retriever said about a document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explain {
    /// The retriever's name.
    pub retriever: String,
    /// From 1.
    pub rank: usize,
    /// The retriever's own score: BM25 (higher is better) or cosine similarity.
    pub score: f64,
    /// What one of the retriever's votes counts.
    pub weight: f64,
    /// What its vote adds to the fused score.
    pub contribution: f64,
}

/// A document after fusion.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// The document.
    pub id: u64,
    /// The sum of weight / ([`RRF_K`] + rank) over the lists that have it.
    pub score: f64,
    /// Who found it, in the order of the lists.
    pub explain: Vec<Explain>,
}

/// Fuses ranked lists, best first; equal scores by the better best rank, then by id.
pub fn fuse(lists: &[RankedList]) -> Vec<Fused> {
    let mut found: BTreeMap<u64, Fused> = BTreeMap::new();
    for list in lists {
        let mut seen = BTreeSet::new();
        // Ranks are counted over what is kept, so that a repeated id moves nobody down.
        for (rank, &(id, score)) in (1..).zip(list.items.iter().filter(|(id, _)| seen.insert(*id))) {
            let fused = found.entry(id).or_insert_with(|| Fused { id, score: 0.0, explain: Vec::new() });
            let contribution = list.weight / (RRF_K + rank as f64);
            fused.score += contribution;
            fused.explain.push(Explain { retriever: list.retriever.clone(), rank, score, weight: list.weight, contribution });
        }
    }
    let best_rank = |fused: &Fused| fused.explain.iter().map(|explain| explain.rank).min();
    let mut out: Vec<Fused> = found.into_values().collect();
    out.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| best_rank(a).cmp(&best_rank(b))).then(a.id.cmp(&b.id)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(retriever: &str, weight: f64, ids: &[u64]) -> RankedList {
        RankedList { retriever: retriever.to_owned(), weight, items: ids.iter().map(|&id| (id, 100.0 - id as f64)).collect() }
    }

    #[test]
    fn scores_are_the_papers_sum_and_ranks_are_kept() {
        let fused = fuse(&[list("lexical", 1.0, &[7, 3, 9]), list("vector", 2.0, &[3, 8])]);
        assert_eq!(fused.iter().map(|f| f.id).collect::<Vec<_>>(), [3, 8, 7, 9]);
        assert!((fused[0].score - (1.0 / 62.0 + 2.0 / 61.0)).abs() < 1e-15);
        let explain = |retriever: &str, rank: usize, score, weight: f64| {
            let contribution = weight / (60.0 + rank as f64);
            Explain { retriever: retriever.to_owned(), rank, score, weight, contribution }
        };
        assert_eq!(fused[0].explain, [explain("lexical", 2, 97.0, 1.0), explain("vector", 1, 97.0, 2.0)]);
        assert_eq!(fused[2].explain, [explain("lexical", 1, 93.0, 1.0)]);
    }

    #[test]
    fn ties_go_by_id_and_a_repeated_id_counts_once() {
        let fused = fuse(&[list("a", 1.0, &[5, 2]), list("b", 1.0, &[2, 5])]);
        assert_eq!(fused.iter().map(|f| f.id).collect::<Vec<_>>(), [2, 5]);
        let fused = fuse(&[list("a", 1.0, &[5, 5, 5, 2])]);
        assert_eq!(fused.iter().map(|f| (f.id, f.explain[0].rank)).collect::<Vec<_>>(), [(5, 1), (2, 2)]);
        assert_eq!(fuse(&[]), []);
    }

    proptest::proptest! {
        /// Against the definition, written down the slow way.
        #[test]
        fn fusion_equals_its_definition(a in proptest::collection::vec(0u64..30, 0..20), b in proptest::collection::vec(0u64..30, 0..20), w in 0.1f64..3.0) {
            let unique = |ids: Vec<u64>| { let mut seen = BTreeSet::new(); ids.into_iter().filter(|id| seen.insert(*id)).collect::<Vec<_>>() };
            let (a, b) = (unique(a), unique(b));
            let fused = fuse(&[list("a", 1.0, &a), list("b", w, &b)]);
            let expected = |id: u64| {
                let of = |ids: &[u64], w: f64| ids.iter().position(|&x| x == id).map_or(0.0, |at| w / (60.0 + at as f64 + 1.0));
                of(&a, 1.0) + of(&b, w)
            };
            proptest::prop_assert!(fused.iter().all(|f| (f.score - expected(f.id)).abs() < 1e-12));
            proptest::prop_assert!(fused.windows(2).all(|p| p[0].score >= p[1].score));
            let all: BTreeSet<u64> = a.iter().chain(&b).copied().collect();
            proptest::prop_assert_eq!(fused.iter().map(|f| f.id).collect::<BTreeSet<_>>(), all);
        }
    }
}

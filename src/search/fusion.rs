//! Fusion of ranked lists over canonical document ids: weighted sums of scores that were made comparable, or reciprocal rank fusion
//! (Cormack, Clarke and Buettcher, SIGIR 2009).

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// The constant of reciprocal rank fusion where none is said: how little the first ranks differ. 60 is the paper's and everybody's.
pub const RRF_K: f64 = 60.0;
/// How far down each list counts. Scores are made comparable over so much of it, whatever was read: were it more for more results, or for a
/// reranker, other results would come first. Weights are chosen and search is judged at this depth too. What stands further down counts 0.
pub const FUSED_DEPTH: usize = 500;

/// What is added up for a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The weight times the score, which [`Scale`] brings between 0 and 1. How far a document is ahead counts, and not only that it is.
    #[default]
    Scores,
    /// The weight over (k + rank).
    Ranks {
        /// Above -1; [`RRF_K`] is usual.
        k: f64,
    },
}

/// What a retriever's own scores mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 0 is no match at all, as in BM25: scores are divided by the best.
    FromZero,
    /// Only differences mean something, as in cosines, whose worst depends on the model: the first of the list is 1, the last of it, or of its
    /// first [`FUSED_DEPTH`], is 0.
    Spread,
}

/// What one retriever found, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedList {
    /// The retriever's name: `lexical`, `vector`, or `projection:NAME`.
    pub retriever: String,
    /// What one of its votes counts; 1 is usual.
    pub weight: f64,
    /// What its scores mean.
    pub scale: Scale,
    /// Ids with the retriever's own scores. A second mention of an id is ignored.
    pub items: Vec<(u64, f64)>,
}

impl RankedList {
    /// What brings a score of this list between 0 and 1. What is not in the list counts as 0.
    fn normal(&self) -> impl Fn(f64) -> f64 + use<> {
        let counted = &self.items[..self.items.len().min(FUSED_DEPTH)];
        let (best, last) = (counted.first().map_or(0.0, |item| item.1), counted.last().map_or(0.0, |item| item.1));
        let (zero, range) = match self.scale {
            Scale::FromZero => (0.0, best),
            Scale::Spread => (last, best - last),
        };
        let alone = f64::from(u8::from(self.scale == Scale::Spread));
        move |score| if range > 0.0 { ((score - zero) / range).clamp(0.0, 1.0) } else { alone }
    }

    /// Rank, id, the retriever's own score, and what the list adds to the fused one. Ranks are counted over what is kept, so that a repeated id
    /// moves nobody down.
    fn votes(&self, by: By) -> impl Iterator<Item = (usize, u64, f64, f64)> {
        let (normal, mut seen) = (self.normal(), HashSet::new());
        let kept = self.items.iter().filter(move |(id, _)| seen.insert(*id));
        (1..).zip(kept).map(move |(rank, &(id, score))| {
            let vote = match by {
                _ if rank > FUSED_DEPTH => 0.0,
                By::Scores => self.weight * normal(score),
                By::Ranks { k } => self.weight / (k + rank as f64),
            };
            (rank, id, score, vote)
        })
    }
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
    /// The sum over the lists that have it; see [`By`].
    pub score: f64,
    /// Who found it, in the order of the lists.
    pub explain: Vec<Explain>,
}

/// Fuses ranked lists, best first; equal scores by the better best rank, then by id.
pub fn fuse(lists: &[RankedList], by: By) -> Vec<Fused> {
    let mut found: BTreeMap<u64, Fused> = BTreeMap::new();
    for list in lists {
        for (rank, id, score, contribution) in list.votes(by) {
            let fused = found.entry(id).or_insert_with(|| Fused { id, score: 0.0, explain: Vec::new() });
            fused.score += contribution;
            fused.explain.push(Explain { retriever: list.retriever.clone(), rank, score, weight: list.weight, contribution });
        }
    }
    let best_rank = |fused: &Fused| fused.explain.iter().map(|explain| explain.rank).min();
    let mut out: Vec<Fused> = found.into_values().collect();
    out.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| best_rank(a).cmp(&best_rank(b))).then(a.id.cmp(&b.id)));
    out
}

/// The documents in the order of [`fuse`], without who found them: for those who fuse the same lists again and again.
pub fn order(lists: &[RankedList], by: By) -> Vec<u64> {
    let mut found: HashMap<u64, (f64, usize)> = HashMap::new();
    for list in lists {
        for (rank, id, _, vote) in list.votes(by) {
            let (score, best) = found.entry(id).or_insert((0.0, rank));
            (*score, *best) = (*score + vote, rank.min(*best));
        }
    }
    let mut out: Vec<(u64, (f64, usize))> = found.into_iter().collect();
    out.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.0.total_cmp(&of_a.0).then(of_a.1.cmp(&of_b.1)).then(a.cmp(b)));
    out.into_iter().map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const RANKS: By = By::Ranks { k: RRF_K };

    fn list(retriever: &str, weight: f64, ids: &[u64]) -> RankedList {
        RankedList {
            retriever: retriever.to_owned(),
            weight,
            scale: Scale::FromZero,
            items: ids.iter().map(|&id| (id, 100.0 - id as f64)).collect(),
        }
    }

    #[test]
    fn scores_are_the_papers_sum_and_ranks_are_kept() {
        let fused = fuse(&[list("lexical", 1.0, &[7, 3, 9]), list("vector", 2.0, &[3, 8])], RANKS);
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
        let fused = fuse(&[list("a", 1.0, &[5, 2]), list("b", 1.0, &[2, 5])], RANKS);
        assert_eq!(fused.iter().map(|f| f.id).collect::<Vec<_>>(), [2, 5]);
        let fused = fuse(&[list("a", 1.0, &[5, 5, 5, 2])], RANKS);
        assert_eq!(fused.iter().map(|f| (f.id, f.explain[0].rank)).collect::<Vec<_>>(), [(5, 1), (2, 2)]);
        assert_eq!(fuse(&[], RANKS), []);
    }

    /// BM25 of 8, 6 and 2 become 1, 3/4 and 1/4; cosines of 0.9, 0.7 and 0.5 become 1, 1/2 and 0.
    #[test]
    fn scores_are_made_comparable_and_added() {
        let lexical =
            RankedList { retriever: "lexical".into(), weight: 1.0, scale: Scale::FromZero, items: vec![(1, 8.0), (2, 6.0), (3, 2.0)] };
        let vector =
            RankedList { retriever: "vector".into(), weight: 0.5, scale: Scale::Spread, items: vec![(4, 0.9), (2, 0.7), (5, 0.5)] };
        let fused = fuse(&[lexical, vector], By::Scores);
        let scores: Vec<(u64, f64)> = fused.iter().map(|f| (f.id, (f.score * 1e9).round() / 1e9)).collect();
        // 1 and 2 have the same score, and the better rank of 1 decides.
        assert_eq!(scores, [(1, 1.0), (2, 1.0), (4, 0.5), (3, 0.25), (5, 0.0)]);
    }

    #[test]
    fn what_stands_beyond_the_depth_changes_nothing_before_it() {
        let list = |scale, length: usize| RankedList {
            retriever: "x".into(),
            weight: 1.0,
            scale,
            items: (0..length).map(|at| (at as u64, 1.0 / (at as f64 + 1.0))).collect(),
        };
        for scale in [Scale::FromZero, Scale::Spread] {
            for by in [By::Scores, RANKS] {
                let (short, long) = (fuse(&[list(scale, FUSED_DEPTH)], by), fuse(&[list(scale, 2 * FUSED_DEPTH)], by));
                assert_eq!(long[..FUSED_DEPTH], short, "{scale:?} {by:?}");
                let beyond: Vec<(u64, f64)> = long[FUSED_DEPTH..].iter().map(|found| (found.id, found.score)).collect();
                assert_eq!(beyond, (FUSED_DEPTH..2 * FUSED_DEPTH).map(|at| (at as u64, 0.0)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn scores_that_do_not_differ_are_still_found() {
        let list = |scale, items: &[(u64, f64)]| RankedList { retriever: "x".into(), weight: 2.0, scale, items: items.to_vec() };
        let score = |list: RankedList| fuse(&[list], By::Scores).first().map(|fused| fused.score);
        assert_eq!(score(list(Scale::Spread, &[(1, 0.3)])), Some(2.0));
        assert_eq!(score(list(Scale::Spread, &[(1, -0.3), (2, -0.3)])), Some(2.0));
        assert_eq!(score(list(Scale::FromZero, &[(1, 0.0)])), Some(0.0));
        assert_eq!(score(list(Scale::FromZero, &[])), None);
    }

    proptest::proptest! {
        /// Against the definition, written down the slow way.
        #[test]
        fn fusion_equals_its_definition(a in proptest::collection::vec(0u64..30, 0..20), b in proptest::collection::vec(0u64..30, 0..20), w in 0.1f64..3.0) {
            let unique = |ids: Vec<u64>| { let mut seen = BTreeSet::new(); ids.into_iter().filter(|id| seen.insert(*id)).collect::<Vec<_>>() };
            let (a, b) = (unique(a), unique(b));
            let fused = fuse(&[list("a", 1.0, &a), list("b", w, &b)], RANKS);
            let expected = |id: u64| {
                let of = |ids: &[u64], w: f64| ids.iter().position(|&x| x == id).map_or(0.0, |at| w / (60.0 + at as f64 + 1.0));
                of(&a, 1.0) + of(&b, w)
            };
            proptest::prop_assert!(fused.iter().all(|f| (f.score - expected(f.id)).abs() < 1e-12));
            proptest::prop_assert!(fused.windows(2).all(|p| p[0].score >= p[1].score));
            for by in [RANKS, By::Scores] {
                let lists = [list("a", 1.0, &a), list("b", w, &b)];
                proptest::prop_assert_eq!(order(&lists, by), fuse(&lists, by).iter().map(|f| f.id).collect::<Vec<_>>());
            }
            let all: BTreeSet<u64> = a.iter().chain(&b).copied().collect();
            proptest::prop_assert_eq!(fused.iter().map(|f| f.id).collect::<BTreeSet<_>>(), all);
        }
    }
}

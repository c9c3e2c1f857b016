//! The best documents of one query while they come in any order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A document and its score in single precision, which is what trec_eval compares. Greater is better: a higher score, or the same and a
/// greater id (documents are numbered in the order of their ids).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    pub score: f32,
    pub document: u32,
}

impl Scored {
    /// `score` is finite.
    pub fn new(document: u32, score: f64) -> Scored {
        // Adding 0 makes -0 the 0 that it equals.
        Scored { score: score as f32 + 0.0, document }
    }
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Scored) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(self.document.cmp(&other.document))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Scored) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The `limit` best of all that were offered: the same whatever their order.
pub(super) struct Best {
    limit: usize,
    /// The worst on top.
    heap: BinaryHeap<Reverse<Scored>>,
}

impl Best {
    pub fn new(limit: usize) -> Best {
        Best { limit, heap: BinaryHeap::new() }
    }

    pub fn offer(&mut self, scored: Scored) {
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(scored));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && worst.0 < scored
        {
            *worst = Reverse(scored);
        }
    }

    /// Best first.
    pub fn into_ranking(self) -> Vec<Scored> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(scored)| scored).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::random::SplitMix64;
    use crate::metrics::trec_order;

    #[test]
    fn what_is_kept_is_what_sorting_all_gives() {
        let mut random = SplitMix64::new(3);
        for limit in [0, 1, 7, 400, 1000] {
            // Many ties, and differences that single precision does not keep.
            let mut all: Vec<(u32, f64)> =
                (0..500).map(|id| (id, random.below(20) as f64 / 20.0 - 0.5 + random.below(3) as f64 * 1e-11)).collect();
            random.shuffle(&mut all);
            let mut best = Best::new(limit);
            all.iter().for_each(|&(id, score)| best.offer(Scored::new(id, score)));
            all.sort_by(trec_order);
            let kept: Vec<u32> = best.into_ranking().iter().map(|scored| scored.document).collect();
            assert_eq!(kept, all.iter().take(limit).map(|pair| pair.0).collect::<Vec<_>>());
        }
    }
}

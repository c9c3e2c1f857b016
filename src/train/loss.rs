//! The losses on a batch, as functions of the similarities of its anchors and positives, with their gradients.

use ndarray::Array2;

use super::config::Loss;
use super::network::Real;
use super::vectors::{RowPair, Vectors};

/// Which positives are negatives of which anchors, `[pairs, pairs]`; symmetric, false on the diagonal.
///
/// Two pairs that share the anchor, the positive (also by equal vectors) or the group are no evidence against each other, and
/// neither are pairs where one's positive is the other's anchor.
pub fn negatives(vectors: &Vectors, batch: &[RowPair]) -> Array2<bool> {
    let ends = |pair: &RowPair| [vectors.first_of(pair.anchor), vectors.first_of(pair.positive)];
    Array2::from_shape_fn((batch.len(), batch.len()), |(i, j)| {
        let (a, b) = (ends(&batch[i]), ends(&batch[j]));
        batch[i].group != batch[j].group && !a.iter().any(|end| b.contains(end))
    })
}

/// The loss of a batch, the mean over the pairs that have a negative, and its gradient by `similarities[i, j]`, the cosine of anchor
/// `i` and positive `j`. A batch without negatives has loss zero.
pub fn evaluate<F: Real>(loss: Loss, similarities: &Array2<F>, negatives: &Array2<bool>) -> (F, Array2<F>) {
    let mut gradient = Array2::zeros(similarities.raw_dim());
    let usable: Vec<usize> = (0..similarities.nrows()).filter(|&i| negatives.row(i).iter().any(|&is| is)).collect();
    if usable.is_empty() {
        return (F::zero(), gradient);
    }
    let weight = F::of(1.0 / usable.len() as f64);
    let mut total = F::zero();
    match loss {
        Loss::InfoNce { temperature } => {
            let (scale, half) = (F::of(1.0 / temperature), F::of(0.5));
            for &i in &usable {
                // Anchor i among the positives, then positive i among the anchors.
                for transposed in [false, true] {
                    let at = |j: usize| if transposed { (j, i) } else { (i, j) };
                    let others: Vec<usize> = (0..similarities.nrows()).filter(|&j| j == i || negatives[at(j)]).collect();
                    let logit = |j: usize| similarities[at(j)] * scale;
                    let top = others.iter().map(|&j| logit(j)).fold(F::neg_infinity(), F::max);
                    let sum = others.iter().map(|&j| (logit(j) - top).exp()).fold(F::zero(), |sum, term| sum + term);
                    total += half * weight * (top + sum.ln() - logit(i));
                    for &j in &others {
                        let share = (logit(j) - top).exp() / sum;
                        let target = if j == i { F::one() } else { F::zero() };
                        gradient[at(j)] += half * weight * scale * (share - target);
                    }
                }
            }
        }
        Loss::Triplet { margin } => {
            for &i in &usable {
                // The hardest; the first of equals.
                let candidates = (0..similarities.ncols()).filter(|&j| negatives[(i, j)]);
                let hardest = candidates.reduce(|best, j| if similarities[(i, j)] > similarities[(i, best)] { j } else { best });
                let Some(hardest) = hardest else { continue };
                let short = F::of(margin) - similarities[(i, i)] + similarities[(i, hardest)];
                if short > F::zero() {
                    total += weight * short;
                    gradient[(i, i)] -= weight;
                    gradient[(i, hardest)] += weight;
                }
            }
        }
    }
    (total, gradient)
}

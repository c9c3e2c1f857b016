//! The losses on a batch, as functions of the similarities of its anchors and documents, with their gradients.
//!
//! A batch's documents are its positives, one for each anchor and in their order, and behind them the hard negatives.

use std::collections::{HashMap, HashSet};

use ndarray::Array2;

use super::config::Loss;
use super::mining::{Mining, Related};
use super::network::Real;
use super::vectors::{RowPair, Vectors};

/// Which documents of a batch are negatives of which anchors, `[pairs, pairs + hard]`; false on the diagonal.
///
/// Two pairs that share the anchor, the positive (also by equal vectors) or the group are no evidence against each other, and
/// neither are pairs where one's positive is the other's anchor. `known` says what else belongs to an anchor: a document that is
/// another pair's is no negative of it. A hard negative is one of all anchors for which nothing of this speaks against it.
pub fn negatives(vectors: &Vectors, batch: &[RowPair], hard: &[usize], known: &Known) -> Array2<bool> {
    let ends = |pair: &RowPair| [vectors.first_of(pair.anchor), vectors.first_of(pair.positive)];
    let all: Vec<[usize; 2]> = batch.iter().map(ends).collect();
    let hard: Vec<usize> = hard.iter().map(|&row| vectors.first_of(row)).collect();
    Array2::from_shape_fn((batch.len(), batch.len() + hard.len()), |(i, j)| match all.get(j) {
        Some(other) => {
            batch[i].group != batch[j].group && !all[i].iter().any(|end| other.contains(end)) && !known.belong(all[i][0], other[1])
        }
        None => {
            let row = hard[j - batch.len()];
            !all[i].contains(&row) && !known.belong(all[i][0], row)
        }
    })
}

/// What belongs together by any training pair and by [`Related`], by the first row of equal vectors and in both directions.
#[derive(Debug, Default)]
pub struct Known {
    rows: HashSet<(usize, usize)>,
    groups: HashSet<(usize, usize)>,
    /// Of the first of equal rows: the groups of all of them.
    groups_of: HashMap<usize, Vec<usize>>,
}

impl Known {
    /// Of all training pairs.
    pub fn new(vectors: &Vectors, pairs: &[RowPair]) -> Known {
        let mut known = Known::default();
        known.tie(vectors, pairs.iter().map(|pair| (pair.anchor, pair.positive)));
        known
    }

    /// And of what else is related.
    pub fn and(mut self, vectors: &Vectors, mining: &Mining<'_>) -> Known {
        let Related { rows, groups } = mining.related;
        self.tie(vectors, rows.iter().copied());
        self.groups.extend(groups.iter().flat_map(|&(a, b)| [(a, b), (b, a)]));
        if !groups.is_empty() {
            for (row, &group) in mining.groups.iter().enumerate() {
                self.groups_of.entry(vectors.first_of(row)).or_default().push(group);
            }
        }
        self
    }

    fn tie(&mut self, vectors: &Vectors, rows: impl Iterator<Item = (usize, usize)>) {
        let rows = rows.map(|(a, b)| (vectors.first_of(a), vectors.first_of(b)));
        self.rows.extend(rows.flat_map(|(a, b)| [(a, b), (b, a)]));
    }

    /// Whether anything says that these two belong together.
    pub fn belong(&self, a: usize, b: usize) -> bool {
        let groups = |row: usize| self.groups_of.get(&row).map_or(&[][..], Vec::as_slice);
        self.rows.contains(&(a, b)) || groups(a).iter().any(|a| groups(b).iter().any(|b| self.groups.contains(&(*a, *b))))
    }
}

/// The loss of a batch, the mean over the pairs that have a negative, and its gradient by `similarities[i, j]`, the cosine of anchor
/// `i` and document `j`. A batch without negatives has loss zero.
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
            for &i in &usable {
                // Anchor i among the documents, then positive i among the anchors.
                for transposed in [false, true] {
                    total += entropy(i, transposed, temperature, F::of(0.5) * weight, similarities, negatives, &mut gradient);
                }
            }
        }
        Loss::MultipleNegatives { temperature } => {
            for &i in &usable {
                total += entropy(i, false, temperature, weight, similarities, negatives, &mut gradient);
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

/// The cross-entropy of finding document `i` for anchor `i` among the negatives, or (transposed) anchor `i` for its positive among the
/// anchors that it is a negative of; times `weight`. Adds its gradient.
fn entropy<F: Real>(
    i: usize,
    transposed: bool,
    temperature: f64,
    weight: F,
    similarities: &Array2<F>,
    negatives: &Array2<bool>,
    gradient: &mut Array2<F>,
) -> F {
    let scale = F::of(1.0 / temperature);
    let at = |j: usize| if transposed { (j, i) } else { (i, j) };
    let count = if transposed { similarities.nrows() } else { similarities.ncols() };
    let others: Vec<usize> = (0..count).filter(|&j| j == i || negatives[at(j)]).collect();
    let logit = |j: usize| similarities[at(j)] * scale;
    let top = others.iter().map(|&j| logit(j)).fold(F::neg_infinity(), F::max);
    let sum = others.iter().map(|&j| (logit(j) - top).exp()).fold(F::zero(), |sum, term| sum + term);
    for &j in &others {
        let share = (logit(j) - top).exp() / sum;
        let target = if j == i { F::one() } else { F::zero() };
        gradient[at(j)] += weight * scale * (share - target);
    }
    weight * (top + sum.ln() - logit(i))
}

/// `weight` times the mean squared difference of the similarities and those of the raw vectors, over all of the batch; adds its gradient.
pub fn distill<F: Real>(weight: f64, similarities: &Array2<F>, raw: &Array2<F>, gradient: &mut Array2<F>) -> F {
    let share = F::of(weight / similarities.len().max(1) as f64);
    let mut total = F::zero();
    ndarray::Zip::from(gradient).and(similarities).and(raw).for_each(|slope, &now, &before| {
        let change = now - before;
        total += share * change * change;
        *slope += F::of(2.0) * share * change;
    });
    total
}

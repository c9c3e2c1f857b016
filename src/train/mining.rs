//! Hard negatives: what raw vectors find near a question although nothing says that it belongs to it.
//!
//! The nearest rows are often right answers that nobody labelled. So nothing of the group (the file, the session) of anchor or positive is
//! taken, nothing that any training pair ties to the anchor or that is known to belong to it otherwise, and nothing that is nearly as near
//! as the positive.

use super::loss::Known;
use super::ranking::Questions;
use super::vectors::{RowPair, Vectors};
use crate::error::Result;
use crate::progress::Job;

/// Where negatives are looked for: how many of an anchor's nearest rows.
pub const MINED_FROM: usize = 50;
/// A row whose cosine to the anchor is above this share of the positive's is taken for an answer that nobody labelled (as in NV-Retriever,
/// de Souza et al. 2024: 0.95).
pub const FALSE_NEGATIVE_SHARE: f64 = 0.95;
/// More rows are not searched: every n-th is, so that mining takes seconds.
pub const MAX_MINED_ROWS: usize = 10_000;

/// Where hard negatives may come from.
#[derive(Clone, Copy)]
pub struct Mining<'a> {
    /// The rows that may be negatives: none of a held-out group.
    pub rows: &'a [usize],
    /// The group of every row, by number: its file or session.
    pub groups: &'a [usize],
    /// What is a negative of none of its kin, hard or in a batch.
    pub related: Related<'a>,
}

/// What belongs together although no training pair may say so, in either direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Related<'a> {
    /// Two rows.
    pub rows: &'a [(usize, usize)],
    /// All rows of two groups, by the numbers of [`Mining::groups`].
    pub groups: &'a [(usize, usize)],
}

/// At most `wanted` hard negatives of each pair, the hardest first, in the order of `pairs`. A pair may have none.
pub fn mine(vectors: &Vectors, pairs: &[RowPair], mining: &Mining<'_>, wanted: usize, job: Job<'_>) -> Result<Vec<Vec<usize>>> {
    if wanted == 0 {
        return Ok(vec![Vec::new(); pairs.len()]);
    }
    let known = Known::new(vectors, pairs).and(vectors, mining);
    let step = mining.rows.len().div_ceil(MAX_MINED_ROWS).max(1);
    let questions = Questions::of_anchors(vectors, pairs, mining.rows.iter().copied().step_by(step));
    let same = |rows: ndarray::ArrayView2<'_, f32>| rows.to_owned();
    let ranked = questions.rank_to(MINED_FROM, vectors, &same, &same, job)?;
    let by_anchor: std::collections::HashMap<usize, &Vec<(f32, usize)>> =
        questions.queries.iter().map(|query| query.row).zip(&ranked).collect();
    let group = |row: usize| mining.groups.get(row);
    let of_pair = |pair: &RowPair| -> Vec<usize> {
        let anchor = vectors.first_of(pair.anchor);
        let nearest = by_anchor.get(&anchor).map_or(&[][..], |list| list.as_slice());
        let limit = FALSE_NEGATIVE_SHARE * f64::from(vectors.similarity(pair.anchor, pair.positive));
        let kin = [group(pair.anchor), group(pair.positive)];
        nearest
            .iter()
            .filter(|&&(score, row)| f64::from(score) < limit && !known.belong(anchor, row) && !kin.contains(&group(row)))
            .map(|&(_, row)| row)
            .take(wanted)
            .collect()
    };
    Ok(pairs.iter().map(of_pair).collect())
}

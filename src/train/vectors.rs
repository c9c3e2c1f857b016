//! The vectors of a project as rows of one matrix, and pairs of those rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ndarray::{Array2, Axis};

use crate::error::{Error, Result};

/// Vectors by chunk id, one a row, rows ordered by id, each L2-normalised (a zero vector stays zero).
#[derive(Clone, Debug)]
pub struct Vectors {
    ids: Vec<u64>,
    values: Array2<f32>,
    first: Vec<usize>,
}

impl Vectors {
    /// Vectors from (id, vector), in any order. Fails if an id comes twice, a vector has not `dimensions` numbers, or a number is not
    /// finite.
    pub fn new<V: AsRef<[f32]>>(dimensions: usize, items: &[(u64, V)]) -> Result<Vectors> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_unstable_by_key(|&at| items[at].0);
        let mut ids = Vec::with_capacity(items.len());
        let mut values = Array2::zeros((items.len(), dimensions));
        for (&at, mut row) in order.iter().zip(values.rows_mut()) {
            let (id, vector) = (items[at].0, items[at].1.as_ref());
            if ids.last() == Some(&id) {
                return Err(Error::bug(format!("the chunk {id} has two vectors")));
            }
            if vector.len() != dimensions {
                return Err(Error::corrupt(format!("the vector of chunk {id} has {} numbers, expected {dimensions}", vector.len())));
            }
            if let Some(value) = vector.iter().find(|value| !value.is_finite()) {
                return Err(Error::corrupt(format!("the vector of chunk {id} holds {value}, expected finite numbers")));
            }
            ids.push(id);
            let scale = normalizer(vector);
            row.iter_mut().zip(vector).for_each(|(out, value)| *out = value * scale);
        }
        let mut seen: HashMap<Vec<u32>, usize> = HashMap::new();
        let first = values
            .rows()
            .into_iter()
            .enumerate()
            .map(|(at, row)| *seen.entry(row.iter().map(|value| value.to_bits()).collect()).or_insert(at))
            .collect();
        Ok(Vectors { ids, values, first })
    }

    /// The number of vectors.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Numbers of a vector.
    pub fn dimensions(&self) -> usize {
        self.values.ncols()
    }

    /// The row of a chunk.
    pub fn row_of(&self, id: u64) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// The chunk of a row. Rows come from this value, so there is one.
    pub fn id_of(&self, row: usize) -> u64 {
        self.ids[row]
    }

    /// The first row with bit for bit the same vector: the same text, or texts that the model cannot tell apart.
    pub fn first_of(&self, row: usize) -> usize {
        self.first[row]
    }

    /// Pairs of chunk ids as pairs of rows, and how many were left out because a chunk has no vector or the two have the same one.
    /// Groups are numbered in the order of their names.
    pub fn pairs<'a>(&self, pairs: impl IntoIterator<Item = (u64, u64, &'a str)>) -> (Vec<RowPair>, usize) {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let names: BTreeSet<&str> = pairs.iter().map(|pair| pair.2).collect();
        let numbers: BTreeMap<&str, usize> = names.into_iter().enumerate().map(|(number, name)| (name, number)).collect();
        let rows: Vec<RowPair> = pairs
            .iter()
            .filter_map(|&(anchor, positive, group)| {
                let pair = RowPair { anchor: self.row_of(anchor)?, positive: self.row_of(positive)?, group: numbers[group] };
                (self.first_of(pair.anchor) != self.first_of(pair.positive)).then_some(pair)
            })
            .collect();
        let left_out = pairs.len() - rows.len();
        (rows, left_out)
    }

    /// The cosine of two rows.
    pub(super) fn similarity(&self, a: usize, b: usize) -> f32 {
        self.values.row(a).dot(&self.values.row(b))
    }

    /// All vectors, `[len, dimensions]`.
    #[cfg(test)]
    pub(super) fn all(&self) -> ndarray::ArrayView2<'_, f32> {
        self.values.view()
    }

    /// Some vectors, `[rows, dimensions]`.
    pub(super) fn select(&self, rows: &[usize]) -> Array2<f32> {
        self.values.select(Axis(0), rows)
    }

    /// Fails unless every pair is of rows that are here.
    pub(super) fn check(&self, pairs: &[RowPair]) -> Result<()> {
        match pairs.iter().find(|pair| pair.anchor.max(pair.positive) >= self.len()) {
            Some(pair) => Err(Error::bug(format!("the pair {pair:?} is of rows that {} vectors do not have", self.len()))),
            None => Ok(()),
        }
    }
}

/// Two rows of [`Vectors`] that belong together, and the group that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowPair {
    /// The row that asks.
    pub anchor: usize,
    /// The row that shall be found.
    pub positive: usize,
    /// What is never split between training and evaluation, as a number that means something within one call of [`Vectors::pairs`].
    pub group: usize,
}

/// What a vector is multiplied with to have length 1; 1 for a zero vector.
pub(super) fn normalizer(vector: &[f32]) -> f32 {
    let square: f64 = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    // A vector that is normalised already keeps its bits, so that raw search and the baseline see the same numbers.
    if square == 0.0 || (square - 1.0).abs() < 1e-6 { 1.0 } else { (1.0 / square.sqrt()) as f32 }
}

//! Projections without training, which a trained one must beat: principal components (also the place where a smaller one starts), the
//! first numbers, and chance.
//!
//! Not centred, on purpose. Search compares vectors by their dot product, and the projection on the first k eigenvectors of
//! `X^T X` is the one that keeps the matrix of all dot products `X X^T` best (Eckart and Young 1936). Subtracting the mean first
//! would change what the cosine of two vectors means, at full size too, and would be another method than "the same search, smaller".

use ndarray::{Array1, Array2};

use super::config::{Architecture, Sides};
use super::eigen;
use super::network::{Layer, Network};
use super::projection::Projection;
use super::vectors::Vectors;
use crate::error::{Error, Result};
use crate::metrics::random::SplitMix64;

/// More rows than this do not change the directions; every n-th is taken then.
const MAX_ROWS: usize = 50_000;
/// Rows of a partial sum in single precision; the sums of blocks are added in double precision.
const BLOCK: usize = 1024;
/// The stream of the seed that the random projection is drawn from; training has 0 and 1.
const RANDOM_STREAM: u64 = 2;

/// The linear projection on the `output` first principal components of `vectors`, without centring.
pub fn pca(vectors: &Vectors, output: usize) -> Result<Projection> {
    Ok(linear(components(vectors, output)?))
}

/// The first `output` numbers of a vector: what a model that was trained for it (Matryoshka) is cut to, and what costs nothing.
pub fn cut(input: usize, output: usize) -> Projection {
    linear(Array2::from_shape_fn((output, input), |(row, column)| if row == column { 1.0 } else { 0.0 }))
}

/// A random projection (Johnson and Lindenstrauss 1984), what must be beaten by anything that claims to have learnt something.
pub fn random(input: usize, output: usize, seed: u64) -> Projection {
    let mut random = SplitMix64::stream(seed, RANDOM_STREAM);
    let deviation = (1.0 / output as f64).sqrt();
    linear(Array2::from_shape_fn((output, input), |_| (deviation * random.normal()) as f32))
}

fn linear(weight: Array2<f32>) -> Projection {
    let bias = Array1::zeros(weight.nrows());
    Projection::from_network(Network { architecture: Architecture::Linear, layers: vec![Layer { weight, bias }] }, Sides::Both)
}

/// The first `output` principal directions, `[output, dimensions]`, orthonormal rows.
pub(super) fn components(vectors: &Vectors, output: usize) -> Result<Array2<f32>> {
    let n = vectors.dimensions();
    if output > n {
        return Err(Error::bug(format!("vectors of {n} numbers have no {output} principal components")));
    }
    let rows: Vec<usize> = (0..vectors.len()).step_by(vectors.len().div_ceil(MAX_ROWS).max(1)).collect();
    let mut moments = Array2::<f64>::zeros((n, n));
    for block in rows.chunks(BLOCK) {
        let block = vectors.select(block);
        moments += &block.t().dot(&block).mapv(f64::from);
    }
    let (_, directions) = eigen::symmetric(moments.into_raw_vec_and_offset().0, n)?;
    Ok(Array2::from_shape_fn((output, n), |(row, column)| directions[row * n + column] as f32))
}

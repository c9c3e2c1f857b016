//! Principal components as a projection: the baseline that a smaller trained projection must beat, and the place where it starts.
//!
//! Not centred, on purpose. Search compares vectors by their dot product, and the projection on the first k eigenvectors of
//! `X^T X` is the one that keeps the matrix of all dot products `X X^T` best (Eckart and Young 1936). Subtracting the mean first
//! would change what the cosine of two vectors means, at full size too, and would be another method than "the same search, smaller".

use ndarray::{Array1, Array2};

use super::config::Architecture;
use super::eigen;
use super::network::{Layer, Network};
use super::projection::Projection;
use super::vectors::Vectors;
use crate::error::{Error, Result};

/// More rows than this do not change the directions; every n-th is taken then.
const MAX_ROWS: usize = 50_000;
/// Rows of a partial sum in single precision; the sums of blocks are added in double precision.
const BLOCK: usize = 1024;

/// The linear projection on the `output` first principal components of `vectors`, without centring.
pub fn pca(vectors: &Vectors, output: usize) -> Result<Projection> {
    let weight = components(vectors, output)?;
    let bias = Array1::zeros(output);
    Ok(Projection::from_network(Network { architecture: Architecture::Linear, layers: vec![Layer { weight, bias }] }))
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

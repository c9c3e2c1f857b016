//! Layer normalization, with or without a residual, and normalization by the root mean square.

use super::dispatched;
use super::lanes::{Instructions, LANES, Lanes, multiply_add, sum};

/// What becomes of a row.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// A factor for each number of a row.
    pub weight: &'a [f32],
    /// Added after it.
    pub bias: Option<&'a [f32]>,
    /// Added to the variance, or to the mean of the squares.
    pub epsilon: f32,
    /// Whether the mean is taken away first.
    pub centred: bool,
}

dispatched! {
    /// Normalizes rows of `x`, with `residual` added first if there is one, into `out`. All have whole rows of the weight's length.
    pub(crate) fn normalize(x: &[f32], residual: Option<&[f32]>, norm: &Norm<'_>, out: &mut [f32]) => normalize_rows
}

#[inline(always)]
fn normalize_rows<I: Instructions>(x: &[f32], residual: Option<&[f32]>, norm: &Norm<'_>, out: &mut [f32]) {
    let size = norm.weight.len();
    for (row, (x, out)) in x.chunks_exact(size).zip(out.chunks_exact_mut(size)).enumerate() {
        match residual {
            Some(residual) => {
                for ((out, &x), &residual) in out.iter_mut().zip(x).zip(&residual[row * size..][..size]) {
                    *out = x + residual;
                }
            }
            None => out.copy_from_slice(x),
        }
        let mean = if norm.centred { total(out, |value, sum| value + sum) / size as f32 } else { 0.0 };
        let squares = total(out, |value, sum| multiply_add::<I>(value - mean, value - mean, sum));
        let factor = 1.0 / (squares / size as f32 + norm.epsilon).sqrt();
        match norm.bias {
            Some(bias) => {
                for ((out, &weight), &bias) in out.iter_mut().zip(norm.weight).zip(bias) {
                    *out = multiply_add::<I>((*out - mean) * factor, weight, bias);
                }
            }
            None => {
                for (out, &weight) in out.iter_mut().zip(norm.weight) {
                    *out = (*out - mean) * factor * weight;
                }
            }
        }
    }
}

/// A sum over a row in 16 parts, which are added at its end.
#[inline(always)]
fn total(row: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums: Lanes = [0.0; LANES];
    let (steps, rest) = row.as_chunks::<LANES>();
    for step in steps {
        for (sum, &value) in sums.iter_mut().zip(step) {
            *sum = add(value, *sum);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum = add(value, *sum);
    }
    sum(&sums)
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Plain;
    use super::*;

    #[test]
    fn rows_of_any_size_become_what_the_definition_says() {
        for size in [1usize, 5, 16, 31, 384] {
            let value = |at: usize, seed: usize| ((at * 37 + seed * 11) % 101) as f32 / 25.0 - 2.0;
            let rows = 3;
            let x: Vec<f32> = (0..rows * size).map(|at| value(at, 1)).collect();
            let residual: Vec<f32> = (0..rows * size).map(|at| value(at, 2)).collect();
            let weight: Vec<f32> = (0..size).map(|at| value(at, 3)).collect();
            let bias: Vec<f32> = (0..size).map(|at| value(at, 4)).collect();
            for with_residual in [false, true] {
                for with_bias in [false, true] {
                    for centred in [false, true] {
                        let residual = with_residual.then_some(&residual[..]);
                        let norm = Norm { weight: &weight, bias: with_bias.then_some(&bias[..]), epsilon: 1e-3, centred };
                        let mut out = vec![f32::NAN; rows * size];
                        normalize(&x, residual, &norm, &mut out);
                        let mut plain = vec![f32::NAN; rows * size];
                        normalize_rows::<Plain>(&x, residual, &norm, &mut plain);
                        for row in 0..rows {
                            let at = |n: usize| row * size + n;
                            let given: Vec<f64> = (0..size)
                                .map(|n| f64::from(x[at(n)]) + residual.map_or(0.0, |residual| f64::from(residual[at(n)])))
                                .collect();
                            let mean = if centred { given.iter().sum::<f64>() / size as f64 } else { 0.0 };
                            let variance = given.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / size as f64;
                            for n in 0..size {
                                let expected = (given[n] - mean) / (variance + 1e-3f32 as f64).sqrt() * f64::from(weight[n])
                                    + norm.bias.map_or(0.0, |bias| f64::from(bias[n]));
                                for found in [out[at(n)], plain[at(n)]] {
                                    assert!((f64::from(found) - expected).abs() < 5e-6, "{size} {n}: {found}, not {expected}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

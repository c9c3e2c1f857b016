//! A sketch of many vectors in a few numbers, to tell whether two indexes hold the same up to rounding.
//!
//! Each number is the sum over all vectors of their scalar products with signs that follow from the key (the sketch of Alon, Matias and
//! Szegedy 1996). Where every number of `n` vectors of `d` is off by about `e`, a sketch is off by about `e * sqrt(n * d)`; a vector that is
//! another moves it by about the length of the difference. So one vector of 10,000 shows when it is off by a hundredth of its length.

use super::{Index, Source};
use crate::error::{Error, Result};
use crate::metrics::random::SplitMix64;
use crate::recipe::lock::SKETCH as NUMBERS;

/// What they are rounded to: below it there is only noise.
const ROUNDING: f64 = 1e6;

/// The sketch of the vectors of `keys`; the order of the keys must be the same wherever sketches are compared to the last digit.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if a key is not there.
pub fn sketch<S: Source + ?Sized>(vectors: &S, keys: &[u64]) -> Result<Vec<f64>> {
    let mut sums = [0.0f64; NUMBERS];
    let mut read = 0;
    vectors.read(keys, &mut |key, vector| {
        add(&mut sums, key, vector);
        read += 1;
        Ok(())
    })?;
    if read != keys.len() {
        return Err(Error::corrupt(format!("{read} of {} chunks have a vector", keys.len())).hint(super::manifest::MEND));
    }
    Ok(sums.iter().map(|sum| (sum * ROUNDING).round() / ROUNDING).collect())
}

impl Index {
    /// The sketch of the vectors of `keys`, as [`sketch`] makes it of those that the index was made from.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if a key is not there, or if the index keeps no exact vectors.
    pub fn sketch(&self, keys: &[u64]) -> Result<Vec<f64>> {
        if !self.scalar().is_default() {
            return Err(Error::corrupt("the index keeps no vectors in single precision"));
        }
        let mut sums = [0.0f64; NUMBERS];
        for &key in keys {
            let Some(vector) = self.vector(key)? else {
                return Err(Error::corrupt(format!("the index has no vector of chunk {key}")).hint(super::manifest::MEND));
            };
            add(&mut sums, key, &vector);
        }
        Ok(sums.iter().map(|sum| (sum * ROUNDING).round() / ROUNDING).collect())
    }
}

fn add(sums: &mut [f64; NUMBERS], key: u64, vector: &[f32]) {
    let mut random: [SplitMix64; NUMBERS] = std::array::from_fn(|number| SplitMix64::stream(key, number as u64));
    for part in vector.chunks(64) {
        let mut signs = random.each_mut().map(SplitMix64::next_u64);
        // Side by side, so that none of the sums waits for the one before.
        let mut parts = [0.0; NUMBERS];
        for &value in part {
            let value = f64::from(value).to_bits();
            for (part, signs) in parts.iter_mut().zip(&mut signs) {
                *part += f64::from_bits(value ^ (*signs << 63));
                *signs >>= 1;
            }
        }
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(vectors: &[Vec<f32>]) -> [f64; NUMBERS] {
        let mut sums = [0.0; NUMBERS];
        for (key, vector) in vectors.iter().enumerate() {
            add(&mut sums, key as u64, vector);
        }
        sums
    }

    fn furthest(a: &[f64; NUMBERS], b: &[f64; NUMBERS]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn each_number_is_a_sum_with_signs_of_its_own() {
        let vector: Vec<f32> = (0..150).map(|at| (at as f32 * 0.7).sin()).collect();
        let mut sums = [1.0; NUMBERS];
        add(&mut sums, 77, &vector);
        for (number, sum) in sums.into_iter().enumerate() {
            let mut random = SplitMix64::stream(77, number as u64);
            let signs: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
            let signed = vector.iter().enumerate().map(|(at, &value)| if signs[at / 64] >> (at % 64) & 1 == 0 { value } else { -value });
            let expected = 1.0 + signed.map(f64::from).sum::<f64>();
            assert!((sum - expected).abs() < 1e-12, "{number}: {sum}, not {expected}");
        }
    }

    #[test]
    fn rounding_stays_below_the_noise_and_another_vector_does_not() {
        const DIMENSIONS: usize = 384;
        for n in [3, 300, 10_000] {
            let mut random = SplitMix64::new(n as u64);
            let mut unit = || {
                let vector: Vec<f64> = (0..DIMENSIONS).map(|_| random.normal()).collect();
                let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
                vector.iter().map(|value| (value / length) as f32).collect::<Vec<f32>>()
            };
            let vectors: Vec<Vec<f32>> = (0..n).map(|_| unit()).collect();
            let another = unit();
            let expected = sketch(&vectors);
            let tolerance = crate::recipe::lock::SKETCH_NOISE * ((n * DIMENSIONS) as f64).sqrt();
            let mut random = SplitMix64::new(7);
            let noisy: Vec<Vec<f32>> =
                vectors.iter().map(|vector| vector.iter().map(|&value| value + (random.normal() * 2e-7) as f32).collect()).collect();
            assert!(furthest(&expected, &sketch(&noisy)) < tolerance, "{n}");
            let mut one = vectors.clone();
            one[n / 2] = another;
            assert!(furthest(&expected, &sketch(&one)) > 20.0 * tolerance, "{n}");
            // Two vectors that changed their places are the same vectors under other keys.
            let mut swapped = vectors.clone();
            swapped.swap(0, n - 1);
            assert!(furthest(&expected, &sketch(&swapped)) > 20.0 * tolerance, "{n}");
        }
    }
}

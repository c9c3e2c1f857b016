//! How well two series agree: Pearson's correlation of the values, Spearman's of their ranks, as SciPy computes them.

use super::bootstrap::percentiles;
use super::random::SplitMix64;
use super::{Interval, RESAMPLES};
use crate::error::{Error, Result};

/// Pearson's correlation of two series of the same length; `None` where it is undefined: fewer than two values, or a constant series.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || is_constant(x) || is_constant(y) {
        return None;
    }
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| value - mean).collect()
    };
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let (x, y) = (centred(x), centred(y));
    let (of_x, of_y) = (norm(&x), norm(&y));
    // Divided one by one, so that the product of two small norms cannot vanish.
    let r: f64 = x.iter().zip(&y).map(|(x, y)| (x / of_x) * (y / of_y)).sum();
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Spearman's correlation: Pearson's of the [`average_ranks`]. `None` as [`pearson`].
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&average_ranks(x), &average_ranks(y))
}

/// The rank of each value from 1; equal values share the average of their ranks (SciPy's `rankdata`). No value may be NaN.
pub fn average_ranks(values: &[f64]) -> Vec<f64> {
    let levels = Levels::new(values);
    let mut counts = vec![0; levels.count];
    levels.of.iter().for_each(|&level| counts[level] += 1);
    let ranks = ranks(&counts);
    levels.of.iter().map(|&level| ranks[level]).collect()
}

/// Pearson's and Spearman's correlation with intervals of resampled pairs. Resamples in which one is undefined (all pairs equal) are
/// left out of its interval. `None` where a correlation itself is undefined.
///
/// # Errors
/// [`ErrorKind::Bug`](crate::error::ErrorKind::Bug) if the lengths differ or a value is not finite.
pub fn bootstrap_correlations(x: &[f64], y: &[f64], seed: u64) -> Result<Option<(Interval, Interval)>> {
    if x.len() != y.len() || x.iter().chain(y).any(|value| !value.is_finite()) {
        return Err(Error::bug(format!("{} values cannot be correlated with {}, or one is not finite", x.len(), y.len())));
    }
    let (Some(of_values), Some(of_ranks)) = (pearson(x, y), spearman(x, y)) else { return Ok(None) };
    // Ranks of a resample follow from how often each distinct value was drawn: nothing is sorted again.
    let (levels_x, levels_y) = (Levels::new(x), Levels::new(y));
    let mut random = SplitMix64::new(seed);
    let (mut pearsons, mut spearmans) = (Vec::with_capacity(RESAMPLES), Vec::with_capacity(RESAMPLES));
    let (mut one, mut other) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for _ in 0..RESAMPLES {
        let drawn: Vec<usize> = (0..x.len()).map(|_| random.below(x.len())).collect();
        let mut take = |x: &dyn Fn(usize) -> f64, y: &dyn Fn(usize) -> f64| {
            for (at, &row) in drawn.iter().enumerate() {
                (one[at], other[at]) = (x(row), y(row));
            }
            pearson(&one, &other)
        };
        pearsons.extend(take(&|row| x[row], &|row| y[row]));
        let (ranks_x, ranks_y) = (levels_x.ranks(&drawn), levels_y.ranks(&drawn));
        spearmans.extend(take(&|row| ranks_x[levels_x.of[row]], &|row| ranks_y[levels_y.of[row]]));
    }
    if pearsons.is_empty() || spearmans.is_empty() {
        return Ok(None);
    }
    Ok(Some((percentiles(of_values, &mut pearsons), percentiles(of_ranks, &mut spearmans))))
}

fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// Which of the distinct values, in rising order, each value is.
struct Levels {
    of: Vec<usize>,
    count: usize,
}

impl Levels {
    fn new(values: &[f64]) -> Levels {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
        let (mut of, mut level) = (vec![0; values.len()], 0);
        for (at, &row) in order.iter().enumerate() {
            // By value and not by bits: 0 and -0 are equal.
            level += usize::from(at > 0 && values[order[at - 1]] != values[row]);
            of[row] = level;
        }
        Levels { of, count: if values.is_empty() { 0 } else { level + 1 } }
    }

    /// The rank of each level among drawn rows.
    fn ranks(&self, drawn: &[usize]) -> Vec<f64> {
        let mut counts = vec![0; self.count];
        drawn.iter().for_each(|&row| counts[self.of[row]] += 1);
        ranks(&counts)
    }
}

/// The average rank of each level, of which there are so many values.
fn ranks(counts: &[usize]) -> Vec<f64> {
    let mut before = 0;
    counts
        .iter()
        .map(|&count| {
            let rank = before as f64 + (count as f64 + 1.0) / 2.0;
            before += count;
            rank
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(value: &serde_json::Value) -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
    }

    /// Random series with and without ties: fixtures that SciPy made (`tests/fixtures/metrics/make.py`).
    #[test]
    fn values_are_those_of_scipy() {
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../tests/fixtures/metrics/correlations.json")).expect("the fixture");
        assert!(cases.len() >= 20);
        for (number, case) in cases.iter().enumerate() {
            let (x, y) = (numbers(&case["x"]), numbers(&case["y"]));
            let ranks = numbers(&case["ranks_of_x"]);
            assert_eq!(average_ranks(&x), ranks, "case {number}");
            for (name, value) in [("pearson", pearson(&x, &y)), ("spearman", spearman(&x, &y))] {
                let (value, expected) = (value.expect("defined"), case[name].as_f64().expect("a value"));
                assert!((value - expected).abs() < 1e-9, "case {number}, {name}: {value} is not {expected}");
            }
        }
    }

    #[test]
    fn what_is_constant_has_no_correlation() {
        let rising = [1.0, 2.0, 3.0];
        // The mean of three times 0.1 is not 0.1.
        for constant in [[0.1; 3], [0.0, -0.0, 0.0]] {
            assert_eq!((pearson(&rising, &constant), spearman(&constant, &rising)), (None, None));
            assert_eq!(bootstrap_correlations(&rising, &constant, 1).expect("finite"), None);
        }
        assert_eq!((pearson(&[], &[]), pearson(&[1.0], &[2.0]), spearman(&[1.0, 2.0], &[1.0])), (None, None, None));
        bootstrap_correlations(&rising, &[1.0, 2.0], 1).expect_err("lengths differ");
        bootstrap_correlations(&rising, &[1.0, 2.0, f64::NAN], 1).expect_err("not finite");
        let near = |r: Option<f64>, expected: f64| r.is_some_and(|r| (r - expected).abs() < 1e-12);
        assert!(near(spearman(&rising, &[1e-200, 2e-200, 4e-200]), 1.0) && near(pearson(&rising, &[-1.0, -2.0, -3.0]), -1.0));
    }

    #[test]
    fn intervals_are_near_fishers() {
        let mut random = SplitMix64::new(5);
        let x: Vec<f64> = (0..500).map(|_| random.normal()).collect();
        // Rounded, so that there are ties, as grades have them.
        let y: Vec<f64> = x.iter().map(|x| ((0.8 * x + 0.6 * random.normal()) * 2.0).round() / 2.0).collect();
        let (of_values, of_ranks) = bootstrap_correlations(&x, &y, 1).expect("finite").expect("defined");
        assert_eq!((Some(of_values.mean), Some(of_ranks.mean)), (pearson(&x, &y), spearman(&x, &y)));
        for interval in [of_values, of_ranks] {
            // Fisher's z has the standard error 1 / sqrt(n - 3).
            let end = |sign: f64| (interval.mean.atanh() + sign * 1.96 / 497f64.sqrt()).tanh();
            assert!((interval.low - end(-1.0)).abs() < 0.012 && (interval.high - end(1.0)).abs() < 0.012, "{interval:?}");
        }
        assert_eq!(bootstrap_correlations(&x, &y, 1).expect("finite"), Some((of_values, of_ranks)), "the seed decides");
    }

    /// The ranks of a resample by counting are those of ranking it anew.
    #[test]
    fn counted_ranks_are_sorted_ranks() {
        let mut random = SplitMix64::new(9);
        for _ in 0..50 {
            let values: Vec<f64> = (0..40).map(|_| random.below(9) as f64).collect();
            let drawn: Vec<usize> = (0..40).map(|_| random.below(40)).collect();
            let levels = Levels::new(&values);
            let ranks = levels.ranks(&drawn);
            let counted: Vec<f64> = drawn.iter().map(|&row| ranks[levels.of[row]]).collect();
            assert_eq!(counted, average_ranks(&drawn.iter().map(|&row| values[row]).collect::<Vec<_>>()));
        }
    }
}

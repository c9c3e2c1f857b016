//! Percentile bootstrap intervals of a mean, by query and by group of queries (Efron 1979; cluster bootstrap: Field and Welsh 2007).
//!
//! Queries of one group (a session, a commit) share vocabulary and authors, so they are not independent: an interval that resamples
//! queries is too narrow for them. The `_by_group` functions resample whole groups instead.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::random::SplitMix64;
use crate::error::{Error, Result};

/// How many resamples an interval is made of.
pub const RESAMPLES: usize = 10_000;

/// The share of the resampled means that lies within the interval.
pub const LEVEL: f64 = 0.95;

/// A mean, or another figure, with its percentile bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean (or the figure) of the values themselves.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether even the lower end is above zero.
    pub fn is_positive(&self) -> bool {
        self.low > 0.0
    }

    /// Whether even the upper end is below zero.
    pub fn is_negative(&self) -> bool {
        self.high < 0.0
    }
}

/// The mean of independent values. Fails if there is none or one is not finite.
pub fn bootstrap_mean(values: &[f64], seed: u64) -> Result<Interval> {
    resample(values.iter().map(|&value| (value, 1)).collect(), seed)
}

/// The mean of `a - b` where `a[i]` and `b[i]` are of the same query. Fails as [`bootstrap_mean`] and if the lengths differ.
pub fn bootstrap_difference(a: &[f64], b: &[f64], seed: u64) -> Result<Interval> {
    bootstrap_mean(&differences(a, b)?, seed)
}

/// The mean over all values, where `groups[i]` says which values belong together and only whole groups are resampled.
/// Fails as [`bootstrap_mean`] and if the lengths differ.
pub fn bootstrap_mean_by_group(values: &[f64], groups: &[usize], seed: u64) -> Result<Interval> {
    if values.len() != groups.len() {
        return Err(Error::bug(format!("{} values have {} groups", values.len(), groups.len())));
    }
    let mut sums: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
    for (&value, &group) in values.iter().zip(groups) {
        let sum = sums.entry(group).or_default();
        sum.0 += value;
        sum.1 += 1;
    }
    resample(sums.into_values().collect(), seed)
}

/// The mean of `a - b` by whole groups; see [`bootstrap_difference`] and [`bootstrap_mean_by_group`].
pub fn bootstrap_difference_by_group(a: &[f64], b: &[f64], groups: &[usize], seed: u64) -> Result<Interval> {
    bootstrap_mean_by_group(&differences(a, b)?, groups, seed)
}

fn differences(a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
    if a.len() != b.len() {
        return Err(Error::bug(format!("{} values cannot be paired with {}", a.len(), b.len())));
    }
    Ok(a.iter().zip(b).map(|(a, b)| a - b).collect())
}

/// `units` are (sum, count) of what is drawn as a whole; the statistic is the sum of sums over the sum of counts.
fn resample(units: Vec<(f64, usize)>, seed: u64) -> Result<Interval> {
    if units.is_empty() || units.iter().any(|(sum, _)| !sum.is_finite()) {
        return Err(Error::bug(format!("no interval can be made of {} values, all of which must be finite", units.len())));
    }
    let ratio = |(sum, count): (f64, usize)| sum / count as f64;
    let add = |a: (f64, usize), b: &(f64, usize)| (a.0 + b.0, a.1 + b.1);
    let mean = ratio(units.iter().fold((0.0, 0), add));
    let mut random = SplitMix64::new(seed);
    let mut means: Vec<f64> =
        (0..RESAMPLES).map(|_| ratio((0..units.len()).fold((0.0, 0), |a, _| add(a, &units[random.below(units.len())])))).collect();
    Ok(percentiles(mean, &mut means))
}

/// The interval of a figure whose resampled values these are; there is at least one.
pub(super) fn percentiles(mean: f64, resampled: &mut [f64]) -> Interval {
    resampled.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    Interval { mean, low: quantile(resampled, tail), high: quantile(resampled, 1.0 - tail) }
}

/// Linear interpolation between order statistics, as NumPy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_near_the_normal_one() {
        let mut random = SplitMix64::new(7);
        let values: Vec<f64> = (0..400).map(|_| 3.0 + random.normal()).collect();
        let interval = bootstrap_mean(&values, 1).expect("interval");
        let half = 1.96 / 20.0;
        assert!((interval.mean - 3.0).abs() < 0.15, "{interval:?}");
        assert!(
            (interval.high - interval.mean - half).abs() < 0.015 && (interval.mean - interval.low - half).abs() < 0.015,
            "{interval:?}"
        );
        assert_eq!(interval, bootstrap_mean(&values, 1).expect("interval"), "the seed decides");
        assert_ne!(interval, bootstrap_mean(&values, 2).expect("interval"));
    }

    #[test]
    fn pairing_sees_what_the_noise_hides() {
        let mut random = SplitMix64::new(3);
        let b: Vec<f64> = (0..200).map(|_| 10.0 * random.normal()).collect();
        let a: Vec<f64> = b.iter().map(|value| value + 0.1 + 0.1 * random.normal()).collect();
        assert!(bootstrap_difference(&a, &b, 1).expect("interval").is_positive());
        assert!(bootstrap_difference(&b, &a, 1).expect("interval").is_negative());
    }

    #[test]
    fn equal_queries_of_a_group_are_no_evidence_of_their_own() {
        // Ten groups of fifty equal queries each: by query the interval is far too narrow.
        let (values, groups): (Vec<f64>, Vec<usize>) = (0..500).map(|i| (((i / 50) % 5) as f64, i / 50)).unzip();
        let plain = bootstrap_mean(&values, 1).expect("interval");
        let grouped = bootstrap_mean_by_group(&values, &groups, 1).expect("interval");
        assert_eq!(plain.mean, 2.0);
        assert_eq!(grouped.mean, 2.0);
        // The standard errors are sqrt(2 / 500) and sqrt(2 / 10).
        assert!((plain.high - plain.low - 2.0 * 1.96 * 0.0632).abs() < 0.02, "{plain:?}");
        assert!((grouped.high - grouped.low - 2.0 * 1.96 * 0.447).abs() < 0.2, "{grouped:?}");
        let alone: Vec<usize> = (0..500).collect();
        assert_eq!(bootstrap_mean_by_group(&values, &alone, 1).expect("interval"), plain, "groups of one are queries");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for failed in [
            bootstrap_mean(&[], 1),
            bootstrap_mean(&[1.0, f64::NAN], 1),
            bootstrap_difference(&[1.0], &[1.0, 2.0], 1),
            bootstrap_mean_by_group(&[1.0], &[], 1),
        ] {
            failed.expect_err("no interval");
        }
        let constant = bootstrap_mean(&[0.5; 3], 1).expect("interval");
        assert_eq!((constant.mean, constant.low, constant.high), (0.5, 0.5, 0.5));
    }
}

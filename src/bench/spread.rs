//! Figures of several rounds: medians, ends, percentiles.

use serde::{Deserialize, Deserializer, Serializer};

use crate::bench::result::{Latency, Measured, Spread};

impl Spread {
    /// Of the figures of some rounds. Without any, or if one is not a number, nothing is known: see [`Spread::unknown`].
    pub fn of(rounds: Vec<f64>) -> Spread {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.first(), sorted.last()) {
            (Some(&min), Some(&max)) if sorted.iter().all(|value| value.is_finite()) => {
                Spread { median: median(&sorted), min, max, rounds }
            }
            _ => Spread::unknown(),
        }
    }

    /// What this system does not tell: no rounds, and not a number, which is `null` in the file.
    pub fn unknown() -> Spread {
        Spread { median: f64::NAN, min: f64::NAN, max: f64::NAN, rounds: Vec::new() }
    }

    /// Whether there is a figure.
    pub fn is_known(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// The distance of the ends over the median.
    pub fn width(&self) -> f64 {
        if self.is_known() && self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }
}

impl Measured {
    /// Floating-point operations a second in bulk, if the model has any.
    pub fn flops_per_second(&self) -> Option<f64> {
        let rate = self.flops * self.tokens_per_second.median / self.tokens as f64;
        (rate.is_finite() && rate > 0.0).then_some(rate)
    }
}

impl Latency {
    /// Of the times of some rounds, each with at least one.
    pub fn of(rounds: &[Vec<f64>], tokens: usize) -> Latency {
        let sorted = |times: &[f64]| {
            let mut times = times.to_vec();
            times.sort_by(f64::total_cmp);
            times
        };
        let all = sorted(&rounds.concat());
        Latency {
            p50_ms: percentile(&all, 0.50),
            p95_ms: percentile(&all, 0.95),
            p99_ms: percentile(&all, 0.99),
            tokens,
            rounds_p50_ms: rounds.iter().map(|times| percentile(&sorted(times), 0.50)).collect(),
            samples_ms: all,
        }
    }
}

/// Of sorted values: the middle one, or the mean of the two.
pub(in crate::bench) fn median(sorted: &[f64]) -> f64 {
    percentile(sorted, 0.5)
}

/// Linear interpolation between the sorted values, as NumPy's default; NaN of none.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// A number that may not be known: JSON has no NaN, and `null` in its place.
pub(super) mod number {
    use super::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(*value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ends_are_those_of_the_rounds() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0, 10.0]);
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 10.0));
        assert_eq!(spread.rounds, [3.0, 1.0, 2.0, 10.0], "in the order of the rounds");
        assert_eq!(spread.width(), 3.6);
        assert_eq!(Spread::of(vec![4.0]).median, 4.0);
    }

    #[test]
    fn what_is_not_known_is_null_and_never_zero() {
        for spread in [Spread::of(vec![]), Spread::of(vec![1.0, f64::NAN])] {
            assert!(!spread.is_known());
            let json = serde_json::to_string(&spread).expect("JSON");
            assert_eq!(json, r#"{"median":null,"min":null,"max":null,"rounds":[]}"#);
            let back: Spread = serde_json::from_str(&json).expect("a spread");
            assert!(back.median.is_nan() && !back.is_known());
        }
    }

    /// `numpy.percentile([1, 2, ..., 100], [50, 95, 99])`
    #[test]
    fn percentiles_are_numpy_s() {
        let (even, odd): (Vec<f64>, Vec<f64>) = (1..=100).rev().map(f64::from).partition(|value| value % 2.0 == 0.0);
        let latency = Latency::of(&[even, odd], 9);
        assert!((latency.p50_ms - 50.5).abs() < 1e-12 && (latency.p95_ms - 95.05).abs() < 1e-9 && (latency.p99_ms - 99.01).abs() < 1e-9);
        assert_eq!((latency.tokens, latency.samples_ms.len(), latency.samples_ms[0]), (9, 100, 1.0));
        assert_eq!(latency.rounds_p50_ms, [51.0, 50.0]);
    }
}

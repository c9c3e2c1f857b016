//! Axes: which numbers they are marked with, and where a value stands.

use crate::bench::report::numbers::fixed;

/// An axis. Where a value stands is from 0 to 1.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    pub ticks: Vec<f64>,
}

impl Axis {
    /// From 0, for what has a length.
    pub fn from_zero(high: f64, ticks: usize) -> Axis {
        Axis::between(0.0, if high > 0.0 { high } else { 1.0 }, ticks)
    }

    /// Over all of a range, its ends on ticks.
    pub fn between(low: f64, high: f64, ticks: usize) -> Axis {
        let (low, high) = if high - low > 0.0 { (low, high) } else { (low - 0.5, high + 0.5) };
        let step = nice((high - low) / ticks.max(1) as f64);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let ticks = (0..=(last - first) as usize).map(|n| (first + n as f64) * step).collect();
        Axis { low: first * step, high: last * step, logarithmic: false, ticks }
    }

    /// By orders of magnitude, with ticks at 1, 2 and 5; at the tens alone where those are many.
    pub fn logarithmic(low: f64, high: f64) -> Axis {
        let low = if low > 0.0 { low } else { 1e-3 };
        let high = high.max(low * 1.01);
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let steps: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all: Vec<f64> = (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power))).collect();
        let near = 1.0 + 1e-9;
        let begin = all.iter().rposition(|tick| *tick <= low * near).unwrap_or(0);
        let end = all.iter().position(|tick| tick * near >= high).unwrap_or(all.len() - 1);
        let ticks = all[begin..=end].to_vec();
        Axis { low: ticks[0], high: ticks[ticks.len() - 1], logarithmic: true, ticks }
    }

    /// Where a value stands; what lies beyond an end stands at it.
    pub fn at(&self, value: f64) -> f64 {
        let at = match self.logarithmic {
            true => (value.max(f64::MIN_POSITIVE).log10() - self.low.log10()) / (self.high.log10() - self.low.log10()),
            false => (value - self.low) / (self.high - self.low),
        };
        if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) }
    }

    /// A tick in figures, with as many decimals as its neighbours need.
    pub fn tick(&self, tick: f64) -> String {
        if self.logarithmic {
            let decimals = (-tick.log10().floor()).max(0.0);
            return if decimals > 4.0 { format!("1e\u{2212}{decimals}") } else { fixed(tick, decimals as usize) };
        }
        let step = self.ticks.get(1).map_or(1.0, |next| next - self.ticks[0]);
        fixed(tick, (-(step.log10() + 1e-9).floor()).max(0.0) as usize)
    }
}

/// The next of 1, 2, 2.5 and 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|nice| *nice >= step * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|tick| axis.tick(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_numbers_around_the_data() {
        assert_eq!(ticks(&Axis::from_zero(152.0, 4)), ["0", "50", "100", "150", "200"]);
        assert_eq!(ticks(&Axis::from_zero(0.31, 4)), ["0.0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(ticks(&Axis::between(-0.83, 0.3, 4)), ["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5"]);
        assert_eq!(ticks(&Axis::logarithmic(6.1, 74.0)), ["5", "10", "20", "50", "100"]);
        assert_eq!(ticks(&Axis::logarithmic(1e-8, 1e-3)), ["1e\u{2212}8", "1e\u{2212}7", "1e\u{2212}6", "1e\u{2212}5", "0.0001", "0.001"]);
    }

    #[test]
    fn nothing_and_one_value_have_an_axis_too() {
        for axis in [Axis::from_zero(0.0, 4), Axis::between(3.0, 3.0, 4), Axis::logarithmic(5.0, 5.0), Axis::logarithmic(0.0, 0.0)] {
            assert!(axis.ticks.len() >= 2 && axis.ticks.iter().all(|tick| tick.is_finite()), "{axis:?}");
            assert!((0.0..=1.0).contains(&axis.at(3.0)));
        }
    }

    #[test]
    fn values_stand_where_they_should() {
        let axis = Axis::from_zero(100.0, 4);
        assert!((axis.at(50.0) - 0.5).abs() < 1e-12 && axis.at(-1.0) == 0.0 && axis.at(1e9) == 1.0);
        let axis = Axis::logarithmic(1.0, 100.0);
        assert!((axis.at(10.0) - 0.5).abs() < 1e-12);
    }
}

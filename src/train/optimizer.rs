//! AdamW (Loshchilov and Hutter 2019): Adam with decoupled weight decay, here towards a given point instead of only towards zero.

use super::network::{Layer, Real};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// Tensors smaller than this are not worth a second thread.
const SPLIT_AT: usize = 1 << 16;

/// The state of one run.
pub struct AdamW<F> {
    steps: i32,
    decay: f64,
    /// What weights decay towards; zero if nothing.
    anchor: Option<Vec<Layer<F>>>,
    moments: Vec<[Moments<F>; 2]>,
}

struct Moments<F> {
    first: Vec<F>,
    second: Vec<F>,
}

/// The numbers of one step, equal for all weights.
#[derive(Clone, Copy)]
struct Step<F> {
    rate: F,
    epsilon: F,
    shrink: F,
}

impl<F: Real> AdamW<F> {
    /// A fresh state for `layers`; weights decay towards `anchor`, which has the same shapes, biases do not decay.
    pub fn new(layers: &[Layer<F>], decay: f64, anchor: Option<Vec<Layer<F>>>) -> AdamW<F> {
        let zeros = |n: usize| Moments { first: vec![F::zero(); n], second: vec![F::zero(); n] };
        let moments = layers.iter().map(|layer| [zeros(layer.weight.len()), zeros(layer.bias.len())]).collect();
        AdamW { steps: 0, decay, anchor, moments }
    }

    /// One step down the gradient.
    pub fn step(&mut self, layers: &mut [Layer<F>], gradients: &[Layer<F>], rate: f64) {
        self.steps += 1;
        // The bias corrections of both moments, taken out of the loop: rate m' / (sqrt(v') + e) with m' = m / c1 and v' = v / c2.
        let (correct1, correct2) = (1.0 - BETA1.powi(self.steps), (1.0 - BETA2.powi(self.steps)).sqrt());
        let step = Step { rate: F::of(rate * correct2 / correct1), epsilon: F::of(EPSILON * correct2), shrink: F::of(rate * self.decay) };
        for (at, ((layer, gradient), [weight, bias])) in layers.iter_mut().zip(gradients).zip(&mut self.moments).enumerate() {
            let anchor = self.anchor.as_ref().and_then(|anchor| anchor[at].weight.as_slice());
            if let (Some(w), Some(g)) = (layer.weight.as_slice_mut(), gradient.weight.as_slice()) {
                update_split(w, g, weight, anchor, step);
            }
            if let (Some(b), Some(g)) = (layer.bias.as_slice_mut(), gradient.bias.as_slice()) {
                update(b, g, &mut bias.first, &mut bias.second, None, Step { shrink: F::zero(), ..step });
            }
        }
    }
}

/// Two halves on two threads; every number is computed as it would be alone.
fn update_split<F: Real>(values: &mut [F], gradient: &[F], moments: &mut Moments<F>, anchor: Option<&[F]>, step: Step<F>) {
    if values.len() < SPLIT_AT {
        return update(values, gradient, &mut moments.first, &mut moments.second, anchor, step);
    }
    let half = values.len() / 2;
    let (values_a, values_b) = values.split_at_mut(half);
    let (gradient_a, gradient_b) = gradient.split_at(half);
    let (first_a, first_b) = moments.first.split_at_mut(half);
    let (second_a, second_b) = moments.second.split_at_mut(half);
    let (anchor_a, anchor_b) = (anchor.map(|anchor| &anchor[..half]), anchor.map(|anchor| &anchor[half..]));
    std::thread::scope(|scope| {
        scope.spawn(move || update(values_a, gradient_a, first_a, second_a, anchor_a, step));
        update(values_b, gradient_b, first_b, second_b, anchor_b, step);
    });
}

fn update<F: Real>(values: &mut [F], gradient: &[F], first: &mut [F], second: &mut [F], anchor: Option<&[F]>, step: Step<F>) {
    let (beta1, beta2) = (F::of(BETA1), F::of(BETA2));
    let (rest1, rest2) = (F::one() - beta1, F::one() - beta2);
    let moments = first.iter_mut().zip(second.iter_mut());
    for (at, ((value, &slope), (m, v))) in values.iter_mut().zip(gradient).zip(moments).enumerate() {
        *m = beta1 * *m + rest1 * slope;
        *v = beta2 * *v + rest2 * slope * slope;
        let away = anchor.map_or(*value, |anchor| *value - anchor[at]);
        *value -= step.rate * *m / (v.sqrt() + step.epsilon) + step.shrink * away;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};

    use super::*;

    /// The formulas of the paper, number by number, over the split and with both kinds of decay.
    #[test]
    fn steps_are_those_of_the_paper() {
        let (rows, columns) = (300, 300);
        let layer = |scale: f64| Layer {
            weight: Array2::from_shape_fn((rows, columns), |(i, j)| scale * ((i * 7 + j * 3) as f64).sin()),
            bias: Array1::from_shape_fn(rows, |i| scale * (i as f64).cos()),
        };
        for anchor in [None, Some(vec![layer(0.2)])] {
            let mut layers = vec![layer(1.0)];
            let mut optimizer = AdamW::new(&layers, 0.1, anchor.clone());
            let at = (250, 123);
            let (mut weight, mut bias) = (layers[0].weight[at], layers[0].bias[17]);
            let pull = anchor.as_ref().map_or(0.0, |anchor| anchor[0].weight[at]);
            let (mut m, mut v) = ([0.0; 2], [0.0; 2]);
            for step in 1..=5 {
                let gradient = layer(0.5 / f64::from(step) - 0.2);
                optimizer.step(&mut layers, std::slice::from_ref(&gradient), 0.01);
                let mut moved = |which: usize, slope: f64| {
                    m[which] = 0.9 * m[which] + 0.1 * slope;
                    v[which] = 0.999 * v[which] + 0.001 * slope * slope;
                    0.01 * (m[which] / (1.0 - 0.9f64.powi(step))) / ((v[which] / (1.0 - 0.999f64.powi(step))).sqrt() + 1e-8)
                };
                weight -= moved(0, gradient.weight[at]) + 0.01 * 0.1 * (weight - pull);
                bias -= moved(1, gradient.bias[17]);
                assert!((layers[0].weight[at] - weight).abs() < 1e-12 && (layers[0].bias[17] - bias).abs() < 1e-12);
            }
        }
    }
}

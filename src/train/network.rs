//! The architectures: forward with what the way back needs, and the gradients by backpropagation.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, NdFloat, Zip};

use super::config::Architecture;

/// `f32` for training, `f64` for the proof of the gradients.
pub trait Real: NdFloat {
    /// The nearest number of this type.
    fn of(value: f64) -> Self;
}

impl Real for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }
}

impl Real for f64 {
    fn of(value: f64) -> f64 {
        value
    }
}

/// An affine map, or its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer<F> {
    /// `[out, in]`, as PyTorch keeps it.
    pub weight: Array2<F>,
    /// `[out]`
    pub bias: Array1<F>,
}

impl<F: Real> Layer<F> {
    /// `x W^T + b` for rows `x`.
    fn forward(&self, x: &ArrayView2<'_, F>) -> Array2<F> {
        let mut y = product(x, &self.weight.t());
        y += &self.bias;
        y
    }

    /// The gradient of the layer, given its input and the gradient of its output.
    fn gradient(x: &ArrayView2<'_, F>, dy: &Array2<F>) -> Layer<F> {
        Layer { weight: product(&dy.t(), x), bias: dy.sum_axis(Axis(0)) }
    }
}

/// A projection's layers: one for [`Architecture::Linear`], else two.
#[derive(Clone, Debug, PartialEq)]
pub struct Network<F> {
    /// How the layers are put together.
    pub architecture: Architecture,
    /// First to last.
    pub layers: Vec<Layer<F>>,
}

/// What a forward pass leaves for the way back.
pub struct Trace<F> {
    /// After the relu where there is one, `[rows, hidden]`; nothing without a hidden layer.
    hidden: Option<Array2<F>>,
    /// The length of each output before it was normalised; 0 if it was too short to have a direction.
    lengths: Array1<F>,
    /// `[rows, output]`, normalised.
    pub output: Array2<F>,
}

/// A shorter output has no direction: it becomes zero and has no gradient.
const SHORTEST: f64 = 1e-12;

impl<F: Real> Network<F> {
    /// Numbers of an input.
    pub fn input(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.weight.ncols())
    }

    /// Numbers of an output.
    pub fn output(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.weight.nrows())
    }

    /// The projections of rows `x`, `[rows, input]`.
    pub fn forward(&self, x: ArrayView2<'_, F>) -> Trace<F> {
        let (mut output, hidden) = match &self.layers[..] {
            [first, second] => {
                let mut hidden = first.forward(&x);
                if self.architecture.has_relu() {
                    hidden.mapv_inplace(|value| if value > F::zero() { value } else { F::zero() });
                }
                (second.forward(&hidden.view()), Some(hidden))
            }
            layers => (layers[0].forward(&x), None),
        };
        if self.architecture.adds_input() {
            output += &x;
        }
        let lengths = normalize(&mut output);
        Trace { hidden, lengths, output }
    }

    /// The gradients of the layers, given the input, its trace and the gradient of the normalised output.
    pub fn backward(&self, x: ArrayView2<'_, F>, trace: &Trace<F>, d_output: &Array2<F>) -> Vec<Layer<F>> {
        let mut dy = d_output.to_owned();
        unnormalize(&mut dy, &trace.output.view(), &trace.lengths);
        match (&self.layers[..], &trace.hidden) {
            ([_, second], Some(hidden)) => {
                let mut d_hidden = product(&dy.view(), &second.weight.view());
                if self.architecture.has_relu() {
                    Zip::from(&mut d_hidden).and(hidden).for_each(|d, &h| {
                        if h <= F::zero() {
                            *d = F::zero();
                        }
                    });
                }
                vec![Layer::gradient(&x, &d_hidden), Layer::gradient(&hidden.view(), &dy)]
            }
            _ => vec![Layer::gradient(&x, &dy)],
        }
    }
}

/// Divides each row by its length and gives the lengths; a row without direction becomes zero and has length 0.
pub fn normalize<F: Real>(rows: &mut Array2<F>) -> Array1<F> {
    let mut lengths = Array1::zeros(rows.nrows());
    for (mut row, length) in rows.rows_mut().into_iter().zip(lengths.iter_mut()) {
        let norm = row.dot(&row).sqrt();
        if norm > F::of(SHORTEST) {
            *length = norm;
            row.mapv_inplace(|value| value / norm);
        } else {
            row.fill(F::zero());
        }
    }
    lengths
}

/// The gradient of rows before [`normalize`], in place of that after it: through `z = y / |y|`, `dy = (dz - z (z . dz)) / |y|`.
pub fn unnormalize<F: Real>(gradient: &mut Array2<F>, normalized: &ArrayView2<'_, F>, lengths: &Array1<F>) {
    Zip::from(gradient.rows_mut()).and(normalized.rows()).and(lengths).for_each(|mut dy, z, &length| {
        if length == F::zero() {
            dy.fill(F::zero());
        } else {
            let along = z.dot(&dy);
            Zip::from(&mut dy).and(&z).for_each(|dy, &z| *dy = (*dy - z * along) / length);
        }
    });
}

/// Products with fewer multiplications are not worth a second thread.
const SPLIT_AT: usize = 1 << 20;

/// `a b` on two threads, each of which computes half of the rows or columns of the result, whichever are more: every number is the
/// work of one thread, and the halves are the same wherever it runs.
pub(super) fn product<F: Real>(a: &ArrayView2<'_, F>, b: &ArrayView2<'_, F>) -> Array2<F> {
    let (rows, columns) = (a.nrows(), b.ncols());
    if rows * columns * a.ncols() < SPLIT_AT {
        return a.dot(b);
    }
    let mut out = Array2::zeros((rows, columns));
    let (axis, half) = if rows > columns { (Axis(0), rows / 2) } else { (Axis(1), columns / 2) };
    let (mut left, mut right) = out.view_mut().split_at(axis, half);
    let ((a_left, a_right), (b_left, b_right)) =
        if axis == Axis(0) { (a.split_at(axis, half), (b.view(), b.view())) } else { ((a.view(), a.view()), b.split_at(axis, half)) };
    std::thread::scope(|scope| {
        scope.spawn(move || general_mat_mul(F::one(), &a_left, &b_left, F::zero(), &mut left));
        general_mat_mul(F::one(), &a_right, &b_right, F::zero(), &mut right);
    });
    out
}

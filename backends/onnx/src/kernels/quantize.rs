//! Eight-bit integers: rows of activations to unsigned ones with a scale and a zero of their own, weights to signed ones with a scale for
//! each output, and products back to numbers.

use super::dispatched;
use super::lanes::{Instructions, LANES, Lanes, multiply_add};

/// The greatest weight. Seven bits and the sign: on processors without VNNI two products of a weight and an activation are added in 16
/// bits, and `2 * 255 * 63` still fits. So every processor computes the same integers.
pub(crate) const MOST: f32 = 63.0;

/// A linear layer's weight in eight bits.
pub(crate) struct Weight {
    /// `[in, out]`
    pub values: Vec<i8>,
    /// `[out]`: what a value stands for.
    pub scales: Vec<f32>,
    /// `[out]`: the sum of the values.
    pub sums: Vec<i32>,
}

impl Weight {
    /// From `[outputs, inputs]`, each output scaled by its greatest number.
    pub fn new(weight: &[f32], outputs: usize, inputs: usize) -> Weight {
        let (mut values, mut scales, mut sums) = (vec![0; weight.len()], vec![0.0; outputs], vec![0; outputs]);
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            let greatest = row.iter().fold(0.0f32, |greatest, value| greatest.max(value.abs()));
            // A number that is not finite must stay visible: `max` passes over it.
            let broken: f32 = row.iter().map(|value| value * 0.0).sum();
            let scale = greatest / MOST;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            for (input, &value) in row.iter().enumerate() {
                let value = (value * inverse).round() as i8;
                values[input * outputs + output] = value;
                sums[output] += i32::from(value);
            }
            scales[output] = scale + broken;
        }
        Weight { values, scales, sums }
    }
}

dispatched! {
    /// Each row of `x`, `size` numbers, in `out`: from its smallest number, or zero, as 0 to its greatest, or zero, as 255. A number is its integer less
    /// the row's zero, times the row's scale. A row with a number that is not finite has a scale that is not.
    pub(crate) fn quantize(x: &[f32], size: usize, out: &mut [u8], scales: &mut [f32], zeros: &mut [i32]) => quantize_rows
}

#[inline(always)]
fn quantize_rows<I: Instructions>(x: &[f32], size: usize, out: &mut [u8], scales: &mut [f32], zeros: &mut [i32]) {
    /// Added to a number below 2^22 it leaves the nearest whole number in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let rows = x.chunks_exact(size).zip(out.chunks_exact_mut(size));
    for ((x, out), (row_scale, row_zero)) in rows.zip(scales.iter_mut().zip(zeros)) {
        let (mut least, mut most, mut broken): (Lanes, Lanes, Lanes) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let (steps, rest) = x.as_chunks::<LANES>();
        for step in steps {
            for (lane, &value) in step.iter().enumerate() {
                least[lane] = if value < least[lane] { value } else { least[lane] };
                most[lane] = if value > most[lane] { value } else { most[lane] };
                broken[lane] += value * 0.0;
            }
        }
        for (lane, &value) in rest.iter().enumerate() {
            least[lane] = value.min(least[lane]);
            most[lane] = value.max(most[lane]);
            broken[lane] += value * 0.0;
        }
        let least = least.iter().copied().fold(0.0, f32::min);
        let most = most.iter().copied().fold(0.0, f32::max);
        let broken: f32 = broken.iter().sum();
        let scale = (most - least) / 255.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let zero = (-least * inverse).round();
        for (out, &value) in out.iter_mut().zip(x) {
            let value = multiply_add::<I>(value, inverse, zero);
            let value = if value < 0.0 { 0.0 } else { value };
            let value = if value > 255.0 { 255.0 } else { value };
            *out = (value + ROUND).to_bits() as u8;
        }
        *row_scale = scale + broken;
        *row_zero = zero as i32;
    }
}

/// The products of quantized rows and a weight, and what they stand for.
#[derive(Clone, Copy)]
pub(crate) struct Products<'a> {
    /// `[rows, out]`: sums of integers.
    pub sums: &'a [i32],
    /// Of each row.
    pub scales: &'a [f32],
    /// Of each row.
    pub zeros: &'a [i32],
    /// Of each output.
    pub weight_scales: &'a [f32],
    /// Of each output: the sum of its weights.
    pub weight_sums: &'a [i32],
    /// Of each output.
    pub bias: Option<&'a [f32]>,
}

dispatched! {
    /// Products as numbers, `[rows, out]`.
    pub(crate) fn dequantize(products: &Products<'_>, out: &mut [f32]) => dequantize_rows
}

#[inline(always)]
fn dequantize_rows<I: Instructions>(products: &Products<'_>, out: &mut [f32]) {
    let Products { sums, scales, zeros, weight_scales, weight_sums, bias } = *products;
    let outputs = weight_scales.len();
    let rows = sums.chunks_exact(outputs).zip(out.chunks_exact_mut(outputs));
    for ((sums, out), (&scale, &zero)) in rows.zip(scales.iter().zip(zeros)) {
        let weights = weight_scales.iter().zip(weight_sums);
        match bias {
            Some(bias) => {
                for (((out, &sum), (&weight_scale, &weight_sum)), &bias) in out.iter_mut().zip(sums).zip(weights).zip(bias) {
                    *out = multiply_add::<I>((sum - zero * weight_sum) as f32, scale * weight_scale, bias);
                }
            }
            None => {
                for ((out, &sum), (&weight_scale, &weight_sum)) in out.iter_mut().zip(sums).zip(weights) {
                    *out = (sum - zero * weight_sum) as f32 * (scale * weight_scale);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Plain;
    use super::*;

    #[test]
    fn rows_come_back_within_half_a_step() {
        let size = 37;
        let x: Vec<f32> = (0..4 * size).map(|at| ((at * 29 % 113) as f32 - 40.0) * 0.07 * (1.0 + (at / size) as f32)).collect();
        let (mut out, mut scales, mut zeros) = (vec![0; x.len()], vec![0.0; 4], vec![0; 4]);
        quantize(&x, size, &mut out, &mut scales, &mut zeros);
        for (at, &value) in x.iter().enumerate() {
            let back = (i32::from(out[at]) - zeros[at / size]) as f32 * scales[at / size];
            assert!((back - value).abs() <= scales[at / size] * 0.501 + 1e-6, "{value} came back as {back}");
        }
        let (mut plain, mut plain_scales, mut plain_zeros) = (vec![0; x.len()], vec![0.0; 4], vec![0; 4]);
        quantize_rows::<Plain>(&x, size, &mut plain, &mut plain_scales, &mut plain_zeros);
        assert_eq!((plain_scales, plain_zeros), (scales, zeros));
        assert!(out.iter().zip(&plain).all(|(&a, &b)| a.abs_diff(b) <= 1));
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_not_finite_shows() {
        let (mut out, mut scales, mut zeros) = (vec![9; 6], vec![9.0; 3], vec![9; 3]);
        quantize(&[0.0, 0.0, 1.0, f32::NAN, f32::INFINITY, 2.0], 2, &mut out, &mut scales, &mut zeros);
        assert_eq!((out[0], out[1], scales[0], zeros[0]), (0, 0, 0.0, 0));
        assert!(!scales[1].is_finite() && !scales[2].is_finite());
        assert!(Weight::new(&[1.0, f32::NAN], 1, 2).scales[0].is_nan());
    }

    /// A product by way of integers is near the product itself, and exactly the sum of what the integers stand for.
    #[test]
    fn products_are_those_of_what_the_integers_stand_for() {
        let (rows, inputs, outputs) = (3, 50, 18);
        let x: Vec<f32> = (0..rows * inputs).map(|at| ((at * 31 % 97) as f32 - 30.0) / 20.0).collect();
        let weight: Vec<f32> = (0..outputs * inputs).map(|at| ((at * 17 % 89) as f32 - 44.0) / 70.0).collect();
        let bias: Vec<f32> = (0..outputs).map(|at| at as f32 / 3.0).collect();
        let quantized = Weight::new(&weight, outputs, inputs);
        assert!(quantized.values.iter().all(|value| f32::from(*value).abs() <= MOST));
        let (mut integers, mut scales, mut zeros) = (vec![0; x.len()], vec![0.0; rows], vec![0; rows]);
        quantize(&x, inputs, &mut integers, &mut scales, &mut zeros);
        let mut sums = vec![0; rows * outputs];
        for row in 0..rows {
            for output in 0..outputs {
                sums[row * outputs + output] =
                    (0..inputs).map(|n| i32::from(integers[row * inputs + n]) * i32::from(quantized.values[n * outputs + output])).sum();
            }
        }
        for bias in [None, Some(&bias[..])] {
            let products = Products {
                sums: &sums,
                scales: &scales,
                zeros: &zeros,
                weight_scales: &quantized.scales,
                weight_sums: &quantized.sums,
                bias,
            };
            let (mut out, mut plain) = (vec![0.0; rows * outputs], vec![0.0; rows * outputs]);
            dequantize(&products, &mut out);
            dequantize_rows::<Plain>(&products, &mut plain);
            for row in 0..rows {
                for output in 0..outputs {
                    let stands_for: f64 = (0..inputs)
                        .map(|n| {
                            let x = f64::from(i32::from(integers[row * inputs + n]) - zeros[row]) * f64::from(scales[row]);
                            x * f64::from(quantized.values[n * outputs + output]) * f64::from(quantized.scales[output])
                        })
                        .sum();
                    let exact: f64 = (0..inputs).map(|n| f64::from(x[row * inputs + n]) * f64::from(weight[output * inputs + n])).sum();
                    let offset = bias.map_or(0.0, |bias| f64::from(bias[output]));
                    for found in [out[row * outputs + output], plain[row * outputs + output]] {
                        assert!((f64::from(found) - stands_for - offset).abs() < 1e-4, "{found} for {}", stands_for + offset);
                        assert!((f64::from(found) - exact - offset).abs() < 0.25, "{found} is far from {}", exact + offset);
                    }
                }
            }
        }
    }
}

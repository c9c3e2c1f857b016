//! Linear layers in single precision: many rows in tiles of AMX, few by fused multiply-adds, both from the weight as it lies in the model's file.

use std::cell::RefCell;

use half::bf16;

use super::dispatched;
use super::lanes::{Instructions, LANES, Lanes, products, transposed};
use super::shared::Shared;

/// Calls a function for every number below a count, on as many threads as there are.
pub(crate) type Each<'a, E> = &'a dyn Fn(usize, &(dyn Fn(usize) + Send + Sync)) -> Result<(), E>;

/// Who does the work.
pub(crate) struct Hands<'a, E> {
    pub each: Each<'a, E>,
    /// How many threads that are, at most.
    pub threads: usize,
}

/// `x weightᵀ + bias`
#[derive(Clone, Copy)]
pub(crate) struct Linear<'a> {
    /// `[rows, inputs]`
    pub x: &'a [f32],
    /// `[outputs, inputs]`
    pub weight: Weight<'a>,
    /// `[outputs]`
    pub bias: Option<&'a [f32]>,
    pub inputs: usize,
    pub outputs: usize,
}

/// The numbers of a weight.
#[derive(Clone, Copy)]
pub(crate) enum Weight<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

/// Outputs that one task of few rows computes.
const OUTPUTS: usize = 48;

/// Whether linear layers are faster here than in ONNX Runtime: with AMX they are.
pub(crate) fn worthwhile() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return super::amx::usable();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

/// What multiplies blocks in the nearest caches in tiles so many times and gives the operations; nothing where there are no tiles.
pub(crate) fn tiles() -> Option<Box<dyn FnMut(usize) -> u64>> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if super::amx::usable() {
        // SAFETY: AMX is usable.
        return Some(Box::new(unsafe { super::tiled::repeated() }));
    }
    None
}

/// Computes `out`, `[rows, outputs]`.
pub(crate) fn compute<E>(linear: &Linear<'_>, out: &mut [f32], hands: &Hands<'_, E>) -> Result<(), E> {
    assert!(linear.inputs > 0, "a layer has inputs");
    let rows = linear.x.len() / linear.inputs;
    assert!(rows * linear.inputs == linear.x.len() && out.len() == rows * linear.outputs, "whole rows");
    if rows == 0 {
        return Ok(());
    }
    let out = Shared::new(out);
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if rows >= super::tiled::worthwhile_from(&linear.weight) && super::amx::usable() {
        // SAFETY: AMX is usable.
        return unsafe { super::tiled::compute(linear, rows, out, hands) };
    }
    few(linear, rows, out, hands.each)
}

/// Memory that one thread uses again and again.
#[derive(Default)]
struct Scratch {
    /// `[OUTPUTS, inputs]`, of a weight in bf16.
    weight: Vec<f32>,
    /// `[rows, OUTPUTS]`
    out: Vec<f32>,
}

/// Of few rows reading the weight takes the most time: it is read once, row by row as it lies there, and each of its numbers is multiplied with those
/// of all rows at once, which lie side by side for that.
fn few<E>(linear: &Linear<'_>, rows: usize, out: Shared<f32>, each: Each<'_, E>) -> Result<(), E> {
    thread_local! {
        /// `[inputs, places]`, places being rows up to a multiple of 16; of the thread that asks for the work.
        static TURNED: RefCell<Vec<f32>> = RefCell::default();
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    TURNED.with_borrow_mut(|turned| {
        turn(linear, turned);
        let turned = &turned[..];
        each(linear.outputs.div_ceil(OUTPUTS), &|at| {
            SCRATCH.with_borrow_mut(|scratch| {
                let from = at * OUTPUTS;
                let width = OUTPUTS.min(linear.outputs - from);
                some_outputs(linear, turned, from, width, scratch);
                for (row, sums) in scratch.out.chunks_exact(OUTPUTS).take(rows).enumerate() {
                    let place = row * linear.outputs + from;
                    // SAFETY: the output lives until `each` returns, and no other task has these columns.
                    unsafe { out.part(place..place + width) }.copy_from_slice(&sums[..width]);
                }
            });
        })
    })
}

dispatched! {
    /// Lays the rows of `x` side by side in `turned`, `[inputs, places]`, with zeros beyond them.
    fn turn(linear: &Linear<'_>, turned: &mut Vec<f32>) => turn_rows
}

#[inline(always)]
fn turn_rows<I: Instructions>(linear: &Linear<'_>, turned: &mut Vec<f32>) {
    let Linear { x, inputs, .. } = *linear;
    let rows = x.len() / inputs;
    let places = rows.next_multiple_of(LANES);
    turned.resize(inputs * places, 0.0);
    for from in (0..inputs).step_by(LANES) {
        let whole = LANES.min(inputs - from);
        for place in (0..places).step_by(LANES) {
            let mut block: [Lanes; LANES] = [[0.0; LANES]; LANES];
            for (row, lanes) in (place..rows).zip(&mut block) {
                lanes[..whole].copy_from_slice(&x[row * inputs + from..][..whole]);
            }
            for (at, column) in transposed::<I>(block.each_ref()).iter().enumerate().take(whole) {
                turned[(from + at) * places + place..][..LANES].copy_from_slice(column);
            }
        }
    }
}

dispatched! {
    /// Computes `width` outputs from `from` on into `scratch.out`.
    fn some_outputs(linear: &Linear<'_>, turned: &[f32], from: usize, width: usize, scratch: &mut Scratch) => outputs_of
}

#[inline(always)]
fn outputs_of<I: Instructions>(linear: &Linear<'_>, turned: &[f32], from: usize, width: usize, scratch: &mut Scratch) {
    let inputs = linear.inputs;
    let places = turned.len() / inputs;
    let Scratch { weight, out } = scratch;
    out.resize((places * OUTPUTS).max(out.len()), 0.0);
    let lies = from * inputs..(from + width) * inputs;
    let weight = match linear.weight {
        Weight::F32(given) => &given[lies],
        Weight::Bf16(given) => {
            weight.clear();
            weight.extend(given[lies].iter().map(|half| f32::from_bits(u32::from(half.to_bits()) << 16)));
            &weight[..]
        }
    };
    let mut bias = [0.0; OUTPUTS];
    if let Some(given) = linear.bias {
        bias[..width].copy_from_slice(&given[from..from + width]);
    }
    let mut at = 0;
    while at < width {
        let part = Part { weight: &weight[at * inputs..], inputs, turned, places, bias: &bias[at..] };
        let out = &mut out[at..];
        at += match width - at {
            12.. if I::WIDE => part.compute::<I, 12>(out),
            6.. => part.compute::<I, 6>(out),
            4 | 5 => part.compute::<I, 4>(out),
            2 | 3 => part.compute::<I, 2>(out),
            _ => part.compute::<I, 1>(out),
        };
    }
}

/// Outputs that are computed together, their sums in registers.
struct Part<'a> {
    /// From the first one's row on.
    weight: &'a [f32],
    inputs: usize,
    turned: &'a [f32],
    places: usize,
    /// From the first one's on.
    bias: &'a [f32],
}

impl Part<'_> {
    /// `N` outputs of all rows, into a row of `OUTPUTS` for each; gives back how many they are.
    #[inline(always)]
    fn compute<I: Instructions, const N: usize>(&self, out: &mut [f32]) -> usize {
        let left: [&[f32]; N] = std::array::from_fn(|at| &self.weight[at * self.inputs..][..self.inputs]);
        let mut place = 0;
        while place < self.places {
            let right = &self.turned[place..];
            if I::WIDE && place + 2 * LANES <= self.places {
                let sums = products::<I, N, 2>(&left, right, self.places);
                self.put::<I, N>(sums.map(|[sums, _]| sums), place, out);
                self.put::<I, N>(sums.map(|[_, sums]| sums), place + LANES, out);
                place += 2 * LANES;
            } else {
                let sums = products::<I, N, 1>(&left, right, self.places);
                self.put::<I, N>(sums.map(|[sums]| sums), place, out);
                place += LANES;
            }
        }
        N
    }

    /// The sums of 16 rows, from `[output, row]` to `[row, output]`.
    #[inline(always)]
    fn put<I: Instructions, const N: usize>(&self, sums: [Lanes; N], row: usize, out: &mut [f32]) {
        let mut block: [Lanes; LANES] = [[0.0; LANES]; LANES];
        for ((lanes, sums), bias) in block.iter_mut().zip(sums).zip(self.bias) {
            *lanes = sums.map(|sum| sum + bias);
        }
        for (at, outputs) in transposed::<I>(block.each_ref()).iter().enumerate() {
            out[(row + at) * OUTPUTS..][..N].copy_from_slice(&outputs[..N]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::hint::black_box;
    use std::time::Instant;

    use super::super::lanes::Plain;
    use super::super::tests::numbers;
    use super::*;

    fn in_turn(count: usize, work: &(dyn Fn(usize) + Send + Sync)) -> Result<(), Infallible> {
        (0..count).for_each(work);
        Ok(())
    }

    fn on_two_threads(count: usize, work: &(dyn Fn(usize) + Send + Sync)) -> Result<(), Infallible> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let take = || {
            loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if at >= count {
                    break;
                }
                work(at);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(take);
            take();
        });
        Ok(())
    }

    fn computed(linear: &Linear<'_>, each: Each<'_, Infallible>) -> Vec<f32> {
        let mut out = vec![f32::NAN; linear.x.len() / linear.inputs * linear.outputs];
        let Ok(()) = compute(linear, &mut out, &Hands { each, threads: 2 });
        out
    }

    /// The definition in double precision, and the sum of the products' sizes, by which a difference is judged.
    fn defined(linear: &Linear<'_>) -> Vec<(f64, f64)> {
        let number = |at: usize| match linear.weight {
            Weight::F32(weight) => f64::from(weight[at]),
            Weight::Bf16(weight) => f64::from(weight[at]),
        };
        let mut out = Vec::new();
        for row in linear.x.chunks_exact(linear.inputs) {
            for output in 0..linear.outputs {
                let bias = linear.bias.map_or(0.0, |bias| f64::from(bias[output]));
                let mut sums = (bias, bias.abs());
                for (at, &x) in row.iter().enumerate() {
                    let product = f64::from(x) * number(output * linear.inputs + at);
                    sums = (sums.0 + product, sums.1 + product.abs());
                }
                out.push(sums);
            }
        }
        out
    }

    fn compare(found: &[f32], expected: &[(f64, f64)], what: &str) {
        assert_eq!(found.len(), expected.len());
        for (at, (&found, &(expected, size))) in found.iter().zip(expected).enumerate() {
            let most = 4.0 * f64::from(f32::EPSILON) * size;
            assert!((f64::from(found) - expected).abs() <= most, "{what}: number {at} is {found}, not {expected}");
        }
    }

    fn upper_halves(numbers: &[f32]) -> Vec<bf16> {
        numbers.iter().map(|number| bf16::from_bits((number.to_bits() >> 16) as u16)).collect()
    }

    fn check(rows: usize, inputs: usize, outputs: usize) {
        let (x, weight, bias) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2), numbers(outputs, 3));
        let halves = upper_halves(&weight);
        for (weight, name) in [(Weight::F32(&weight), "f32"), (Weight::Bf16(&halves), "bf16")] {
            for bias in [None, Some(&bias[..])] {
                let what = format!("{rows} x {inputs} x {outputs}, {name}, {}", if bias.is_some() { "bias" } else { "no bias" });
                let linear = Linear { x: &x, weight, bias, inputs, outputs };
                let expected = defined(&linear);
                let found = computed(&linear, &in_turn);
                compare(&found, &expected, &what);
                assert_eq!(found, computed(&linear, &on_two_threads), "{what}: threads change nothing");
                // What a processor with less than this one's instructions computes.
                compare(&by_outputs::<Plain>(&linear), &expected, &what);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    compare(&by_outputs::<super::super::lanes::Avx2>(&linear), &expected, &what);
                }
            }
        }
    }

    /// As `few`, compiled for some instruction set.
    fn by_outputs<I: Instructions>(linear: &Linear<'_>) -> Vec<f32> {
        let rows = linear.x.len() / linear.inputs;
        let mut out = vec![f32::NAN; rows * linear.outputs];
        // What an earlier layer left must not show.
        let (mut turned, mut scratch) = (vec![f32::NAN; 5000], Scratch { weight: vec![f32::NAN; 5000], out: vec![f32::NAN; 9] });
        turn_rows::<I>(linear, &mut turned);
        for from in (0..linear.outputs).step_by(OUTPUTS) {
            let width = OUTPUTS.min(linear.outputs - from);
            outputs_of::<I>(linear, &turned, from, width, &mut scratch);
            for row in 0..rows {
                out[row * linear.outputs + from..][..width].copy_from_slice(&scratch.out[row * OUTPUTS..][..width]);
            }
        }
        out
    }

    #[test]
    fn every_shape_gives_what_the_definition_gives() {
        for rows in [1, 2, 3, 5, 6, 11, 19, 20, 21, 63, 64, 65] {
            for (inputs, outputs) in [(1, 1), (7, 33), (16, 16), (31, 5), (32, 32), (33, 64), (100, 40)] {
                check(rows, inputs, outputs);
            }
        }
    }

    /// Of more inputs than are summed over at a time, more columns than one thread takes, and more than are laid out at a time.
    #[test]
    fn large_layers_do_too() {
        check(70, 384, 400);
        check(130, 1000, 50);
        check(64, 4100, 1200);
    }

    /// Of a number nothing is lost: its parts add up to it, whatever its size.
    #[test]
    fn one_times_a_number_is_that_number() {
        let size = 64;
        let mut one = vec![0.0; size * size];
        (0..size).for_each(|at| one[at * size + at] = 1.0);
        let mut x = numbers(128 * size, 5);
        x.iter_mut().enumerate().for_each(|(at, x)| *x *= 2.0f32.powi((at % 200) as i32 - 100));
        for (number, special) in x.iter_mut().zip([0.0, 1.0, f32::MAX * 0.99, 1.0 + f32::EPSILON, 1.0 - f32::EPSILON / 2.0, -16_777_215.0])
        {
            *number = special;
        }
        let linear = Linear { x: &x, weight: Weight::F32(&one), bias: None, inputs: size, outputs: size };
        assert_eq!(computed(&linear, &in_turn), x);
        let halves = upper_halves(&one);
        assert_eq!(computed(&Linear { weight: Weight::Bf16(&halves), ..linear }, &in_turn), x);
        // The other way round.
        let linear = Linear { x: &one, weight: Weight::F32(&x), bias: None, inputs: size, outputs: 128 };
        let found = computed(&linear, &in_turn);
        assert!((0..size).all(|row| (0..128).all(|output| found[row * 128 + output] == x[output * size + row])));
    }

    /// Not by less than sums of products in single precision, one after the other, that are rounded at each step.
    #[test]
    fn sums_are_as_exact_as_single_precision() {
        let (rows, inputs, outputs) = (64, 1536, 64);
        let (x, weight) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2));
        let linear = Linear { x: &x, weight: Weight::F32(&weight), bias: None, inputs, outputs };
        let expected = defined(&linear);
        let in_order = |at: usize| {
            let (x, weight) = (&x[at / outputs * inputs..][..inputs], &weight[at % outputs * inputs..][..inputs]);
            x.iter().zip(weight).fold(0.0f32, |sum, (x, weight)| x.mul_add(*weight, sum))
        };
        let total = |found: &dyn Fn(usize) -> f32| (0..rows * outputs).map(|at| (f64::from(found(at)) - expected[at].0).abs()).sum::<f64>();
        let found = computed(&linear, &in_turn);
        let (ours, in_order) = (total(&|at| found[at]), total(&in_order));
        assert!(ours <= in_order, "{ours} is off by more than {in_order}");
    }

    /// A row's numbers do not depend on the others', nor on how many there are.
    #[test]
    fn what_is_not_a_number_stays_in_its_row_and_shows() {
        let (inputs, outputs) = (100, 40);
        for rows in [3, 96] {
            let (x, weight) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2));
            let linear = Linear { x: &x, weight: Weight::F32(&weight), bias: None, inputs, outputs };
            let sound = computed(&linear, &in_turn);
            for bits in [0x7fc0_0000u32, 0x7f80_0001, 0x7fff_ffff, 0xffff_ffff, f32::INFINITY.to_bits(), f32::NEG_INFINITY.to_bits()] {
                let mut x = x.clone();
                x[inputs + 77] = f32::from_bits(bits);
                let found = computed(&Linear { x: &x, ..linear }, &in_turn);
                for (at, (found, sound)) in found.iter().zip(&sound).enumerate() {
                    match at / outputs {
                        1 => assert!(!found.is_finite(), "{bits:x}: number {at} is {found}"),
                        _ => assert_eq!(found.to_bits(), sound.to_bits(), "{bits:x}: number {at}"),
                    }
                }
            }
        }
        // Nor, but for rounding, on which of the two ways it is computed.
        let (x, weight) = (numbers(64 * inputs, 1), numbers(outputs * inputs, 2));
        let linear = Linear { x: &x, weight: Weight::F32(&weight), bias: None, inputs, outputs };
        let (many, few) = (computed(&linear, &in_turn), computed(&Linear { x: &x[..20 * inputs], ..linear }, &in_turn));
        compare(&few, &defined(&linear)[..few.len()], "few rows");
        compare(&many[..few.len()], &defined(&linear)[..few.len()], "many rows");
        let (x, weight) = (numbers(200 * inputs, 1), numbers(outputs * inputs, 2));
        let all = computed(&Linear { x: &x, weight: Weight::F32(&weight), bias: None, inputs, outputs }, &in_turn);
        let some = Linear { x: &x[..80 * inputs], weight: Weight::F32(&weight), bias: None, inputs, outputs };
        assert_eq!(computed(&some, &in_turn), all[..80 * outputs]);
    }

    #[test]
    #[ignore = "figures: cargo test --release -p patina-onnx --features enabled --lib linear -- --ignored --nocapture"]
    #[allow(clippy::print_stdout)]
    fn figures() {
        for (inputs, outputs) in [(384, 384), (384, 1536), (1536, 384), (1024, 3072), (3072, 1024)] {
            for rows in [1, 8, 16, 32, 64, 256, 1024, 4096] {
                let (x, weight, bias) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2), numbers(outputs, 3));
                let halves = upper_halves(&weight);
                let mut out = vec![0.0; rows * outputs];
                let mut rate = |weight, each: Each<'_, Infallible>| {
                    let linear = Linear { x: &x, weight, bias: Some(&bias), inputs, outputs };
                    let mut time = || {
                        let begun = Instant::now();
                        let Ok(()) = compute(black_box(&linear), &mut out, &Hands { each, threads: 2 });
                        begun.elapsed().as_secs_f64()
                    };
                    let once = time();
                    let least = (0..((0.1 / once) as usize).clamp(5, 2000)).map(|_| time()).fold(f64::INFINITY, f64::min);
                    2.0 * (rows * inputs * outputs) as f64 / least / 1e9
                };
                let single = [&in_turn as Each<'_, Infallible>, &on_two_threads].map(|each| rate(Weight::F32(&weight), each));
                let half = [&in_turn as Each<'_, Infallible>, &on_two_threads].map(|each| rate(Weight::Bf16(&halves), each));
                println!(
                    "{inputs:4} x {outputs:4}, {rows:4} rows, GFLOP/s on one thread and two: {:6.1} {:6.1}, of a weight in bf16 {:6.1} {:6.1}",
                    single[0], single[1], half[0], half[1]
                );
            }
        }
    }
}

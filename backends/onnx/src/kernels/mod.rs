//! What ONNX Runtime computes slowly or not at all on packed rows, as plain loops over arrays of 16 numbers that the compiler turns into
//! vector instructions. Each kernel is compiled for several instruction sets and the best that this processor has is taken.

#![allow(unsafe_code)] // Functions for instruction sets that a processor may lack; each call says why it has them.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
pub(crate) mod attention;
mod lanes;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod quantize;
pub(crate) mod shared;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod split;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiled;

/// The instruction sets that kernels are compiled for beside the target's own.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// The target's own.
    Plain,
    Avx2,
    Avx512,
}

#[cfg(target_arch = "x86_64")]
fn level() -> Level {
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("fma")
    {
        return Level::Avx512;
    }
    match is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        true => Level::Avx2,
        false => Level::Plain,
    }
}

/// Makes a function that runs `$generic` compiled for the best instruction set; its parameter is that set.
macro_rules! dispatched {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) => $generic:ident) => {
        $(#[$doc])*
        $visibility fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma")]
                fn avx512($($argument: $type),*) {
                    $generic::<$crate::kernels::lanes::Avx512>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) {
                    $generic::<$crate::kernels::lanes::Avx2>($($argument),*)
                }
                match $crate::kernels::level() {
                    // SAFETY: the processor has these features, as `level` found.
                    $crate::kernels::Level::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    $crate::kernels::Level::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::kernels::Level::Plain => {}
                }
            }
            $generic::<$crate::kernels::lanes::Plain>($($argument),*)
        }
    };
}
pub(crate) use dispatched;

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::attention::{Scratch, Task, attend};
    use super::norm::{Norm, normalize};
    use super::quantize::{Products, dequantize, quantize};

    /// Numbers without pattern between -1 and 1.
    pub(super) fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let next = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next(&mut state)).collect()
    }

    /// The least of several times, in seconds.
    fn least(mut work: impl FnMut()) -> f64 {
        let time = |work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        };
        (0..20).map(|_| time(&mut work)).fold(f64::INFINITY, f64::min)
    }

    #[test]
    #[ignore = "figures: cargo test --release -p patina-onnx --features enabled --lib kernels -- --ignored --nocapture"]
    #[allow(clippy::print_stdout)]
    fn figures() {
        #[cfg(target_arch = "x86_64")]
        println!("{:?}, one thread", super::level());
        for tokens in [8, 16, 32, 64, 128, 256, 512] {
            let (heads, size) = (12, 32);
            let stride = heads * size;
            let numbers: Vec<f32> = (0..tokens * stride).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let mut scratch = Scratch::default();
            let times = 40_000 / tokens / tokens + 1;
            let seconds = least(|| {
                for _ in 0..times {
                    for head in 0..heads {
                        let part = &numbers[head * size..];
                        let (q, k, v) = (part, part, part);
                        let (before, after) = (usize::MAX, usize::MAX);
                        let task = Task {
                            q,
                            k,
                            v,
                            q_stride: stride,
                            kv_stride: stride,
                            queries: 0..tokens,
                            tokens,
                            size,
                            scale: 0.2,
                            before,
                            after,
                            bias: None,
                        };
                        attend(black_box(&task), &mut scratch);
                    }
                }
            }) / times as f64;
            let flops = (4 * tokens * tokens * stride) as f64;
            println!("attention, {tokens:3} tokens: {:6.1} us, {:5.1} GFLOP/s", seconds * 1e6, flops / seconds / 1e9);
        }
        let (rows, size) = (256, 384);
        let x: Vec<f32> = (0..rows * size).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let mut out = vec![0.0; rows * size];
        let norm = Norm { weight: &x[..size], bias: Some(&x[..size]), epsilon: 1e-12, centred: true };
        let seconds = least(|| normalize(black_box(&x), Some(&x), &norm, &mut out));
        println!("norm, {size} numbers: {:.0} ns a row", seconds / rows as f64 * 1e9);
        let (mut integers, mut scales, mut zeros) = (vec![0; x.len()], vec![0.0; rows], vec![0; rows]);
        let seconds = least(|| quantize(black_box(&x), size, &mut integers, &mut scales, &mut zeros));
        println!("quantize, {size} numbers: {:.0} ns a row", seconds / rows as f64 * 1e9);
        let sums: Vec<i32> = integers.iter().map(|&value| i32::from(value) * 1000).collect();
        let weight_sums = &sums[..size];
        let products =
            Products { sums: &sums, scales: &scales, zeros: &zeros, weight_scales: &x[..size], weight_sums, bias: Some(&x[..size]) };
        let seconds = least(|| dequantize(black_box(&products), &mut out));
        println!("dequantize, {size} numbers: {:.0} ns a row", seconds / rows as f64 * 1e9);
    }
}

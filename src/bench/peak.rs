//! How fast this machine multiplies matrices in single precision: what a cell's work is held against.
//!
//! A multiplication of blocks that lie in the nearest caches, by the widest instructions that the processor has: the ceiling of any library's
//! multiplication by fused multiply-adds (docs/DESIGN.md has it beside OpenBLAS). Where linear layers are multiplied in the processor's tiles, which
//! are faster, theirs is measured too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use pulp::{Arch, Simd, WithSimd};

use crate::bench::result::{Peak, ThreadPeak};
use crate::embed::select;
use crate::error::Result;
use crate::progress::Job;
use crate::threads::start_in;

/// What is summed over: a panel of the second matrix stays in the nearest cache.
const DEPTH: usize = 96;
/// Rows of the first matrix.
const ROWS: usize = 48;
/// Rows that are computed together, in registers.
const TILE: usize = 6;
/// Registers' worth of columns that are computed together, where the processor has 32 registers, and where it has 16.
const WIDE: usize = 4;
const NARROW: usize = 2;
/// Numbers of the widest register.
const MOST_LANES: usize = 16;

/// Multiplications between two looks at the clock.
const BLOCK: usize = 64;
/// Blocks of tiles that are multiplied in place of one of the others: about as long.
const BLOCKS_OF_TILES: usize = 8;
/// How long one window is, and how many there are: the fastest counts, for a peak is what nothing disturbed.
const WINDOW: Duration = Duration::from_millis(80);
const WINDOWS: usize = 5;

/// `c += a b`, `repeats` times. `a` lies in groups of [`TILE`] rows, each `[DEPTH, TILE]`; `b` is `[DEPTH, width]`, `c` the same groups of rows,
/// each `[TILE, width]`. Gives `width`.
struct Multiply<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
    repeats: usize,
}

impl WithSimd for Multiply<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        if S::REGISTER_COUNT >= 32 { multiply::<S, WIDE>(simd, self) } else { multiply::<S, NARROW>(simd, self) }
    }
}

#[inline(always)]
fn multiply<S: Simd, const N: usize>(simd: S, Multiply { a, b, c, repeats }: Multiply<'_>) -> usize {
    let width = N * S::F32_LANES;
    for _ in 0..repeats {
        let (b, _) = S::as_simd_f32s(&b[..DEPTH * width]);
        let (b, _) = b.as_chunks::<N>();
        let (a, _) = a.as_chunks::<{ TILE * DEPTH }>();
        for (a, c) in a.iter().zip(c.chunks_exact_mut(TILE * width)) {
            let mut sums = [[simd.splat_f32s(0.0); N]; TILE];
            for (a, b) in a.as_chunks::<TILE>().0.iter().zip(b) {
                for (sums, &a) in sums.iter_mut().zip(a) {
                    let a = simd.splat_f32s(a);
                    for (sum, &b) in sums.iter_mut().zip(b) {
                        *sum = simd.mul_add_f32s(a, b, *sum);
                    }
                }
            }
            let (c, _) = S::as_mut_simd_f32s(c);
            for (c, sums) in c.as_chunks_mut::<N>().0.iter_mut().zip(&sums) {
                for (c, &sum) in c.iter_mut().zip(sums) {
                    *c = simd.add_f32s(*c, sum);
                }
            }
        }
    }
    width
}

/// The peak of each of these numbers of threads.
pub fn measure(threads: &[usize], job: Job<'_>) -> Result<Peak> {
    let arch = Arch::new();
    let mut flops_per_second = Vec::with_capacity(threads.len());
    for &threads in threads {
        job.check()?;
        let fused = fastest(&|| multiply_adds(arch), threads)?;
        let tiles = match select::has_tiles() {
            true => fastest(&in_tiles, threads)?,
            false => 0.0,
        };
        let without_tiles = select::has_tiles().then_some(fused);
        flops_per_second.push(ThreadPeak { threads, flops_per_second: tiles.max(fused), without_tiles });
        job.progress.advance(1);
    }
    let instructions = format!("{arch:?}");
    // Without the list of all that it implies.
    let instructions = instructions.split('(').next().unwrap_or_default();
    let mut method = format!("pulp, {ROWS} x {DEPTH} blocks in the nearest caches, instructions {instructions}");
    if flops_per_second.iter().any(|peak| peak.without_tiles.is_some()) {
        method = format!("tiles (AMX), six products of bf16 for each of single precision; without them {method}");
    }
    Ok(Peak { method, flops_per_second })
}

impl Peak {
    /// The peak of so many threads, if it was measured.
    pub fn of(&self, threads: usize) -> Option<f64> {
        self.flops_per_second.iter().find(|peak| peak.threads == threads).map(|peak| peak.flops_per_second)
    }

    /// The greater of two measurements for each number of threads.
    pub fn or_greater(mut self, other: &Peak) -> Peak {
        for peak in &mut self.flops_per_second {
            let Some(other) = other.flops_per_second.iter().find(|other| other.threads == peak.threads) else { continue };
            peak.flops_per_second = peak.flops_per_second.max(other.flops_per_second);
            peak.without_tiles = peak.without_tiles.map(|fused| fused.max(other.without_tiles.unwrap_or(0.0)));
        }
        self
    }
}

/// What is timed, on matrices of its own: does it so many times and gives the operations.
fn multiply_adds(arch: Arch) -> impl FnMut(usize) -> u64 {
    let (a, b) = (vec![0.5; ROWS * DEPTH], vec![0.001; DEPTH * WIDE * MOST_LANES]);
    let mut c = vec![0.0; ROWS * WIDE * MOST_LANES];
    move |repeats| {
        let width = arch.dispatch(Multiply { a: &a, b: &b, c: &mut c, repeats });
        // The sums must be wanted by somebody, or they are not computed.
        std::hint::black_box(&c);
        (2 * repeats * ROWS * DEPTH * width) as u64
    }
}

/// The same in tiles; nothing where there are none.
fn in_tiles() -> impl FnMut(usize) -> u64 {
    let mut tiles = select::tiles();
    move |repeats| tiles.as_mut().map_or(0, |multiply| multiply(repeats * BLOCKS_OF_TILES))
}

/// Operations a second of all threads together, in the fastest window; each thread has what is timed made for itself.
fn fastest<W: FnMut(usize) -> u64>(make: &(impl Fn() -> W + Sync), threads: usize) -> Result<f64> {
    (0..WINDOWS).map(|_| window(make, threads)).try_fold(0.0, |fastest, rate| Ok(f64::max(fastest, rate?)))
}

fn window<W: FnMut(usize) -> u64>(make: &(impl Fn() -> W + Sync), threads: usize) -> Result<f64> {
    let (begin, over) = (Barrier::new(threads), AtomicBool::new(false));
    // Whether all are there: a barrier would wait for one that could not be started.
    let whole = RwLock::new(false);
    let work = || {
        if !*whole.read().unwrap_or_else(PoisonError::into_inner) {
            return 0.0;
        }
        let mut multiply = make();
        multiply(BLOCK);
        begin.wait();
        let begun = Instant::now();
        let mut operations = 0;
        // Whoever's window ends first ends it for all: none may run on with the others' share of the machine.
        while !over.load(Ordering::Relaxed) && begun.elapsed() < WINDOW {
            operations += multiply(BLOCK);
        }
        over.store(true, Ordering::Relaxed);
        let seconds = begun.elapsed().as_secs_f64();
        operations as f64 / seconds
    };
    thread::scope(|scope| {
        let mut gate = whole.write().unwrap_or_else(PoisonError::into_inner);
        let purpose = format!("measure the peak of {threads}");
        let others: Result<Vec<_>> = (1..threads).map(|_| start_in(scope, &purpose, work)).collect();
        let others = others.map_err(|error| error.hint("free some memory, or ask for fewer threads with --threads"))?;
        *gate = true;
        drop(gate);
        let own = work();
        Ok(own + others.into_iter().filter_map(|other| other.join().ok()).sum::<f64>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::tests::with_only;

    #[test]
    fn what_is_timed_is_a_multiplication() {
        let value = |at: usize, of: usize| ((at * 7919) % of) as f32 / of as f32 - 0.5;
        // The layout that the kernel reads, of matrices [ROWS, DEPTH] and [DEPTH, width].
        let a_at = |row: usize, k: usize| value(row * DEPTH + k, 101);
        let a: Vec<f32> = (0..ROWS / TILE)
            .flat_map(|group| (0..DEPTH).flat_map(move |k| (0..TILE).map(move |row| a_at(group * TILE + row, k))))
            .collect();
        let b: Vec<f32> = (0..DEPTH * WIDE * MOST_LANES).map(|at| value(at, 97)).collect();
        let mut c = vec![0.0; ROWS * WIDE * MOST_LANES];
        let width = Arch::new().dispatch(Multiply { a: &a, b: &b, c: &mut c, repeats: 2 });
        assert!((NARROW..=WIDE * MOST_LANES).contains(&width));
        for row in 0..ROWS {
            for column in 0..width {
                let expected: f64 = (0..DEPTH).map(|k| f64::from(a_at(row, k)) * f64::from(b[k * width + column])).sum();
                let found = f64::from(c[row * width + column]);
                assert!((found - 2.0 * expected).abs() < 1e-3, "[{row}, {column}]: {found} is not twice {expected}");
            }
        }
    }

    #[test]
    fn the_greater_of_two_peaks_counts() {
        let of = |threads, flops_per_second, without_tiles| ThreadPeak { threads, flops_per_second, without_tiles };
        let peak = |a: f64, b: f64, c: f64| Peak { method: String::new(), flops_per_second: vec![of(1, a, None), of(2, b, Some(c))] };
        assert_eq!(peak(1.0, 5.0, 3.0).or_greater(&peak(2.0, 4.0, 3.5)), peak(2.0, 5.0, 3.5));
        assert_eq!((peak(1.0, 5.0, 3.0).of(2), peak(1.0, 5.0, 3.0).of(3)), (Some(5.0), None));
    }

    /// Whoever was started before the one that could not be must not wait for it.
    #[test]
    fn a_thread_that_cannot_be_started_is_an_error_and_nobody_waits() {
        for left in 0..3 {
            let error = with_only(left, || window(&|| multiply_adds(Arch::new()), 4)).expect_err("too few threads");
            assert!(error.message().starts_with("a thread cannot be started to measure the peak of 4: "), "{error}");
            assert!(error.hint_text().is_some_and(|hint| hint.contains("--threads")));
        }
        assert!(with_only(3, || window(&|| multiply_adds(Arch::new()), 4)).expect("enough threads") > 1e8);
    }

    #[test]
    fn every_number_of_threads_has_its_peak() {
        let found = measure(&[1, 2], Job::silent()).expect("a peak");
        assert!(found.flops_per_second.iter().all(|peak| peak.flops_per_second > 1e8), "{found:?}");
        // What is told beside the peak is no more than it.
        let fused = |peak: &ThreadPeak| peak.without_tiles.is_none_or(|fused| fused > 1e8 && fused <= peak.flops_per_second);
        assert!(found.flops_per_second.iter().all(|peak| peak.without_tiles.is_some() == select::has_tiles() && fused(peak)), "{found:?}");
        let mut multiply = in_tiles();
        assert_eq!(multiply(3), 3 * multiply(1));
    }
}

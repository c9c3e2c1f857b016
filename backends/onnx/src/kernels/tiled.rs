//! Linear layers of many rows in tiles: the weight is split and laid out once for all rows, each block of rows where it is multiplied.

use std::arch::x86_64::{_mm512_add_ps, _mm512_load_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps};
use std::cell::RefCell;
use std::ops::Range;

use half::bf16;

use super::amx::{self, BLOCK, Block};
use super::linear::{Hands, Linear, Weight};
use super::shared::Shared;
use super::split::{self, Number, STEP, Tile};

/// Rows from which on laying out the weight pays: found by trying. In bf16 there is less of it to do.
pub(super) fn worthwhile_from(weight: &Weight<'_>) -> usize {
    match weight {
        Weight::F32(_) => 64,
        Weight::Bf16(_) => 20,
    }
}

/// Tiles, of one KiB, of the weight that are laid out at a time.
const LAID_OUT: usize = 16 << 10;

/// Blocks of a layer that a thread multiplies again and again, so that they stay in the cache of its core.
struct Blocking {
    /// Steps that are summed over before the next are.
    depth: usize,
    /// Blocks of columns that are multiplied with each block of rows.
    panel: usize,
}

impl Blocking {
    /// For a weight whose numbers have so many parts: found by trying, with two MiB of cache.
    const fn of(parts: usize) -> Blocking {
        if parts == 1 { Blocking { depth: 32, panel: 16 } } else { Blocking { depth: 16, panel: 12 } }
    }
}

/// Parts of the work for each thread: enough to end at about the same time, and few, since each reads its part of the weight anew.
const TASKS: usize = 2;

/// What multiplies a block with another, both in the nearest cache, so many times, and gives the operations: a multiplication of numbers in single
/// precision and an addition are two.
///
/// # Safety
/// [`amx::usable`] said so.
pub(super) unsafe fn repeated() -> impl FnMut(usize) -> u64 {
    const STEPS: usize = 4;
    const SIZE: usize = STEPS * STEP;
    let numbers: Vec<f32> = (0..BLOCK * SIZE).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let (mut left, mut right) = ([Tile::ZERO; 6 * STEPS], [Tile::ZERO; 6 * STEPS]);
    let mut sums = Block([[0.0; BLOCK]; BLOCK]);
    // SAFETY: there is AVX-512 where there is AMX, as the caller promises.
    unsafe {
        split::left(&numbers, SIZE, 0, &mut left);
        split::right(&numbers, SIZE, &mut right);
    }
    move |times| {
        // SAFETY: there is AMX, as the caller promises, and nothing else uses the registers meanwhile.
        let registers = unsafe { amx::Tiles::configured() };
        for _ in 0..times {
            registers.multiply::<f32>(std::hint::black_box(&left), &right, &mut sums);
        }
        std::hint::black_box(&sums);
        (2 * BLOCK * BLOCK * SIZE * times) as u64
    }
}

/// Computes `out`, `[rows, outputs]`.
///
/// # Safety
/// [`amx::usable`] said so.
pub(super) unsafe fn compute<E>(linear: &Linear<'_>, rows: usize, out: Shared<f32>, hands: &Hands<'_, E>) -> Result<(), E> {
    // SAFETY: as the caller promises.
    unsafe {
        match linear.weight {
            Weight::F32(weight) => of::<f32, E>(linear, weight, rows, out, hands),
            Weight::Bf16(weight) => of::<bf16, E>(linear, weight, rows, out, hands),
        }
    }
}

thread_local! {
    /// The weight as it is laid out, of the thread that asks for the work: kept for the next layer, and so as long as the thread lives.
    static WEIGHT: RefCell<Vec<Tile>> = RefCell::default();
    /// A block of rows, of each thread.
    static ROWS: RefCell<Vec<Tile>> = RefCell::default();
}

/// # Safety
/// As of [`compute`].
unsafe fn of<T: Number, E>(linear: &Linear<'_>, weight: &[T], rows: usize, out: Shared<f32>, hands: &Hands<'_, E>) -> Result<(), E> {
    let Linear { inputs, outputs, .. } = *linear;
    let tiles = 2 * T::PARTS * inputs.div_ceil(STEP);
    // As many columns each time, in whole blocks.
    let blocks = outputs.div_ceil(BLOCK).max(1);
    let rounds = blocks.div_ceil((LAID_OUT / tiles).max(1));
    let at_once = blocks.div_ceil(rounds) * BLOCK;
    WEIGHT.with_borrow_mut(|laid_out| {
        let laid_out = Shared::new(at_least(laid_out, at_once / BLOCK * tiles));
        for column in (0..outputs).step_by(at_once) {
            let columns = column..outputs.min(column + at_once);
            let column_blocks = columns.len().div_ceil(BLOCK);
            (hands.each)(column_blocks, &|at| {
                let lies = (column + at * BLOCK) * inputs..columns.end.min(column + (at + 1) * BLOCK) * inputs;
                // SAFETY: there is AVX-512 where there is AMX. The memory lives until `each` returns, and each block has a part of its own.
                unsafe { split::right(&weight[lies], inputs, laid_out.part(at * tiles..(at + 1) * tiles)) };
            })?;
            let row_blocks = rows.div_ceil(BLOCK);
            // As many parts as threads want of whole panels and chunks of rows; of narrower panels where there are too few rows.
            let wanted = TASKS * hands.threads;
            let most = column_blocks.div_ceil(wanted.div_ceil(row_blocks));
            let panel = Blocking::of(T::PARTS).panel.min(most);
            let panels = column_blocks.div_ceil(panel);
            let chunk = row_blocks.div_ceil(wanted.div_ceil(panels));
            let chunks = row_blocks.div_ceil(chunk);
            (hands.each)(panels * chunks, &|at| {
                let (panel_at, chunk_at) = (at / chunks, at % chunks);
                let task = Task {
                    rows: chunk_at * chunk * BLOCK..rows.min((chunk_at + 1) * chunk * BLOCK),
                    blocks: panel_at * panel..column_blocks.min((panel_at + 1) * panel),
                    columns: columns.clone(),
                };
                // SAFETY: AMX is usable. Nothing writes to the weight now, and no other task has these rows and columns of the output.
                unsafe { multiply::<T>(linear, &task, laid_out, out) };
            })?;
        }
        Ok(())
    })
}

/// What one thread computes.
struct Task {
    rows: Range<usize>,
    /// Of columns, among those that are laid out.
    blocks: Range<usize>,
    /// Those that are laid out.
    columns: Range<usize>,
}

/// # Safety
/// As of [`compute`]; nobody writes to the weight, and nobody else to the task's part of the output.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma")]
unsafe fn multiply<T: Number>(linear: &Linear<'_>, task: &Task, laid_out: Shared<Tile>, out: Shared<f32>) {
    let Linear { x, bias, inputs, outputs, .. } = *linear;
    let steps = inputs.div_ceil(STEP);
    // About as many each time.
    let depth = steps.div_ceil(steps.div_ceil(Blocking::of(T::PARTS).depth));
    ROWS.with_borrow_mut(|split| {
        // SAFETY: as the caller promises.
        unsafe {
            let registers = amx::Tiles::configured();
            let mut sums = Block([[0.0; BLOCK]; BLOCK]);
            for first in (0..steps).step_by(depth) {
                let depth = depth.min(steps - first);
                let split = at_least(split, 6 * depth);
                for row in task.rows.clone().step_by(BLOCK) {
                    let rows = row..task.rows.end.min(row + BLOCK);
                    split::left(&x[rows.start * inputs..rows.end * inputs], inputs, first, split);
                    for block in task.blocks.clone() {
                        let from = (block * steps + first) * 2 * T::PARTS;
                        registers.multiply::<T>(split, laid_out.read(from..from + depth * 2 * T::PARTS), &mut sums);
                        let column = task.columns.start + block * BLOCK;
                        let columns = column..task.columns.end.min(column + BLOCK);
                        // What is added: the bias, or what earlier steps gave.
                        let bias = bias.filter(|_| first == 0).map(|bias| &bias[columns.clone()]);
                        for (at, row) in rows.clone().enumerate() {
                            let out = out.part(row * outputs + columns.start..row * outputs + columns.end);
                            finish(&sums, at, bias, first > 0, out);
                        }
                    }
                }
            }
        }
    });
}

/// `out = sums + bias`, or `out += sums`, for up to 32 numbers of a row of the block.
#[inline]
#[target_feature(enable = "avx512f")]
fn finish(sums: &Block, row: usize, bias: Option<&[f32]>, add: bool, out: &mut [f32]) {
    let sums = &sums.0[row];
    assert!(out.len() <= BLOCK && bias.is_none_or(|bias| bias.len() == out.len()), "a row of a block");
    let lanes = ((1u64 << out.len()) - 1) as u32;
    for (half, lanes) in [(0, lanes as u16), (BLOCK / 2, (lanes >> 16) as u16)] {
        // SAFETY: the masks leave out what is beyond the slices' ends, and the sums are so many, on a boundary of 64 bytes.
        unsafe {
            let mut sum = _mm512_load_ps(sums.as_ptr().add(half));
            if let Some(bias) = bias {
                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes, bias.as_ptr().wrapping_add(half)));
            }
            let out = out.as_mut_ptr().wrapping_add(half);
            if add {
                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes, out));
            }
            _mm512_mask_storeu_ps(out, lanes, sum);
        }
    }
}

/// So many tiles, whatever is in them.
fn at_least(tiles: &mut Vec<Tile>, count: usize) -> &mut [Tile] {
    if tiles.len() < count {
        tiles.clear();
        // Not twice as many, as a vector that grows would have.
        tiles.reserve_exact(count);
        tiles.resize(count, Tile::ZERO);
    }
    &mut tiles[..count]
}

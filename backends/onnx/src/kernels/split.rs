//! Numbers in single precision as sums of bf16 numbers, in the order in which tile registers read them.
//!
//! A number of 24 bits is the exact sum of three of 8: the nearest of 8 bits, the nearest to what is left, and what is left then. Of the nine
//! products of two such numbers six are larger than half of single precision's last place, and their sum is the product as a fused multiply-add
//! would know it (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations").
//! Only what is below 2^-126 is lost.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi32, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_loadu_si512,
    _mm512_maskz_loadu_epi16, _mm512_maskz_loadu_ps, _mm512_permutex2var_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_store_ps, _mm512_store_si512, _mm512_sub_ps,
};

use half::bf16;

use super::lanes::Register;

/// Numbers of a tile's row, which a product of tiles sums over.
pub(super) const STEP: usize = 32;
/// Rows of a tile.
const ROWS: usize = 16;
/// Rows of a block: those of two tiles.
const BLOCK: usize = 2 * ROWS;

/// 16 rows of 32 bf16 numbers, or 16 pairs of rows of 16.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile([[u16; STEP]; ROWS]);

impl Tile {
    pub(super) const ZERO: Tile = Tile([[0; STEP]; ROWS]);
}

/// Where the upper halves of 32 numbers lie in two registers.
static UPPER_HALVES: [u16; STEP] = {
    let mut places = [0; STEP];
    let mut at = 0;
    while at < STEP {
        places[at] = 2 * at as u16 + 1;
        at += 1;
    }
    places
};

/// A number format that is split.
pub(super) trait Number: Copy + Sync {
    /// Parts of a number.
    const PARTS: usize;

    /// The parts of the first of these numbers, up to 32, zeros beyond; only the first [`PARTS`](Self::PARTS) are used.
    ///
    /// # Safety
    /// The processor has AVX-512 with its parts F and BW.
    unsafe fn split(numbers: &[Self]) -> [__m512i; 3];
}

impl Number for f32 {
    const PARTS: usize = 3;

    #[inline(always)]
    unsafe fn split(numbers: &[f32]) -> [__m512i; 3] {
        let present = (1u64 << numbers.len().min(STEP)) - 1;
        // SAFETY: the caller has AVX-512; the masks leave out what is beyond the slice's end.
        unsafe {
            let half = |at: usize| _mm512_maskz_loadu_ps((present >> at) as u16, numbers.as_ptr().wrapping_add(at));
            // To the nearest, ties away from zero: what is left has 16 bits, then 8.
            let nearest = |numbers: __m512| {
                let rounded = _mm512_add_epi32(_mm512_castps_si512(numbers), _mm512_set1_epi32(0x8000));
                _mm512_castsi512_ps(_mm512_and_si512(rounded, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
            };
            let parts = |numbers: __m512| {
                let first = nearest(numbers);
                let left = _mm512_sub_ps(numbers, first);
                let second = nearest(left);
                // What is no number is none in the last part, whatever rounding made of the others.
                [first, second, _mm512_sub_ps(left, second)].map(|part| _mm512_castps_si512(part))
            };
            let (low, high) = (parts(half(0)), parts(half(STEP / 2)));
            let places = _mm512_loadu_si512(UPPER_HALVES.as_ptr().cast());
            [0, 1, 2].map(|part| _mm512_permutex2var_epi16(low[part], places, high[part]))
        }
    }
}

impl Number for bf16 {
    const PARTS: usize = 1;

    #[inline(always)]
    unsafe fn split(numbers: &[bf16]) -> [__m512i; 3] {
        let present = ((1u64 << numbers.len().min(STEP)) - 1) as u32;
        // SAFETY: the caller has AVX-512; the mask leaves out what is beyond the slice's end.
        unsafe {
            let zero = _mm512_setzero_si512();
            [_mm512_maskz_loadu_epi16(present, numbers.as_ptr().cast()), zero, zero]
        }
    }
}

/// Up to 32 rows of `size` numbers each as the left side of a product, from the step `first` on: for each step its tiles by part, then by half
/// of the rows.
///
/// # Safety
/// The processor has AVX-512 with its parts F, VL, BW and DQ.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma")]
pub(super) unsafe fn left(rows: &[f32], size: usize, first: usize, tiles: &mut [Tile]) {
    let steps = tiles.len() / 6;
    assert!(tiles.len() == 6 * steps && first + steps <= size.div_ceil(STEP) && rows.len() <= BLOCK * size, "steps of all rows");
    for row in 0..BLOCK {
        let numbers = rows.get(row * size..(row + 1) * size).unwrap_or_default();
        for (at, tiles) in (first..).zip(tiles.chunks_exact_mut(6)) {
            // SAFETY: the caller has AVX-512; a tile's row has room for 32 numbers of 16 bits.
            unsafe {
                let split = f32::split(numbers.get(at * STEP..).unwrap_or_default());
                for (part, split) in split.into_iter().enumerate() {
                    _mm512_store_si512(tiles[2 * part + row / ROWS].0[row % ROWS].as_mut_ptr().cast(), split);
                }
            }
        }
    }
}

/// Up to 32 rows of `size` numbers each, which are the columns of the right side of a product: for each step its tiles by part, then by half of
/// the columns, each tile with pairs of numbers of a column side by side.
///
/// # Safety
/// As of [`left`].
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma")]
pub(super) unsafe fn right<T: Number>(columns: &[T], size: usize, tiles: &mut [Tile]) {
    let steps = size.div_ceil(STEP);
    assert!(tiles.len() == 2 * T::PARTS * steps && columns.len() <= BLOCK * size, "tiles for all");
    for (at, tiles) in tiles.chunks_exact_mut(2 * T::PARTS).enumerate() {
        for half in 0..2 {
            // SAFETY: the caller has AVX-512; a tile's row has room for 16 pairs of numbers of 16 bits.
            unsafe {
                // Pairs of numbers, moved as if each were one in single precision.
                let mut pairs = [[_mm512_setzero_ps(); ROWS]; 3];
                for column in 0..ROWS {
                    let place = half * ROWS + column;
                    let numbers = columns.get(place * size..(place + 1) * size).unwrap_or_default();
                    let split = T::split(numbers.get(at * STEP..).unwrap_or_default());
                    for (pairs, split) in pairs.iter_mut().zip(split).take(T::PARTS) {
                        pairs[column] = _mm512_castsi512_ps(split);
                    }
                }
                for (part, pairs) in pairs.into_iter().enumerate().take(T::PARTS) {
                    for (row, pairs) in tiles[2 * part + half].0.iter_mut().zip(Register::transpose(pairs)) {
                        _mm512_store_ps(row.as_mut_ptr().cast(), pairs);
                    }
                }
            }
        }
    }
}

//! Numbers in single precision as sums of bf16 numbers, in the order in which tile registers read them.
//!
//! A number of 24 bits is the exact sum of three of 8: the nearest of 8 bits, the nearest to what is left, and what is left then. Of the nine
//! products of two such numbers six are larger than half of single precision's last place, and their sum is the product as a fused multiply-add
//! would know it (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations").
//! What is below 2^-126 is lost, and a number from 3.396e38 on, whose first part is infinite, is none.

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tile registers sum up, `[row, column]`, in double precision: of parts `i` and `j` where the product reaches single precision's
    /// last place. For processors without them.
    fn emulated(left: &[Tile], right: &[Tile], parts: usize) -> Vec<[f64; BLOCK]> {
        let number = |half: u16| f64::from(bf16::from_bits(half));
        let mut sums = vec![[0.0; BLOCK]; BLOCK];
        for (left, right) in left.chunks_exact(6).zip(right.chunks_exact(2 * parts)) {
            for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)].into_iter().filter(|(_, j)| *j < parts) {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (column, sum) in sums.iter_mut().enumerate() {
                        let (a, b) = (&left[2 * i + row / ROWS].0[row % ROWS], &right[2 * j + column / ROWS].0);
                        *sum += (0..STEP).map(|at| number(a[at]) * number(b[at / 2][2 * (column % ROWS) + at % 2])).sum::<f64>();
                    }
                }
            }
        }
        sums
    }

    fn numbers(count: usize, factor: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * factor) % 7919) as f32 / 3000.0 - 1.3).collect()
    }

    fn check<T: Number>(rows: usize, columns: usize, size: usize, weight: &[T], number: impl Fn(T) -> f64) {
        let x = numbers(rows * size, 104_729);
        let steps = size.div_ceil(STEP);
        // What an earlier block left must not show.
        let (mut a, mut b) = (vec![Tile([[0x7fc0; STEP]; ROWS]); 6 * steps], vec![Tile([[0x7fc0; STEP]; ROWS]); 2 * T::PARTS * steps]);
        // SAFETY: the caller looked for AVX-512.
        unsafe {
            left(&x, size, 0, &mut a);
            right(weight, size, &mut b);
        }
        for (row, sums) in emulated(&a, &b, T::PARTS).iter().enumerate() {
            for (column, &found) in sums.iter().enumerate() {
                let products = (0..size).filter(|_| row < rows && column < columns);
                let products: Vec<f64> = products.map(|at| f64::from(x[row * size + at]) * number(weight[column * size + at])).collect();
                let most = products.iter().map(|product| product.abs()).sum::<f64>() * f64::from(f32::EPSILON) / 2.0;
                let expected = products.iter().sum::<f64>();
                assert!((found - expected).abs() <= most, "{rows} x {columns} x {size} [{row}, {column}]: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn six_products_are_the_product() {
        if super::super::level() != super::super::Level::Avx512 {
            return;
        }
        for (rows, columns, size) in [(32, 32, 64), (1, 32, 31), (32, 1, 33), (17, 15, 1), (16, 16, 100)] {
            let weight = numbers(columns * size, 15_485_863);
            check(rows, columns, size, &weight, f64::from);
            let halves: Vec<bf16> = weight.iter().map(|&number| bf16::from_f32(number)).collect();
            check(rows, columns, size, &halves, f64::from);
        }
    }

    #[test]
    fn three_parts_are_the_number_until_the_first_would_be_infinite() {
        if super::super::level() != super::super::Level::Avx512 {
            return;
        }
        let parts = |bits: u32| {
            let mut tiles = [Tile::ZERO; 6];
            // SAFETY: there is AVX-512.
            unsafe { left(&[f32::from_bits(bits)], 1, 0, &mut tiles) };
            [0, 2, 4].map(|part| f64::from(bf16::from_bits(tiles[part].0[0][0])))
        };
        for bits in [1.0f32, -1.0, 1.000_000_1, 0.999_999_94, 16_777_215.0, 1.0e-30, -3.3e38, 0.1].map(f32::to_bits) {
            assert_eq!(parts(bits).iter().sum::<f64>(), f64::from(f32::from_bits(bits)), "{bits:x}");
        }
        // The greatest that rounds to a finite part, and the next.
        assert_eq!(parts(0x7f7f_7fff).iter().sum::<f64>(), f64::from(f32::from_bits(0x7f7f_7fff)));
        assert!(parts(0x7f7f_8000)[0].is_infinite() && parts(0x7f7f_8000)[2].is_nan());
    }
}

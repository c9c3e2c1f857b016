//! Arithmetic on 16 numbers at once.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _mm256_castpd_ps, _mm256_castps_pd, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps, _mm512_castpd_ps,
    _mm512_castps_pd, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps,
    _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

/// How many numbers a step takes: one register of AVX-512, two of AVX2, four of NEON.
pub(super) const LANES: usize = 16;

/// So many numbers.
pub(super) type Lanes = [f32; LANES];

/// An instruction set that kernels are compiled for.
pub(super) trait Instructions {
    /// Whether a fused multiply-add is one instruction.
    const FMA: bool;
    /// Whether 32 numbers of six rows find room in its registers. Then so many sums are under way that none waits for the one before, and a number that is
    /// broadcast serves two products: with 16, loading is what takes the time where two products are begun at once.
    const WIDE: bool = false;
    /// 16 numbers in registers: the compiler keeps simple loops over arrays there by itself, but not sums that outlive many steps.
    type Register: Register;
}

/// 16 numbers in registers.
///
/// # Safety
/// Of every function: the processor has the instruction set.
pub(super) trait Register: Copy {
    /// Zeros.
    unsafe fn zero() -> Self;
    /// These numbers.
    unsafe fn load(lanes: &Lanes) -> Self;
    /// `self + factor * lanes`
    unsafe fn add_product(self, factor: f32, lanes: Self) -> Self;
    /// To memory.
    unsafe fn store(self, lanes: &mut Lanes);
    /// Rows become columns.
    unsafe fn transpose(rows: [Self; LANES]) -> [Self; LANES];
}

/// The target's own.
pub(super) struct Plain;

impl Instructions for Plain {
    const FMA: bool = cfg!(target_arch = "aarch64");
    type Register = Lanes;
}

impl Register for Lanes {
    #[inline(always)]
    unsafe fn zero() -> Lanes {
        [0.0; LANES]
    }

    #[inline(always)]
    unsafe fn load(lanes: &Lanes) -> Lanes {
        *lanes
    }

    #[inline(always)]
    unsafe fn add_product(mut self, factor: f32, lanes: Lanes) -> Lanes {
        for (sum, lane) in self.iter_mut().zip(lanes) {
            *sum = multiply_add::<Plain>(factor, lane, *sum);
        }
        self
    }

    #[inline(always)]
    unsafe fn store(self, lanes: &mut Lanes) {
        *lanes = self;
    }

    #[inline(always)]
    unsafe fn transpose(rows: [Lanes; LANES]) -> [Lanes; LANES] {
        std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column]))
    }
}

/// AVX-512 with its foundation, and the parts that all processors with it have since 2017.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx512 {
    const FMA: bool = true;
    const WIDE: bool = true;
    type Register = __m512;
}

#[cfg(target_arch = "x86_64")]
impl Register for __m512 {
    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(lanes: &Lanes) -> __m512 {
        // SAFETY: the caller has AVX-512; 16 numbers lie there.
        unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn add_product(self, factor: f32, lanes: __m512) -> __m512 {
        // SAFETY: the caller has AVX-512.
        unsafe { _mm512_fmadd_ps(_mm512_set1_ps(factor), lanes, self) }
    }

    #[inline(always)]
    unsafe fn store(self, lanes: &mut Lanes) {
        // SAFETY: the caller has AVX-512; there is room for 16 numbers.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), self) }
    }

    #[inline(always)]
    unsafe fn transpose(rows: [__m512; LANES]) -> [__m512; LANES] {
        // SAFETY: the caller has AVX-512.
        unsafe {
            // The rows as pairs of numbers, then each four rows for themselves, in quarters of a register: the quarter `k` of `fours[4 * i + j]` is
            // column `4 * k + j` of the rows from `4 * i` on.
            let mut fours = rows;
            for i in (0..LANES).step_by(4) {
                let [a, b, c, d] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]];
                let (low, lower) = (_mm512_castps_pd(_mm512_unpacklo_ps(a, b)), _mm512_castps_pd(_mm512_unpacklo_ps(c, d)));
                let (high, higher) = (_mm512_castps_pd(_mm512_unpackhi_ps(a, b)), _mm512_castps_pd(_mm512_unpackhi_ps(c, d)));
                fours[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, lower));
                fours[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, lower));
                fours[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, higher));
                fours[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, higher));
            }
            const EVEN: i32 = 0b10_00_10_00;
            const ODD: i32 = 0b11_01_11_01;
            let mut columns = rows;
            for j in 0..4 {
                let even =
                    [_mm512_shuffle_f32x4::<EVEN>(fours[j], fours[4 + j]), _mm512_shuffle_f32x4::<EVEN>(fours[8 + j], fours[12 + j])];
                let odd = [_mm512_shuffle_f32x4::<ODD>(fours[j], fours[4 + j]), _mm512_shuffle_f32x4::<ODD>(fours[8 + j], fours[12 + j])];
                columns[j] = _mm512_shuffle_f32x4::<EVEN>(even[0], even[1]);
                columns[4 + j] = _mm512_shuffle_f32x4::<EVEN>(odd[0], odd[1]);
                columns[8 + j] = _mm512_shuffle_f32x4::<ODD>(even[0], even[1]);
                columns[12 + j] = _mm512_shuffle_f32x4::<ODD>(odd[0], odd[1]);
            }
            columns
        }
    }
}

/// AVX2 with FMA.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx2 {
    const FMA: bool = true;
    type Register = [__m256; 2];
}

#[cfg(target_arch = "x86_64")]
impl Register for [__m256; 2] {
    #[inline(always)]
    unsafe fn zero() -> [__m256; 2] {
        // SAFETY: the caller has AVX2.
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    unsafe fn load(lanes: &Lanes) -> [__m256; 2] {
        // SAFETY: the caller has AVX2; eight numbers lie at each place.
        unsafe { [_mm256_loadu_ps(lanes.as_ptr()), _mm256_loadu_ps(lanes[8..].as_ptr())] }
    }

    #[inline(always)]
    unsafe fn add_product(self, factor: f32, lanes: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: the caller has AVX2 and FMA.
        unsafe {
            let factor = _mm256_set1_ps(factor);
            [_mm256_fmadd_ps(factor, lanes[0], self[0]), _mm256_fmadd_ps(factor, lanes[1], self[1])]
        }
    }

    #[inline(always)]
    unsafe fn store(self, lanes: &mut Lanes) {
        // SAFETY: the caller has AVX2; there is room for eight numbers at each place.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), self[0]);
            _mm256_storeu_ps(lanes[8..].as_mut_ptr(), self[1]);
        }
    }

    #[inline(always)]
    unsafe fn transpose(rows: [[__m256; 2]; LANES]) -> [[__m256; 2]; LANES] {
        // SAFETY: the caller has AVX2.
        unsafe {
            let mut columns = rows;
            for down in 0..2 {
                for across in 0..2 {
                    let mut eight = [rows[0][0]; 8];
                    for at in 0..8 {
                        eight[at] = rows[8 * down + at][across];
                    }
                    let eight = transpose_eight(eight);
                    for at in 0..8 {
                        columns[8 * across + at][down] = eight[at];
                    }
                }
            }
            columns
        }
    }
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_eight(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller has AVX2.
    unsafe {
        // As with 16: each four rows for themselves, in halves of a register.
        let mut fours = rows;
        for i in [0, 4] {
            let [a, b, c, d] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]];
            let (low, lower) = (_mm256_castps_pd(_mm256_unpacklo_ps(a, b)), _mm256_castps_pd(_mm256_unpacklo_ps(c, d)));
            let (high, higher) = (_mm256_castps_pd(_mm256_unpackhi_ps(a, b)), _mm256_castps_pd(_mm256_unpackhi_ps(c, d)));
            fours[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, lower));
            fours[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, lower));
            fours[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high, higher));
            fours[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high, higher));
        }
        let mut columns = rows;
        for j in 0..4 {
            columns[j] = _mm256_permute2f128_ps::<0x20>(fours[j], fours[4 + j]);
            columns[4 + j] = _mm256_permute2f128_ps::<0x31>(fours[j], fours[4 + j]);
        }
        columns
    }
}

/// Rows become columns.
#[inline(always)]
pub(super) fn transposed<I: Instructions>(rows: [&Lanes; LANES]) -> [Lanes; LANES] {
    // SAFETY: `dispatched` compiles for instruction sets that the processor has.
    unsafe {
        let mut registers = [I::Register::zero(); LANES];
        for at in 0..LANES {
            registers[at] = I::Register::load(rows[at]);
        }
        let registers = I::Register::transpose(registers);
        let mut columns = [[0.0; LANES]; LANES];
        for at in 0..LANES {
            registers[at].store(&mut columns[at]);
        }
        columns
    }
}

/// `C` times 16 numbers of a product of matrices for each of `N` rows: the sum over `n` of `left[row][n] * right[n]`, where `right[n]` is the
/// numbers from `right[n * stride]` on. All rows of `left` have the same length.
#[inline(always)]
pub(super) fn products<I: Instructions, const N: usize, const C: usize>(
    left: &[&[f32]; N],
    right: &[f32],
    stride: usize,
) -> [[Lanes; C]; N] {
    let steps = left[0].len();
    let left: [&[f32]; N] = std::array::from_fn(|row| &left[row][..steps]);
    assert!(steps == 0 || (steps - 1) * stride + C * LANES <= right.len(), "the last step lies in the matrix");
    // SAFETY: `dispatched` compiles for instruction sets that the processor has.
    unsafe {
        let mut sums = [[I::Register::zero(); C]; N];
        for step in 0..steps {
            let mut lanes = [I::Register::zero(); C];
            for (column, lanes) in lanes.iter_mut().enumerate() {
                // SAFETY: `step` is not beyond the last one, for which the place was checked.
                *lanes = I::Register::load(&*right.as_ptr().add(step * stride + column * LANES).cast::<Lanes>());
            }
            for row in 0..N {
                // SAFETY: each row has so many steps.
                let factor = *left[row].get_unchecked(step);
                for column in 0..C {
                    sums[row][column] = sums[row][column].add_product(factor, lanes[column]);
                }
            }
        }
        let mut out = [[[0.0; LANES]; C]; N];
        for row in 0..N {
            for column in 0..C {
                sums[row][column].store(&mut out[row][column]);
            }
        }
        out
    }
}

/// `a * b + c`; fused where that is one instruction, since elsewhere it is a call of a library.
#[inline(always)]
pub(super) fn multiply_add<I: Instructions>(a: f32, b: f32, c: f32) -> f32 {
    if I::FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The first 16 numbers of a slice.
#[inline(always)]
pub(super) fn lanes(values: &[f32]) -> &Lanes {
    values.first_chunk().expect("slices of whole lanes")
}

/// `e^x` for `x <= 0`, within 2 units in the last place; what would be smaller than the smallest normal number is about that.
///
/// The reduction to `2^n e^r` and the polynomial are those of Cephes (Moshier 1992).
#[inline(always)]
pub(super) fn exp<I: Instructions>(x: f32) -> f32 {
    /// Added to a number below 2^22 it leaves the nearest whole number in the last bits.
    const ROUND: f32 = 12_582_912.0;
    // Not `max`, which would make a number of what is none.
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = multiply_add::<I>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<I>(n, -0.693_359_4, x);
    let r = multiply_add::<I>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = multiply_add::<I>(p, r, coefficient);
    }
    let y = multiply_add::<I>(p * r, r, r) + 1.0;
    let power = f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23));
    // `x` is a number from here on, or none: then the bits of `shifted`, whatever they are, must not make one of it.
    multiply_add::<I>(x, 0.0, power)
}

/// The sum of the lanes.
#[inline(always)]
pub(super) fn sum(lanes: &Lanes) -> f32 {
    let mut half = [0.0f32; LANES / 2];
    for (at, half) in half.iter_mut().enumerate() {
        *half = lanes[at] + lanes[at + LANES / 2];
    }
    let quarter = [half[0] + half[4], half[1] + half[5], half[2] + half[6], half[3] + half[7]];
    (quarter[0] + quarter[2]) + (quarter[1] + quarter[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What processors with fused multiply-adds compute, on any.
    struct Fused;

    impl Instructions for Fused {
        const FMA: bool = true;
        type Register = Lanes;
    }

    #[test]
    fn exponentials_are_within_two_units_in_the_last_place() {
        for step in 0..87_000 {
            let x = -(step as f32) / 1000.0;
            let exact = f64::from(x).exp();
            for found in [exp::<Plain>(x), exp::<Fused>(x)] {
                let unit = f64::from(f32::EPSILON) * exact;
                assert!((f64::from(found) - exact).abs() <= 2.0 * unit, "e^{x} is {exact}, not {found}");
            }
        }
        assert_eq!(exp::<Plain>(0.0), 1.0);
        for bits in [0x7fc0_0000u32, 0x7fc0_0001, 0x7fff_ffff, 0xffc0_0001, 0xffff_ffff, 0x7f80_0001] {
            assert!(exp::<Plain>(f32::from_bits(bits)).is_nan() && exp::<Fused>(f32::from_bits(bits)).is_nan(), "{bits:x}");
        }
        assert!(exp::<Plain>(f32::NEG_INFINITY) < 1e-37);
        assert!(exp::<Fused>(f32::NEG_INFINITY) < 1e-37);
    }
}

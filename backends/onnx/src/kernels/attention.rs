//! Attention of one head within one row, on the packed layout: no padding, no mask, memory that grows with the row and not its square.

use std::ops::Range;

use super::dispatched;
use super::lanes::{Instructions, LANES, Lanes, exp, lanes, products, sum, transposed};

/// Queries that are computed together: their sums stay in registers.
const BLOCK: usize = 6;

/// One head of one row.
#[derive(Clone)]
pub(crate) struct Task<'a> {
    /// From the first number of the first query of this head that is asked for.
    pub q: &'a [f32],
    /// From the first number of the row's first key of this head.
    pub k: &'a [f32],
    /// As `k`.
    pub v: &'a [f32],
    /// From one token's query to the next.
    pub q_stride: usize,
    /// From one token's key, or value, to the next.
    pub kv_stride: usize,
    /// The places in the row whose queries are asked for.
    pub queries: Range<usize>,
    /// Tokens of the row.
    pub tokens: usize,
    /// Numbers of a head.
    pub size: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Places before its own that a token sees.
    pub before: usize,
    /// Places after its own that a token sees.
    pub after: usize,
    /// What is added to a score by the key's place minus the query's, from `1 - tokens` to `tokens - 1`.
    pub bias: Option<&'a [f32]>,
}

/// Memory that one thread uses again and again.
#[derive(Default)]
pub(crate) struct Scratch {
    /// `[size, places]`, places being tokens up to a multiple of 16.
    keys: Vec<f32>,
    /// `[tokens, width]`, width being the size up to a multiple of 16.
    values: Vec<f32>,
    /// `[BLOCK, places]`
    scores: Vec<f32>,
    /// `[queries, size]`: what is computed.
    pub out: Vec<f32>,
}

dispatched! {
    /// Computes a head into `scratch.out`.
    pub(crate) fn attend(task: &Task<'_>, scratch: &mut Scratch) => attend_head
}

#[inline(always)]
fn attend_head<I: Instructions>(task: &Task<'_>, scratch: &mut Scratch) {
    let Task { tokens, size, .. } = *task;
    let (places, width) = (tokens.next_multiple_of(LANES), size.next_multiple_of(LANES));
    let Scratch { keys, values, scores, out } = scratch;
    keys.clear();
    keys.resize(size * places, 0.0);
    values.clear();
    values.resize(tokens * width, 0.0);
    scores.resize((BLOCK * places).max(scores.len()), 0.0);
    out.resize((task.queries.len() * size).max(out.len()), 0.0);
    transpose::<I>(task, keys, places);
    for token in 0..tokens {
        values[token * width..][..size].copy_from_slice(&task.v[token * task.kv_stride..][..size]);
    }
    let mut query = task.queries.start;
    while query < task.queries.end {
        query += match task.queries.end - query {
            1 => block::<I, 1>(task, query, keys, values, scores, out),
            2 | 3 => block::<I, 2>(task, query, keys, values, scores, out),
            4 | 5 => block::<I, 4>(task, query, keys, values, scores, out),
            _ => block::<I, BLOCK>(task, query, keys, values, scores, out),
        };
    }
}

/// The keys of the row, from `[tokens, size]` to `[size, places]`.
#[inline(always)]
fn transpose<I: Instructions>(task: &Task<'_>, keys: &mut [f32], places: usize) {
    let Task { k, kv_stride, tokens, size, .. } = *task;
    let whole = |length: usize| length / LANES * LANES;
    for token in (0..whole(tokens)).step_by(LANES) {
        for number in (0..whole(size)).step_by(LANES) {
            let block = std::array::from_fn(|at| lanes(&k[(token + at) * kv_stride + number..]));
            for (at, column) in transposed::<I>(block).iter().enumerate() {
                keys[(number + at) * places + token..][..LANES].copy_from_slice(column);
            }
        }
    }
    // What is left: numbers beyond the last block of tokens that have one, then tokens.
    for token in 0..tokens {
        let first = if token < whole(tokens) { whole(size) } else { 0 };
        for (number, &value) in k[token * kv_stride..][..size].iter().enumerate().skip(first) {
            keys[number * places + token] = value;
        }
    }
}

/// `N` queries from `first` on; gives back how many they are.
#[inline(always)]
fn block<I: Instructions, const N: usize>(
    task: &Task<'_>,
    first: usize,
    keys: &[f32],
    values: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) -> usize {
    let Task { tokens, size, scale, before, after, .. } = *task;
    let (places, width) = (tokens.next_multiple_of(LANES), size.next_multiple_of(LANES));
    // What any of the queries sees, in whole steps.
    let start = first.saturating_sub(before) / LANES * LANES;
    let end = (first + N).saturating_add(after).min(tokens);
    let stop = end.next_multiple_of(LANES);
    let q: [&[f32]; N] = std::array::from_fn(|at| &task.q[(first - task.queries.start + at) * task.q_stride..][..size]);

    let mut score = |at: usize, query: usize, sums: &mut Lanes| {
        sums.iter_mut().for_each(|sum| *sum *= scale);
        let own = first + query;
        if let Some(bias) = task.bias {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let key = at + lane;
                if key < tokens {
                    *sum += bias[key + tokens - 1 - own];
                }
            }
        }
        // Beyond the row, or out of this query's sight.
        if at + LANES > tokens.min(own.saturating_add(after).saturating_add(1)) || at < own.saturating_sub(before) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let key = at + lane;
                if key >= tokens || key > own.saturating_add(after) || key < own.saturating_sub(before) {
                    *sum = f32::NEG_INFINITY;
                }
            }
        }
        scores[query * places + at..][..LANES].copy_from_slice(sums);
    };
    let mut at = start;
    while at < stop {
        if I::WIDE && at + 2 * LANES <= stop {
            let mut pairs = products::<I, N, 2>(&q, &keys[at..], places);
            for (query, [left, right]) in pairs.iter_mut().enumerate() {
                score(at, query, left);
                score(at + LANES, query, right);
            }
            at += 2 * LANES;
        } else {
            let mut sums = products::<I, N, 1>(&q, &keys[at..], places);
            sums.iter_mut().enumerate().for_each(|(query, [sums])| score(at, query, sums));
            at += LANES;
        }
    }

    let mut inverse = [0.0f32; N];
    for (query, inverse) in inverse.iter_mut().enumerate() {
        let row = &mut scores[query * places..][start..stop];
        let mut greatest: Lanes = [f32::NEG_INFINITY; LANES];
        for step in row.chunks_exact(LANES) {
            for (greatest, &score) in greatest.iter_mut().zip(lanes(step)) {
                *greatest = if score > *greatest { score } else { *greatest };
            }
        }
        let greatest = greatest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sums: Lanes = [0.0; LANES];
        for step in row.chunks_exact_mut(LANES) {
            let step: &mut Lanes = step.first_chunk_mut().expect("whole lanes");
            for (sum, score) in sums.iter_mut().zip(step) {
                // A place out of sight weighs nothing, not the little that `exp` ends at.
                let seen = *score != f32::NEG_INFINITY;
                let weight = exp::<I>(*score - greatest);
                *score = if seen { weight } else { 0.0 };
                *sum += *score;
            }
        }
        *inverse = 1.0 / sum(&sums);
    }

    let seen: [&[f32]; N] = std::array::from_fn(|query| &scores[query * places..][start..end]);
    let mut store = |column: usize, query: usize, sums: &mut Lanes| {
        let whole = LANES.min(size - column);
        sums.iter_mut().for_each(|sum| *sum *= inverse[query]);
        out[(first - task.queries.start + query) * size + column..][..whole].copy_from_slice(&sums[..whole]);
    };
    let mut column = 0;
    while column < width {
        let right = &values[start * width + column..];
        if I::WIDE && column + 2 * LANES <= width {
            let mut pairs = products::<I, N, 2>(&seen, right, width);
            for (query, [left, right]) in pairs.iter_mut().enumerate() {
                store(column, query, left);
                store(column + LANES, query, right);
            }
            column += 2 * LANES;
        } else {
            let mut sums = products::<I, N, 1>(&seen, right, width);
            sums.iter_mut().enumerate().for_each(|(query, [sums])| store(column, query, sums));
            column += LANES;
        }
    }
    N
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Plain;
    use super::super::tests::numbers;
    use super::*;

    /// The definition, in double precision.
    fn defined(task: &Task<'_>) -> Vec<f64> {
        let mut out = Vec::new();
        for query in task.queries.clone() {
            let q = &task.q[(query - task.queries.start) * task.q_stride..];
            let sees = |key: usize| key.saturating_add(task.before) >= query && key <= query.saturating_add(task.after);
            let score = |key: usize| {
                let dot: f64 = (0..task.size).map(|n| f64::from(q[n]) * f64::from(task.k[key * task.kv_stride + n])).sum();
                dot * f64::from(task.scale) + task.bias.map_or(0.0, |bias| f64::from(bias[key + task.tokens - 1 - query]))
            };
            let weights: Vec<f64> = (0..task.tokens).map(|key| if sees(key) { score(key).exp() } else { 0.0 }).collect();
            let total: f64 = weights.iter().sum();
            for n in 0..task.size {
                out.push((0..task.tokens).map(|key| weights[key] * f64::from(task.v[key * task.kv_stride + n])).sum::<f64>() / total);
            }
        }
        out
    }

    fn check(tokens: usize, size: usize, before: usize, after: usize, biased: bool) {
        let (q_stride, kv_stride) = (3 * size, 2 * size + 5);
        let (q, k, v) = (numbers(tokens * q_stride, 1), numbers(tokens * kv_stride, 2), numbers(tokens * kv_stride, 3));
        let bias = numbers(2 * tokens - 1, 4);
        let bias = biased.then_some(&bias[..]);
        let scale = 1.7 / (size as f32).sqrt();
        // All queries, each that can be the one that is pooled, and some in the middle.
        for queries in [0..tokens, 0..1, tokens - 1..tokens, tokens / 3..tokens.div_ceil(2).max(tokens / 3 + 1)] {
            let asked = queries.len();
            let what = format!("{queries:?} of {tokens} {size} {before} {after} {biased}");
            let task = Task { q: &q, k: &k, v: &v, q_stride, kv_stride, queries, tokens, size, scale, before, after, bias };
            let expected = defined(&task);
            // What an earlier, longer row left must not show.
            let mut scratch = Scratch { scores: vec![f32::NAN; 6 * 1024], out: vec![f32::NAN; 9], ..Scratch::default() };
            attend(&task, &mut scratch);
            attend_plain(&task, &expected);
            attend_narrow(&task, &expected);
            compare(&scratch.out[..asked * size], &expected, &what);
        }
    }

    fn attend_plain(task: &Task<'_>, expected: &[f64]) {
        let mut scratch = Scratch::default();
        attend_head::<Plain>(task, &mut scratch);
        compare(&scratch.out[..task.queries.len() * task.size], expected, "without fused multiply-add");
    }

    /// What a processor with less than this one's best instructions computes.
    fn attend_narrow(task: &Task<'_>, expected: &[f64]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let mut scratch = Scratch::default();
            attend_head::<super::super::lanes::Avx2>(task, &mut scratch);
            compare(&scratch.out[..task.queries.len() * task.size], expected, "with AVX2");
        }
        let _ = (task, expected);
    }

    fn compare(found: &[f32], expected: &[f64], what: &str) {
        assert_eq!(found.len(), expected.len());
        for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            assert!((f64::from(found) - expected).abs() < 2e-6, "{what}: number {at} is {found}, not {expected}");
        }
    }

    #[test]
    fn every_length_gives_what_the_definition_gives() {
        for tokens in (1..40).chain([63, 64, 65, 130]) {
            check(tokens, 32, usize::MAX, usize::MAX, false);
        }
    }

    #[test]
    fn heads_of_any_size_windows_and_biases_do_too() {
        for size in [1, 7, 16, 20, 64, 72] {
            for (before, after) in [(usize::MAX, usize::MAX), (usize::MAX, 0), (3, 2), (0, 0), (17, 40)] {
                for tokens in [1, 5, 16, 37, 70] {
                    check(tokens, size, before, after, false);
                    check(tokens, size, before, after, true);
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_one() {
        for bits in [0x7fc0_0000u32, 0x7fc0_0001, 0x7fff_ffff, 0xffc0_0001, f32::INFINITY.to_bits()] {
            let numbers = [1.0, f32::from_bits(bits), 2.0, 0.5];
            let task = Task {
                q: &numbers,
                k: &numbers,
                v: &[1.0, 2.0, 3.0, 4.0],
                q_stride: 2,
                kv_stride: 2,
                queries: 0..2,
                tokens: 2,
                size: 2,
                scale: 1.0,
                before: usize::MAX,
                after: usize::MAX,
                bias: None,
            };
            let mut scratch = Scratch::default();
            attend(&task, &mut scratch);
            assert!(scratch.out.iter().all(|value| value.is_nan()), "{bits:x}: {:?}", scratch.out);
            attend_head::<Plain>(&task, &mut scratch);
            assert!(scratch.out.iter().all(|value| value.is_nan()), "{bits:x}: {:?}", scratch.out);
        }
    }
}
